"""The planned film operator on torch tensors: linear light of a batch of frames in, linear sensor signal out.

    y = gain [ T (spread(stages(shrink(x))) + direct area(x)) + veil ]

Frames shrink and spread by banded matrix products, warp by bilinear look-ups, and are convolved by cosine transforms
(dense products on small grids, FFT on large ones) or padded FFTs. All of it is linear in x and in the film's arrays,
has static shapes and no data-dependent branch. Fields are (n, 3, y, x) float32 or float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .film import FilmModel
from .seal_plan import BEYOND, Lookups, SealPlan, StagePlan, blocks
from .sphere import SphereCorrection

DENSE_COSINES = 320  # up to this many samples a cosine transform by matrix product is cheaper than by FFT
_NEGLIGIBLE = 1e-10  # of a transfer function: denormal numbers would slow a processor down
Arrays = Mapping[str, torch.Tensor]
Curve = Callable[[torch.Tensor], torch.Tensor]


class _Buffers(nn.Module):
    """A module whose tables keep their precision: ``.to(bfloat16)`` and the like move it, no more."""

    def put(self, name: str, values: np.ndarray | torch.Tensor, dtype: torch.dtype) -> None:
        """Registers a non-persistent buffer."""
        tensor = torch.as_tensor(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values
        self.register_buffer(name, tensor.to(dtype), persistent=False)

    def table(self, name: str) -> torch.Tensor:
        """A buffer by its name."""
        return cast(torch.Tensor, getattr(self, name))

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> _Buffers:
        return super()._apply(keep_precision(fn), recurse)


def keep_precision(fn: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function that ``nn.Module.to`` maps over tensors, without the change of dtype."""

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        out = fn(tensor)
        return out if out.dtype == tensor.dtype else tensor.to(out.device)

    return moved


class AxisMap(_Buffers):
    """A banded matrix along an axis of (n, 3, y, x): ``axis`` -2 (y) or -1 (x)."""

    def __init__(self, matrix: np.ndarray, axis: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.axis = axis
        self.spans: list[tuple[int, int]] = []
        for start, stop, part in blocks(matrix):
            self.put(f"block{len(self.spans)}", part if axis == -2 else part.T, dtype)
            self.spans.append((start, stop))

    def forward(self, x: torch.Tensor, curve: Curve | None = None) -> torch.Tensor:
        """The product along the axis with x, or with curve(x), which is then never held as a whole."""
        flat = x.flatten(0, 1)
        parts = []
        for index, (start, stop) in enumerate(self.spans):
            block = self.table(f"block{index}")
            part = flat[:, start:stop] if self.axis == -2 else flat[..., start:stop]
            if curve is not None:
                part = curve(part)
            parts.append(torch.bmm(block.expand(len(flat), -1, -1), part) if self.axis == -2 else part @ block)
        out = parts[0] if len(parts) == 1 else torch.cat(parts, self.axis)
        return out.unflatten(0, x.shape[:2])


class PlaneMap(nn.Module):
    """Banded matrices along both axes, (y, x); the first one to apply is the one that shrinks more."""

    def __init__(self, matrices: tuple[np.ndarray, np.ndarray], dtype: torch.dtype) -> None:
        super().__init__()
        order = sorted(zip(matrices, (-2, -1)), key=lambda pair: len(pair[0]) / pair[0].shape[1])
        self.maps = nn.ModuleList(AxisMap(matrix, axis, dtype) for matrix, axis in order)

    def forward(self, x: torch.Tensor, curve: Curve | None = None) -> torch.Tensor:
        """(n, 3, y, x) -> (n, 3, y', x'), of x or of curve(x)."""
        first, second = self.maps
        return second(first(x, curve))


class Warp(_Buffers):
    """A B-spline of given coefficients at fixed positions, times a weight."""

    def __init__(self, lookups: Lookups, dtype: torch.dtype) -> None:
        super().__init__()
        for name, values in vars(lookups).items():
            self.put(name, values, dtype)

    def forward(self, coefficients: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) -> (n, 3, R, C)."""
        total = coefficients.new_zeros(())
        for at_y, weight_y in zip(self.table("at_y"), self.table("weight_y")):
            for at_x, weight_x in zip(self.table("at_x"), self.table("weight_x")):
                grid = torch.stack([at_x, at_y], -1).expand(len(coefficients), -1, -1, -1)
                part = functional.grid_sample(coefficients, grid, "bilinear", "border", align_corners=False)
                total = total + part * (weight_y * weight_x)
        return total


class Cosines(_Buffers):
    """Orthonormal cosine transform (type 2) along y and x, there and back."""

    def __init__(self, shape: tuple[int, int], dtype: torch.dtype) -> None:
        super().__init__()
        self.dense: list[bool] = []
        for axis, count in enumerate(shape):
            self.dense.append(count <= DENSE_COSINES)
            k, i = np.arange(count)[:, None], np.arange(count)[None, :]
            if self.dense[-1]:
                matrix = np.cos(np.pi * k * (2 * i + 1) / (2 * count)) * math.sqrt(2 / count)
                matrix[0] /= math.sqrt(2)
                self.put(f"matrix{axis}", matrix, dtype)
            else:
                half = np.arange(count // 2 + 1)
                turn = np.exp(-0.5j * np.pi * half / count) * math.sqrt(2 / count)
                turn[0] /= math.sqrt(2)
                self.put(f"turn{axis}", np.stack([turn.real, turn.imag]), dtype)

    def forward(self, x: torch.Tensor, inverse: bool = False) -> torch.Tensor:
        """(n, 3, y, x) -> its transform, the same shape."""
        for axis, dense in enumerate(self.dense):
            if dense:
                x = self._by_product(x, axis, inverse)
            else:
                turn = torch.complex(*self.table(f"turn{axis}"))
                x = (_inverse_cosines if inverse else _cosines)(x, turn, axis - 2)
        return x

    def _by_product(self, x: torch.Tensor, axis: int, inverse: bool) -> torch.Tensor:
        matrix = self.table(f"matrix{axis}")
        if axis == 1:
            return x @ (matrix if inverse else matrix.T)
        flat = x.flatten(0, 1)
        matrix = matrix.T if inverse else matrix
        return torch.bmm(matrix.expand(len(flat), -1, -1), flat).unflatten(0, x.shape[:2])


def _cosines(x: torch.Tensor, turn: torch.Tensor, axis: int) -> torch.Tensor:
    """DCT-2 along an axis, -2 or -1, by one real FFT of the same length (Makhoul 1980)."""
    count = x.shape[axis]
    even, odd = (x[..., 0::2], x[..., 1::2]) if axis == -1 else (x[..., 0::2, :], x[..., 1::2, :])
    half = torch.fft.rfft(torch.cat([even, odd.flip(axis)], axis), dim=axis) * _along(turn, axis)
    far = half.imag.narrow(axis, 1, (count + 1) // 2 - 1)
    return torch.cat([half.real, -far.flip(axis)], axis)


def _inverse_cosines(x: torch.Tensor, turn: torch.Tensor, axis: int) -> torch.Tensor:
    """The inverse of :func:`_cosines`."""
    count = x.shape[axis]
    near = x.narrow(axis, 0, count // 2 + 1)
    far = x.narrow(axis, count - count // 2, count // 2).flip(axis)
    far = torch.cat([torch.zeros_like(x.narrow(axis, 0, 1)), far], axis)
    folded = torch.fft.irfft(torch.complex(near, -far) / _along(turn, axis), count, axis)
    # Even places first, odd ones backwards behind them: put them side by side again.
    even = folded.narrow(axis, 0, (count + 1) // 2)
    odd = folded.narrow(axis, (count + 1) // 2, count // 2).flip(axis)
    if count % 2:
        odd = torch.cat([odd, torch.zeros_like(even.narrow(axis, 0, 1))], axis)
    return (
        torch.stack([even, odd], even.ndim + axis + 1)
        .flatten(even.ndim + axis, even.ndim + axis + 1)
        .narrow(axis, 0, count)
    )


def _along(values: torch.Tensor, axis: int) -> torch.Tensor:
    return values if axis == -1 else values[:, None]


class SphereTerm(_Buffers):
    """:class:`lps_sim.sphere.SphereCorrection` on tensors."""

    def __init__(self, source: SphereCorrection, reflected: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.cell, self.fill, self.margin, self.reflected = source.cell, source.fill, source.margin, reflected
        bend = source.bend
        self.padded = bend.padded
        (top, left), shape = source.margin, bend.shape
        inside = np.s_[top : shape[0] - top, left : shape[1] - left]
        self.put("weights", np.stack([np.broadcast_to(weight, shape)[inside] for weight in bend.output]), dtype)
        self.put("u", bend.u, dtype)
        self.put("v", bend.v, dtype)
        self.put("q_v", bend.q_cpr[0][:, None], dtype)
        self.put("q_u", bend.q_cpr[1][None, :], dtype)
        self.spread = PlaneMap((source.spread[0], source.spread[1]), dtype)

    def forward(self, fields: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
        """(n, 3, R, C) and (2, 3 or 1, y, x) -> the correction, the shape of the fields."""
        (bottom, right), (top, left), cell = self.fill, self.margin, self.cell
        if bottom or right:
            fields = functional.pad(fields, (0, right, 0, bottom), "replicate" if self.reflected else "constant")
        small = functional.avg_pool2d(fields, cell) if cell > 1 else fields
        rows, columns = small.shape[-2:]
        if self.reflected:
            small = _mirrored(_mirrored(small, top, -2), left, -1)
        total = fields.new_zeros(())
        transfer, slope = response
        for weight, (by_transfer, by_slope) in zip(self.table("weights"), self._spectra(small)):
            spectrum = by_slope * slope if by_transfer is None else by_transfer * transfer + by_slope * slope
            part = torch.fft.irfft2(spectrum, self.padded)[..., top : top + rows, left : left + columns]
            total = total + weight * part
        return self.spread(total)

    def _spectra(self, field: torch.Tensor) -> list[tuple[torch.Tensor | None, torch.Tensor]]:
        """What H and G multiply behind each product, as in :meth:`lps_sim.sphere.SphereBend.spectra`."""
        u, v, q_u, q_v = (self.table(name) for name in ("u", "v", "q_u", "q_v"))
        plain, x_u, x_v, x_uu, x_vv, x_uv = (
            torch.fft.rfft2(product, self.padded)
            for product in (field, field * u, field * v, field * (u * u), field * (v * v), field * (u * v))
        )
        along = -2 * (q_u * x_u + q_v * x_v)
        return [
            (plain / 16, q_v**2 * plain / 8),
            (plain / 16, q_u**2 * plain / 8),
            (None, -q_u * q_v * plain / 4),
            (-x_u / 8, q_u * along / 8),
            (-x_v / 8, q_v * along / 8),
            ((x_uu + x_vv) / 16, (q_v**2 * x_uu + q_u**2 * x_vv - 2 * q_u * q_v * x_uv) / 8),
        ]


def _mirrored(x: torch.Tensor, count: int, axis: int) -> torch.Tensor:
    """``count`` mirrored samples on both sides, edge repeated; count at most the length."""
    if not count:
        return x
    length = x.shape[axis]
    before, after = x.narrow(axis, 0, count).flip(axis), x.narrow(axis, length - count, count).flip(axis)
    return torch.cat([before, x, after], axis)


class Stage(nn.Module):
    """One convolution in angle space: spline coefficients of the cells -> the cells and BEYOND more on every side."""

    def __init__(self, plan: StagePlan, reflected: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.inwards, self.outwards = Warp(plan.inwards, dtype), Warp(plan.outwards, dtype)
        self.shape, self.padded = plan.shape, plan.padded
        self.cosines = Cosines(plan.shape, dtype) if reflected else None
        self.sphere = SphereTerm(plan.sphere, reflected, dtype) if plan.sphere is not None else None

    def forward(
        self,
        coefficients: torch.Tensor,
        wide: torch.Tensor | None,
        response: torch.Tensor,
        sphere: torch.Tensor | None,
        unscattered: torch.Tensor | None,
    ) -> torch.Tensor:
        """``wide``, the input's values with the cells beyond, adds the unscattered light."""
        fields = self.inwards(coefficients)
        if self.cosines is not None:
            halo = self.cosines(response * self.cosines(fields), inverse=True)
        else:
            spectrum = torch.fft.rfft2(fields, self.padded) * response
            halo = torch.fft.irfft2(spectrum, self.padded)[..., : self.shape[0], : self.shape[1]]
        if self.sphere is not None:
            halo = halo + self.sphere(fields, sphere)
        out = self.outwards(halo)
        if wide is not None and unscattered is not None:
            out = out + unscattered * wide
        return out


class SealOptics(_Buffers):
    """The planned operator of one film, layer count, camera and size.

    Parameters: plan; film; dtype, float32 or float64, of tables and light.
    """

    def __init__(self, plan: SealPlan, film: FilmModel, dtype: torch.dtype) -> None:
        super().__init__()
        self.border, self.cell_px = plan.border, plan.sampling.cell_px
        self.small = plan.small
        self.stages = nn.ModuleList(Stage(stage, plan.reflected, dtype) for stage in plan.stages)
        self.area = PlaneMap(plan.area, dtype) if plan.area is not None else None
        self.gain: torch.Tensor
        self.transmittance: torch.Tensor
        self.veil: torch.Tensor
        if plan.stages:
            self.shrink, self.spread = PlaneMap(plan.shrink, dtype), PlaneMap(plan.spread, dtype)
        if len(plan.stages) > 1:
            self.to_coefficients = PlaneMap(plan.to_coefficients, dtype)
        self.put("gain", plan.gain, dtype)
        self.put("transmittance", film.transmittance(plan.layers)[:, None, None], dtype)
        self.put("veil", film.veil(plan.layers)[:, None, None], dtype)
        self.names: list[str] = []
        for name, values in plan.film_arrays(film).items():
            if name.startswith(("response", "sphere")):
                values = np.where(np.abs(values) < _NEGLIGIBLE, 0.0, values)
            if np.ptp(values, axis=-3).max() == 0:
                values = values[..., :1, :, :]
            self.names.append(name)
            self.put(name.replace(".", "_"), values, dtype)
        with torch.no_grad():
            for index, missing in enumerate(self._missing(self._own_arrays())):
                self.put(f"missing_{index}", missing, dtype)

    def forward(self, frames: torch.Tensor, curve: Curve | None = None, arrays: Arrays | None = None) -> torch.Tensor:
        """Sensor signal without noise, 1 = full scale: (n, 3, H, W) -> (n, 3, h, w).

        ``curve`` makes linear light of the frames, piece by piece where it can; None if they are linear light.
        ``arrays``: :meth:`lps_sim.seal_plan.SealPlan.film_arrays` as tensors, to follow gradients into them; None for
        the planned film's.
        """
        film = self._own_arrays() if arrays is None else arrays
        # A processor gains by keeping pieces in its caches; a compiler joins the curve with what follows by itself.
        pieces = frames.device.type == "cpu" and not torch.compiler.is_compiling()
        if curve is not None and (not pieces or ("direct" in film and self.area is None)):
            frames, curve = curve(frames), None
        total = frames.new_zeros(())
        if len(self.stages):
            missing = self._own_missing() if arrays is None else self._missing(film)
            total = self.spread(self._scattered(self.shrink(frames, curve), film, missing))
        if "direct" in film:
            total = total + film["direct"] * (frames if self.area is None else self.area(frames, curve))
        return (self.transmittance * total + self.veil) * self.gain

    def _scattered(self, coefficients: torch.Tensor, film: Arrays, missing: list[torch.Tensor]) -> torch.Tensor:
        """Spline coefficients of the frame's cells -> scattered light at the cells and BEYOND more."""
        wide = coefficients
        for index in range(len(self.stages)):
            if index:
                coefficients = self.to_coefficients(wide[..., BEYOND:-BEYOND, BEYOND:-BEYOND])
            wide = self._stage(index, coefficients, wide if index else None, film)
            if missing:
                # The filter from samples to coefficients keeps the mean.
                wide = wide + missing[index] * coefficients.mean((-2, -1), keepdim=True)
        return wide

    def _stage(self, index: int, coefficients: torch.Tensor, wide: torch.Tensor | None, film: Arrays) -> torch.Tensor:
        names = (f"response.{index}", f"sphere.{index}", f"unscattered.{index}")
        return self.stages[index](coefficients, wide, *(film.get(name) for name in names))

    def _missing(self, film: Arrays) -> list[torch.Tensor]:
        """1 - K 1 of every stage: light from outside the view, (1, 3, y, x) each; empty for a dark surround."""
        if self.border == "dark":
            return []
        missing = []
        for index in range(len(self.stages)):
            ones = self.gain.new_ones((1, 3, *(cells + 2 * BEYOND for cells in self.small)))
            flat = self._stage(index, ones[..., BEYOND:-BEYOND, BEYOND:-BEYOND], ones, film)
            missing.append(1 - flat)
        return missing

    def _own_arrays(self) -> dict[str, torch.Tensor]:
        return {name: self.table(name.replace(".", "_")) for name in self.names}

    def _own_missing(self) -> list[torch.Tensor]:
        return [] if self.border == "dark" else [self.table(f"missing_{i}") for i in range(len(self.stages))]
