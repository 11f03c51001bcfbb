"""A film's scattering parameters as torch tensors, and gradients through its transfer functions.

The transfer functions of a film (Bessel functions, a transfer equation for a stack of sheets) live in numpy and scipy.
They are smooth in the logarithms of the parameters, a few numbers a channel, so their Jacobian is taken by central
differences in float64: with a step of 1e-4 the error is of the order of 1e-9. A channel's arrays depend on that
channel's parameters alone, so one pair of evaluations serves all three.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .film import FilmModel
from .scattering import Scattering

STEP = 1e-4  # of a logarithm
PARAMETERS = ("log_sigma_rad", "log_tau", "log_s_rad", "log_beta")
FilmArrays = Callable[[FilmModel], dict[str, np.ndarray]]


def log_parameters(film: FilmModel) -> dict[str, nn.Parameter]:
    """Natural logarithms of a film's scattering parameters, float64, by name.

    ``log_sigma_rad`` (3,), where the film has a rough face; ``log_tau``, ``log_s_rad`` and ``log_beta`` (K, 3), where
    it has K >= 1 components. -inf stands for 0.
    """
    values = {}
    if (film.sigma_rad > 0).any():
        values["log_sigma_rad"] = film.sigma_rad
    if film.components:
        for name, field in (("log_tau", "tau"), ("log_s_rad", "s_rad"), ("log_beta", "beta")):
            values[name] = np.stack([getattr(component, field) for component in film.components])
    with np.errstate(divide="ignore"):
        return {name: nn.Parameter(torch.from_numpy(np.log(value))) for name, value in values.items()}


def film_of(film: FilmModel, logs: dict[str, np.ndarray]) -> FilmModel:
    """``film`` with its scattering parameters replaced by the exponentials of ``logs``."""
    values = {name: np.exp(log) for name, log in logs.items()}
    components = tuple(
        Scattering(old.kind, values["log_tau"][k], values["log_s_rad"][k], values["log_beta"][k])
        for k, old in enumerate(film.components)
    )
    return dataclasses.replace(film, sigma_rad=values.get("log_sigma_rad", film.sigma_rad), components=components)


def film_tensors(
    film: FilmModel, arrays: FilmArrays, parameters: dict[str, torch.Tensor], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """``arrays(film)`` at these parameters as tensors that pass gradients on to them.

    Parameters: film, whose geometry and law hold; arrays, a function of a film with values (..., 3, y, x);
    parameters, named as in :func:`log_parameters`, on any device, where the tensors will be too; dtype of the tensors.
    """
    names = list(parameters)
    found: list[str] = []
    tensors = _FilmTensors.apply(film, arrays, names, found, *parameters.values())
    return {name: tensor.to(dtype) for name, tensor in zip(found, tensors)}


class _FilmTensors(torch.autograd.Function):
    """Forward: the numpy model in float64. Backward: its Jacobian by central differences, evaluated when asked for."""

    @staticmethod
    def forward(
        ctx: Any, film: FilmModel, arrays: FilmArrays, names: list[str], found: list[str], *logs: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        values = {name: log.detach().cpu().double().numpy() for name, log in zip(names, logs)}
        ctx.film, ctx.arrays, ctx.values = film, arrays, values
        ctx.like = [(log.device, log.dtype) for log in logs]
        out = arrays(film_of(film, values))
        found.extend(out)
        ctx.found = list(out)
        return tuple(torch.from_numpy(np.ascontiguousarray(value)).to(logs[0].device) for value in out.values())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[Any, ...]:
        known = {
            name: gradient.detach().cpu().double().numpy()
            for name, gradient in zip(ctx.found, gradients)
            if gradient is not None
        }
        out: list[torch.Tensor | None] = []
        for position, (name, value) in enumerate(ctx.values.items()):
            if not ctx.needs_input_grad[4 + position]:
                out.append(None)
                continue
            slopes = np.zeros_like(value)
            for row in _rows(ctx.film, name, value):
                slopes[row] = _channel_slopes(ctx, name, row, known)
            device, dtype = ctx.like[position]
            out.append(torch.from_numpy(slopes).to(device, dtype))
        return (None, None, None, None, *out)


def _rows(film: FilmModel, name: str, value: np.ndarray) -> Sequence[Any]:
    """Index of every row (3,) of a parameter that the film depends on."""
    if value.ndim == 1:
        return [...]
    return [k for k in range(len(value)) if name != "log_beta" or film.components[k].kind == "moffat"]


def _channel_slopes(ctx: Any, name: str, row: Any, gradients: dict[str, np.ndarray]) -> np.ndarray:
    """(3,): d loss / d one row of a parameter."""
    sides = []
    for sign in (1.0, -1.0):
        moved = ctx.values[name].copy()
        moved[row] += sign * STEP
        sides.append(ctx.arrays(film_of(ctx.film, {**ctx.values, name: moved})))
    total = np.zeros(3)
    for key, gradient in gradients.items():
        slope = gradient * (sides[0][key] - sides[1][key]) / (2 * STEP)
        total += np.moveaxis(slope, -3, 0).reshape(3, -1).sum(axis=1)
    return total
