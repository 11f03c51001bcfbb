"""Test targets for a screen, drawn in linear light: what to film through the film and what each one measures.

Every target is (H, W) float32 linear light in [0, 1], 1 = screen white, with edges averaged over the area of each
pixel. Only :func:`screen_codes` knows the screen's transfer curve. Which target is good for what: docs of the film
model, section on calibration at a desk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lps_sim.errors import UnknownNameError
from lps_sim.seeding import named_rng
from lps_sim.transfer import Transfer, inverse_eotf

from .boards import charuco
from .dead_leaves import photo

MAX_SIDE_PX = 16384
DEFAULT_EDGE_DEG = 5.0
DEFAULT_FRINGE_PERIODS = (4, 8, 16, 32, 64)
FRINGE_PHASES = 4
_WEDGE_FACTOR = math.sqrt(0.5)  # a density step of 0.15, as on photographic step tablets


def flat(width: int, height: int, *, level: float = 1.0) -> np.ndarray:
    """One level everywhere: transmittance and vignetting."""
    _check_level("level", level)
    return np.full((height, width), level, dtype=np.float32)


def dark(width: int, height: int) -> np.ndarray:
    """Black everywhere: the screen's own glow and the room's light."""
    return flat(width, height, level=0.0)


def wedge(width: int, height: int, *, steps: int = 16) -> np.ndarray:
    """Step wedge: level ``2^(-k/2)`` on step k = 0..steps-1, in reading order; for the response curve.

    The steps fill a grid of equal fields as square as the screen allows; fields left over are black.
    """
    if not 2 <= steps <= 64:
        raise ValueError(f"steps must be 2..64, got {steps}")
    columns = min(steps, max(1, round(math.sqrt(steps * width / height))))
    rows = math.ceil(steps / columns)
    if columns > width or rows > height:
        raise ValueError(f"steps must fit on the screen, got {steps} on {width}x{height}")
    column, row = np.arange(width) * columns // width, np.arange(height) * rows // height
    number = row[:, None] * columns + column[None, :]
    return np.where(number < steps, _WEDGE_FACTOR**number, 0.0).astype(np.float32)


def edge(
    width: int,
    height: int,
    *,
    orientation: str = "vertical",
    angle_deg: float = DEFAULT_EDGE_DEG,
    low: float = 0.0,
    high: float = 1.0,
) -> np.ndarray:
    """Slanted half-plane through the centre (ISO 12233), ``high`` on the right or below; the area of each is one half.

    Parameters
    ----------
    width, height
        Size in pixels.
    orientation
        ``vertical`` or ``horizontal``: the way the edge runs before it is slanted.
    angle_deg
        Slant, clockwise in ``[y, x]`` as seen on the screen, -45..45.
    low, high
        Linear levels of the two sides, 0..1.
    """
    _check_level("low", low)
    _check_level("high", high)
    if orientation not in ("vertical", "horizontal"):
        raise ValueError(f"orientation must be vertical or horizontal, got {orientation!r}")
    if not -45.0 <= angle_deg <= 45.0:
        raise ValueError(f"angle_deg must be -45..45, got {angle_deg}")
    slant = math.radians(angle_deg)
    normal_x, normal_y = math.cos(slant), math.sin(slant)
    if orientation == "horizontal":
        normal_x, normal_y = -normal_y, normal_x
    x_px, y_px = _centred(width, height)
    share = _half_plane_share(x_px * normal_x + y_px * normal_y, np.asarray(normal_x), np.asarray(normal_y))
    return (low + (high - low) * share).astype(np.float32)


def disc(width: int, height: int, *, radius_px: float | None = None) -> np.ndarray:
    """White disc on black at the centre: core and halo. Default radius: 1/72 of the height (5 px at 360 lines)."""
    return _round_spot(width, height, radius_px if radius_px is not None else height / 72).astype(np.float32)


def hole(width: int, height: int, *, radius_px: float | None = None) -> np.ndarray:
    """Black disc on white at the centre: the tail, at mid-range codes. Default radius: 1/8 of the height."""
    spot = _round_spot(width, height, radius_px if radius_px is not None else height / 8)
    return (1.0 - spot).astype(np.float32)


def noise(width: int, height: int, *, seed: int = 1, smallest_px: int = 1, largest_px: int = 50) -> np.ndarray:
    """Black-and-white noise with structure at every scale: the sign of a sum of random block patterns.

    Blocks have sides ``smallest_px`` to ``largest_px`` in (odd-numbered) geometric steps, each pattern of +1 and -1
    at a random offset with equal weight; half of the area is white on average. Use ``smallest_px`` >= 3 camera
    pixels where screen and camera pixels could beat (moire).
    """
    if not 1 <= smallest_px <= largest_px:
        raise ValueError(f"smallest_px must be 1..largest_px, got {smallest_px} and {largest_px}")
    rng = named_rng(seed, "noise target", width, height, smallest_px, largest_px)
    octaves = max(1, round(math.log2(largest_px / smallest_px)))
    sides = np.rint(np.geomspace(smallest_px, largest_px, octaves + (octaves + 1) % 2)).astype(int)
    total = np.zeros((height, width), dtype=np.int8)
    for side in sides:
        offset_y, offset_x = rng.integers(0, side, 2)
        shape = ((height + offset_y) // side + 1, (width + offset_x) // side + 1)
        blocks = rng.integers(0, 2, shape, dtype=np.int8) * 2 - 1
        rows, columns = (np.arange(height) + offset_y) // side, (np.arange(width) + offset_x) // side
        total += blocks[rows[:, None], columns[None, :]]
    return (total > 0).astype(np.float32)


def fringe(
    width: int,
    height: int,
    *,
    period_px: float = 16.0,
    orientation_deg: float = 0.0,
    phase_rad: float = 0.0,
    mean: float = 0.5,
    modulation: float = 1.0,
) -> np.ndarray:
    """Sinusoidal fringes ``mean (1 + modulation cos(2 pi u / period + phase))``, an eigenfunction of any blur.

    ``u`` is the distance in pixels from the centre along ``orientation_deg`` (0: to the right, 90: down). Phases
    0, 90, 180 and 270 degrees together give the phase and modulation at every pixel, see :func:`demodulate`.
    """
    if not period_px >= 2.0:
        raise ValueError(f"period_px must be >= 2 (Nyquist), got {period_px}")
    if not (0.0 <= modulation <= 1.0 and 0.0 < mean * (1.0 + modulation) <= 1.0):
        raise ValueError(f"mean (1 + modulation) must be above 0 and at most 1, got mean {mean}, {modulation=}")
    x_px, y_px = _centred(width, height)
    turn = math.radians(orientation_deg)
    along = x_px * math.cos(turn) + y_px * math.sin(turn)
    return (mean * (1.0 + modulation * np.cos(2 * math.pi * along / period_px + phase_rad))).astype(np.float32)


def siemens(width: int, height: int, *, spokes: int = 36, radius_px: float | None = None) -> np.ndarray:
    """Star of ``spokes`` white sectors on grey 0.5, for the eye: contrast is lost inwards from where the blur bites.

    Spokes are averaged over a pixel's width across them, so the middle fades to 0.5 and does not alias.
    """
    if not 2 <= spokes <= 360:
        raise ValueError(f"spokes must be 2..360, got {spokes}")
    outer = radius_px if radius_px is not None else 0.48 * min(width, height)
    x_px, y_px = _centred(width, height)
    radius = np.maximum(np.hypot(x_px, y_px), 1e-3)
    turns = np.arctan2(y_px, x_px) * spokes / (2 * math.pi)
    half = spokes / (2 * math.pi * radius) / 2  # half a pixel, in periods of the star
    star = (_square_wave_integral(turns + half) - _square_wave_integral(turns - half)) / (2 * half)
    inside = np.clip(outer - radius + 0.5, 0.0, 1.0)
    return (0.5 + (star - 0.5) * inside).astype(np.float32)


KINDS: dict[str, Callable[..., np.ndarray]] = {
    "dark": dark,
    "flat": flat,
    "wedge": wedge,
    "edge": edge,
    "hole": hole,
    "disc": disc,
    "noise": noise,
    "fringe": fringe,
    "siemens": siemens,
    "charuco": charuco,
    "photo": photo,
}


def target(kind: str, width: int, height: int, **parameters: Any) -> np.ndarray:
    """A target by name: (H, W) float32 linear light in [0, 1].

    Parameters
    ----------
    kind
        ``dark``, ``flat``, ``wedge``, ``edge``, ``hole``, ``disc``, ``noise``, ``fringe``, ``siemens``, ``charuco`` or
        ``photo``.
    width, height
        Screen size in pixels, 8..16384.
    parameters
        Those of the function of that name in this module.

    Raises
    ------
    UnknownNameError
        For a kind that does not exist.
    ValueError
        For a size or parameter outside its range.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)
    for name, side in (("width", width), ("height", height)):
        if not 8 <= side <= MAX_SIDE_PX:
            raise ValueError(f"{name} must be 8..{MAX_SIDE_PX} px, got {side}")
    known = set(KINDS[kind].__kwdefaults__ or {})
    for name in parameters:
        if name not in known:
            raise UnknownNameError(f"parameter of target {kind}", name, known)
    return KINDS[kind](width, height, **parameters)


def screen_codes(linear: np.ndarray, eotf: Transfer = "srgb", bits: int = 8) -> np.ndarray:
    """The codes that make a screen of a named or measured curve show linear light: uint8, or uint16 for 16 bits."""
    if bits not in (8, 16):
        raise ValueError(f"bits must be 8 or 16, got {bits}")
    peak = 2**bits - 1
    codes = inverse_eotf(np.asarray(linear, dtype=np.float64), eotf) * peak
    return np.clip(np.rint(codes), 0, peak).astype(np.uint8 if bits == 8 else np.uint16)


def demodulate(shots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, modulation and phase (rad, -pi..pi) at every pixel from four fringe shots at 0, 90, 180, 270 degrees.

    Parameters
    ----------
    shots
        (4, H, W) linear light.

    Notes
    -----
    With ``I_k = m (1 + M cos(p + k pi/2))``: m = mean of I_k, m M exp(i p) = (I_0 - I_2 + i (I_3 - I_1)) / 2.
    """
    shots = np.asarray(shots, dtype=np.float64)
    if shots.ndim != 3 or shots.shape[0] != FRINGE_PHASES:
        raise ValueError(f"shots must be of shape (4, H, W), got {shots.shape}")
    level = shots.mean(axis=0)
    wave = (shots[0] - shots[2] + 1j * (shots[3] - shots[1])) / 2
    modulation = np.divide(np.abs(wave), level, out=np.zeros_like(level), where=level > 0)
    return level, modulation, np.angle(wave)


@dataclass(frozen=True)
class TargetSpec:
    """One entry of a calibration set: file stem, kind, its parameters, the scene it belongs to, fit or held."""

    name: str
    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)
    role: str = "fit"

    def draw(self, width: int, height: int) -> np.ndarray:
        """The target in linear light, (H, W) float32."""
        return target(self.kind, width, height, **self.parameters)


def standard_set(seed: int = 1, periods_px: tuple[int, ...] = DEFAULT_FRINGE_PERIODS) -> list[TargetSpec]:
    """The targets of one calibration: those for the fit, and a second noise seed and a star that stay out of it."""
    specs = [
        TargetSpec("dark", "dark"),
        TargetSpec("flat", "flat"),
        TargetSpec("wedge", "wedge"),
        TargetSpec("edge_v", "edge", {"orientation": "vertical"}),
        TargetSpec("edge_h", "edge", {"orientation": "horizontal"}),
        TargetSpec("hole", "hole"),
        TargetSpec("disc", "disc"),
        TargetSpec("noise1", "noise", {"seed": seed}),
        TargetSpec("noise2", "noise", {"seed": seed + 1}, "held"),
        TargetSpec("siemens", "siemens", {}, "held"),
    ]
    for period in periods_px:
        for axis, turn in (("x", 0.0), ("y", 90.0)):
            for step in range(FRINGE_PHASES):
                waves = {"period_px": period, "orientation_deg": turn, "phase_rad": step * math.pi / 2}
                specs.append(TargetSpec(f"fringe_{axis}{period:03d}_p{step}", "fringe", waves))
    return specs


def _check_level(name: str, level: float) -> None:
    if not 0.0 <= level <= 1.0:
        raise ValueError(f"{name} must be 0..1 in linear light, got {level}")


def _centred(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel-centre coordinates from the middle of the screen: x (1, W), y (H, 1)."""
    return (np.arange(width) - (width - 1) / 2)[None, :], (np.arange(height) - (height - 1) / 2)[:, None]


def _half_plane_share(distance_px: np.ndarray, normal_x: np.ndarray, normal_y: np.ndarray) -> np.ndarray:
    """Share of a unit pixel on the positive side of a line at signed distance ``distance_px`` from its centre.

    Exact: the distance over a pixel's area has a trapezoidal density with half-widths (a + b)/2 and (a - b)/2, where
    a >= b are the absolute components of the unit normal; this is its cumulative distribution.
    """
    a, b = np.maximum(abs(normal_x), abs(normal_y)), np.minimum(abs(normal_x), abs(normal_y))
    b = np.maximum(b, 1e-6)  # an axis-parallel line is the limit of a slightly slanted one
    outer, inner = (a + b) / 2, (a - b) / 2
    near = np.clip(distance_px, -1.0, 1.0)  # beyond, the share is 0 or 1, and large squares would only cost digits
    ramps = [np.maximum(near + knot, 0.0) ** 2 for knot in (outer, inner, -inner, -outer)]
    return np.clip((ramps[0] - ramps[1] - ramps[2] + ramps[3]) / (2 * a * b), 0.0, 1.0)


def _round_spot(width: int, height: int, radius_px: float) -> np.ndarray:
    """1 inside a centred disc; boundary pixels get their share, taking the circle for a line within a pixel.

    The line is the tangent moved inwards by the mean sagitta of a one-pixel arc, 1/(24 r), so that the area is kept.
    """
    if not 0.5 <= radius_px <= math.hypot(width, height) / 2:
        raise ValueError(f"radius_px must be at least 0.5 and at most half the diagonal, got {radius_px}")
    x_px, y_px = _centred(width, height)
    radius = np.hypot(x_px, y_px)
    angle = np.arctan2(y_px, x_px)
    inwards = radius_px - radius - 1.0 / (24.0 * radius_px)
    return _half_plane_share(inwards, np.cos(angle), np.sin(angle))


def _square_wave_integral(turns: np.ndarray) -> np.ndarray:
    """Integral from 0 of a wave that is 1 in the first half of each period of length 1 and 0 in the second."""
    whole = np.floor(turns)
    return whole / 2 + np.minimum(turns - whole, 0.5)
