"""Training on an in-memory data set: it learns, resumes to the same numbers, and fails early and clearly."""

import json

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from training import evaluate
from training.checkpoint import load_model
from training.config import OptimConfig, load_config
from training.criterion import NonFiniteLossError
from training.loop import FROZEN_RANDOM_TEXT, train
from training.model import MSPNet
from training.optimizer import parameter_groups, rate_factor

from .test_model import SMALL
from .toy import MovingBlobs, toy_config

READER = MovingBlobs()
# float32 sums in another order, carried through a few steps of AdamW
FLOAT32_SUMS = 1e-5


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
    lines = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    records = [line for line in lines if line.pop("kind") == "epoch"]
    assert [record["epoch"] for record in records] == list(range(20))
    assert records == summary.history
    steps = [event for event in events if event.phase == "train"]
    assert [event.done for event in steps] == list(range(1, 161))  # 8 steps an epoch
    assert steps[-1].total == 160
    shown = {"epoch", "step", "loss", "lr", "clips_s", "data_wait", "memory_mb", "seconds_left"}
    assert all(set(event.detail) == shown for event in steps)
    assert steps[-1].detail["seconds_left"] == 0


def test_lines_of_metrics_average_the_steps_since_the_last_and_add_up_to_the_epoch(run):
    config, summary, _ = run
    lines = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    assert [line["step"] for line in steps] == list(range(10, 161, 10))
    mean = sum(line["loss"] for line in steps) / len(steps)
    assert mean == pytest.approx(sum(record["loss"] for record in summary.history) / 20)


def test_accumulated_batches_weigh_as_one_large_batch(tmp_path):
    # Mixing, crops and colours are on; batch normalisation would see the small batches, so the stem is left out.
    every_way = {"augment": {}, "model": {"stem_channels": []}, "log_every": 1}
    lines, weights = {}, {}
    for batch, accumulate in ((16, 1), (8, 2)):
        out = tmp_path / f"{batch}"
        optim = {"epochs": 1, "batch": batch, "accumulate": accumulate, "eps": 1e-3}
        train(load_config(toy_config(out, optim=optim, **every_way)), reader=READER)
        lines[batch] = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        weights[batch] = load_file(out / "checkpoints" / "step-00000004.model.safetensors")
    assert [line["step"] for line in lines[8]] == [1, 2, 3, 4, 4]
    assert [line["loss"] for line in lines[8]] == pytest.approx([line["loss"] for line in lines[16]], abs=FLOAT32_SUMS)
    for name, value in weights[8].items():
        torch.testing.assert_close(value, weights[16][name], atol=FLOAT32_SUMS, rtol=0)


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


def test_a_frozen_text_tower_does_not_change_and_costs_no_optimiser_state(tmp_path):
    frozen = {"optim": {"epochs": 1}, "model": {"freeze_text": True}}
    said = []
    config = load_config(toy_config(tmp_path / "run", **frozen))
    trained = train(config, on_progress=lambda state: said.append(state.text), reader=READER)
    still = train(load_config(toy_config(tmp_path / "still", **{**frozen, "optim": {"rate": 1e-30}})), reader=READER)
    after, before = load_file(trained.checkpoint), load_file(still.checkpoint)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    text = {name for name in after if ".text_" in name}
    assert text
    assert not text & changed
    assert "xclip.visual_projection.weight" in changed
    state = torch.load(tmp_path / "run" / "checkpoints" / "step-00000008.optimizer.pt", weights_only=True)
    held = set(state["optimizer"]["state"])
    assert "xclip.visual_projection.weight" in held
    assert not text & held
    # its values are random here, which no run should pass over in silence
    assert FROZEN_RANDOM_TEXT in said
    assert FROZEN_RANDOM_TEXT in trained.notes


def test_data_of_a_single_action_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must show at least 2 actions, got \['pick up'\]"):
        train(load_config(toy_config(tmp_path, data={"actions": [6]})), reader=READER)
    assert not list(tmp_path.iterdir())


def test_a_step_in_half_precision_learns_and_leaves_whole_weights(tmp_path):
    AcceleratorState._reset_state()  # one precision a process is accelerate's rule
    try:
        summary = train(load_config(toy_config(tmp_path, optim={"epochs": 2, "precision": "bf16"})), reader=READER)
    finally:
        AcceleratorState._reset_state()
    assert summary.history[1]["loss"] < summary.history[0]["loss"]
    assert {value.dtype for value in load_file(summary.checkpoint).values()} == {torch.float32, torch.int64}
