"""What a run shows while it runs."""

import json
import sys

import pytest

from cli.train import TrainingDisplay, description
from training.config import load_config
from training.loop import train
from training.trackers import MetricsLog, Pace, Progress, require_trackers, start_trackers

from .toy import MovingBlobs, toy_config

READER = MovingBlobs()


class OneProcess:
    """An accelerator that notes what it is asked to track."""

    is_main_process = True

    def __init__(self):
        self.logged, self.started = [], []

    def log(self, values, step):
        self.logged.append((step, values))

    def init_trackers(self, *arguments):
        self.started.append(arguments)


def test_lines_after_the_checkpoint_and_half_lines_go_when_a_run_goes_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = MetricsLog(OneProcess(), path, 0, 0)
    for kind, step, epoch in (("step", 5, 0), ("step", 10, 0), ("epoch", 10, 0), ("step", 15, 1), ("epoch", 20, 1)):
        first.write(kind, {"step": step, "epoch": epoch, "loss": 1.0})
    with open(path, "a") as stream:
        stream.write('{"kind": "step", "st')
    # saved at step 10, before the validation that ends the epoch
    MetricsLog(OneProcess(), path, 10, 0)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [5, 10]
    # a new run in an old folder begins with an empty file
    MetricsLog(OneProcess(), path, 0, 0)
    assert path.read_text() == ""


def test_trackers_get_the_numbers_of_each_line_at_its_step(tmp_path):
    accelerator = OneProcess()
    log = MetricsLog(accelerator, tmp_path / "metrics.jsonl", 0, 0)
    log.write("step", {"step": 5, "epoch": 0, "loss": 1.5})
    log.write("epoch", {"step": 8, "epoch": 0, "validation_top1": 0.5})
    assert accelerator.logged == [
        (5, {"train/epoch": 0, "train/loss": 1.5}),
        (8, {"epoch/epoch": 0, "epoch/validation_top1": 0.5}),
    ]


def test_a_tracker_that_is_not_installed_is_named_with_its_cure_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    require_trackers([])
    config = load_config(toy_config(tmp_path / "run", tracking=["wandb"]))
    with pytest.raises(ValueError, match=r"wandb is not installed; pip install 'lens-privacy-sealing\[track\]'"):
        train(config, reader=READER)
    assert not (tmp_path / "run").exists()


def test_wandb_runs_offline_unless_the_environment_says_otherwise(tmp_path, monkeypatch):
    config = load_config(toy_config(tmp_path / "run", tracking=["wandb"]))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    accelerator = OneProcess()
    start_trackers(accelerator, config, 0)
    monkeypatch.setenv("WANDB_MODE", "online")
    start_trackers(accelerator, config, 0)
    (name, settings, arguments), (_, _, online) = accelerator.started
    assert name == "tracking"
    assert settings["optim.epochs"] == 6
    assert arguments["wandb"] == {"mode": "offline", "dir": str(tmp_path / "run"), "resume": "allow"}
    assert online["wandb"]["mode"] == "online"


def test_tensorboard_has_a_point_for_every_line_and_none_twice_after_resuming(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the track extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.phase == "train" and progress.done == 7:
            raise Stopped

    config = load_config(toy_config(tmp_path, optim={"epochs": 1}, tracking=["tensorboard"], log_every=2, save_every=5))
    with pytest.raises(Stopped):
        train(config, on_progress=stop, reader=READER)
    train(config, reader=READER, resume=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    points = EventAccumulator(str(tmp_path / "tracking")).Reload().Scalars("train/loss")
    steps = {line["step"]: line["loss"] for line in lines if line["kind"] == "step"}
    assert {point.step: pytest.approx(point.value, rel=1e-6) for point in points} == steps
    assert len(points) == len(steps) == 4


def test_pace_counts_training_time_only(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("training.trackers.time.monotonic", lambda: now[0])

    def passes(seconds, result=None):
        now[0] += seconds
        return result

    pace = Pace()
    begun = Pace()
    assert pace.waited(lambda: passes(1, "batch")) == "batch"
    passes(3)
    pace.add(8)
    assert pace.figures(begun) == {"clips_s": 2.0, "data_wait": 0.25}
    passes(50)  # a validation
    pace.begin()
    passes(4)
    pace.add(8)
    assert pace.figures(begun) == {"clips_s": 2.0, "data_wait": 0.125}


DETAIL = {
    "epoch": 3,
    "step": 40,
    "loss": 1.2345,
    "lr": 8e-6,
    "clips_s": 41.26,
    "data_wait": 0.07,
    "memory_mb": 2345.0,
    "seconds_left": 3725.0,
}


def test_the_display_tells_loss_rate_speed_waiting_memory_and_time_left():
    text = description("train", DETAIL)
    assert text == "epoch 3  loss 1.234  lr 8.0e-06  41.3 clips/s  waiting for data 7%  2.3 GB  1 h 02 min left"
    with_device = description("train", {**DETAIL, "device_memory_mb": 31000.0})
    assert "2.3 GB + 31.0 GB on the device" in with_device


def test_where_there_is_no_terminal_a_line_comes_each_interval(capsys):
    now = [0.0]
    with TrainingDisplay(clock=lambda: now[0], interval_s=60) as display:
        for done in range(1, 7):
            now[0] += 25
            display(Progress("train", done, 6, DETAIL))
    lines = [line for line in capsys.readouterr().err.splitlines() if " of 6  epoch 3  loss" in line]
    assert [line.split(" of ")[0] for line in lines] == ["3", "6"]
