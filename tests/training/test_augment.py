"""Augmentations in closed form."""

import pytest
import torch

from training.augment import colour_matrices, mix_clips, random_crop_flip
from training.config import AugmentConfig

# float32 resampling at exact pixel positions
FLOAT32 = 1e-5
STILL = AugmentConfig(crop_area=(1, 1), aspect=1, flip=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_whole_area_without_flip_is_the_identity():
    x = torch.rand(2, 3, 3, 8, 8, generator=generator())
    torch.testing.assert_close(random_crop_flip(x, STILL, generator()), x, atol=FLOAT32, rtol=0)


def test_a_certain_flip_mirrors_left_and_right():
    x = torch.rand(2, 3, 3, 8, 8, generator=generator())
    flipped = random_crop_flip(x, STILL.model_copy(update={"flip": 1.0}), generator())
    torch.testing.assert_close(flipped, x.flip(-1), atol=FLOAT32, rtol=0)


def test_all_frames_and_channels_of_a_clip_share_one_crop():
    image = torch.rand(2, 1, 1, 16, 16, generator=generator())
    cropped = random_crop_flip(image.expand(2, 4, 3, 16, 16), AugmentConfig(), generator(3))
    torch.testing.assert_close(cropped, cropped[:, :1, :1].expand_as(cropped))
    assert not torch.allclose(cropped[0], cropped[1])


def test_crops_show_a_part_of_the_picture_magnified():
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 1, 32, 32)
    quarter = AugmentConfig(crop_area=(0.25, 0.25), aspect=1, flip=0)
    row = random_crop_flip(ramp, quarter, generator(1))[0, 0, 0, 0]
    slope = (row[1:] - row[:-1])[2:-2]  # the border of the source repeats its last pixel
    torch.testing.assert_close(slope, torch.full_like(slope, 0.5 / 31), atol=FLOAT32, rtol=0)


def test_without_jitter_colours_stay():
    none = AugmentConfig(colour_jitter=0, greyscale=0)
    # the printed YIQ coefficients have three digits
    torch.testing.assert_close(colour_matrices(2, none, generator()), torch.eye(3).expand(2, 3, 3), atol=1e-5, rtol=0)


def test_greyscale_gives_luma_in_all_three_channels():
    grey = colour_matrices(1, AugmentConfig(colour_jitter=0, greyscale=1), generator())[0]
    torch.testing.assert_close(grey, torch.tensor([0.299, 0.587, 0.114]).expand(3, 3), atol=2e-3, rtol=0)


def test_saturation_and_hue_leave_neutral_colours_alone():
    jitter = AugmentConfig(colour_jitter=1, brightness=0, contrast=0, saturation=0.9, hue=0.5, greyscale=0)
    matrices = colour_matrices(5, jitter, generator())
    # rows of the printed YIQ matrix sum to zero within its three digits
    torch.testing.assert_close(matrices.sum(dim=2), torch.ones(5, 3), atol=5e-3, rtol=0)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_labels_are_mixed_by_the_share_of_the_pixels(kind):
    other = {"mixup": "cutmix", "cutmix": "mixup"}[kind]
    config = AugmentConfig(**{f"{other}_alpha": 0})
    x = torch.eye(4).view(4, 1, 4, 1, 1).expand(4, 2, 4, 8, 8).contiguous()  # clip i is 1 in channel i, 0 elsewhere
    mixed, mix = mix_clips(x, config, generator(5))
    targets = mix.targets(torch.eye(4))
    torch.testing.assert_close(mixed.mean(dim=(1, 3, 4)), targets)
    assert targets.sum(dim=1).tolist() == pytest.approx([1] * 4)
    assert 0 < mix.share < 1


def test_mixing_switched_off_returns_the_batch():
    x = torch.rand(3, 1, 3, 4, 4)
    for config in (AugmentConfig(mixup_alpha=0, cutmix_alpha=0), AugmentConfig(mix_probability=0)):
        mixed, mix = mix_clips(x, config, generator())
        assert torch.equal(mixed, x)
        assert torch.equal(mix.targets(torch.eye(3)), torch.eye(3))


def test_equal_generators_give_equal_draws():
    x = torch.rand(3, 1, 3, 8, 8)
    config = AugmentConfig()
    assert torch.equal(random_crop_flip(x, config, generator(7)), random_crop_flip(x, config, generator(7)))
    assert torch.equal(colour_matrices(3, config, generator(7)), colour_matrices(3, config, generator(7)))
