"""Runs that are killed, preempted or damaged go on to the numbers of a quiet run."""

import json
import os
import pickle
import shutil
import signal

import pytest
import torch
import yaml
from safetensors.torch import load_file

from lps_sim.files import sha256_file
from training.config import load_config
from training.loop import train
from training.run_state import Checkpoints

from .lps_process import command, run_phases
from .toy import MovingBlobs, toy_config

READER = MovingBlobs()
# Wall clocks and memory differ between equal runs; nothing else may.
MEASURED = {"seconds", "clips_s", "data_wait", "memory_mb"}
STEPS = 16


def configured(folder, **changes):
    """Write ``folder``/toy.yaml: two epochs of 8 steps, with all that a run's state can hold."""
    values = toy_config(folder / "run", **changes)
    values["optim"] |= {"epochs": 2, "ema_decay": 0.9, "clip_norm": 1.0}
    values["model"] |= {"dropout": 0.1}
    values["augment"] = {}
    values |= {"save_every": 5, "log_every": 3}
    folder.mkdir(exist_ok=True)
    (folder / "toy.yaml").write_text(yaml.safe_dump(values))
    return values


def metrics(folder):
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in MEASURED} for line in lines]


def newest(folder):
    checkpoints = folder / "run" / "checkpoints"
    step = Checkpoints(checkpoints, 2).steps()[0]
    weights = {part: load_file(checkpoints / f"step-{step:08d}.{part}.safetensors") for part in ("model", "average")}
    return step, weights


def assert_same_end(one, other):
    assert metrics(one) == metrics(other)
    (step, first), (last, second) = newest(one), newest(other)
    assert step == last == STEPS
    for part, tensors in first.items():
        assert all(torch.equal(value, second[part][name]) for name, value in tensors.items())
    best = [load_file(folder / "run" / "checkpoints" / "best.safetensors") for folder in (one, other)]
    assert all(torch.equal(value, best[1][name]) for name, value in best[0].items())


def test_a_run_killed_at_step_13_and_one_preempted_at_step_3_end_as_an_uninterrupted_one(tmp_path):
    whole, killed, preempted = (tmp_path / name for name in ("whole", "killed", "preempted"))
    for folder in (whole, killed, preempted):
        configured(folder)
    first = [
        command(whole / "toy.yaml"),
        command(killed / "toy.yaml", signal="SIGKILL:13"),
        command(preempted / "toy.yaml", signal="SIGTERM:3"),
    ]
    again = [command(folder / "toy.yaml", "--resume") for folder in (killed, preempted)]
    (quiet, dead, stopped), resumed = run_phases(first, again)
    assert quiet.status == 0, quiet.stderr
    assert dead.status == -signal.SIGKILL
    assert stopped.status == 143
    assert f"SIGTERM: stopped after step 4 of {STEPS} and saved in" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    for end, step in zip(resumed, (10, 4), strict=True):  # both in mid-epoch
        assert end.status == 0, end.stderr
        assert f"goes on after step {step} of {STEPS}" in end.stderr
    assert_same_end(whole, killed)
    assert_same_end(whole, preempted)
    kinds = [(line["kind"], line["step"]) for line in metrics(whole)]
    every_third = [("step", step) for step in range(3, STEPS + 1, 3)]
    assert kinds == [*every_third[:2], ("epoch", 8), *every_third[2:], ("epoch", 16)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recovery")
    values = configured(folder, evaluate_every=2)
    return folder, train(load_config(values), reader=READER)


def damaged_copy(run, tmp_path, damage):
    """A copy of the finished run after ``damage`` to its newest checkpoint, resumed."""
    folder, _ = run
    shutil.copytree(folder / "run", tmp_path / "run")
    damage(tmp_path / "run" / "checkpoints")
    values = yaml.safe_load((folder / "toy.yaml").read_text())
    return train(load_config({**values, "out": str(tmp_path / "run")}), reader=READER, resume=True)


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "step-00000016.optimizer.pt is damaged": lambda c: cut_in_half(c / "step-00000016.optimizer.pt"),
    "step-00000016.model.safetensors is missing": lambda c: (c / "step-00000016.model.safetensors").unlink(),
    "step-00000016.json is damaged": lambda c: cut_in_half(c / "step-00000016.json"),
}


@pytest.mark.parametrize("problem", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(run, tmp_path, problem):
    resumed = damaged_copy(run, tmp_path, DAMAGES[problem])
    assert resumed.notes == [f"checkpoint of step 16 passed over: {problem}"]
    assert metrics(tmp_path) == metrics(run[0])
    assert_same_end(run[0], tmp_path)


def test_without_any_whole_checkpoint_the_run_is_refused_rather_than_begun_anew(run, tmp_path):
    def damage(checkpoints):
        for path in checkpoints.glob("*.optimizer.pt"):
            path.unlink()

    with pytest.raises(ValueError, match=r"no checkpoint in .* is whole: checkpoint of step 16 passed over: "):
        damaged_copy(run, tmp_path, damage)


def test_the_newest_checkpoints_and_the_best_are_kept_and_nothing_else(run):
    names = {path.name for path in (run[0] / "run" / "checkpoints").iterdir()}
    parts = ("json", "model.safetensors", "average.safetensors", "optimizer.pt")
    assert names == {"best.safetensors", *(f"step-000000{step}.{part}" for step in (15, 16) for part in parts)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "resume: seed must stay 0, as the run began, got 1"),
        ({"optim": {"batch": 4}}, r"resume: clips a step \(.*\) must stay 8, as the run began, got 4"),
        ({"data": {"validation_share": 0.4}}, "resume: digest of the training clips must stay "),
    ],
)
def test_a_run_does_not_go_on_under_other_terms(run, tmp_path, change, message):
    values = yaml.safe_load((run[0] / "toy.yaml").read_text())
    for section, changed in change.items():
        values[section] = {**values[section], **changed} if isinstance(changed, dict) else changed
    with pytest.raises(ValueError, match=message):
        train(load_config(values), reader=READER, resume=True)


def test_a_checkpoint_brings_no_code(run, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    def damage(checkpoints):
        path = checkpoints / "step-00000016.optimizer.pt"
        torch.save({"optimizer": Evil(), "scaler": {}}, path)
        record = json.loads((checkpoints / "step-00000016.json").read_text())
        record["files"][path.name] = sha256_file(path)
        (checkpoints / "step-00000016.json").write_text(json.dumps(record))

    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        damaged_copy(run, tmp_path, damage)
    assert not (tmp_path / "owned").exists()


def test_the_averaged_weights_are_those_evaluated_and_kept_as_the_best(run):
    folder, summary = run
    _, weights = newest(folder)
    assert set(weights["average"]) < set(weights["model"])
    assert any(not torch.equal(value, weights["model"][name]) for name, value in weights["average"].items())
    best = load_file(summary.checkpoint)  # of the only validation, at the run's end
    assert all(torch.equal(best[name], value) for name, value in {**weights["model"], **weights["average"]}.items())


def test_a_finished_run_resumed_gives_its_last_score_again(run):
    folder, summary = run
    again = train(load_config(yaml.safe_load((folder / "toy.yaml").read_text())), reader=READER, resume=True)
    assert again.validation_top1 == summary.validation_top1
    assert again.history[-1]["validation_loss"] == summary.history[-1]["validation_loss"]
    assert len(metrics(folder)) == STEPS // 3 + 2


def test_states_are_saved_by_the_clock_too(tmp_path):
    values = toy_config(tmp_path, optim={"epochs": 1}, save_minutes=1e-9, keep_last=5)
    train(load_config(values), reader=READER)
    assert Checkpoints(tmp_path / "checkpoints", 5).steps() == [8, 7, 6, 5, 4]


def test_parts_without_gradients_do_not_hinder_a_resumed_run(tmp_path):
    unused = {"temporal": False, "prompts": False}
    values = toy_config(tmp_path, optim={"epochs": 1}, model=unused)
    train(load_config(values), reader=READER)
    values["optim"] |= {"epochs": 2, "rate": 1e-3}
    resumed = train(load_config(values), reader=READER, resume=True)
    assert [record["step"] for record in resumed.history] == [8, 16]
    assert resumed.history[1]["lr"] < 1e-3  # the new rate, on its way down
