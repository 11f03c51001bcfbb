"""Training on an in-memory data set: it learns, resumes to the same numbers, and fails early and clearly."""

import json
import math

import numpy as np
import pytest
import torch

from training import evaluate
from training.checkpoint import load_model
from training.config import OptimConfig, load_config
from training.loop import NonFiniteLossError, parameter_groups, rate_factor, train
from training.model import MSPNet

from .test_model import SMALL
from .toy import MovingBlobs, toy_config

READER = MovingBlobs()
SHORT = {"optim": {"epochs": 2}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = load_config(toy_config(tmp_path_factory.mktemp("runs") / "run", optim={"epochs": 20, "rate": 2e-3}))
    events = []
    return config, train(config, on_progress=events.append, reader=READER), events


def test_training_learns_motion_of_unseen_performers(run, tmp_path):
    config, summary, _ = run
    results = evaluate.test(config, summary.checkpoint, out=tmp_path, reader=READER)
    assert results["action"]["top1"] > 0.5  # chance is 0.25; three seeds gave 0.7 and more
    assert results["action"]["performers"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        "results.json",
        "predictions.npz",
        "confusion.png",
        "reliability.png",
    }
    assert json.loads((tmp_path / "results.json").read_text())["action"]["top1"] == results["action"]["top1"]
    with np.load(tmp_path / "predictions.npz") as saved:
        assert saved["logits/action"].shape == (32, 4)


def test_a_checkpoint_alone_reproduces_the_validation_score(run):
    _, summary, _ = run
    model, card = load_model(summary.checkpoint)
    scores = [record["validation_top1"] for record in summary.history]
    assert card.record["validation_top1"] == summary.validation_top1 == max(scores)
    assert card.labels.class_names == ("drop", "pick up", "throw", "sit down")
    assert card.inputs == {"frames": 4, "gap": 2, "size": 32, "signed": True}
    assert not model.training
    # the input scale of the data set travels with the weights
    assert bool((model.aggregator.gain != 1).all())


def test_the_run_folder_holds_configuration_and_one_record_an_epoch(run):
    config, summary, events = run
    assert load_config(config.out / "config.yaml") == config
    records = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == list(range(20))
    assert records == summary.history
    steps = [event for event in events if event.phase == "train"]
    assert steps[-1].done == steps[-1].total
    assert {"loss", "lr", "clips_s", "epoch"} <= set(steps[-1].detail)


def test_resuming_gives_the_numbers_of_an_uninterrupted_run(tmp_path):
    whole = train(load_config(toy_config(tmp_path / "whole", **SHORT)), reader=READER)

    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.phase == "train" and progress.detail["epoch"] == 1:
            raise Stopped

    config = load_config(toy_config(tmp_path / "parts", **SHORT))
    with pytest.raises(Stopped):
        train(config, on_progress=stop, reader=READER)
    with pytest.raises(ValueError, match="already holds a run"):
        train(config, reader=READER)
    resumed = train(config, reader=READER, resume=True)
    for first, second in zip(whole.history, resumed.history):
        timeless = set(first) - {"seconds", "clips_s", "data_wait"}
        assert {key: first[key] for key in timeless} == {key: second[key] for key in timeless}


def test_accumulated_batches_weigh_as_one_large_batch(tmp_path):
    quiet = {"augment": {"crop_area": [1, 1], "aspect": 1, "flip": 0, "colour_jitter": 0, "mixup_alpha": 0}}
    # batch normalisation sees the small batches, so the stem is left out
    quiet["model"] = {"stem_channels": []}
    losses = []
    for batch, accumulate in ((8, 1), (4, 2)):
        optim = {"epochs": 1, "batch": batch, "accumulate": accumulate}
        config = load_config(toy_config(tmp_path / f"{batch}", optim=optim, **quiet))
        losses.append(train(config, reader=READER).history[0]["loss"])
    # sums in another order, carried through 8 steps of AdamW
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_a_loss_that_is_not_finite_stops_with_the_clips_named(tmp_path):
    config = load_config(toy_config(tmp_path, optim={"epochs": 1, "rate": 1e30, "clip_norm": 0}))
    with pytest.raises(NonFiniteLossError, match=r"loss is (nan|inf) in epoch 0, step \d+, clips S00"):
        train(config, reader=READER)


def test_a_checkpoint_that_lacks_an_action_of_the_test_side_is_refused(run, tmp_path):
    config, summary, _ = run

    class OtherActions(MovingBlobs):
        def names(self):
            return [name.replace("A005", "A060") for name in super().names()]

    with pytest.raises(ValueError, match=r"knows 4 actions, not \[60\]"):
        evaluate.test(config, summary.checkpoint, out=tmp_path, reader=OtherActions())


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_model(tmp_path / "text.safetensors")


def test_the_rate_rises_to_one_and_falls_to_its_final_share():
    optim = OptimConfig(epochs=10, warmup_epochs=2, final_fraction=0.01)
    factors = [rate_factor(step, 10, optim) for step in range(100)]
    assert factors[:20] == sorted(factors[:20])
    assert max(factors) == factors[20] == 1
    assert factors[20:] == sorted(factors[20:], reverse=True)
    # half a cosine: half way between 1 and 0.01 in the middle
    assert factors[60] == pytest.approx(0.505)
    assert rate_factor(100, 10, optim) == pytest.approx(0.01)


def test_groups_raise_message_and_prompt_rates_and_spare_vectors_from_decay():
    model = MSPNet(SMALL)
    groups = parameter_groups(model, OptimConfig(rate=1e-3, prompt_rate_factor=10, weight_decay=0.1))
    place = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    found = {name: place[id(p)] for name, p in model.named_parameters()}
    assert len(found) == len(place)
    layer = "xclip.vision_model.encoder.layers.0."
    assert found[layer + "message_fc.weight"] == (pytest.approx(1e-2), 0.1)
    assert found["xclip.prompts_generator.alpha"] == (pytest.approx(1e-2), 0)
    assert found[layer + "self_attn.q_proj.weight"] == (1e-3, 0.1)
    assert found[layer + "layer_norm1.weight"] == (1e-3, 0)


def test_a_frozen_text_tower_does_not_change(tmp_path):
    config = load_config(toy_config(tmp_path, optim={"epochs": 1}, model={"freeze_text": True}))
    summary = train(config, reader=READER)
    state = torch.load(config.out / "checkpoints" / "last.pt", weights_only=True)
    model, _ = load_model(summary.checkpoint)
    torch.manual_seed(0)
    assert math.isfinite(summary.history[0]["loss"])
    text = {name: value for name, value in state["model"].items() if ".text_" in name}
    assert text
    for name, value in model.state_dict().items():
        if name in text:
            assert torch.equal(value, text[name])
    assert not any(".text_" in name for name, p in model.named_parameters() if id(p) in state["optimizer"]["state"])
