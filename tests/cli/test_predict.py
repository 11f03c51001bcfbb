"""``lps predict`` and ``lps fuse``, on video files and a network of seconds."""

import json

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from cli.main import main
from lps_sim import Camera, Degrader, FilmModel
from lps_sim.media import EncoderSettings, VideoWriter
from tests.training.toy import FRAMES, MovingBlobs, toy_config
from training import evaluate
from training.checkpoint import load_model
from training.config import DataConfig, load_config
from training.data import ClipDataset, collate
from training.loop import train
from training.scores import probabilities

READER = MovingBlobs()


def lps(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_video(path, frames):
    """Lossless but for YUV of 10 bits, a code value at most."""
    height, width = frames.shape[1:3]
    with VideoWriter(path, width, height, 30, EncoderSettings("ffv1", pixel_format="yuv444p10le")) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A checkpoint, its results, and a test clip as a lossless video file."""
    root = tmp_path_factory.mktemp("run")
    summary = train(load_config(toy_config(root, optim={"epochs": 8})), reader=READER)
    evaluate.test(load_config(root / "config.yaml"), summary.checkpoint, reader=READER)
    name = "S001C001P003R001A007"
    write_video(root / "clip.mkv", READER.read(name, range(FRAMES)))
    return root, summary.checkpoint, name


def test_a_video_gets_the_probabilities_of_the_same_clip_in_a_test(run):
    root, checkpoint, name = run
    result = lps("predict", root / "clip.mkv", "--checkpoint", checkpoint, "--top", 4, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    model, card = load_model(checkpoint)
    data = DataConfig().model_copy(update=card.inputs)
    batch = collate([ClipDataset(READER, [name], card.labels, data)[0]])
    logits = evaluate.predict(model, [batch], torch.tensor(card.input_ids), data, torch.device("cpu")).logits
    expected = dict(zip(card.labels.class_names, probabilities(logits["action"][0])))
    assert found["frames"] == FRAMES
    assert dict(found["actions"]) == pytest.approx(expected, abs=0.01)
    shares = [share for _, share in found["actions"]]
    assert shares == sorted(shares, reverse=True)
    assert {value for value, _ in found["privacy"]["identity"]} == set(card.labels.heads["identity"])


def test_a_film_comes_before_the_network(run, tmp_path):
    root, checkpoint, name = run
    degrader = Degrader(FilmModel.load("p3ar-10layer"), 8, Camera.from_field_of_view(32, 32, 20.0), (32, 32))
    write_video(tmp_path / "filmed.mkv", degrader(READER.read(name, range(FRAMES))))
    (tmp_path / "camera.yaml").write_text(yaml.safe_dump(degrader.camera.to_dict()))
    film = ["--film", "p3ar-10layer", "--layers", 8, "--camera", tmp_path / "camera.yaml"]
    found = []
    for arguments in ([root / "clip.mkv", *film], [tmp_path / "filmed.mkv"], [root / "clip.mkv"]):
        result = lps("predict", *arguments, "--checkpoint", checkpoint, "--top", 4, "--json")
        assert result.exit_code == 0, result.output
        found.append(dict(json.loads(result.stdout)[0]["actions"]))
    assert found[0] == pytest.approx(found[1], abs=0.01)
    assert max(abs(found[0][action] - found[2][action]) for action in found[0]) > 0.1


def test_the_list_for_people_names_the_video_and_its_actions(run):
    root, checkpoint, _ = run
    result = lps("predict", root / "clip.mkv", "--checkpoint", checkpoint, "--top", 2, "--views", "2x3")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"{root / 'clip.mkv'}  (16 frames)"
    assert len(lines) == 3
    assert "%" in lines[1]


def test_a_file_that_is_no_video_is_listed_and_the_others_are_told(run, tmp_path):
    root, checkpoint, _ = run
    (tmp_path / "notes.txt").write_text("not a video")
    result = lps("predict", tmp_path / "notes.txt", root / "clip.mkv", "--checkpoint", checkpoint)
    assert result.exit_code == 1
    assert "failed:" in result.stderr
    assert "notes.txt" in result.stderr
    assert "(16 frames)" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--film", "p3ar-10layer"], 2, "--film and --layers must be given together"),
        (["--film", "p3ar-10layer", "--layers", "0"], 2, "--layers"),
        (["--views", "4x2"], 2, "crops must be 1 or 3, got 2"),
        (["--checkpoint", "nowhere.safetensors"], 1, "nowhere.safetensors"),
    ],
)
def test_mistakes_are_told_in_one_line(run, arguments, status, message):
    root, checkpoint, _ = run
    result = lps("predict", root / "clip.mkv", "--checkpoint", checkpoint, *arguments)
    assert result.exit_code == status
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_fusing_a_test_with_itself_changes_nothing(run, tmp_path):
    root, *_ = run
    own = root / "predictions.npz"
    result = lps("fuse", own, own, "--weights", "1,2", "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    fused, single = json.loads(result.stdout), json.loads((root / "results.json").read_text())
    assert fused["action"]["confusion"] == single["action"]["confusion"]
    assert fused["action"]["calibration"]["ece"] == pytest.approx(single["action"]["calibration"]["ece"], abs=1e-6)
    assert np.load(tmp_path / "predictions.npz")["names"].tolist() == np.load(own)["names"].tolist()


def test_test_takes_views_from_the_command_line(run, monkeypatch, tmp_path):
    monkeypatch.setattr("training.evaluate.open_dataset", lambda config: READER)
    _, checkpoint, _ = run
    result = lps("test", "--checkpoint", checkpoint, "--views", "2x1", "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["views"] == {"clips": 2, "crops": 1}
