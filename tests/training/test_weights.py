"""Pretrained weights: names matched, leftovers reported, wrong shapes refused."""

import shutil
import warnings

import pytest
import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel, XCLIPModel

from training.checkpoint import ModelCard, save_model
from training.hub import HubUnreachableError
from training.model import MSPNet
from training.sides import Labels
from training.weights import POSITIONS, load_pretrained

from .test_model import IDS, SMALL, published
from .test_model import golden as golden
from .test_text import cache as cache
from .test_text import cached


def clip(width=SMALL.vision_width, image=SMALL.image_size):
    """A Hugging Face CLIP of the small network's size."""
    vision = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": SMALL.vision_layers,
        "num_attention_heads": SMALL.vision_heads,
        "image_size": image,
        "patch_size": SMALL.patch_size,
    }
    text = {
        "hidden_size": SMALL.text_width,
        "intermediate_size": 4 * SMALL.text_width,
        "num_hidden_layers": SMALL.text_layers,
        "num_attention_heads": SMALL.text_heads,
        "vocab_size": SMALL.vocab_size,
        "max_position_embeddings": SMALL.context_length,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=SMALL.projection_dim))


@pytest.fixture
def model():
    return MSPNet(SMALL)


def test_a_clip_folder_fills_both_towers(model, tmp_path):
    source = clip()
    source.save_pretrained(tmp_path)
    report = load_pretrained(model, tmp_path)
    own = model.state_dict()
    for name, value in source.state_dict().items():
        assert torch.equal(own["xclip." + name.replace("pre_layrnorm", "pre_layernorm")], value)
    assert report.unexpected == ()
    assert len(report.matched) == len(source.state_dict())
    left = {name.split(".")[1] for name in report.missing if name.startswith("xclip.")}
    assert left == {
        "mit",
        "prompts_generator",
        "prompts_visual_layernorm",
        "prompts_visual_projection",
        "vision_model",  # the message layers, which CLIP lacks
    }
    assert all(".message_" in name for name in report.missing if "vision_model" in name)
    assert f"{len(report.matched)} matched" in str(report)


def test_an_xclip_folder_fills_everything_but_ours(model, tmp_path):
    torch.manual_seed(1)
    source = MSPNet(SMALL).xclip
    source.save_pretrained(tmp_path)
    report = load_pretrained(model, tmp_path)
    assert {name.split(".")[0] for name in report.missing} == {"aggregator", "privacy_heads"}
    assert torch.equal(model.xclip.mit.position_embedding, source.mit.position_embedding)


def test_published_names_load_from_a_plain_state_dict(golden, tmp_path):
    from training.checkpoint import convert_reference

    state = {name: torch.from_numpy(value) for name, value in published(golden).items()}
    torch.save({"model": state}, tmp_path / "published.pth")
    config, expected = convert_reference(state)
    target = MSPNet(config)
    report = load_pretrained(target, tmp_path / "published.pth")
    assert report.missing == ("aggregator.gain", "aggregator.offset")
    name = "xclip.vision_model.encoder.layers.1.message_attn.q_proj.weight"
    assert torch.equal(target.state_dict()[name], expected[name])


def test_wrong_shapes_are_an_error_that_names_them(model, tmp_path):
    clip(width=64).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"class_embedding is \(64,\), the network has \(32,\)"):
        load_pretrained(model, tmp_path)


def test_files_that_are_no_weights_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match="holds none of"):
        load_pretrained(model, tmp_path)
    (tmp_path / "a.pth").write_bytes(b"text")
    with pytest.raises(ValueError, match="not a plain state dict"):
        load_pretrained(model, tmp_path / "a.pth")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match="no tensor of it belongs"):
        load_pretrained(model, tmp_path / "b.pth")
    with pytest.raises(FileNotFoundError):
        load_pretrained(model, tmp_path / "c.pth")


def openai(state):
    """CLIP's part of a published state dict, in half precision as OpenAI's archives are, with their sizes beside it."""
    others = ("visual.conv0", "sft.", "prompts_", "id_classifier")
    clips = {name: value for name, value in state.items() if not name.startswith(others) and ".message_" not in name}
    sizes = {"input_resolution": 32, "context_length": 12, "vocab_size": 100}
    return {name: value.half() for name, value in clips.items()} | {k: torch.tensor(v) for k, v in sizes.items()}


class Nested(nn.Module):
    """A module whose state dict has the given names; OpenAI's archives hold such a module as TorchScript."""

    def __init__(self, tensors):
        super().__init__()
        inner = {}
        for name, value in tensors.items():
            head, dot, tail = name.partition(".")
            if dot:
                inner.setdefault(head, {})[tail] = value
            else:
                self.register_buffer(head, value)
        for head, below in inner.items():
            self.add_module(head, Nested(below))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.fixture(params=["archive", "state dict"])
def openai_file(request, golden, tmp_path):
    state = openai({name: torch.from_numpy(value) for name, value in published(golden).items()})
    path = tmp_path / "ViT-tiny.pt"
    if request.param == "archive":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.script(Nested(state)).save(str(path))
    else:
        torch.save(state, path)
    return path


def test_openais_clip_loads_from_its_archive_and_from_a_state_dict(openai_file, golden):
    from training.checkpoint import convert_reference

    config, expected = convert_reference(published(golden))
    target = MSPNet(config)
    report = load_pretrained(target, openai_file)
    assert report.unexpected == ()
    assert {name.split(".")[1] for name in report.missing if name.startswith("xclip.")} == {
        "mit",
        "prompts_generator",
        "prompts_visual_layernorm",
        "prompts_visual_projection",
        "vision_model",
    }
    own = target.state_dict()
    assert len(report.matched) > 50
    for name in report.matched:
        assert torch.equal(own[name], expected[name].half().float()), name


def test_a_weights_cached_copy_serves_its_hub_name_and_a_name_without_one_is_one_clear_error(model, cache, tmp_path):
    folder = cached(cache, "some/clip")
    source = clip()
    source.save_pretrained(folder)
    report = load_pretrained(model, "some/clip")
    assert len(report.matched) == len(source.state_dict())
    with pytest.raises(HubUnreachableError, match=r"weights: 'some/other' is neither a path nor in the .* cache"):
        load_pretrained(model, "some/other")
    shutil.rmtree(folder)
    with pytest.raises(HubUnreachableError):
        load_pretrained(model, "some/clip")


def test_our_own_checkpoint_starts_another_network(model, tmp_path):
    torch.manual_seed(8)
    other = MSPNet(SMALL)
    labels = Labels((1, 2), ("a", "b"), {"identity": (1, 2, 3, 4, 5), "gender": (1, 2)})
    save_model(tmp_path / "best.safetensors", other, ModelCard(labels, IDS.tolist(), {}, {}))
    report = load_pretrained(model, tmp_path / "best.safetensors")
    assert (report.missing, report.unexpected) == ((), ())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in other.state_dict().items())


def test_positions_of_another_image_size_are_interpolated_as_transformers_does(model, tmp_path):
    source = clip(image=64)  # 4x4 patches, the network has 2x2
    source.save_pretrained(tmp_path)
    report = load_pretrained(model, tmp_path)
    assert report.resized == (f"{POSITIONS} from 4x4 patches to 2x2",)
    assert "resized" in str(report)
    # transformers' own way to larger and smaller images
    embeddings = source.vision_model.embeddings
    patches = torch.zeros(1, 5, SMALL.vision_width)
    with torch.no_grad():
        expected = embeddings.interpolate_pos_encoding(patches, 32, 32)[0]
    torch.testing.assert_close(model.state_dict()[POSITIONS], expected)


def test_positions_that_are_no_square_grid_are_a_wrong_shape(model, tmp_path):
    torch.save({POSITIONS: torch.zeros(7, SMALL.vision_width)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"position_embedding\.weight is \(7, 32\), the network has \(5, 32\)"):
        load_pretrained(model, tmp_path / "a.pth")


def test_another_vocabulary_is_refused_with_its_cure(tmp_path):
    clip().save_pretrained(tmp_path)
    words = MSPNet(SMALL.model_copy(update={"vocab_size": 15}))
    with pytest.raises(ValueError, match=r"token_embedding\.weight is \(20, 16\), .*\(15, 16\).*; tokenizer: clip"):
        load_pretrained(words, tmp_path)


def test_the_note_lists_every_name_once_with_its_layers_counted(model, tmp_path):
    clip().save_pretrained(tmp_path)
    note = str(load_pretrained(model, tmp_path))
    assert note.splitlines()[0].endswith(" matched")
    assert "xclip.vision_model.encoder.layers.*.message_fc.weight (x2)" in note
    assert "xclip.prompts_visual_projection" in note
    assert "0 unexpected" in note


def test_parts_that_an_ablation_leaves_out_are_reported_as_unexpected(tmp_path):
    XCLIPModel.save_pretrained(MSPNet(SMALL).xclip, tmp_path)
    plain = MSPNet(SMALL.model_copy(update={"messages": False, "temporal": False, "prompts": False}))
    report = load_pretrained(plain, tmp_path)
    kinds = {name.split(".")[1] if ".message_" not in name else "message" for name in report.unexpected}
    assert kinds == {"mit", "prompts_generator", "prompts_visual_layernorm", "prompts_visual_projection", "message"}
