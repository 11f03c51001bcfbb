"""apply_film: what a stack of film does to linear light. The exact float64 engine, the reference for faster ones.

    y = T_N K_N x + v_N,     K_N x = b_N(theta) x + w_out F^-1{ (OTF_N - b_N) F{ w_in x } }

The convolution runs in angle space (:mod:`lps_sim.geometry`), on a grid fine enough for the frame's corners, reached
and left by quintic splines; b_N acts on the frame's own pixels, so a film that does not scatter changes nothing.

**Light from outside the view** is unknown in a picture. ``border`` says what is assumed:

``reflect``  the scene goes on as its mirror image, edge repeated, without end (a cosine transform: no padding, no
             truncation of a wide halo). The default.
``mean``     outside is uniform, as bright as the frame's mean.
``dark``     outside is black, as in a dark room: the formula above and nothing else. Use it for calibration shots.

A film in an isotropic field leaves it isotropic (second law of thermodynamics), so a scene of constant radiance L must
give T_N L + v_N at every angle. The formula alone misses that at wide angles, since directions beyond the frame are
missing: K_N 1 is not 1. With ``reflect`` and ``mean`` the missing share, 1 - K_N 1, is light from outside, taken as
bright as the frame's mean: a flat field stays flat to the last digits. For a film with a wide halo the three policies
differ by several codes.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import map_coordinates

from .camera import Camera
from .convolution import Far, Stage, angle_convolver
from .errors import UnknownNameError
from .film import FilmModel, check_layers
from .geometry import (
    WarpGrid,
    cos_theta,
    face_loss,
    input_weight,
    pixel_offsets,
    plane_to_angle,
    radial_scale,
    refracted_cosine,
)

BORDERS = ("reflect", "mean", "dark")
ENGINES = ("exact", "fast")
SPLINE_ORDER = 5
# Of the surround: in periods of the last frequency that is passed, in gaps between the outlines, in rad.
_PASSED, _SURROUND_CYCLES, _SURROUND_GAPS = 0.05, 2.4, 3.0
_WIDE_RAD = 0.45


def apply_film(
    x: np.ndarray,
    film: FilmModel,
    layers: int,
    camera: Camera,
    engine: str = "exact",
    border: str = "reflect",
) -> np.ndarray:
    """Linear light behind the film: transmittance, point spread and veil; no noise, no clipping.

    Parameters
    ----------
    x : (H, W, 3) linear light, or (H, W) grey, seen through the film's green channel; float, 1 = reference white
    film, layers : layers 0..64; 0 is no film and returns x unchanged
    camera : its width, height and f_px give every pixel its angle
    engine : "exact" (float64) or "fast" (float32, :mod:`lps_sim.fast`)
    border : "reflect", "mean" or "dark", see the module

    Returns
    -------
    the same shape, float64 (exact) or float32 (fast)

    Raises
    ------
    ValueError
        naming the argument, its value and the rule
    """
    layers = check_layers(layers, minimum=0)
    check_border(border)
    if engine not in ENGINES:
        raise UnknownNameError("engine", str(engine), ENGINES)
    light = check_light(x, camera)
    if layers == 0:
        return light.astype(np.float64 if engine == "exact" else np.float32)
    if engine == "fast":
        from .fast import apply_film_fast

        return apply_film_fast(light, film, layers, camera, border)
    operator = exact_operator(FilmKey.of(film), layers, camera, border)
    if light.ndim == 2:
        return operator(np.repeat(light[..., None], 3, axis=2))[..., 1]
    return operator(light)


def check_border(border: str) -> str:
    """``border`` itself if it is one of :data:`BORDERS`."""
    if border not in BORDERS:
        raise UnknownNameError("border", str(border), BORDERS)
    return border


def check_light(x: np.ndarray, camera: Camera) -> np.ndarray:
    """A float picture of the camera's size, or ValueError."""
    light = np.asarray(x)
    if light.dtype.kind != "f" or not (light.ndim == 2 or (light.ndim == 3 and light.shape[2] == 3)):
        raise ValueError(f"x must be linear light, float (H, W, 3) or (H, W), got {light.dtype} {light.shape}")
    if light.shape[:2] != (camera.height, camera.width):
        raise ValueError(
            f"x must have the camera's size {camera.width}x{camera.height}, got {light.shape[1]}x{light.shape[0]}; "
            f"camera.resized({light.shape[1]}, {light.shape[0]}) is the same camera at that size"
        )
    return light


@dataclass(frozen=True)
class FilmKey:
    """A film as a cache key: equal when its physical parameters are."""

    checksum: str
    film: FilmModel = field(compare=False)

    @classmethod
    def of(cls, film: FilmModel) -> FilmKey:
        """The key of a film."""
        return cls(film.checksum(), film)


def film_stages(film: FilmModel, layers: int) -> list[Stage]:
    """The film's convolutions in the order of light: one, or two for the ``two_stage`` geometry with a rough face."""
    geometry = film.geometry
    rough = bool((film.sigma_rad > 0).any())

    def unscattered(cosine: np.ndarray) -> np.ndarray:
        direct = film.bulk_direct(layers)
        if not geometry.oblique_ballistic:
            return np.broadcast_to(direct, (*cosine.shape, 3))
        path = 1 / refracted_cosine(cosine, geometry.refractive_index)
        faces = np.exp(-2 * layers * face_loss(cosine, geometry.refractive_index))
        return direct ** path[..., None] * faces[..., None]

    def bulk(q: np.ndarray) -> np.ndarray:
        return film.bulk_otf(q, layers, kernel=True) - film.bulk_direct(layers)

    if geometry.projection == "two_stage":
        face = Stage("direction_cosines", lambda q: film.surface_otf(q, layers), None)
        body = Stage("equal_area", bulk, unscattered, film_far(film, layers))
        return [face, body] if rough else [body]
    far = film_far(film, layers)
    if rough:
        return [Stage(geometry.projection, lambda q: film.kernel_otf(q, layers), None, far)]
    return [Stage(geometry.projection, bulk, unscattered, far)]


def film_far(film: FilmModel, layers: int) -> Far:
    """The film's kernel far out."""
    return Far(lambda radii: film.far_kernel(radii, layers), lambda radius: film.kernel_beyond(radius, layers))


def surround_rad(stage: Stage, camera: Camera) -> float:
    """How far a reflected scene goes on around the frame, rad of angle space; beyond, the grid mirrors itself.

    Frame and grid have different outlines, so what the grid mirrors at its edge is not what the frame mirrors at its
    own: the blur's narrow part is kept from seeing the difference (six standard deviations of a Gaussian), as far as
    the outlines differ at all. A blur that is wide everywhere sees no such detail: 0.
    """
    half_x, half_y = camera.width / 2 / camera.f_px, camera.height / 2 / camera.f_px
    corner = math.hypot(half_x, half_y)
    bend = float(plane_to_angle(corner, stage.projection)) / corner
    gap = max(float(plane_to_angle(half, stage.projection)) - half * bend for half in (half_x, half_y))
    q = np.geomspace(0.5, 1e4, 500)
    passed = np.flatnonzero(np.abs(stage.transfer(q)).max(axis=-1) > _PASSED)
    narrow = _SURROUND_CYCLES / float(q[passed[-1]] if passed.size else q[0])
    return min(narrow, _SURROUND_GAPS * gap) if narrow < _WIDE_RAD else 0.0


def reflected_weight(grid: WarpGrid, surround: float) -> np.ndarray:
    """(rows, columns) weight of a grid's nodes where the scene goes on as its mirror image: 1 on the frame and near it,
    falling to 0 at the far side of the surround, which the grid's own mirror would otherwise count twice."""
    depth = np.clip(2 * grid.outside_rad / surround - 1, 0, 1) if surround else np.zeros_like(grid.outside_rad)
    return np.where(np.isfinite(grid.from_frame).all(axis=0), np.cos(np.pi / 2 * np.nan_to_num(depth)) ** 2, 0.0)


class _ExactStage:
    """One stage on the frame's pixels in float64, without any assumption about the light outside but its border."""

    def __init__(self, stage: Stage, camera: Camera, reflected: bool) -> None:
        height, width, f_px = camera.height, camera.width, camera.f_px
        corner = math.hypot(width, height) / 2 / f_px
        # The frame is sampled most finely, in angle, along the radius at its corners.
        pitch = radial_scale(corner, stage.projection) / f_px
        # Towards a dark surround the field goes on beyond the frame, and the splines need to see how.
        margin, surround = (0, surround_rad(stage, camera)) if reflected else (4, 0.0)
        grid = WarpGrid(height, width, (f_px, f_px), stage.projection, pitch, margin, surround_rad=surround)
        rows, columns = grid.from_frame
        seen = np.isfinite(rows) & np.isfinite(columns)
        self.from_frame = np.where(seen, grid.from_frame, 0.0)
        self.to_frame = grid.to_frame
        tan_y = (self.from_frame[0] - (height - 1) / 2) / f_px
        tan_x = (self.from_frame[1] - (width - 1) / 2) / f_px
        share = reflected_weight(grid, surround) if reflected else grid.coverage
        self.w_in = share * input_weight(1 / np.sqrt(1 + tan_x**2 + tan_y**2), stage.projection)
        cosine = cos_theta(pixel_offsets(width, f_px), pixel_offsets(height, f_px))
        self.w_out = 1 / input_weight(cosine, stage.projection)
        self.convolve = angle_convolver(stage, grid, reflected, np.float64)
        self.unscattered = stage.unscattered(cosine) if stage.unscattered is not None else None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        fields = np.stack([self._sample(x[..., c], self.from_frame) * self.w_in for c in range(3)])
        halo = self.convolve(fields)
        y = np.stack([self._sample(halo[c], self.to_frame) * self.w_out for c in range(3)], axis=-1)
        return y if self.unscattered is None else y + self.unscattered * x

    def _sample(self, values: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return map_coordinates(values, positions, order=SPLINE_ORDER, mode="reflect")


class ExactOperator:
    """apply_film for one film, layer count, camera and border: planned once, called on (H, W, 3) float arrays."""

    def __init__(self, film: FilmModel, layers: int, camera: Camera, border: str) -> None:
        self.transmittance, self.veil = film.transmittance(layers), film.veil(layers)
        self.stages = []
        for stage in film_stages(film, layers):
            exact = _ExactStage(stage, camera, border == "reflect")
            missing = None
            if border != "dark":
                missing = 1 - exact(np.ones((camera.height, camera.width, 3)))
            self.stages.append((exact, missing))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """T_N K_N x + v_N."""
        y = np.asarray(x, dtype=np.float64)
        for stage, missing in self.stages:
            outside = y.mean(axis=(0, 1))
            y = stage(y) if missing is None else stage(y) + missing * outside
        return self.transmittance * y + self.veil


@functools.lru_cache(maxsize=2)
def exact_operator(key: FilmKey, layers: int, camera: Camera, border: str) -> ExactOperator:
    """The planned exact operator; the last two plans are kept (a 1080p plan holds some hundred MiB)."""
    return ExactOperator(key.film, layers, camera, border)
