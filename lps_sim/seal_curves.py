"""Transfer functions of :mod:`lps_sim.transfer` on torch tensors, differentiable everywhere.

The same domain and the same continuation: negative values are mirrored about 0, those above 1 follow the curve. Power
laws have an infinite slope at 0; below :data:`_LEAST` (1e-12 of white) they are flat, so that gradients stay finite.
"""

from __future__ import annotations

import functools

import torch

from . import transfer
from .transfer import MeasuredCurve, Transfer

_LEAST = 1e-12


def eotf(codes: torch.Tensor, curve: Transfer) -> torch.Tensor:
    """Linear light of codes in [0, 1], any shape; ``curve`` is a name of ``transfer.EOTF_NAMES``, ``gamma:G`` or a
    measured curve."""
    if isinstance(curve, MeasuredCurve):
        return _piecewise(codes, _uniform(len(curve.response)), curve.response)
    if curve == "linear":
        return codes
    size = _size(codes)
    if curve == "srgb":
        above = ((size.clamp(min=transfer.SRGB_CODE_KNEE) + 0.055) / 1.055) ** 2.4
        value = torch.where(size <= transfer.SRGB_CODE_KNEE, size / 12.92, above)
    elif curve == "bt709":
        shift = transfer.BT709_ALPHA - 1
        above = ((size.clamp(min=transfer.BT709_CODE_KNEE) + shift) / transfer.BT709_ALPHA) ** (1 / 0.45)
        value = torch.where(size < transfer.BT709_CODE_KNEE, size / 4.5, above)
    else:
        value = size.clamp(min=_LEAST) ** _exponent(curve)
    return torch.where(codes < 0, -value, value)


def inverse_eotf(linear: torch.Tensor, curve: Transfer) -> torch.Tensor:
    """Codes in [0, 1] of linear light, the inverse of :func:`eotf`."""
    if isinstance(curve, MeasuredCurve):
        return _piecewise(linear, curve.response, _uniform(len(curve.response)))
    if curve == "linear":
        return linear
    size = _size(linear)
    if curve == "srgb":
        above = 1.055 * size.clamp(min=transfer.SRGB_LINEAR_KNEE) ** (1 / 2.4) - 0.055
        value = torch.where(size <= transfer.SRGB_LINEAR_KNEE, size * 12.92, above)
    elif curve == "bt709":
        shift = transfer.BT709_ALPHA - 1
        above = transfer.BT709_ALPHA * size.clamp(min=transfer.BT709_LINEAR_KNEE) ** 0.45 - shift
        value = torch.where(size < transfer.BT709_LINEAR_KNEE, size * 4.5, above)
    else:
        value = size.clamp(min=_LEAST) ** (1 / _exponent(curve))
    return torch.where(linear < 0, -value, value)


def _size(values: torch.Tensor) -> torch.Tensor:
    """|values| with the slope 1 at 0, where that of torch.abs is 0: black pixels have gradients too."""
    return torch.where(values < 0, -values, values)


def _exponent(name: str) -> float:
    gamma = transfer.gamma_of(transfer.check_eotf_name(name))
    return transfer.GAMMA if gamma is None else gamma


@functools.lru_cache(maxsize=8)
def _uniform(count: int) -> tuple[float, ...]:
    return tuple(k / (count - 1) for k in range(count))


def _piecewise(values: torch.Tensor, x: tuple[float, ...], y: tuple[float, ...]) -> torch.Tensor:
    """Straight lines through (x, y) from (0, 0) to (1, 1), odd about 0, the last line extended."""
    knots, levels = values.new_tensor(x), values.new_tensor(y)
    size = _size(values)
    place = (torch.bucketize(size.detach(), knots, right=True) - 1).clamp(0, len(x) - 2)
    slopes = (levels[1:] - levels[:-1]) / (knots[1:] - knots[:-1])
    value = levels[place] + slopes[place] * (size - knots[place])
    return torch.where(values < 0, -value, value)
