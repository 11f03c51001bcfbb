"""A trained network for use elsewhere: exported programs, folders of pretrained networks, model cards."""

import json

import pytest
import torch
from click.testing import CliRunner

import training.export
from cli.main import main
from lps_sim.files import sha256_file, write_atomic
from training.checkpoint import ModelCard, load_model, save_model
from training.config import dump_config, load_config
from training.export import EXPORT_TOLERANCE, InferencePath, export
from training.hub import HubUnreachableError
from training.model import MSPNet
from training.pretrained import from_pretrained, run_facts, save_pretrained
from training.sides import Labels

from .test_model import IDS, small_model
from .test_text import cache as cache
from .test_text import cached

LABELS = Labels(
    actions=(4, 9), class_names=("brush hair", "sit down"), heads={"identity": (1, 2, 3, 5, 8), "gender": (1, 2)}
)
CARD = ModelCard(
    LABELS, IDS.tolist(), {"frames": 3, "gap": 2, "size": 32, "signed": True}, {"epoch": 7, "validation_top1": 0.625}
)


def inputs(batch, frames=3, seed=5):
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(batch, frames, 1, generator=generator)
    return torch.randn(batch, frames, 3, 32, 32, generator=generator), torch.cat([share, 1 - share], dim=-1)


def lps(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def run(tmp_path):
    """A run's folder: configuration, checkpoint, the data set's record, test results."""
    dataset = tmp_path / "p3ar" / "layers-08"
    film = {"name": "p3ar-10layer", "file": "film.h5", "checksum": "ab12"}
    write_atomic(dataset / "dataset.json", json.dumps({"lps_dataset": 1, "film": film, "layers": 8}))
    root = tmp_path / "run"
    config = load_config("tiny", [f"data.dataset={dataset}", "data.protocol=ntu60-xsub"])
    write_atomic(root / "config.yaml", dump_config(config))
    checkpoint = root / "checkpoints" / "best.safetensors"
    save_model(checkpoint, small_model(), CARD)
    action = {"top1": 0.5, "top1_interval": [0.25, 0.75], "top5": 1.0, "chance": 0.5, "clips": 40}
    unknown = {"top1": None, "top5": None, "chance": 0.2, "clips": 0}
    gender = {"top1": 0.875, "top5": 1.0, "chance": 0.5, "clips": 40}
    results = {
        "action": action,
        "privacy": {"identity": unknown, "gender": gender},
        "checkpoint": {"sha256": sha256_file(checkpoint)},
    }
    write_atomic(root / "results.json", json.dumps(results))
    return root


def agrees_with_the_network(program, model):
    for batch in (1, 2, 5):
        x, weights = inputs(batch)
        given = (x, weights) if model.config.ifns else (x,)
        with torch.no_grad():
            expected = model(x, IDS, weights=weights).action_logits
            torch.testing.assert_close(program.module()(*given), expected, atol=EXPORT_TOLERANCE, rtol=0)
    assert not [name for name in program.state_dict if "text_model" in name or "privacy" in name]


def test_an_exported_program_gives_the_networks_logits_for_any_number_of_clips(tmp_path):
    model = small_model(
        ifns=False, messages=False, prompts=False, temporal=False, stem_channels=(4, 8), residual_channels=4
    )
    assert export(tmp_path / "mspnet.pt2", model, CARD) <= EXPORT_TOLERANCE
    agrees_with_the_network(torch.export.load(tmp_path / "mspnet.pt2"), model)


def test_a_program_that_differs_from_the_network_is_not_written(tmp_path, monkeypatch):
    off = lambda path, eager, card: path.write_bytes(b"x") and (lambda *given: eager(*given) + 0.01)  # noqa: E731
    monkeypatch.setattr(training.export, "_write_torch", off)
    with pytest.raises(ValueError, match=r"logits differ from the network's by .*, allowed 0\.0001"):
        export(tmp_path / "mspnet.pt2", small_model(), CARD)
    assert list(tmp_path.iterdir()) == []


def test_the_inference_path_leaves_the_network_as_it_was():
    model = small_model()
    x, weights = inputs(1)
    with torch.no_grad():
        before = model(x, IDS, weights=weights)
        path = InferencePath(model, IDS)
        torch.testing.assert_close(path(x, weights), before.action_logits)
        torch.testing.assert_close(model(x, IDS, weights=weights).privacy_logits, before.privacy_logits)


def test_the_ending_of_the_file_is_that_of_its_kind(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.pt2 for torch, got 'mspnet\.onnx'"):
        export(tmp_path / "mspnet.onnx", small_model(), CARD)


def test_onnx_without_its_packages_names_them(tmp_path, monkeypatch):
    monkeypatch.setattr(training.export, "ONNX_PACKAGES", ("onnx_that_nobody_has",))
    with pytest.raises(ValueError, match=r"onnx needs onnx_that_nobody_has, not installed; pip install .*\[onnx\]"):
        export(tmp_path / "mspnet.onnx", small_model(), CARD, "onnx")


def test_an_onnx_file_gives_the_networks_logits(tmp_path):
    for name in training.export.ONNX_PACKAGES:
        pytest.importorskip(name)
    import onnxruntime

    path = tmp_path / "mspnet.onnx"
    model = small_model()
    assert export(path, model, CARD, "onnx") <= EXPORT_TOLERANCE
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["card"])["inputs"]["gap"] == 2
    x, weights = inputs(4)
    (found,) = session.run(None, {"differences": x.numpy(), "weights": weights.numpy()})
    with torch.no_grad():
        expected = model(x, IDS, weights=weights).action_logits
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=EXPORT_TOLERANCE, rtol=0)


def test_a_folder_of_pretrained_weights_gives_the_same_network_and_card_back(tmp_path):
    model = small_model(residual_channels=4)
    model.save_pretrained(tmp_path, CARD)
    again = MSPNet.from_pretrained(tmp_path)
    assert (again.config, again.card) == (model.config, CARD)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    described = json.loads((tmp_path / "config.json").read_text())
    assert described["network"]["residual_channels"] == 4
    assert described["labels"]["class_names"] == list(LABELS.class_names)
    assert load_model(tmp_path / "model.safetensors")[1] == CARD
    again.save_pretrained(tmp_path / "copy")
    assert from_pretrained(tmp_path / "copy" / "model.safetensors").card == CARD


def test_a_folder_in_the_hubs_cache_is_read_by_its_name(cache):
    small_model().save_pretrained(cached(cache, "some/mspnet"), CARD)
    assert MSPNet.from_pretrained("some/mspnet").card == CARD
    with pytest.raises(HubUnreachableError, match="checkpoint: 'some/other' is neither a path nor"):
        MSPNet.from_pretrained("some/other")


def test_a_network_without_a_card_asks_for_one(tmp_path):
    with pytest.raises(ValueError, match="card must be given"):
        save_pretrained(tmp_path, small_model())
    with pytest.raises(ValueError, match=r"checkpoint: .* holds none of model\.safetensors"):
        from_pretrained(tmp_path)


def test_the_model_card_tells_film_data_and_results_of_the_run(run, tmp_path):
    result = lps("export", run / "checkpoints" / "best.safetensors", tmp_path / "out", "--format", "pretrained")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    text = (tmp_path / "out" / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: lens-privacy-sealing\n")
    for told in (
        "8 layers of `p3ar-10layer` (checksum `ab12`)",
        "Data set `layers-08`, ntu60-xsub",
        "3 frames of 32x32 px, as signed differences to the frames 2 before and after",
        "| action, test side | 50.0 % | 25.0-75.0 % | 100.0 % | 50.0 % | 40 |",
        "| gender, side head | 87.5 % |",
        "epoch 7, validation_top1 0.625.",
        "brush hair; sit down",
    ):
        assert told in text
    assert "identity, side head" not in text  # no test clip shows a person of the training side


def test_results_of_another_checkpoint_and_lost_data_are_left_out_with_a_note(run, tmp_path):
    save_model(run / "checkpoints" / "best.safetensors", small_model(messages=False), CARD)
    (tmp_path / "p3ar" / "layers-08" / "dataset.json").unlink()
    facts = run_facts(run / "checkpoints" / "best.safetensors")
    assert (facts.film, facts.results) == ({}, {})
    assert any("another checkpoint" in note for note in facts.notes)
    assert any("not in its place" in note for note in facts.notes)
    result = lps("export", run / "checkpoints" / "best.safetensors", tmp_path / "out", "--format", "pretrained")
    assert "another checkpoint" in result.stderr
    assert "No test results are recorded." in (tmp_path / "out" / "README.md").read_text()


def test_export_writes_a_program_from_the_command_line_and_says_how_close_it_is(run, tmp_path):
    result = lps("export", run / "checkpoints" / "best.safetensors", tmp_path / "mspnet.pt2")
    assert result.exit_code == 0, result.output
    assert "logits agree with the network's within" in result.stdout
    extra = {"card.json": ""}
    program = torch.export.load(tmp_path / "mspnet.pt2", extra_files=extra)
    assert json.loads(extra["card.json"])["labels"]["class_names"] == list(LABELS.class_names)
    agrees_with_the_network(program, small_model())
    lost = lps("export", tmp_path / "nowhere.safetensors", tmp_path / "x.pt2")
    assert lost.exit_code == 1
    assert "no such checkpoint" in lost.stderr
