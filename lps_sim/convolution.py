"""Convolution on an angle grid: one stage of a film, its kernel far out, and the transforms that apply it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.interpolate import CubicSpline, RectBivariateSpline

from .geometry import WarpGrid
from .hankel import FREQUENCIES_CPR, encircled, point_spread
from .sphere import SphereCorrection, Transfer, padded_for_sphere


@dataclass(frozen=True)
class Stage:
    """One convolution in one projection, and the part of the light that passes it unscattered.

    projection; transfer: q (any shape) -> (..., 3), OTF of the scattered part, falling to 0;
    unscattered: cosine of the field angle (any shape) -> (..., 3), or None where all light is scattered;
    far: the kernel far out, where it is known better than by transforming ``transfer``.
    """

    projection: str
    transfer: Transfer
    unscattered: Transfer | None
    far: Far | None = None


@dataclass(frozen=True)
class Far:
    """A kernel many blur widths out: density per steradian, radii (R,) -> (R, 3); beyond: radius -> (3,) share."""

    density: Callable[[np.ndarray], np.ndarray]
    beyond: Callable[[float], np.ndarray]

    @classmethod
    def of_transfer(cls, transfer: Transfer) -> Far:
        """By Hankel transforms of the transfer function."""
        values = transfer(FREQUENCIES_CPR)

        def by_channel(
            transform: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]], at: np.ndarray
        ) -> np.ndarray:
            """(R,) -> (R, 3); equal channels are transformed once."""
            known = {values[:, c].tobytes(): c for c in range(3)}
            found = {key: transform(values[:, c])(at) for key, c in known.items()}
            return np.stack([found[values[:, c].tobytes()] for c in range(3)], axis=-1)

        return cls(
            lambda radii: by_channel(point_spread, radii),
            lambda radius: values[0] - by_channel(encircled, np.array(radius)),
        )


def spread(transfer: Transfer, q_max: float) -> Transfer:
    """The same transfer function, faster on large arrays: a cubic spline over 4096 frequencies in 0..q_max.

    Nodes crowd towards 0, where heavy-tailed halos bend; the error is below 1e-7.
    """
    nodes = q_max * np.linspace(0, 1, 4096) ** 3
    values = transfer(nodes)
    if np.ptp(values, axis=-1).max() == 0:
        one = CubicSpline(np.cbrt(nodes), values[:, 0])
        return lambda q: np.broadcast_to(one(np.cbrt(q))[..., None], (*q.shape, 3))
    splines = CubicSpline(np.cbrt(nodes), values)
    return lambda q: splines(np.cbrt(q))


class AngleConvolver:
    """Convolution of (3, rows, columns) fields on an angle grid with a radial transfer function.

    Parameters: transfer (:class:`Stage`); shape (rows, columns) and pitch_rad (y, x) of the grid; reflected: the field
    goes on as its mirror image, else as zeros; dtype, float64 or float32, that of the fields; far, the kernel far out,
    None to transform ``transfer``.
    """

    def __init__(
        self,
        transfer: Transfer,
        shape: tuple[int, int],
        pitch_rad: tuple[float, float],
        reflected: bool,
        dtype: type,
        far: Far | None = None,
    ) -> None:
        self.shape, self.reflected = shape, reflected
        (rows, columns), (pitch_y, pitch_x) = shape, pitch_rad
        if reflected:
            self.padded = shape
            q_y = np.arange(rows) / (2 * rows * pitch_y)
            q_x = np.arange(columns) / (2 * columns * pitch_x)
        else:
            self.padded = padded_for_sphere(shape, pitch_rad)
            q_y = np.abs(fft.fftfreq(self.padded[0], pitch_y))
            q_x = fft.rfftfreq(self.padded[1], pitch_x)
        self.q_cpr = (q_y, q_x)
        q = np.hypot(q_y[:, None], q_x[None, :])
        response = np.moveaxis(spread(transfer, float(q.max()))(q), -1, 0)
        if not reflected:
            response = response - self._wrapped_tail(far or Far.of_transfer(transfer), pitch_rad)
        self.response: np.ndarray = np.ascontiguousarray(response, dtype=dtype)

    @property
    def parts(self) -> list[AngleConvolver | SphereCorrection]:
        """Everything that has a frequency response of its own (``q_cpr``, ``response``)."""
        return [self]

    def __call__(self, fields: np.ndarray) -> np.ndarray:
        """The convolved fields: (3, rows, columns) -> (3, rows, columns)."""
        axes = (1, 2)
        if self.reflected:
            spectrum = fft.dctn(fields, axes=axes)
            spectrum *= self.response
            return fft.idctn(spectrum, axes=axes, overwrite_x=True)
        spectrum = fft.rfft2(fields, self.padded, axes=axes)
        spectrum *= self.response
        rows, columns = self.shape
        return fft.irfft2(spectrum, self.padded, axes=axes, overwrite_x=True)[:, :rows, :columns]

    def _wrapped_tail(self, far: Far, pitch_rad: tuple[float, float], rings: int = 3) -> np.ndarray:
        """Spectrum of what a sampled OTF adds to the kernel: its own copies, one period apart.

        A halo never ends, so no padding is wide enough. The copies lie at least half a period off, where the point
        spread is smooth: those of the next ``rings`` periods are summed on a coarse mesh and spread by splines,
        the rest is taken as uniform.
        """
        period_y, period_x = (count * pitch for count, pitch in zip(self.padded, pitch_rad))
        folded_y, folded_x = (np.minimum(np.arange(count), count - np.arange(count)) for count in self.padded)
        lag_y, lag_x = (np.arange(count // 2 + 1) * pitch for count, pitch in zip(self.padded, pitch_rad))
        mesh_y, mesh_x = (np.linspace(0, period / 2, 33) for period in (period_y, period_x))
        shift = np.arange(-rings, rings + 1)
        inner_radius = (2 * rings + 1) * math.sqrt(period_y * period_x / math.pi)
        copies = [(j, i) for j in shift for i in shift if (j, i) != (0, 0)]
        radii = [np.hypot((mesh_y + j * period_y)[:, None], (mesh_x + i * period_x)[None, :]) for j, i in copies]
        # One call for all copies: a kernel that is known by its transfer function is transformed once.
        tails = far.density(np.ravel(radii)).reshape(len(copies), 33, 33, 3).sum(axis=0)
        tails += far.beyond(inner_radius) / (period_y * period_x)
        spectra: list[np.ndarray] = []
        for channel in range(3):
            twin = next((k for k in range(channel) if np.array_equal(tails[..., k], tails[..., channel])), None)
            if twin is not None:
                spectra.append(spectra[twin])
                continue
            # Lags are signed, but the sum over a symmetric lattice is even in both.
            quarter = RectBivariateSpline(mesh_y, mesh_x, tails[..., channel])(lag_y, lag_x)
            spectra.append(fft.rfft2(quarter[np.ix_(folded_y, folded_x)] * math.prod(pitch_rad)).real)
        return np.stack(spectra)


class SphereConvolver(AngleConvolver):
    """The same for a blur that is round on the sphere: the plane's distortion is taken out to first order."""

    def __init__(
        self,
        transfer: Transfer,
        shape: tuple[int, int],
        pitch_rad: tuple[float, float],
        reflected: bool,
        dtype: type,
        far: Far | None = None,
    ) -> None:
        super().__init__(transfer, shape, pitch_rad, reflected, dtype, far)
        self.correction = SphereCorrection(transfer, shape, pitch_rad, reflected, dtype)

    @property
    def parts(self) -> list[AngleConvolver | SphereCorrection]:
        """The convolution and its correction."""
        return [self, self.correction]

    def __call__(self, fields: np.ndarray) -> np.ndarray:
        """The convolved fields: (3, rows, columns) -> (3, rows, columns)."""
        return super().__call__(fields) + self.correction(fields)


def angle_convolver(stage: Stage, grid: WarpGrid, reflected: bool, dtype: type) -> AngleConvolver:
    """The convolution of a stage on its grid."""
    kind = SphereConvolver if stage.projection == "sphere" else AngleConvolver
    return kind(stage.transfer, (grid.rows, grid.columns), grid.pitch_rad, reflected, dtype, stage.far)
