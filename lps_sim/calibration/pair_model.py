"""The filmed picture predicted from the clean one: screen, film, exposure and veil, with every derivative.

    y_t = a_t V (K_N W_M x_t + u),   u(x, y) = u_0 + u_1 x + u_2 y

x_t: clean frame in linear light; W_M: its homography into the view; K_N: the film's operator in angle space, on a grid
that also holds what lies somewhat beyond the frame; u: veil (room light, the screen's black glow), in units of the
screen's white; V: vignetting; a_t: gain of frame t, automatic exposure and the film's transmittance in one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import map_coordinates

from ..camera import Camera
from ..convolution import AngleConvolver
from ..film import FilmGeometry
from ..geometry import WarpGrid, cos_theta, input_weight, pixel_offsets
from ..operator import film_stages
from ..sphere import padded_for_sphere
from ..transfer import inverse_eotf
from .families import Family
from .pair_geometry import Picture, Sampler, frame_coordinates

Floats = NDArray[np.float64]

PROJECTION = "equal_area"
_NARROW, _WIDEST = 0.02, 0.35  # of the frame's width: least and most that the grid reaches beyond on every side
_PITCH = 0.75  # of a pixel on the axis: 1 leaves errors of 1e-3 of white near the corners, this 2e-4
_STEP = 1e-3  # of the logarithms, for the film's derivatives: single precision holds it
_DARKEST = 0.002  # linear; below it codes are quantised more coarsely than their slope says


@dataclass
class Shot:
    """One frame of the pair at one size.

    picture : clean frame; y : (P,) filmed light; root_weight : (P,) codes per unit of light; pixels : (P,) indices
    """

    picture: Picture
    y: Floats
    root_weight: Floats
    pixels: NDArray[np.intp]


class View:
    """The camera's frame at one size, and the film's operator on it.

    Parameters
    ----------
    camera : of the filmed material at this size
    border : what surrounds the picture, one of ``pair_geometry.BORDERS``
    layers : sheets of film
    beyond : how far the picture reaches beyond the frame, in frame widths; the grid follows it up to 0.35
    pitch : step of the angle grid, in pixels on the axis
    """

    def __init__(self, camera: Camera, border: str, layers: int, beyond: float = 0.0, pitch: float = _PITCH) -> None:
        self.camera, self.border, self.layers = camera, border, layers
        self.size = height, width = camera.height, camera.width
        f_px = camera.f_px
        reach = _WIDEST if border == "reflect" else min(beyond + _NARROW, _WIDEST)
        margin = max(4, round(reach * width / pitch))
        self._grid = grid = WarpGrid(height, width, (f_px, f_px), PROJECTION, pitch / f_px, margin=margin)
        seen = np.isfinite(grid.from_frame).all(axis=0)
        at = np.where(seen, grid.from_frame, 1e6)
        tan = [(at[axis] - (self.size[axis] - 1) / 2) / f_px for axis in (0, 1)]
        self._w_in = seen * input_weight(1 / np.sqrt(1 + tan[0] ** 2 + tan[1] ** 2), PROJECTION)
        self._on_grid = Sampler(frame_coordinates(at[0], at[1], self.size).reshape(3, -1), border)
        cosine = cos_theta(pixel_offsets(width, f_px), pixel_offsets(height, f_px))
        self._w_out = (1 / input_weight(cosine, PROJECTION)).ravel()
        self._vignetting = camera.vignetting_map().ravel()
        rows, columns = np.mgrid[0:height, 0:width].astype(float)
        self._points = frame_coordinates(rows, columns, self.size).reshape(3, -1)
        self._to_frame = grid.to_frame.reshape(2, -1)

    @functools.cached_property
    def _spline(self) -> NDArray[np.float32]:
        """Spectrum of the cubic B-spline at the grid's nodes: dividing by it is the prefilter of the way back."""
        padded = padded_for_sphere((self._grid.rows, self._grid.columns), self._grid.pitch_rad)
        y, x = ((2 + np.cos(2 * np.pi * t)) / 3 for t in (fft.fftfreq(padded[0]), fft.rfftfreq(padded[1])))
        return (y[:, None] * x[None, :]).astype(np.float32)

    def response(self, family: Family, logs: Floats) -> tuple[NDArray[np.float32], float]:
        """Transfer function of the scattered light on the grid, prefilter included, and the unscattered share."""
        film = family.film([logs], FilmGeometry(projection=PROJECTION))
        stage = film_stages(film, self.layers)[0]
        shape = self._grid.rows, self._grid.columns
        convolver = AngleConvolver(stage.transfer, shape, self._grid.pitch_rad, False, np.float32)
        return convolver.response[0] / self._spline, float(film.ballistic_fraction(self.layers)[0])

    def responses(self, family: Family, logs: Floats) -> list[tuple[NDArray[np.float32], float]]:
        """The film's response, then its derivatives by the family's logarithms."""
        here, share = self.response(family, logs)
        result = [(here, share)]
        for unit in np.eye(logs.size):
            there, moved = self.response(family, logs + _STEP * unit)
            result.append(((there - here) / np.float32(_STEP), (moved - share) / _STEP))
        return result

    def shot(
        self,
        clean: NDArray[np.float32],
        filmed: NDArray[np.float32],
        clipped: NDArray[np.float32],
        pixels: int,
        rng: np.random.Generator,
    ) -> Shot:
        """A frame ready for :meth:`predict`; at most ``pixels`` of its unclipped pixels take part."""
        usable = np.flatnonzero(clipped.ravel() == 0)
        if usable.size > pixels:
            usable = np.sort(rng.choice(usable, pixels, replace=False))
        y = filmed.ravel()[usable].astype(float)
        level = np.maximum(y, _DARKEST)
        slope = (inverse_eotf(level * 1.01, self.camera.eotf) - inverse_eotf(level, self.camera.eotf)) / (0.01 * level)
        return Shot(Picture.of(clean, self.border), y, slope * self.camera.max_code, usable)

    def predict(
        self, shot: Shot, entries: Floats, responses: Sequence[tuple[NDArray[np.float32], float]], derivatives: bool
    ) -> tuple[Floats, Floats]:
        """(P,) light behind the film before gain and veil, and (P, 8 + film) derivatives (or (P, 0)).

        ``responses`` as of :meth:`responses`; the first alone without derivatives.
        """
        fields = self._on_grid(shot.picture, entries, derivatives)
        shape = self._w_in.shape
        padded = padded_for_sphere((shape[0], shape[1]), self._grid.pitch_rad)
        fields = (fields.reshape(-1, *shape) * self._w_in).astype(np.float32)
        spectra = fft.rfft2(fields, padded)
        response, share = responses[0]
        images = list(fft.irfft2(spectra * response, padded))
        if derivatives:
            images += [fft.irfft2(spectra[0] * change, padded) for change, _ in responses[1:]]
        at = self._to_frame[:, shot.pixels]
        columns = np.empty((shot.pixels.size, len(images)))
        for k, image in enumerate(images):
            columns[:, k] = map_coordinates(image, at, order=3, mode="grid-wrap", prefilter=False)
        columns *= self._w_out[shot.pixels, None]
        if any(part for _, part in responses):
            sharp = Sampler(self._points[:, shot.pixels], self.border)(shot.picture, entries, derivatives)
            columns[:, : len(sharp)] += share * sharp.T
            if derivatives:
                columns[:, 9:] += sharp[0][:, None] * np.array([part for _, part in responses[1:]])
        return columns[:, 0] + shot.picture.level, columns[:, 1:]

    def veil_shapes(self, shot: Shot) -> Floats:
        """(P, 3): 1, x, y in half frame widths."""
        return self._points[[2, 0, 1]][:, shot.pixels].T

    def vignetting(self, shot: Shot) -> Floats:
        """(P,) V at the shot's pixels."""
        return self._vignetting[shot.pixels]

    def blocks(self, shot: Shot, rows: int, columns: int) -> NDArray[np.intp]:
        """(P,) number of the block of the frame that each pixel lies in."""
        y, x = np.divmod(shot.pixels, self.size[1])
        return (y * rows // self.size[0]) * columns + x * columns // self.size[1]
