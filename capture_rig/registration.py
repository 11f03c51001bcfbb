"""Where the screen stands in the camera's picture: homography and lens distortion, from a board or from fringes.

Bare, the corners of a ChArUco board are found to a tenth of a pixel. Through film no corner is left, but fringes are
eigenfunctions of any blur: their contrast falls and their phase stays. Four phases of a period give the display's
coordinate at every camera pixel, up to whole periods; longer periods tell which one (temporal phase unwrapping,
Huntley & Saldner 1993). Which periods still carry anything behind film is decided from their own noise.

Near the screen's edges a fringe has one neighbour only, and film leans its phase inwards: a margin is left out.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.optimize import least_squares

from lps_sim.calibration.session_file import (
    SessionContent,
    StoredShot,
    is_session,
    read_light,
    read_mean,
    read_session,
)
from lps_sim.errors import UnknownNameError
from lps_sim.screen_view import ScreenView, centre_of, projected, undistorted

from .boards import charuco_board
from .outline import register_outline
from .targets import FRINGE_PHASES, demodulate

Floats = NDArray[Any]
FringeShots = Mapping[tuple[str, float], Floats]
"""(axis "x" or "y", period in display px) -> (4, H, W) linear light at phases 0, 90, 180 and 270 degrees."""

METHODS = ("auto", "charuco", "fringes", "outline")
LEAST_CORNERS = 12
_NAME = re.compile(r"fringe_(?P<axis>[xy])(?P<period>\d+)_p(?P<phase>[0-3])")
_LIT = 0.3  # of the bright part's mean: what is the screen
_MARGIN = 0.18  # of the screen's shorter side, in the camera: film leans phases within it
_USABLE_SIGMAS = 8.0  # of a wave's amplitude over its noise, in the median
_NO_WORSE = 1.4  # noise of a finer wave over that of the longer one: where both lean alike
_JUMP = 0.3  # of a period: farther from the longer period's place, a pixel is left out
_POINTS = 6000  # of the fit, spread over the screen
_TILES = 4  # each way; residuals are averaged in them
_OUTLIER_PX = 0.3  # residuals beyond count by their size, not its square
_MOST_BENT = 0.6  # |k1|, |k2|: beyond any lens that shows a screen as one
_NOISE_PX = 1.0  # fringes carry nothing this fine: what is left after smoothing over it is noise


@dataclass(frozen=True)
class Wave:
    """One fringe period, demodulated.

    period_px : in display px
    phase_px : (H, W) display px from the screen's middle, up to whole periods
    sd_px : (H, W) its standard deviation, display px
    carried : whether it stands out of the noise
    """

    period_px: float
    phase_px: Floats
    sd_px: Floats
    carried: bool

    @classmethod
    def of(cls, period_px: float, shots: Floats, lit: NDArray[np.bool_]) -> Wave:
        """From (4, H, W) linear light at four phases; ``lit``: where the screen is."""
        light = np.asarray(shots, dtype=float)
        level, modulation, phase = demodulate(light)
        amplitude, noise = level * modulation, _noise(light)
        scale = period_px / (2 * math.pi)
        carried = bool(np.median(amplitude[lit]) >= _USABLE_SIGMAS * noise)
        return cls(period_px, scale * phase, scale * noise / np.maximum(amplitude, 1e-9), carried)

    def place(self, rough: Floats | None) -> Floats:
        """(H, W) display px from the screen's middle, nearest to ``rough``; NaN where that is between two periods."""
        if rough is None:
            return self.phase_px
        orders = (rough - self.phase_px) / self.period_px
        near = np.abs(orders - np.rint(orders)) < _JUMP
        return np.where(near, self.phase_px + self.period_px * np.rint(orders), np.nan)


def register_charuco(picture: Floats, display_size: tuple[int, int], f_px: float) -> ScreenView:
    """The view of a bare screen that shows :func:`capture_rig.boards.charuco`.

    Parameters
    ----------
    picture : (H, W) or (H, W, 3) uint8 codes of the camera
    display_size : (width, height) of the display in px
    f_px : focal length in camera px, the unit of the distortion

    Raises ValueError when fewer than 12 corners are found.
    """
    import cv2

    board, corners = charuco_board(*display_size)
    grey = picture if picture.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    found, ids, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(np.ascontiguousarray(grey))
    count = 0 if ids is None else len(ids)
    if count < LEAST_CORNERS:
        raise ValueError(
            f"picture: {count} corners of the board found, {LEAST_CORNERS} are needed; show it bare, sharp, as large "
            "as it goes, and not overexposed"
        )
    seen = np.asarray(found, float).reshape(-1, 2)
    shown = corners[np.asarray(ids).ravel()]
    size = grey.shape[1], grey.shape[0]
    provenance = {"method": "charuco", "corners": count, "of": len(corners)}
    return _fitted(seen, shown, np.ones(len(seen)), display_size, size, f_px, provenance)


def register_fringes(
    shots: FringeShots,
    display_size: tuple[int, int],
    f_px: float,
    start: ScreenView | None = None,
    lens: tuple[float, float] | None = None,
) -> ScreenView:
    """The view of a screen that shows fringes, bare or through film.

    Parameters
    ----------
    shots : of both axes; the longest period of each spans the display, unless ``start`` is given
    display_size : (width, height) of the display in px
    f_px : focal length in camera px
    start : a view that is right to a quarter of the longest period
    lens : (k1, k2) as the bare screen told them; default: fitted. Film leans phases towards the middle of the screen,
        most of all near its edges, and a lens that is fitted behind it takes that for distortion

    Raises
    ------
    ValueError
        an axis without shots, no period that carries anything, or none that spans the display without a ``start``
    """
    axes = {axis: {period: light for (one, period), light in shots.items() if one == axis} for axis in "xy"}
    for axis, size in zip("xy", display_size):
        if not axes[axis]:
            raise ValueError(f"shots must have fringes along both axes, got none along {axis}")
        if start is None and max(axes[axis]) < size:
            raise ValueError(
                f"the longest period along {axis} must span the display's {size} px, got {max(axes[axis]):g}; add it, "
                "or register the bare screen by its board first"
            )
    height, width = next(iter(shots.values())).shape[1:]
    lit = _screen_mask(np.mean([light.mean(axis=0) for light in shots.values()], axis=0))
    waves = [[Wave.of(period, axes[axis][period], lit) for period in sorted(axes[axis], reverse=True)] for axis in "xy"]
    for axis, found in zip("xy", waves):
        if not found[0].carried:
            raise ValueError(f"no fringes left: not even those of {found[0].period_px:g} px along {axis} show")
    y, x = np.nonzero(lit)
    chosen = np.linspace(0, len(x) - 1, min(_POINTS, len(x))).astype(int)
    seen = np.stack([x[chosen], y[chosen]], axis=-1).astype(float)
    carried = [_useful(found, lit) for found in waves]
    levels, view = max(map(len, carried)), start
    # The fitted view, not the longer wave alone, says which period of the next wave it is: behind film long waves lean
    # towards the middle of the screen, by more than a fine period.
    for level in range(levels):
        current = [found[min(level, len(found) - 1)] for found in carried]
        shown, sd = _places(current, seen, view, display_size)
        known = np.isfinite(shown).all(axis=1)
        if known.sum() < LEAST_CORNERS:
            raise ValueError("shots: no part has fringes along both axes; take longer periods or less film")
        weight = 1 / np.maximum(sd, np.median(sd[known]) / 4)
        provenance = {
            "method": "fringes",
            "points": int(known.sum()),
            "finest_periods_px": [wave.period_px for wave in current],
            "periods_left_out_px": [
                sorted({wave.period_px for wave in found} - {wave.period_px for wave in kept}, reverse=True)
                for found, kept in zip(waves, carried)
            ],
            "lens": "given" if lens else "fitted",
        }
        data = seen[known], shown[known], weight[known]
        # A lens bends by less than film leans long waves: the finest alone tell the distortion.
        known_lens = lens if lens or level == levels - 1 else (0.0, 0.0)
        view = _fitted(*data, display_size, (width, height), f_px, provenance, known_lens)
    if view is None:
        raise ValueError("shots must hold at least one period")
    return view


def _useful(waves: Sequence[Wave], lit: NDArray[np.bool_]) -> list[Wave]:
    """Waves from the longest on, each of which tells places about as well as the one before, or better.

    Film takes more from the contrast of the finest than their shorter periods give back; at equal noise they lean less.
    """
    kept = [waves[0]]
    for wave in waves[1:]:
        if wave.carried and np.median(wave.sd_px[lit]) < _NO_WORSE * np.median(kept[-1].sd_px[lit]):
            kept.append(wave)
    return kept


def _places(
    waves: Sequence[Wave], seen: Floats, view: ScreenView | None, display_size: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Display px (P, 2) of camera px ``seen`` (P, 2), and their standard deviation (P,)."""
    middle = centre_of(display_size)
    rough = None if view is None else view.to_display(seen) - middle
    x, y = seen.astype(int).T
    columns = []
    for axis, wave in enumerate(waves):
        at_points = Wave(wave.period_px, wave.phase_px[y, x], wave.sd_px[y, x], wave.carried)
        columns.append(at_points.place(None if rough is None else rough[:, axis]) + middle[axis])
    return np.stack(columns, axis=-1), np.hypot(*(wave.sd_px[y, x] for wave in waves))


def fringe_shots(path: str | os.PathLike[str], content: SessionContent, layers: int) -> FringeShots:
    """The fringes of a session at a layer count.

    Raises ValueError when there is no whole set of phases.
    """
    found: dict[tuple[str, float], dict[int, Floats]] = {}
    for shot in content.shots:
        match = _NAME.fullmatch(str(shot.planned["scene"]))
        if match and shot.planned["layers"] == layers:
            light = read_light(path, shot, content.camera)
            found.setdefault((match["axis"], float(match["period"])), {})[int(match["phase"])] = light
    whole = {
        key: np.stack([phases[k] for k in range(FRINGE_PHASES)]) for key, phases in found.items() if len(phases) == 4
    }
    if not whole:
        raise ValueError(f"{path}: no fringes in four phases at {layers} layers")
    return whole


def register_session(path: str | os.PathLike[str], layers: int = 0, method: str = "auto") -> ScreenView:
    """The view of a session's screen.

    Parameters
    ----------
    path : session file
    layers : of film that it is seen through
    method : ``charuco``, ``fringes``, ``outline`` (of the flat; it tells no distortion) or ``auto``: the fringes, with
        the bare board, or else the outline, as the start where their longest period does not span the display

    Raises ValueError for a file that is no session, or has no shots of the kind.
    """
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    if not is_session(path):
        raise ValueError(f"{path}: registration reads session files, of lps rig capture or serve")
    content = read_session(path)
    size = int(content.screen["width_px"]), int(content.screen["height_px"])
    found: dict[str, StoredShot] = {}
    for shot in content.shots:
        if not shot.planned["layers"]:
            found.setdefault(str(shot.planned["target"]), shot)
    f_px = content.camera.f_px

    def bare(how: str) -> ScreenView:
        if how != "outline" and "charuco" in found:
            try:
                return register_charuco((read_mean(path, found["charuco"]) >> 8).astype(np.uint8), size, f_px)
            except ValueError:  # a board too small for this camera
                if how == "charuco" or "flat" not in found:
                    raise
        if how == "charuco":
            raise ValueError(f"{path}: no bare shot of the ChArUco board")
        if "flat" not in found:
            raise ValueError(f"{path}: no bare shot of the ChArUco board, nor of the flat for the screen's outline")
        return register_outline(read_light(path, found["flat"], content.camera), size, f_px)

    if method in ("charuco", "outline"):
        if layers:
            raise ValueError(f"layers must be 0 for {method}: behind film no corner and no edge is left, got {layers}")
        return bare(method)
    try:
        shots = fringe_shots(path, content, layers)
    except ValueError:
        if method == "fringes" or layers:
            raise
        return bare(method)
    spans = all(max((p for a, p in shots if a == axis), default=0) >= side for axis, side in zip("xy", size))
    start = None if spans else bare(method)
    return register_fringes(shots, size, f_px, start, _lens_of(path, method) if layers else None)


def _lens_of(path: str | os.PathLike[str], method: str) -> tuple[float, float] | None:
    """Distortion by the bare screen of a session; None where it has no shots that tell it."""
    try:
        view = register_session(path, 0, method)
    except ValueError:
        return None
    return None if view.provenance["method"] == "outline" else (view.k1, view.k2)


def _screen_mask(light: Floats) -> NDArray[np.bool_]:
    """Where the screen is, without a margin."""
    smooth = gaussian_filter(light, 2)
    lit = smooth > _LIT * smooth[smooth > np.quantile(smooth, 0.5)].mean()
    margin = max(2, round(_MARGIN * math.sqrt(lit.mean()) * min(light.shape)))
    kept: NDArray[np.bool_] = binary_erosion(lit, iterations=margin)
    return kept


def _noise(shots: Floats) -> float:
    """Standard deviation of a wave's quadratures by what is finer than any fringe in the sum of opposite phases."""
    # I_0 + I_2 - I_1 - I_3 holds no wave, and no mean: noise alone, twice that of one shot.
    rest = shots[0] + shots[2] - shots[1] - shots[3]
    rest = rest - gaussian_filter(rest, _NOISE_PX)
    one = 1.4826 * float(np.median(np.abs(rest - np.median(rest)))) / 2
    return max(one / math.sqrt(2), 1e-12)


def _fitted(
    seen: Floats,
    shown: Floats,
    weight: Floats,
    display_size: tuple[int, int],
    camera_size: tuple[int, int],
    f_px: float,
    provenance: dict[str, Any],
    lens: tuple[float, float] | None = None,
) -> ScreenView:
    """Homography, and distortion unless the lens is known, by least squares with a robust loss; residuals in camera px.

    The fit runs from camera to display, where the data are; their residual over the local scale is the camera's.
    """
    centre, middle = centre_of(camera_size), centre_of(display_size)
    offset, target = (seen - centre) / f_px, (shown - middle) / max(display_size)
    if lens is not None:
        offset = undistorted(offset, *lens)
    start = np.append(_homography(offset, target).ravel()[:8], [0.0, 0.0] if lens is None else [])
    scale = np.sqrt(abs(np.linalg.det(_jacobian(start))))  # display units an offset unit
    weight = weight / np.sqrt((weight**2).mean())

    def residual(values: Floats) -> Floats:
        straight = undistorted(offset, *values[8:]) if lens is None else offset
        away = projected(np.append(values[:8], 1.0).reshape(3, 3), straight) - target
        return (away / scale * f_px * weight[:, None]).ravel()

    most = np.append(np.full(8, np.inf), [_MOST_BENT, _MOST_BENT] if lens is None else [])
    options = {"loss": "soft_l1", "f_scale": _OUTLIER_PX, "x_scale": "jac", "max_nfev": 200}
    found = least_squares(residual, start, bounds=(-most, most), **options)
    k1, k2 = found.x[8:] if lens is None else lens
    inverse = np.append(found.x[:8], 1.0).reshape(3, 3)
    to_unit = np.array([[1 / f_px, 0, -centre[0] / f_px], [0, 1 / f_px, -centre[1] / f_px], [0, 0, 1]])
    to_display = np.array([[max(display_size), 0, middle[0]], [0, max(display_size), middle[1]], [0, 0, 1]])
    matrix = np.linalg.inv(to_display @ inverse @ to_unit)
    away = (residual(found.x) / np.repeat(weight, 2)).reshape(-1, 2)
    return ScreenView(
        tuple(tuple(row) for row in (matrix / matrix[2, 2]).tolist()),
        display_size,
        camera_size,
        f_px,
        float(k1),
        float(k2),
        residual_px=float(np.sqrt((away**2).sum(axis=1).mean())),
        sd_px=_tile_error(seen, away, camera_size),
        provenance=provenance,
    )


def _tile_error(seen: Floats, away: Floats, size: tuple[int, int]) -> float:
    """rms of the residuals' means over tiles of the picture: what noise does not explain, camera px."""
    place = np.minimum((seen / size * _TILES).astype(int), _TILES - 1) @ [1, _TILES]
    means = [away[place == tile].mean(axis=0) for tile in np.unique(place)]
    return float(np.sqrt((np.square(means)).sum(axis=1).mean()))


def _jacobian(values: Floats) -> Floats:
    """(2, 2) slope of the homography at the centre."""
    (a, b, c), (d, e, f), (g, h, _) = np.append(values[:8], 1.0).reshape(3, 3)
    return np.array([[a - c * g, b - c * h], [d - f * g, e - f * h]])


def _homography(source: Floats, target: Sequence[Floats] | Floats) -> Floats:
    """(3, 3) direct linear transform (Hartley & Zisserman 2004), last entry 1."""
    x, y = np.asarray(source).T
    u, v = np.asarray(target).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=1),
        ]
    )
    solution, *_ = np.linalg.lstsq(rows, np.concatenate([u, v]), rcond=None)
    return np.append(solution, 1.0).reshape(3, 3)


def moved_px(view: ScreenView, reference: ScreenView) -> float:
    """rms distance in camera px between where two views have the points of a grid over the screen."""
    width, height = reference.display_size
    grid = np.stack(np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 7)), axis=-1)
    away = view.to_camera(grid) - reference.to_camera(grid)
    return float(np.sqrt((away**2).sum(axis=-1).mean()))
