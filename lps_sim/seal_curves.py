"""Transfer functions of :mod:`lps_sim.transfer` on torch tensors, differentiable everywhere.

The same on [0, 1] and above. Below 0, where no frame should be, straight pieces go on and pure powers stay at 0 (numpy
mirrors the curve). Power laws have an infinite or no slope at 0: below :data:`_LEAST` (1e-12 of white) they are flat,
so that gradients stay finite.
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
    if curve == "srgb":
        above = ((codes.clamp(min=transfer.SRGB_CODE_KNEE) + 0.055) / 1.055) ** 2.4
        return torch.where(codes <= transfer.SRGB_CODE_KNEE, codes / 12.92, above)
    if curve == "bt709":
        shift = transfer.BT709_ALPHA - 1
        above = ((codes.clamp(min=transfer.BT709_CODE_KNEE) + shift) / transfer.BT709_ALPHA) ** (1 / 0.45)
        return torch.where(codes < transfer.BT709_CODE_KNEE, codes / 4.5, above)
    return codes.clamp(min=_LEAST) ** _exponent(curve)


def inverse_eotf(linear: torch.Tensor, curve: Transfer) -> torch.Tensor:
    """Codes in [0, 1] of linear light, the inverse of :func:`eotf`."""
    if isinstance(curve, MeasuredCurve):
        return _piecewise(linear, curve.response, _uniform(len(curve.response)))
    if curve == "linear":
        return linear
    if curve == "srgb":
        above = 1.055 * linear.clamp(min=transfer.SRGB_LINEAR_KNEE) ** (1 / 2.4) - 0.055
        return torch.where(linear <= transfer.SRGB_LINEAR_KNEE, linear * 12.92, above)
    if curve == "bt709":
        shift = transfer.BT709_ALPHA - 1
        above = transfer.BT709_ALPHA * linear.clamp(min=transfer.BT709_LINEAR_KNEE) ** 0.45 - shift
        return torch.where(linear < transfer.BT709_LINEAR_KNEE, linear * 4.5, above)
    return linear.clamp(min=_LEAST) ** (1 / _exponent(curve))


def _exponent(name: str) -> float:
    gamma = transfer.gamma_of(transfer.check_eotf_name(name))
    return transfer.GAMMA if gamma is None else gamma


@functools.lru_cache(maxsize=8)
def _uniform(count: int) -> tuple[float, ...]:
    return tuple(k / (count - 1) for k in range(count))


def _piecewise(values: torch.Tensor, x: tuple[float, ...], y: tuple[float, ...]) -> torch.Tensor:
    """Straight lines through (x, y) from (0, 0) to (1, 1), the first and last one extended."""
    knots, levels = values.new_tensor(x), values.new_tensor(y)
    place = (torch.bucketize(values.detach().contiguous(), knots, right=True) - 1).clamp(0, len(x) - 2)
    slopes = (levels[1:] - levels[:-1]) / (knots[1:] - knots[:-1])
    return levels[place] + slopes[place] * (values - knots[place])
