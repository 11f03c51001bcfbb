"""Several processes on the CPU (gloo) train as one."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from safetensors.torch import load_file

from training.config import load_config
from training.loop import train

from .lps_process import End, run_phases, two_ranks
from .toy import MovingBlobs, toy_config

READER = MovingBlobs()
# The promise of the toolkit: sums in another order, carried through 20 steps and more of AdamW
EQUAL_LOSSES = 1e-5


def configured(out, **changes):
    """Mixing, crops and colours are on; the stem's batch normalisation, which sees its process's clips only, is not."""
    values = toy_config(out, **changes)
    values["augment"] = {}
    values["model"] |= {"stem_channels": []}
    values["optim"] |= {"eps": 1e-3, "clip_norm": 1.0, "ema_decay": 0.9}
    return {**values, "log_every": 1}


def written(values, folder):
    """Path of ``values`` as a YAML file."""
    folder.mkdir(exist_ok=True)
    (folder / "toy.yaml").write_text(yaml.safe_dump(values))
    return folder / "toy.yaml"


def losses(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {(line["kind"], line["step"]): line["loss"] for line in lines}, lines


class Runs(NamedTuple):
    folder: Path
    ends: dict[str, list[End]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Four runs of two processes each."""
    folder = tmp_path_factory.mktemp("processes")
    copied = configured(folder / "copied" / "run", optim={"epochs": 6, "batch": 8})
    broken = configured(folder / "broken" / "run", optim={"epochs": 1, "batch": 8, "rate": 1e30})
    broken["optim"]["clip_norm"] = 0
    sharded = configured(
        folder / "sharded" / "run", optim={"epochs": 2, "batch": 8}, model={"freeze_text": True}, parallel="fsdp"
    )
    copied, broken, sharded = (
        written(values, folder / name)
        for name, values in (("copied", copied), ("broken", broken), ("sharded", sharded))
    )
    phases = {
        "copied, SIGTERM to the second": two_ranks(copied, signal=("", "SIGTERM:19")),
        "broken": two_ranks(broken),
        "sharded, SIGTERM to the first": two_ranks(sharded, signal=("SIGTERM:3", "")),
        "sharded, resumed": two_ranks(sharded, "--resume"),
    }
    return Runs(folder, dict(zip(phases, run_phases(*phases.values()))))


def test_two_processes_stopped_on_the_way_and_finished_in_one_train_as_one_with_the_doubled_batch(runs, tmp_path):
    """20 steps in two processes of 8 clips, ended by SIGTERM to the second; four more in one of 16."""
    for end in runs.ends["copied, SIGTERM to the second"]:
        assert end.status == 143, end.stderr
        assert "SIGTERM: stopped after step 20 of 24" in end.stderr  # the end of an epoch
        assert "Traceback" not in end.stderr
    one = configured(tmp_path / "one", optim={"epochs": 6, "batch": 16})
    train(load_config(one), reader=READER)
    rest = train(load_config({**one, "out": str(runs.folder / "copied" / "run")}), reader=READER, resume=True)
    assert rest.history[-1]["step"] == 24
    (expected, first), (found, second) = losses(tmp_path / "one"), losses(runs.folder / "copied" / "run")
    assert list(found) == list(expected)
    assert len(expected) == 30  # 24 steps, 6 epochs
    assert found == pytest.approx(expected, abs=EQUAL_LOSSES)
    for line, other in zip(first, second):
        if line["kind"] == "epoch":
            assert other["validation_loss"] == pytest.approx(line["validation_loss"], abs=EQUAL_LOSSES)


def test_a_loss_that_is_not_finite_in_any_process_stops_all_with_its_clips(runs):
    ends = runs.ends["broken"]
    assert [end.status for end in ends] == [1, 1]
    messages = [end.stderr.strip().splitlines()[-1] for end in ends]
    assert messages[0] == messages[1]
    assert messages[0].startswith("Error: loss is nan in epoch 0, step 1, clips S00")
    assert not list(runs.folder.glob("broken/run/checkpoints/step-*.json"))


def test_sharded_weights_train_as_copied_ones(runs, tmp_path):
    assert [end.status for end in runs.ends["sharded, SIGTERM to the first"]] == [143, 143]
    main, other = runs.ends["sharded, resumed"]
    assert (main.status, other.status) == (0, 0), main.stderr
    assert main.stdout.startswith("best epoch ")
    assert other.stdout == ""  # only the main process speaks
    one = configured(tmp_path / "one", optim={"epochs": 2, "batch": 16}, model={"freeze_text": True})
    summary = train(load_config(one), reader=READER)
    expected, found = losses(tmp_path / "one")[0], losses(runs.folder / "sharded" / "run")[0]
    assert found == pytest.approx(expected, abs=EQUAL_LOSSES)
    best = load_file(summary.checkpoint)
    sharded = load_file(runs.folder / "sharded" / "run" / "checkpoints" / "best.safetensors")
    assert {name: value.shape for name, value in best.items()} == {n: v.shape for n, v in sharded.items()}


def test_sharding_without_several_processes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="parallel: fsdp needs several processes: torchrun"):
        train(load_config(configured(tmp_path, parallel="fsdp")), reader=READER)
