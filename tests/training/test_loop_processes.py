"""Several processes on the CPU (gloo) train as one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from training.config import load_config
from training.loop import train

from .toy import MovingBlobs, toy_config

ROOT = Path(__file__).parents[2]
READER = MovingBlobs()
# The promise of the toolkit: sums in another order, carried through 20 steps of AdamW
EQUAL_LOSSES = 1e-5


def configured(out, **changes):
    """Mixing, crops and colours are on; the stem's batch normalisation, which sees its process's clips only, is not."""
    values = toy_config(out, **changes)
    values["augment"] = {}
    values["model"] |= {"stem_channels": []}
    values["optim"] |= {"eps": 1e-3, "clip_norm": 1.0, "ema_decay": 0.9}
    return {**values, "log_every": 1}


def two_processes(values, folder, *arguments, signal_at=None):
    """``lps train`` in two processes as ``torchrun`` starts them; their exit statuses and messages."""
    folder.mkdir(exist_ok=True)
    (folder / "toy.yaml").write_text(yaml.safe_dump(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if signal_at:
        environment["LPS_TEST_SIGNAL"] = signal_at
    command = [sys.executable, "-m", "tests.training.lps_process", "train", "--config", str(folder / "toy.yaml")]
    running = [
        subprocess.Popen(
            [*command, *arguments],
            cwd=ROOT,
            env={**environment, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        outputs = [process.communicate(timeout=240) for process in running]
    finally:
        for process in running:
            process.kill()
    return [process.returncode for process in running], outputs


def losses(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {(line["kind"], line["step"]): line["loss"] for line in lines}, lines


def test_two_processes_stopped_on_the_way_and_finished_in_one_train_as_one_with_the_doubled_batch(tmp_path):
    """20 steps: 13 in two processes of 8 clips, ended by SIGTERM to the second, the rest in one of 16."""
    one = configured(tmp_path / "one", optim={"epochs": 5, "batch": 16})
    train(load_config(one), reader=READER)
    two = configured(tmp_path / "two" / "run", optim={"epochs": 5, "batch": 8})
    statuses, outputs = two_processes(two, tmp_path / "two", signal_at="SIGTERM:13:1")
    assert statuses == [143, 143], outputs
    for _, stderr in outputs:
        assert "SIGTERM: stopped after step 15 of 20" in stderr  # known one step later
        assert "Traceback" not in stderr
    rest = train(load_config({**one, "out": two["out"]}), reader=READER, resume=True)
    (expected, first), (found, second) = losses(tmp_path / "one"), losses(tmp_path / "two" / "run")
    assert list(found) == list(expected)
    assert len(expected) == 25
    assert found == pytest.approx(expected, abs=EQUAL_LOSSES)
    for line, other in zip(first, second):
        if line["kind"] == "epoch":
            assert other["validation_loss"] == pytest.approx(line["validation_loss"], abs=EQUAL_LOSSES)
    assert rest.history[-1]["step"] == 20


def test_a_loss_that_is_not_finite_in_one_process_stops_both_with_its_clips(tmp_path):
    values = configured(tmp_path / "run", optim={"epochs": 1, "batch": 8, "rate": 1e30})
    values["optim"]["clip_norm"] = 0
    statuses, outputs = two_processes(values, tmp_path)
    assert statuses == [1, 1]
    messages = [stderr.strip().splitlines()[-1] for _, stderr in outputs]
    assert messages[0] == messages[1]
    assert messages[0].startswith("Error: loss is nan in epoch 0, step 1, clips S00")
    assert not list((tmp_path / "run").glob("checkpoints/step-*.json"))


def test_sharded_weights_train_as_copied_ones(tmp_path):
    one = configured(tmp_path / "one", optim={"epochs": 2, "batch": 16})
    train(load_config(one), reader=READER)
    two = configured(tmp_path / "two" / "run", optim={"epochs": 2, "batch": 8}, parallel="fsdp")
    statuses, outputs = two_processes(two, tmp_path / "two", signal_at="SIGTERM:3:0")
    assert statuses == [143, 143], outputs
    statuses, outputs = two_processes(two, tmp_path / "two", "--resume")
    assert statuses == [0, 0], outputs
    assert outputs[0][0].startswith("best epoch ")
    assert outputs[1][0] == ""  # only the main process speaks
    expected, found = losses(tmp_path / "one")[0], losses(tmp_path / "two" / "run")[0]
    assert found == pytest.approx(expected, abs=EQUAL_LOSSES)
    best, sharded = (load_file(Path(v["out"]) / "checkpoints" / "best.safetensors") for v in (one, two))
    assert {name: value.shape for name, value in best.items()} == {n: v.shape for n, v in sharded.items()}
