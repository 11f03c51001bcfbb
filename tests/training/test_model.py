"""MSPNet against the published layers' golden case and against a plain X-CLIP."""

from pathlib import Path

import numpy as np
import pytest
import torch

from training.checkpoint import convert_reference
from training.config import load_config
from training.model import MSPNet, MSPNetConfig

GOLDEN = Path(__file__).parent.parent / "data" / "mspnet_reference_tiny.npz"
# float32 through a few layers in another order of operations
FLOAT32_LOGITS = 1e-5

SMALL = MSPNetConfig(
    image_size=32,
    patch_size=16,
    num_frames=3,
    vision_width=32,
    vision_layers=2,
    vision_heads=2,
    text_width=16,
    text_layers=1,
    text_heads=2,
    projection_dim=32,
    temporal_heads=2,
    prompt_layers=1,
    prompt_heads=2,
    vocab_size=20,
    context_length=6,
    privacy_heads={"identity": 5, "gender": 2},
)
IDS = torch.tensor([[18, 3, 4, 19, 0, 0], [18, 7, 19, 0, 0, 0]])


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as data:
        return {name: data[name] for name in data.files}


def published(golden):
    return {name[3:]: value for name, value in golden.items() if name.startswith("sd/")}


def small_model(**options):
    torch.manual_seed(0)
    return MSPNet(SMALL.model_copy(update=options)).eval()


def test_published_layers_and_ours_give_the_same_logits(golden):
    config, state = convert_reference(published(golden))
    model = MSPNet(config).eval()
    model.load_state_dict(state)
    differences = torch.stack([torch.from_numpy(golden[k]).mean(dim=2) for k in ("prev", "next", "mean")], dim=2)
    with torch.no_grad():
        out = model(differences, torch.from_numpy(golden["text"]))
    np.testing.assert_allclose(out.action_logits, golden["logits"], atol=FLOAT32_LOGITS)
    np.testing.assert_allclose(out.privacy_logits["identity"], golden["id_logits"], atol=FLOAT32_LOGITS)


def test_wrapped_and_prefixed_published_checkpoints_convert_to_the_same_weights(golden):
    state = published(golden)
    config, plain = convert_reference(state)
    again, wrapped = convert_reference(
        {"model": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}
    )
    assert again == config
    assert all(torch.equal(plain[name], wrapped[name]) for name in plain)


def test_a_state_dict_that_is_not_mspnet_is_refused_with_the_missing_name(golden):
    with pytest.raises(ValueError, match=r"visual\.conv1\.weight.*missing"):
        convert_reference({"fc.weight": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match=r"surplus\.weight"):
        convert_reference({**published(golden), "surplus.weight": torch.zeros(2)})


def test_without_weights_and_scaling_the_network_is_the_xclip_it_is_composed_around():
    model = small_model()
    pixels = torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = model(pixels, IDS)
        theirs = model.xclip(input_ids=IDS, pixel_values=pixels)
    torch.testing.assert_close(ours.action_logits, theirs.logits_per_video, atol=FLOAT32_LOGITS, rtol=0)
    torch.testing.assert_close(ours.video_features, theirs.video_embeds, atol=FLOAT32_LOGITS, rtol=0)


def test_cached_text_features_replace_token_ids():
    model = small_model()
    x = torch.randn(1, 3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            model(x, IDS).action_logits, model(x, text_features=model.encode_text(IDS)).action_logits
        )


def test_heads_stem_and_residual_block_have_the_shapes_they_promise():
    model = small_model(stem_channels=(4, 8), residual_channels=4)
    out = model(torch.randn(2, 3, 3, 32, 32), IDS, weights=torch.full((2, 3, 2), 0.5))
    assert out.action_logits.shape == (2, 2)
    assert {name: tuple(value.shape) for name, value in out.privacy_logits.items()} == {
        "identity": (2, 5),
        "gender": (2, 2),
    }


def test_the_residual_block_starts_as_the_identity():
    plain, block = small_model(), small_model(residual_channels=4)
    x = torch.randn(1, 3, 3, 32, 32)
    torch.testing.assert_close(plain.aggregator(x, None), block.aggregator(x, None))


def test_weights_scale_the_two_neighbours_and_leave_the_mean():
    aggregator = small_model().aggregator
    x = torch.ones(1, 3, 3, 32, 32)
    weighted = aggregator(x, torch.tensor([[[0.25, 0.75]] * 3]))
    assert weighted[0, 0, :, 0, 0].tolist() == pytest.approx([0.25, 0.75, 1.0])


def test_wrong_frame_count_and_missing_text_are_named():
    model = small_model()
    with pytest.raises(ValueError, match=r"differences must be \(B, 3, 3, 32, 32\), got \(1, 4, 3, 32, 32\)"):
        model(torch.zeros(1, 4, 3, 32, 32), IDS)
    with pytest.raises(ValueError, match="input_ids or text_features"):
        model(torch.zeros(1, 3, 3, 32, 32))


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="image_size must be a multiple of patch_size, got 100 and 16"):
        MSPNetConfig(image_size=100)
    with pytest.raises(ValueError, match="vision_width must be a multiple of vision_heads"):
        MSPNetConfig(vision_heads=7)


def test_vit_b_16_takes_a_step_with_checkpointing_and_a_frozen_text_tower():
    options = load_config("vit-b-16").model.model_dump()
    # one of the twelve layers of each tower: the other eleven are alike and cost seconds
    model = MSPNet(MSPNetConfig(**{**options, "vision_layers": 1, "text_layers": 1}, privacy_heads={"identity": 106}))
    assert model.xclip.vision_model.embeddings.num_patches == 196
    for part in (model.xclip.text_model, model.xclip.text_projection):
        part.requires_grad_(False)
    ids = torch.full((3, 77), 7)
    ids[:, 5] = 49407
    out = model.train()(torch.randn(1, 8, 3, 224, 224), ids, weights=torch.full((1, 8, 2), 0.5))
    (out.action_logits.logsumexp(1).sum() + out.privacy_logits["identity"].logsumexp(1).sum()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert all(p.grad is None for p in model.xclip.text_model.parameters())


def test_prompts_start_as_a_small_change_of_the_class_names():
    # started at the library's default they would be an order of magnitude larger than the names, and nothing is learnt
    model = small_model()
    with torch.no_grad():
        text = model.encode_text(IDS)
        _, patches = model.encode_video(model.aggregator(torch.randn(4, 3, 3, 32, 32), None))
        prompts = model.xclip.prompts_generator(text.expand(4, -1, -1), patches)
    assert prompts.norm(dim=-1).max() < 0.3 * text.norm(dim=-1).min()
