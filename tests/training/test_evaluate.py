"""Scores in closed form."""

import numpy as np
import pytest

from training.data import UNSEEN, Labels
from training.evaluate import Predictions, bootstrap_interval, confusion_matrix, plot_confusion, score, top_k

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
    plot_confusion(action, tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_a_head_without_known_test_classes_has_no_score():
    predictions = Predictions(
        ["S001C001P009R001A001"],
        {"action": np.array([[1.0, 0, 0]]), "identity": np.array([[1.0, 0]])},
        {"action": np.array([0]), "identity": np.array([UNSEEN])},
    )
    assert score(predictions, LABELS)["privacy"]["identity"]["top1"] is None
