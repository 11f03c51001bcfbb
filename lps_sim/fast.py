"""The fast engine: apply_film on a plan, and the Degrader that turns 8-bit frames into what the camera would record.

The planned operator is :mod:`lps_sim.plan`; the exact one, its reference, is :mod:`lps_sim.operator`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from . import kernels
from .camera import Camera
from .errors import UnknownNameError
from .film import FilmModel, check_layers
from .incoming import Codes, Incoming, Light, Planes, eotf_polynomial
from .operator import FilmKey, check_border
from .plan import FilmPlan, Window, film_plan, output_cosine
from .seeding import named_rng, named_seed
from .transfer import Transfer, check_eotf_name, eotf, eotf_table, inverse_eotf
from .yuv import YuvFrame

Frames = np.ndarray | Sequence[np.ndarray | YuvFrame]
FITS = ("squash", "crop", "letterbox")
CODE_TABLE_SIZE = 1 << 16  # steps of 0.05 code at black, where sRGB is steepest
POOL_SIZE = 1 << 20


def apply_film_fast(light: np.ndarray, film: FilmModel, layers: int, camera: Camera, border: str) -> np.ndarray:
    """:func:`lps_sim.operator.apply_film` with ``engine="fast"``; its arguments, already checked."""
    whole = (0, 0, camera.width, camera.height)
    plan = film_plan(FilmKey.of(film), layers, camera, border, whole, (camera.width, camera.height))
    picture = light if light.ndim == 3 else np.repeat(light[..., None], 3, axis=2)
    y = plan.light(Light(picture), np.ones((camera.height, camera.width), np.float32))
    return y if light.ndim == 3 else np.ascontiguousarray(y[..., 1])


class Degrader:
    """What the camera records through the film: 8-bit frames in, 8-bit frames out, noise and rounding included.

    The order of light: decode -> film -> vignetting and exposure -> sensor noise -> encode; rounded once, then clipped.
    Nothing adapts to a frame, so frame means follow the source's and video does not flicker.

    Parameters
    ----------
    film, layers : layers 0..64; 0 is no film (camera and resizing only), and film may then be None
    camera : 8 bits; frames of another size are taken as the same camera read out at that size (``Camera.resized``)
    output_size : (width, height), None = that of the frames
    seed : of the temporal noise, which depends on (seed, frame index) alone; the fixed pattern depends on
        ``camera.prnu_seed`` and the output size
    fit : "squash" the whole frame into the output, "crop" its middle, or "letterbox" it between black bars
    border : light from outside the view, see :mod:`lps_sim.operator`
    noise : False leaves the sensor's noise out
    source_eotf : transfer function of the incoming codes

    Notes
    -----
    An output pixel that averages k camera pixels has 1/k of their noise variance. Shot noise is drawn as a Gaussian of
    the right variance: the difference is below one code where a pixel holds more than some tens of electrons.
    Deviates come from a pool of 2^20, entered at a place drawn per frame and row.

    Raises
    ------
    ValueError
        naming the argument, its value and the rule
    """

    def __init__(
        self,
        film: FilmModel | None,
        layers: int,
        camera: Camera,
        output_size: tuple[int, int] | None = None,
        seed: int = 0,
        fit: str = "squash",
        border: str = "reflect",
        noise: bool = True,
        source_eotf: str = "srgb",
    ) -> None:
        self.layers = check_layers(layers, minimum=0)
        if film is None and self.layers:
            raise ValueError(f"film must be given where layers > 0, got None with {layers} layers")
        if fit not in FITS:
            raise UnknownNameError("fit", str(fit), FITS)
        if camera.bits != 8:
            raise ValueError(f"camera.bits must be 8 for 8-bit frames, got {camera.bits}")
        if output_size is not None:
            if len(tuple(output_size)) != 2 or not all(int(side) == side and side >= 1 for side in output_size):
                raise ValueError(f"output_size must be (width, height), each >= 1, got {output_size!r}")
            output_size = (int(output_size[0]), int(output_size[1]))
        self.film, self.camera, self.output_size, self.seed = film, camera, output_size, int(seed)
        self.fit, self.border, self.noise = fit, check_border(border), bool(noise)
        self.source_eotf = check_eotf_name(source_eotf, "source_eotf")
        self._key = FilmKey.of(film) if film is not None and self.layers else None

    def __call__(self, frames: Frames, first_frame: int = 0) -> np.ndarray:
        """:meth:`degrade`."""
        return self.degrade(frames, first_frame)

    def degrade(self, frames: Frames, first_frame: int = 0) -> np.ndarray:
        """(T, H, W, 3) uint8 RGB, or a sequence of T :class:`lps_sim.yuv.YuvFrame`, -> (T, h, w, 3) uint8 RGB.

        ``first_frame`` is the clip's index of ``frames[0]``: a clip given in pieces comes out as the same bytes.
        """
        frames = _checked(frames)
        width, height = self.output_size or (frames[0].shape[1], frames[0].shape[0])
        out = np.zeros((len(frames), height, width, 3), np.uint8)
        for index, frame in enumerate(frames):
            self._frame(frame, first_frame + index, out[index])
        return out

    def signal(self, frame: np.ndarray | YuvFrame) -> np.ndarray:
        """Noise-free linear sensor signal of one frame, 1 = full scale: (H, W, 3) uint8 or a YuvFrame -> (h, w, 3)
        float32, without the bars of a letterbox."""
        frame = _checked([frame])[0]
        plan, setting = self._plan(frame)
        return plan.light(self._incoming(frame), setting.gain)

    def _frame(self, frame: np.ndarray | YuvFrame, index: int, out: np.ndarray) -> None:
        plan, setting = self._plan(frame)
        width, height = plan.output
        codes = np.empty((height, 3 * width), np.uint8)
        rng_key = named_seed(self.seed, "temporal noise", index)
        scattered, direct = plan.scattered_and_direct(self._incoming(frame))
        kernels.finish_codes(
            scattered,
            plan.start_y,
            plan.taps_y,
            direct,
            plan.direct_weight,
            plan.veil,
            setting.gain,
            setting.noise,
            *_noise_pools(),
            _row_offsets(rng_key, height),
            _row_offsets(setting.pattern_key, height),
            _code_table(self.camera.transfer),
            codes,
        )
        top, left = (out.shape[0] - height) // 2, (out.shape[1] - width) // 2
        out[top : top + height, left : left + width] = codes.reshape(height, width, 3)

    def _incoming(self, frame: np.ndarray | YuvFrame) -> Incoming:
        if isinstance(frame, YuvFrame):
            curve = eotf_polynomial(self.source_eotf)
            if curve is not None:
                return Planes(frame, curve)
            return Light(eotf(frame.rgb(), self.source_eotf).astype(np.float32))
        return Codes(frame, eotf_table(self.source_eotf, 8))

    def _plan(self, frame: np.ndarray | YuvFrame) -> tuple[FilmPlan, _Sensor]:
        height, width = frame.shape[:2]
        camera = self.camera
        if (width, height) != (camera.width, camera.height):
            camera = camera.resized(width, height)
        window, inner = _fitted(width, height, self.output_size or (width, height), self.fit)
        plan = film_plan(self._key, self.layers, camera, self.border, window, inner)
        return plan, _sensor(camera, window, inner, self.noise)


def _checked(frames: Frames) -> Frames:
    """The frames if they are of one size and of a kind that is known."""
    if isinstance(frames, np.ndarray):
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape[-3:]:
            raise ValueError(f"frames must be uint8 (T, H, W, 3), got {frames.dtype} {frames.shape}")
        return frames
    for frame in frames:
        if not isinstance(frame, YuvFrame):
            _checked(np.asarray(frame)[np.newaxis])
        if frame.shape != frames[0].shape:
            raise ValueError(f"frames must have one size, got {frame.shape} after {frames[0].shape}")
    return frames


@dataclasses.dataclass(frozen=True)
class _Sensor:
    """gain (h, w): vignetting x exposure; noise (3,): see ``kernels.finish_codes``; pattern_key: of the PRNU."""

    gain: np.ndarray
    noise: np.ndarray
    pattern_key: int


@functools.lru_cache(maxsize=8)
def _sensor(camera: Camera, window: Window, output: tuple[int, int], noise: bool) -> _Sensor:
    x0, y0, x1, y1 = window
    averaged = max(1.0, (x1 - x0) * (y1 - y0) / (output[0] * output[1]))
    gain = camera.exposure * camera.vignetting_at(output_cosine(camera, window, output))
    shot = 1 / camera.full_well_e / averaged
    read = (camera.read_noise_e / camera.full_well_e) ** 2 / averaged
    terms = (shot, read, camera.prnu / math.sqrt(averaged)) if noise else (0.0, 0.0, 0.0)
    key = named_seed(camera.prnu_seed, "fixed pattern", *map(repr, (*window, *output)))
    return _Sensor(gain.astype(np.float32), np.array(terms, np.float32), key)


def _fitted(width: int, height: int, output: tuple[int, int], fit: str) -> tuple[Window, tuple[int, int]]:
    """The window of the frame that is shown, and the part of the output it fills."""
    if fit == "squash":
        return (0, 0, width, height), output
    scale = (max if fit == "crop" else min)(output[0] / width, output[1] / height)
    if fit == "crop":
        half_x, half_y = output[0] / scale / 2, output[1] / scale / 2
        return (width / 2 - half_x, height / 2 - half_y, width / 2 + half_x, height / 2 + half_y), output
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    return (0, 0, width, height), inner


@functools.lru_cache(maxsize=1)
def _noise_pools() -> tuple[np.ndarray, np.ndarray]:
    """Pools of standard normal deviates for temporal noise and fixed pattern: mean 0 and variance 1 exactly."""
    pools = []
    for purpose in ("temporal pool", "pattern pool"):
        pool = named_rng(0, purpose).standard_normal(POOL_SIZE, dtype=np.float32)
        pool = (pool - pool.mean(dtype=np.float64)) / pool.std(dtype=np.float64)
        pools.append(np.ascontiguousarray(np.concatenate([pool, pool[: POOL_SIZE // 4]]), np.float32))
    return pools[0], pools[1]


def _row_offsets(key: int, rows: int) -> np.ndarray:
    """Where each row enters a pool: (rows,) int64, from a 64-bit key by SplitMix64 (Steele et al. 2014)."""
    state = np.uint64(key) + np.arange(1, rows + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((state ^ (state >> np.uint64(31))) % np.uint64(POOL_SIZE)).astype(np.int64)


@functools.lru_cache(maxsize=4)
def _code_table(transfer: Transfer) -> np.ndarray:
    signal = np.linspace(0, 1, CODE_TABLE_SIZE)
    return np.rint(inverse_eotf(signal, transfer) * 255).astype(np.uint8)
