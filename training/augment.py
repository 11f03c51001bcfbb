"""Augmentation on tensors, on the device: one draw a clip, the same for all its frames and all three differences."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional

from .config import AugmentConfig

# Luma of BT.601, and the colour-difference axes in which hue is a rotation (YIQ).
_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = torch.linalg.inv(_TO_YIQ)


def _uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def colour_matrices(count: int, config: AugmentConfig, generator: Generator) -> Tensor:
    """Random linear colour changes, one a clip.

    Brightness and contrast scale, saturation moves towards luma, hue rotates the colour-difference plane, greyscale
    keeps luma only. Offsets cancel in differences and are left out; the clipping at black and white that an 8-bit
    jitter would do is left out too (an approximation).

    Returns
    -------
    (count, 3, 3)
    """
    jittered = (torch.rand(count, generator=generator) < config.colour_jitter).float()
    grey = torch.rand(count, generator=generator) < config.greyscale
    scale = torch.ones(count)
    for amount in (config.brightness, config.contrast):
        scale = scale * (1 + jittered * _uniform(count, -amount, amount, generator))
    chroma = 1 + jittered * _uniform(count, -config.saturation, config.saturation, generator)
    chroma = torch.where(grey, torch.zeros(count), chroma)
    angle = jittered * 2 * math.pi * _uniform(count, -config.hue, config.hue, generator)
    rotation = torch.zeros(count, 3, 3)
    rotation[:, 0, 0] = 1
    rotation[:, 1, 1] = rotation[:, 2, 2] = chroma * torch.cos(angle)
    rotation[:, 1, 2] = -chroma * torch.sin(angle)
    rotation[:, 2, 1] = chroma * torch.sin(angle)
    return scale[:, None, None] * (_FROM_YIQ @ rotation @ _TO_YIQ)


def random_crop_flip(x: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Random resized crop and horizontal flip of (B, T, C, H, W), each clip with its own: :func:`crop_flip`."""
    return crop_flip(x, crop_flip_maps(len(x), config, generator))


def crop_flip_maps(count: int, config: AugmentConfig, generator: Generator) -> Tensor:
    """Random resized crops and horizontal flips, one a clip: (count, 2, 3) maps as of ``affine_grid``."""
    area = _uniform(count, *config.crop_area, generator)
    aspect = torch.exp(_uniform(count, -math.log(config.aspect), math.log(config.aspect), generator))
    crop_w = torch.sqrt(area * aspect).clamp(max=1)
    crop_h = torch.sqrt(area / aspect).clamp(max=1)
    flip = torch.where(torch.rand(count, generator=generator) < config.flip, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = crop_w * flip
    theta[:, 1, 1] = crop_h
    theta[:, 0, 2] = (1 - crop_w) * _uniform(count, -1, 1, generator)
    theta[:, 1, 2] = (1 - crop_h) * _uniform(count, -1, 1, generator)
    return theta


def crop_flip(x: Tensor, maps: Tensor) -> Tensor:
    """Crop and flip each clip by its map, bilinear, back to the same size.

    Parameters
    ----------
    x : (B, T, C, H, W)
    maps : (B, 2, 3) of :func:`crop_flip_maps`

    Returns
    -------
    (B, T, C, H, W)
    """
    batch, time, channels, height, width = x.shape
    size = [batch, time * channels, height, width]
    grid = functional.affine_grid(maps.to(x.device, x.dtype), size, align_corners=False)
    cropped = functional.grid_sample(x.reshape(size), grid, padding_mode="border", align_corners=False)
    return cropped.view(x.shape)


class Mix(NamedTuple):
    """How a batch was mixed: clip i is ``share`` of itself and the rest of clip ``partner[i]``."""

    partner: Tensor
    share: float

    def targets(self, labels: Tensor) -> Tensor:
        """(B, n) soft labels -> (B, n) mixed by the same shares."""
        return self.share * labels + (1 - self.share) * labels[self.partner.to(labels.device)]


def mix_clips(x: Tensor, config: AugmentConfig, generator: Generator) -> tuple[Tensor, Mix]:
    """Mixup or cutmix, each half of the time (or the one that is switched on), within the batch.

    The same mixing goes to all frames and all three differences; apply ``Mix.targets`` to every head's labels. Clips
    are mixed with their neighbour in the batch, in pairs: batches are shuffled already, and pairs stay what they are
    when the batch is spread over processes or accumulated in parts of even size.

    Parameters
    ----------
    x : (B, T, C, H, W)
    """
    batch, *_, height, width = x.shape
    partner = torch.arange(batch) ^ 1
    if batch % 2:
        partner[-1] = max(batch - 2, 0)
    choices = [name for name in ("mixup", "cutmix") if getattr(config, f"{name}_alpha") > 0]
    if not choices or float(torch.rand((), generator=generator)) >= config.mix_probability:
        return x, Mix(torch.arange(batch), 1.0)
    kind = choices[int(torch.randint(len(choices), (), generator=generator))]
    share = _beta(getattr(config, f"{kind}_alpha"), generator)
    if kind == "mixup":
        return share * x + (1 - share) * x[partner.to(x.device)], Mix(partner, share)
    side = math.sqrt(1 - share)
    box_h, box_w = round(side * height), round(side * width)
    top = int(torch.randint(height - box_h + 1, (), generator=generator))
    left = int(torch.randint(width - box_w + 1, (), generator=generator))
    mixed = x.clone()
    window = (..., slice(top, top + box_h), slice(left, left + box_w))
    mixed[window] = x[partner.to(x.device)][window]
    return mixed, Mix(partner, 1 - box_h * box_w / (height * width))


def _beta(alpha: float, generator: Generator) -> float:
    """One draw from Beta(alpha, alpha), as a ratio of gamma draws from the given generator."""
    first, second = torch._standard_gamma(torch.full((2,), alpha), generator=generator).tolist()
    return first / max(first + second, 1e-12)
