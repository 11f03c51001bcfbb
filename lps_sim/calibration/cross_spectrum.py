"""A model-free estimate of the transfer function from any scenes: the cross-spectrum in angle space.

    H(q) = <S_xy> / (<S_xx> - <S_nn> + eps),   gamma^2 = |<S_xy>|^2 / (<S_xx> <S_yy>)
    sd   = |H| sqrt((1 - gamma^2) / (2 n gamma^2))                               (Bendat & Piersol 2010, section 9.2)

x is the bare picture of a scene and y the filmed one, both on the grid of :class:`lps_sim.geometry.WarpGrid` with the
weight w_in (so that film is a plain convolution there), less their means, under a Hann window. <> is the mean over the
scenes of a layer count, weighted by the filmed pictures' noise, and over the cells of a ring in frequency; S_nn is the
noise of the bare pictures, which would lower H; n counts independent cells.

The window and the light beyond it bias H in the lowest rings (by 0.03 at 1.7 cycles/rad, below 0.003 from 2.5 on, on a
simulated rough film seen over 70 degrees); sd does not hold that. Compare a film through the estimator, not beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import map_coordinates

from ..film import FilmModel
from ..geometry import WarpGrid, input_weight, radial_scale
from ..operator import SPLINE_ORDER
from .columns import MODEL_FLOOR
from .model_free import USABLE_COHERENCE, FilmDifference, ModelFree, check_gain
from .observations import Exclusion, FilmedScene, Observations, Reader, decimate
from .predicted import film_channel, pictures_behind

Floats = NDArray[np.float64]

_LOWEST_CPR = 1.0
_RING_RATIO = 1.12
_MIN_CELLS = 6
_NYQUIST_SHARE = 0.8  # beyond, interpolation onto the angle grid weighs noise and scene unevenly
_MAX_WIDTH = 640  # wider pictures are area-averaged: the estimate ends where the film has left no contrast
# Correlation of the cells 0, 1 and 2 steps apart behind a Hann window, by its square's Fourier series.
_NEIGHBOURS = {-2: 1 / 6, -1: 2 / 3, 0: 1.0, 1: 2 / 3, 2: 1 / 6}
_MAX_SATURATED_LIGHT = 1e-3  # of a filmed picture, in pixels that no exposure holds
_EPSILON = 1e-12  # of the largest ring's S_xx


@dataclass
class _Pair:
    """Spectra of one scene at one layer count and channel, whitened by the filmed picture's noise."""

    x: NDArray[np.complex128]
    y: NDArray[np.complex128]
    noise: float
    weight: float


class CrossSpectrum:
    """The spectra of all scenes of a calibration set; estimates and comparisons by layer count.

    Fringe scenes are left to :mod:`lps_sim.calibration.fringes`; a filmed picture with more than 0.1 % of its light in
    saturated pixels is left out and listed in ``exclusions``.

    Parameters
    ----------
    seen, reader : of :func:`lps_sim.calibration.observations.observe`
    projection : one of ``lps_sim.geometry.PROJECTIONS``: the coordinates in which the film is a convolution

    Raises
    ------
    lps_sim.errors.UnknownNameError
        no such projection
    """

    label = "model-free"

    def __init__(self, seen: Observations, reader: Reader, projection: str = "equal_area") -> None:
        camera = reader.set.camera
        sides = camera.width, camera.height
        allowed = [d for d in range(1, 33) if all(side % d == 0 for side in sides)]
        self._factor = next((d for d in allowed if camera.width / d <= _MAX_WIDTH), allowed[-1])
        self.camera = camera.resized(camera.width // self._factor, camera.height // self._factor)
        self.projection = projection
        self.exclusions: list[Exclusion] = []
        self._plan()
        self._x: dict[str, tuple[Floats, NDArray[np.complex128], Floats]] = {}
        self._scenes: list[FilmedScene] = []
        for entry in seen.scenes:
            if entry.target == "fringe":
                continue
            saturated = np.isinf(entry.y_variance)
            share = float((entry.y * saturated).sum() / max(float(entry.y.sum()), 1e-12))
            if share > _MAX_SATURATED_LIGHT:
                reason = f"{100 * share:.3g} % of its light saturated at every exposure"
                self.exclusions.append(Exclusion(", ".join(entry.files), f"model-free estimate: {reason}"))
                continue
            if entry.scene not in self._x:
                bare = reader.merge(reader.set.select(scene=entry.scene, layers=0))
                self._add_input(entry, np.where(np.isinf(bare.variance), 0, bare.variance), seen.vignetting)
            self._scenes.append(entry)
        self.layers = sorted({entry.layers for entry in self._scenes})

    def estimate(self, layers: int, gain: Sequence[float] | None = None) -> ModelFree:
        """H(q) at one layer count.

        Parameters
        ----------
        layers : one of ``self.layers``
        gain : (C,) to divide by; a film's fitted gain puts the estimate on the scale of ``film.mtf``. By default the
            ratio of the mean light in the window, which is larger than H(0) where scattered light leaves the window.

        Raises
        ------
        ValueError
            no usable scene at that layer count, or gains too few or too many
        """
        pairs = self._pairs(layers)
        channels = [self._rings(column) for column in pairs]
        gains = np.array([_gain(column) for column in pairs]) if gain is None else check_gain(gain, len(pairs))
        h = np.stack([ring.h for ring in channels], axis=-1)
        return ModelFree(
            layers=layers,
            q_cpr=self._frequencies(pairs),
            mtf=h.real / gains,
            sd=np.stack([ring.sd for ring in channels], axis=-1) / gains,
            coherence=np.stack([ring.coherence for ring in channels], axis=-1),
            gain=gains,
            source="cross spectrum",
            scenes=tuple(entry.scene for entry in self._scenes if entry.layers == layers),
            projection=self.projection,
        )

    def difference(self, film: FilmModel, layers: int, gain: Sequence[float]) -> FilmDifference:
        """Model-free minus film at one layer count, the film's pictures predicted from the bare ones (dark border).

        Parameters
        ----------
        film : its scattering and geometry; transmittance and veil are not used
        layers : one of ``self.layers``
        gain : (C,) of the filmed pictures, one a channel, as fitted

        Raises
        ------
        ValueError
            no usable scene at that layer count, or a gain too few or too many
        """
        pairs = self._pairs(layers)
        unit = check_gain(gain, len(pairs))
        predictions = self._predicted(film, layers)
        measured, predicted, rest = [], [], []
        for c, column in enumerate(pairs):
            filmed = [replace(pair, y=unit[c] * spectrum) for pair, spectrum in zip(column, predictions[c])]
            measured.append(self._rings(column))
            predicted.append(self._rings(filmed, noisy=False))
            rest.append(self._rings([replace(pair, y=pair.y - other.y) for pair, other in zip(column, filmed)]))
        expected = np.stack([ring.h.real for ring in predicted], axis=-1) / unit
        return FilmDifference(
            layers=layers,
            q_cpr=self._frequencies(pairs),
            predicted=expected,
            difference=np.stack([ring.h.real for ring in measured], axis=-1) / unit - expected,
            sd=np.stack([ring.sd for ring in rest], axis=-1) / unit,
            usable=np.stack([ring.coherence for ring in measured], axis=-1) > USABLE_COHERENCE,
            degrees=2 * len(pairs[0]) * self._independent,
            source="cross spectrum",
        )

    # -- pictures to spectra --------------------------------------------------------------------------------------
    def _plan(self) -> None:
        """Angle grid, window, and the ring of every cell of the half plane (-1: none)."""
        height, width, f_px = self.camera.height, self.camera.width, self.camera.f_px
        pitch = float(radial_scale(np.hypot(width, height) / 2 / f_px, self.projection)) / f_px
        grid = WarpGrid(height, width, (f_px, f_px), self.projection, pitch)
        seen = np.isfinite(grid.from_frame).all(axis=0)
        self._from_frame = np.where(seen, grid.from_frame, 0.0)
        tan_y, tan_x = [(self._from_frame[k] - (side - 1) / 2) / f_px for k, side in ((0, height), (1, width))]
        window = [np.sin(np.pi * (np.arange(count) + 0.5) / count) ** 2 for count in (grid.rows, grid.columns)]
        self._weight = input_weight(1 / np.sqrt(1 + tan_x**2 + tan_y**2), self.projection)
        self._window = seen * grid.coverage * window[0][:, None] * window[1][None, :]
        # A pixel's noise is shared by as many grid points as its area holds.
        (yy, yx), (xy, xx) = [np.gradient(position) for position in self._from_frame]
        self._shared = seen / np.maximum(np.abs(yy * xx - yx * xy), 1e-6)
        q_y, q_x = fft.fftfreq(grid.rows, grid.pitch_rad[0]), fft.rfftfreq(grid.columns, grid.pitch_rad[1])
        q = np.hypot(q_y[:, None], q_x[None, :])
        once = np.ones(q.shape, bool)
        once[q_y < 0, 0] = False  # the conjugates of the cells above
        top = _NYQUIST_SHARE * self.camera.nyquist_cpr
        edges = [_LOWEST_CPR]
        while edges[-1] < top:
            low, high = edges[-1], edges[-1] * _RING_RATIO
            while (once & (q >= low) & (q < high)).sum() < _MIN_CELLS:
                high *= _RING_RATIO
            edges.append(high)
        ring = np.digitize(q, edges[:-1] if edges[-1] > top else edges) - 1
        self._ring_of = np.where(once & (ring < len(edges) - 2), ring, -1)
        self._cell = self._ring_of >= 0
        self._ring = self._ring_of[self._cell]
        self._count = np.bincount(self._ring).astype(float)
        self._q_cell = q[self._cell]
        # Noise and scene are both correlated between cells: a sum's variance grows by the squares, pair by pair.
        pairs = np.zeros_like(self._count)
        for (j, down), (i, right) in itertools.product(_NEIGHBOURS.items(), repeat=2):
            other = np.roll(self._ring_of, (j, i), (0, 1))
            pairs += (down * right) ** 2 * np.bincount(
                self._ring[other[self._cell] == self._ring], minlength=pairs.size
            )
        self._independent = self._count**2 / pairs

    def _spectrum(self, picture: Floats) -> NDArray[np.complex128]:
        """(1 + cells,): mean in the window, then the cells of the rings, of an (H, W) picture less that mean.

        A mean left in would leak through the window into the lowest rings, and film changes mean and contrast apart.
        """
        field = map_coordinates(picture, self._from_frame, order=SPLINE_ORDER, mode="reflect") * self._weight
        mean = (field * self._window).sum() / self._window.sum()
        return np.concatenate([[mean], fft.rfft2((field - mean) * self._window)[self._cell]])

    def _noise(self, variance: Floats) -> float:
        """Mean |noise|^2 of a cell for (H, W) variances of the pixels."""
        there = map_coordinates(variance, self._from_frame, order=1, mode="nearest")
        return float((there * self._shared * (self._window * self._weight) ** 2).sum())

    def _add_input(self, entry: FilmedScene, bare_variance: Floats, vignetting: Floats) -> None:
        x = decimate(entry.x, self._factor)
        variance = decimate(bare_variance / vignetting[..., None] ** 2, self._factor) / self._factor**2
        channels = range(x.shape[-1])
        spectra = np.stack([self._spectrum(x[..., c]) for c in channels])
        self._x[entry.scene] = x, spectra, np.array([self._noise(variance[..., c]) for c in channels])

    def _pairs(self, layers: int) -> list[list[_Pair]]:
        """Per channel, the scenes of one layer count."""
        entries = [entry for entry in self._scenes if entry.layers == layers]
        if not entries:
            raise ValueError(f"layers must be among those with usable scenes ({self.layers}), got {layers}")
        pairs: list[list[_Pair]] = [[] for _ in range(entries[0].y.shape[-1])]
        for entry in entries:
            _, spectra, noise = self._x[entry.scene]
            y = decimate(entry.y, self._factor)
            known = np.where(np.isinf(entry.y_variance), 0, entry.y_variance)
            variance = decimate(known, self._factor) / self._factor**2 + (MODEL_FLOOR * y) ** 2
            for c, column in enumerate(pairs):
                weight = 1 / self._noise(variance[..., c])
                column.append(_Pair(spectra[c], self._spectrum(y[..., c]), float(noise[c]), weight))
        return pairs

    def _predicted(self, film: FilmModel, layers: int) -> list[NDArray[np.complex128]]:
        """Per channel, the spectra (scenes, cells) of every scene's picture behind the film at gain 1."""
        bare = [self._x[entry.scene][0] for entry in self._scenes if entry.layers == layers]
        channels = bare[0].shape[-1]
        spectra = []
        for c in range(channels):
            pictures = [x[..., c] for x in bare]
            filmed = pictures_behind(film, layers, pictures, self.camera, film_channel(c, channels))
            spectra.append(np.stack([self._spectrum(light) for light in filmed]))
        return spectra

    # -- spectra to rings -----------------------------------------------------------------------------------------
    def _frequencies(self, pairs: Sequence[Sequence[_Pair]]) -> Floats:
        """(Q,) where the scenes' power lies in every ring: H is a mean with that weight."""
        power = np.sum([pair.weight * np.abs(pair.x[1:]) ** 2 for column in pairs for pair in column], axis=0)
        return np.asarray(np.bincount(self._ring, power * self._q_cell) / np.bincount(self._ring, power))

    def _rings(self, pairs: Sequence[_Pair], noisy: bool = True) -> _Rings:
        """Cross-spectrum of every ring; ``noisy``: y does not know of the noise in x, which is taken out of S_xx."""
        total = float(sum(pair.weight for pair in pairs))

        def mean(values: Sequence[Any]) -> Any:
            summed = np.sum([pair.weight / total * value for pair, value in zip(pairs, values)], axis=0)
            real = np.bincount(self._ring, summed.real)
            return (real + 1j * np.bincount(self._ring, summed.imag) if np.iscomplexobj(summed) else real) / self._count

        s_xy = mean([pair.x[1:].conj() * pair.y[1:] for pair in pairs])
        s_xx = mean([np.abs(pair.x[1:]) ** 2 for pair in pairs])
        s_yy = mean([np.abs(pair.y[1:]) ** 2 for pair in pairs])
        s_nn = sum(pair.weight / total * pair.noise for pair in pairs) if noisy else 0.0
        power = np.maximum(s_xx - s_nn, 0.05 * s_xx) + _EPSILON * s_xx.max()
        coherence = np.abs(s_xy) ** 2 / np.maximum(s_xx * s_yy, 1e-300)
        # |H| sqrt((1 - gamma^2) / gamma^2) without the division by a coherence of 0.
        rest = np.sqrt(np.maximum(s_yy / s_xx - np.abs(s_xy / s_xx) ** 2, 0.0)) * s_xx / power
        return _Rings(s_xy / power, rest / np.sqrt(2 * len(pairs) * self._independent), coherence)


@dataclass
class _Rings:
    h: NDArray[np.complex128]
    sd: Floats
    coherence: Floats


def _gain(pairs: Sequence[_Pair]) -> float:
    """Light behind the film over light before it: the ratio of the means."""
    light = sum(pair.weight * (pair.x[0].conj() * pair.y[0]).real for pair in pairs)
    return float(light / sum(pair.weight * abs(pair.x[0]) ** 2 for pair in pairs))
