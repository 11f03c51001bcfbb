"""Scores in closed form; a checkpoint's test."""

import json

import numpy as np
import pytest

from training import evaluate
from training.config import load_config
from training.figures import confusion_figure, plot_confusion, plot_reliability, reliability_figure
from training.loop import train
from training.scores import (
    Predictions,
    bootstrap_interval,
    calibration,
    confusion_matrix,
    fuse,
    load_predictions,
    probabilities,
    save_predictions,
    score,
    top_k,
)
from training.sides import UNSEEN, Labels
from training.views import Views

from .toy import MovingBlobs, toy_config

LABELS = Labels(actions=(1, 2, 3), class_names=("a", "b", "c"), heads={"identity": (1, 2)})


def test_top_k_counts_the_labels_rank_and_ties_against_it():
    logits = np.array([[3.0, 2, 1], [1, 2, 3], [1, 1, 1]])
    labels = np.array([0, 0, 0])
    assert top_k(logits, labels, 1).tolist() == [True, False, False]
    assert top_k(logits, labels, 2).tolist() == [True, False, False]
    assert top_k(logits, labels, 5).tolist() == [True, True, True]


def test_confusion_rows_are_true_classes():
    assert confusion_matrix(np.array([0, 0, 1]), np.array([1, 1, 0]), 2).tolist() == [[0, 2], [1, 0]]


def test_the_interval_of_independent_groups_is_that_of_the_binomial():
    hits = np.random.default_rng(0).random(2500) < 0.5
    low, high = bootstrap_interval(hits, np.arange(2500))
    # 1.96 sqrt(p (1 - p) / n) = 0.0196 each side; 1000 draws give its ends within a few per cent
    assert (high - low) / 2 == pytest.approx(0.0196, rel=0.1)


def test_alike_clips_of_few_performers_widen_the_interval():
    hits = np.repeat([True, False], 50)
    narrow = bootstrap_interval(hits, np.arange(100))
    wide = bootstrap_interval(hits, np.repeat(np.arange(4), 25))
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_scores_of_a_known_case(tmp_path):
    names = [f"S00{s}C00{c}P00{p}R001A00{a}" for s, c, p, a in [(1, 1, 1, 1), (1, 2, 1, 1), (2, 1, 2, 2), (2, 2, 9, 3)]]
    logits = np.array([[5.0, 1, 0], [0, 5, 1], [0, 5, 1], [0, 5, 4]])
    predictions = Predictions(
        names,
        {"action": logits, "identity": np.array([[1.0, 0], [1, 0], [1, 0], [1, 0]])},
        {"action": np.array([0, 0, 1, 2]), "identity": np.array([0, 0, 1, UNSEEN])},
    )
    result = score(predictions, LABELS)
    action = result["action"]
    assert (action["top1"], action["top5"], action["clips"], action["performers"]) == (0.5, 1.0, 4, 3)
    assert action["per_class"] == {"a": 0.5, "b": 1.0, "c": 0.0}
    assert action["mean_class"] == 0.5
    assert action["per_camera"] == {"1": 1.0, "2": 0.0}
    assert action["per_setup"] == {"1": 0.5, "2": 0.5}
    assert action["confusion"] == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    identity = result["privacy"]["identity"]
    assert identity["top1"] == pytest.approx(2 / 3)
    assert (identity["clips"], identity["clips_of_unseen_classes"]) == (3, 1)
    assert identity["per_class"] == {"1": 1.0, "2": 0.0}
    assert identity["mean_class"] == 0.5
    assert identity["confusion"] == [[2, 0], [1, 0]]
    assert identity["calibration"]["confidence"] == pytest.approx(1 / (1 + np.exp(-1)))
    plot_confusion(action, tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_a_head_without_known_test_classes_has_no_score():
    predictions = Predictions(
        ["S001C001P009R001A001"],
        {"action": np.array([[1.0, 0, 0]]), "identity": np.array([[1.0, 0]])},
        {"action": np.array([0]), "identity": np.array([UNSEEN])},
    )
    assert score(predictions, LABELS)["privacy"]["identity"]["top1"] is None


def logits_of(shares):
    return np.log(np.asarray(shares)).astype(np.float32)


def test_calibration_error_is_the_gap_of_each_bin_weighted_by_its_clips():
    # ten clips at 0.9 of which six are right, ten at 0.6 of which six are right: gaps 0.3 and 0
    logits = logits_of([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    labels = np.array(([0] * 6 + [1] * 4) * 2)
    found = calibration(logits, labels, bins=10)
    assert found["ece"] == pytest.approx(0.15, abs=1e-6)
    assert found["confidence"] == pytest.approx(0.75, abs=1e-6)
    assert [(row["clips"], row["accuracy"]) for row in found["bins"]] == [(10, 0.6), (10, 0.6)]


def test_clips_drawn_from_their_own_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20000, 4)).astype(np.float32)
    shares = probabilities(logits)
    labels = (shares.cumsum(axis=1) > rng.random((20000, 1))).argmax(axis=1)
    # 15 bins of 20000 clips: mean |gap| about sqrt(2/pi) sqrt(0.2 / 1333) = 0.01
    assert calibration(logits, labels)["ece"] < 0.015
    assert calibration(3 * logits, labels)["ece"] > 0.1


def test_probabilities_survive_large_logits():
    np.testing.assert_allclose(probabilities(np.array([[1e4, 1e4, 0]], np.float32)), [[0.5, 0.5, 0]])


def test_reliability_is_drawn_a_panel_a_head_that_has_a_score(tmp_path):
    found = {"calibration": calibration(logits_of([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 1]))}
    figure = reliability_figure({"action": found, "identity": {"top1": None}, "gender": found})
    assert [axes.get_title() for axes in figure.axes] == ["action: ECE 25.0%", "gender: ECE 25.0%"]
    plot_reliability({"action": found}, tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")


def test_120_classes_are_drawn_without_numbers():
    scores = {"confusion": np.eye(120, dtype=int).tolist(), "classes": ["name"] * 120, "top1": 1.0, "chance": 1 / 120}
    figure = confusion_figure(scores)
    assert max(figure.get_size_inches()) < 25
    assert not figure.axes[0].texts


def predictions(names, action, identity=((0.5, 0.5),)):
    count = len(names)
    logits = {"action": logits_of(action), "identity": logits_of(list(identity) * count)[:count]}
    return Predictions(list(names), logits, {"action": np.zeros(count, int), "identity": np.zeros(count, int)})


def test_saved_predictions_come_back_with_their_classes(tmp_path):
    saved = predictions(["S001C001P001R001A001"], [[0.2, 0.3, 0.5]])
    save_predictions(tmp_path / "predictions.npz", saved, LABELS)
    found, labels = load_predictions(tmp_path / "predictions.npz")
    assert labels == LABELS
    assert found.names == saved.names
    for group in ("logits", "labels"):
        for head, values in getattr(saved, group).items():
            np.testing.assert_array_equal(getattr(found, group)[head], values)
    (tmp_path / "other.npz").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"other\.npz: not a predictions\.npz"):
        load_predictions(tmp_path / "other.npz")


def test_fusion_averages_probabilities_clip_by_clip():
    first = predictions(["a", "b"], [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    second = predictions(["b", "a"], [[0.2, 0.2, 0.6], [0.8, 0.1, 0.1]])
    found = fuse([first, second], [1, 3])
    expected = [[0.65, 0.15, 0.2], [0.3, 0.225, 0.475]]
    np.testing.assert_allclose(probabilities(found.logits["action"]), expected, atol=1e-6)
    with pytest.raises(ValueError, match="predictions 2 are of other clips: b"):
        fuse([first, predictions(["a"], [[0.2, 0.3, 0.5]])])
    with pytest.raises(ValueError, match="weights must be 2 numbers"):
        fuse([first, second], [1])


def test_a_checkpoint_alone_gives_the_same_results_again_and_views_change_them(tmp_path):
    reader = MovingBlobs((1, 2, 3, 4), (1,), (1,))
    run = train(load_config(toy_config(tmp_path / "run", optim={"epochs": 1})), reader=reader)
    config = load_config(tmp_path / "run" / "config.yaml")
    first = evaluate.test(config, run.checkpoint, tmp_path / "a", reader=reader)
    again = evaluate.test(config, run.checkpoint, tmp_path / "b", reader=reader)
    assert first == again == json.loads((tmp_path / "a" / "results.json").read_text())
    found, labels = load_predictions(tmp_path / "a" / "predictions.npz")
    assert score(found, labels)["action"]["top1"] == first["action"]["top1"]
    many = evaluate.test(config, run.checkpoint, tmp_path / "c", reader=reader, views=Views(2, 3))
    assert many["views"] == {"clips": 2, "crops": 3}
    averaged, _ = load_predictions(tmp_path / "c" / "predictions.npz")
    np.testing.assert_allclose(np.exp(averaged.logits["action"]).sum(axis=1), 1, atol=1e-5)
    assert not np.allclose(probabilities(found.logits["action"]), probabilities(averaged.logits["action"]), atol=1e-4)
