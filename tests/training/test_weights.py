"""Pretrained weights: names matched, leftovers reported, wrong shapes refused."""

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from training.model import MSPNet
from training.weights import load_pretrained

from .test_model import SMALL, published
from .test_model import golden as golden


def clip(width=SMALL.vision_width):
    """A Hugging Face CLIP of the small network's size."""
    vision = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": SMALL.vision_layers,
        "num_attention_heads": SMALL.vision_heads,
        "image_size": SMALL.image_size,
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
