"""``lps train``, ``lps test`` and ``lps audit identity`` from the command line, on clips in memory."""

import json

import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from tests.training.test_audit import Coloured
from tests.training.toy import MovingBlobs, toy_config


def lps(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def in_memory(monkeypatch):
    def use(reader):
        for module in ("training.loop", "training.evaluate", "training.audit.attackers"):
            monkeypatch.setattr(f"{module}.open_dataset", lambda config: reader)

    return use


def test_train_then_test_then_resume(in_memory, tmp_path):
    in_memory(MovingBlobs())
    config = tmp_path / "toy.yaml"
    config.write_text(yaml.safe_dump(toy_config(tmp_path / "run")))

    trained = lps("train", "--config", config, "--set", "optim.epochs=1")
    assert trained.exit_code == 0, trained.output
    assert "best epoch 0: action top-1" in trained.stdout
    checkpoint = tmp_path / "run" / "checkpoints" / "best.safetensors"

    tested = lps("test", "--checkpoint", checkpoint, "--json")
    assert tested.exit_code == 0, tested.output
    results = json.loads(tested.stdout)
    assert results == json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["action"]["clips"] == 32

    plain = lps("test", "--checkpoint", checkpoint, "--config", config, "--out", tmp_path / "other")
    assert "action    top-1" in plain.stdout
    assert "identity  no test clip shows a class that training knows" in plain.stdout

    again = lps("train", "--config", config)
    assert again.exit_code == 1
    assert again.stderr.strip().splitlines()[-1].startswith("Error: out: ")
    resumed = lps("train", "--config", config, "--set", "optim.epochs=2", "--resume", "--json")
    assert resumed.exit_code == 0, resumed.output
    assert [record["epoch"] for record in json.loads(resumed.stdout)["history"]] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--config", "tinny"], "did you mean 'tiny'"),
        (["train", "--config", "tiny", "--set", "optim.epoch=3"], "did you mean 'epochs'"),
        (["train", "--config", "tiny", "--set", "optim.epochs"], "key=value"),
        (["test", "--checkpoint", "nowhere/checkpoints/best.safetensors"], "no such configuration file"),
    ],
)
def test_mistakes_of_usage_exit_with_2_and_the_cure(arguments, message):
    result = lps(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_run_without_data_set_exits_with_1():
    result = lps("train", "--config", "tiny")
    assert result.exit_code == 1
    assert "data.dataset must be the directory of a P3AR data set" in result.stderr


def test_audit_compares_degraded_with_clean(in_memory, tmp_path):
    in_memory(Coloured(visible=True))
    result = lps("audit", "identity", tmp_path, "--clean", tmp_path, "--steps", "12", "--size", "32", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    # the same clips under both names: the same attacker, the same score
    assert found["clean"]["closed_set"] == found["degraded"]["closed_set"]
    assert found["clean"]["attacker"]["steps"] == 12
    text = lps("audit", "identity", tmp_path, "--steps", "12", "--size", "32")
    assert "identity top-1" in text.stdout
    assert "unseen people" in text.stdout
