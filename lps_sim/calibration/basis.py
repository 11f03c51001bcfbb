"""The film's operator as a matrix: one scene behind any film is a linear function of the film's transfer function.

For a fixed scene x and projection, ``w_out F^-1{ H F{ w_in x } }`` at chosen pixels is linear in the radial transfer
function H. Writing H as a cubic spline through J frequencies turns it into ``matrix @ H(nodes)``: J convolutions
once, then every film, family and layer count costs one small product. It is the operator of
:mod:`lps_sim.operator` with ``border="dark"`` (tests hold the two together).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.interpolate import CubicSpline, RectBivariateSpline
from scipy.ndimage import map_coordinates

from .. import hankel
from ..camera import Camera
from ..film import FilmModel
from ..geometry import WarpGrid, cos_theta, face_loss, input_weight, pixel_offsets, radial_scale, refracted_cosine
from ..sphere import SphereBend, padded_for_sphere

Floats = NDArray[np.float64]

# Even up to 8 cycles/rad, where a kernel that ends at 90 degrees ripples with a period of 0.7, finest where the wide
# halo is, then in log q: fine enough for a cubic through a film's transfer function to 1e-4 (tested), coarse enough for
# seconds a scene. Twice as coarse below 3 cycles/rad a fit loses 0.15 % of tau.
_EVEN_CPR = np.concatenate([np.arange(30) * 0.1, 3.0 + np.arange(25) * 0.2])
_EVEN_TO_CPR = 8.0
_LOG_NODES = 24
_NODES = _EVEN_CPR.size + _LOG_NODES
_FIRST_CPR = 1.0  # of the splines' variable, log(q + 1)
_TAIL_NODES = 16
_TAIL_MESH = 33
_RINGS = 3
_SPLINE_ORDER = 5
_MARGIN = 4


@dataclass(frozen=True)
class SceneSpectra:
    """One scene on the padded grids: its spectrum, and what the sphere's corrections start from (none elsewhere)."""

    plain: NDArray[np.complex64]
    bent: list[tuple[NDArray[np.complex64], NDArray[np.complex64]]]


class OperatorBasis:
    """Frequencies, angle grid and pixel positions shared by all scenes of a calibration set.

    Parameters
    ----------
    camera : of the (possibly decimated) shots
    projection : "sphere", "equal_area", "direction_cosines" or "pixel"
    """

    def __init__(self, camera: Camera, projection: str) -> None:
        self.projection = projection
        height, width, f_px = camera.height, camera.width, camera.f_px
        pitch = float(radial_scale(math.hypot(width, height) / 2 / f_px, projection)) / f_px
        # As the operator's dark border: a few cells beyond the frame, weighted by their share inside it.
        grid = WarpGrid(height, width, (f_px, f_px), projection, pitch, margin=_MARGIN)
        seen = np.isfinite(grid.from_frame).all(axis=0)
        self._from_frame = np.where(seen, grid.from_frame, 0.0)
        self._to_frame = grid.to_frame
        tan_y = (self._from_frame[0] - (height - 1) / 2) / f_px
        tan_x = (self._from_frame[1] - (width - 1) / 2) / f_px
        self._w_in = seen * grid.coverage * input_weight(1 / np.sqrt(1 + tan_x**2 + tan_y**2), projection)
        self._cosine = cos_theta(pixel_offsets(width, f_px), pixel_offsets(height, f_px))
        self._w_out = 1 / input_weight(self._cosine, projection)
        # The grid's own steps: those asked for, shortened to fit the frame.
        self._pitch = pitch_y, pitch_x = grid.pitch_rad
        shape = grid.rows, grid.columns
        self._padded = padded_for_sphere(shape, self._pitch)
        # Where the copies of a kernel of 90 degrees lie beyond every lag within the frame, no tail is to be taken off.
        self._clear = all((p - n) * step > math.sqrt(2) for p, n, step in zip(self._padded, shape, self._pitch))
        q = np.hypot(fft.fftfreq(self._padded[0], pitch_y)[:, None], fft.rfftfreq(self._padded[1], pitch_x)[None, :])
        self._log_q = np.log(q + _FIRST_CPR)
        last = max(float(np.exp(self._log_q.max()) - _FIRST_CPR), 2 * _EVEN_TO_CPR)
        self.nodes_cpr: Floats = np.concatenate([_EVEN_CPR, np.geomspace(_EVEN_TO_CPR, last, _LOG_NODES)])
        self._log_nodes = np.log(self.nodes_cpr + _FIRST_CPR)
        period = [count * step for count, step in zip(self._padded, self._pitch)]
        self._uniform_radius = (2 * _RINGS + 1) * math.sqrt(period[0] * period[1] / math.pi)
        farthest = math.hypot(*period) * (_RINGS + 1)
        # A film by the radiative law ends at 90 degrees: there the nodes are dense.
        nearest = min(period) / 2.2
        horizon = max(2 * nearest, 1.6)
        self._tail_nodes_rad = np.unique(
            np.concatenate(
                [
                    np.geomspace(nearest, horizon, _TAIL_NODES // 2),
                    np.geomspace(horizon, farthest, _TAIL_NODES // 2 + 1),
                ]
            )
        )

    def coefficients(self, film: FilmModel, layers: int, channel: int) -> Floats:
        """What a film puts behind the columns of :meth:`matrix`: its kernel's OTF at the nodes, and its far tail."""
        if film.layer_law == "poisson":
            return self.coefficients_of(lambda q: film.kernel_otf(q, layers)[:, channel])
        known = film.kernel_otf(self.nodes_cpr, layers)[:, channel]
        if self._clear:
            return np.concatenate([known, np.zeros(self._tail_nodes_rad.size + 1)])
        far = film.far_kernel(self._tail_nodes_rad, layers)[:, channel]
        beyond = film.kernel_beyond(self._uniform_radius, layers)[channel]
        return np.concatenate([known, far * self._tail_nodes_rad**3, [beyond]])

    def coefficients_of(self, transfer: Callable[[Floats], Floats]) -> Floats:
        """The same for a radial transfer function that is smooth in log q, cycles/rad (Q,) -> (Q,), falling to 0."""
        known = transfer(np.concatenate([self.nodes_cpr, hankel.NODES_CPR]))
        values, smooth = known[:_NODES], known[_NODES:]
        far, near = self._far_maps
        beyond = smooth[0] - near @ smooth
        return np.concatenate([values, (far @ smooth) * self._tail_nodes_rad**3, [*beyond]])

    @functools.cached_property
    def _far_maps(self) -> tuple[Floats, Floats]:
        return hankel.node_maps(self._tail_nodes_rad, np.array([self._uniform_radius]))

    def pictures(self, scenes: Mapping[str, SceneSpectra], coefficients: Floats) -> dict[str, Floats]:
        """Scene -> (H W,) its scattered light behind one transfer function, ``matrix @ coefficients``."""
        whole = [sum(c * part for c, part in zip(coefficients, self._responses))]
        bends = [sum(c * part for c, part in zip(coefficients, pair)) for pair in zip(*self._bends)]
        everywhere = np.arange(self._cosine.size)
        return {
            name: self._columns(known, everywhere, whole, [(bends[0], bends[1])] if bends else [])[:, 0]
            for name, known in scenes.items()
        }

    def spectra(self, x: Floats) -> SceneSpectra:
        """The spectra of one scene (H, W) that every column and picture starts from."""
        field = map_coordinates(x, self._from_frame, order=_SPLINE_ORDER, mode="reflect") * self._w_in
        plain = (fft.rfft2(field, self._padded) / self._spline_response).astype(np.complex64)
        return SceneSpectra(plain, self._bent_spectra(field))

    def unscattered(self, refractive_index: float) -> tuple[Floats, Floats]:
        """Oblique unscattered light, (H, W) each: its way through a sheet beyond one thickness, loss at a face.

        b_N(theta) = b_N exp(ln(b_N) way - 2 N loss), as :func:`lps_sim.operator.film_stages` has it.
        """
        way = 1 / refracted_cosine(self._cosine, refractive_index) - 1
        return way, face_loss(self._cosine, refractive_index)

    def matrix(self, x: Floats, pixels: NDArray[np.intp]) -> Floats:
        """(P, nodes + tail) such that ``matrix @ coefficients`` is the scattered light of scene x at the pixels.

        Parameters
        ----------
        x : (H, W) linear light
        pixels : (P,) flat indices of (H, W)
        """
        return self._columns(self.spectra(x), pixels, self._responses, self._bends)

    def _columns(
        self,
        scene: SceneSpectra,
        pixels: NDArray[np.intp],
        responses: Sequence[NDArray],
        bends: Sequence[tuple[NDArray, NDArray]],
    ) -> Floats:
        """The scene behind every response, and behind the sphere's corrections of the first ones."""
        at = self._to_frame.reshape(2, -1)[:, pixels]
        spectrum, bent = scene.plain, scene.bent
        rows, width = self._w_in.shape
        columns = np.empty((pixels.size, len(responses)))
        for k, response in enumerate(responses):
            image = fft.irfft2(spectrum * response, self._padded)
            if k < len(bends):
                transfer, slope = bends[k]
                for weight, (by_transfer, by_slope) in zip(self._bend.output, bent):
                    part = fft.irfft2(by_transfer * transfer + by_slope * slope, self._padded)
                    image[:rows, :width] += weight * part[:rows, :width]
            columns[:, k] = map_coordinates(image, at, order=_SPLINE_ORDER, mode="grid-wrap", prefilter=False)
        return columns * self._w_out.reshape(-1)[pixels, None]

    def _bent_spectra(self, field: Floats) -> list[tuple[NDArray[np.complex64], NDArray[np.complex64]]]:
        """What the sphere adds for one scene (:mod:`lps_sim.sphere`); empty for the other projections."""
        if self.projection != "sphere":
            return []
        response = self._spline_response
        spectra = self._bend.spectra(field, self._bend.u, self._bend.v)
        return [tuple((part / response).astype(np.complex64) for part in pair) for pair in spectra]  # type: ignore[misc]

    @functools.cached_property
    def _bend(self) -> SphereBend:
        return SphereBend((self._w_in.shape[0], self._w_in.shape[1]), self._pitch, self._padded)

    @functools.cached_property
    def _bends(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Every node's transfer function and its d/d(q^2) on the sphere's padded grid."""
        if self.projection != "sphere":
            return []
        q = self._bend.q
        log_q, safe = np.log(q + _FIRST_CPR), np.where(q > 0, 2 * q * (q + _FIRST_CPR), np.inf)
        splines = (CubicSpline(self._log_nodes, unit) for unit in np.eye(_NODES))
        return [(s(log_q).astype(np.float32), (s(log_q, 1) / safe).astype(np.float32)) for s in splines]

    @functools.cached_property
    def _responses(self) -> list[NDArray[np.float32]]:
        """Transfer function of every column on the padded grid; single precision holds 1e-6 of the light."""
        splines = [CubicSpline(self._log_nodes, unit)(self._log_q) for unit in np.eye(_NODES)]
        return [array.astype(np.float32) for array in (*splines, *(-tail for tail in self._wrapped_tails))]

    @functools.cached_property
    def _spline_response(self) -> Floats:
        """Spectrum of the quintic B-spline at the grid points: dividing by it is the interpolation's prefilter."""
        turns = fft.fftfreq(self._padded[0])[:, None], fft.rfftfreq(self._padded[1])[None, :]
        y, x = [(66 + 52 * np.cos(2 * np.pi * t) + 2 * np.cos(4 * np.pi * t)) / 120 for t in turns]
        return y * x

    @functools.cached_property
    def _wrapped_tails(self) -> list[Floats]:
        """Spectra of what sampling the OTF adds, the kernel's copies one period apart, per tail node.

        The far point spread is theta^-3 times a cubic spline in log theta; the copies' sum is smooth over a period,
        so a coarse mesh holds it; what lies beyond the summed copies is taken as uniform.
        """
        period = [count * step for count, step in zip(self._padded, self._pitch)]
        mesh = [np.linspace(0, length / 2, _TAIL_MESH) for length in period]
        cardinal = CubicSpline(np.log(self._tail_nodes_rad), np.eye(_TAIL_NODES))
        sums = np.zeros((_TAIL_MESH, _TAIL_MESH, _TAIL_NODES))
        copies = range(-_RINGS, _RINGS + 1)
        for j, i in ((j, i) for j in copies for i in copies if (j, i) != (0, 0)):
            radius = np.hypot((mesh[0] + j * period[0])[:, None], (mesh[1] + i * period[1])[None, :])
            sums += cardinal(np.log(radius)) * radius[..., None] ** -3.0
        lag = [np.arange(count // 2 + 1) * step for count, step in zip(self._padded, self._pitch)]
        folded = np.ix_(*[np.minimum(np.arange(count), count - np.arange(count)) for count in self._padded])
        quarters = [RectBivariateSpline(*mesh, sums[..., m])(*lag) for m in range(_TAIL_NODES)]
        quarters.append(np.full(quarters[0].shape, 1 / (period[0] * period[1])))
        return [fft.rfft2(quarter[folded] * math.prod(self._pitch)).real for quarter in quarters]
