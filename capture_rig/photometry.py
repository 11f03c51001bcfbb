"""What screen and camera do to light: the screen's transfer curve from a wedge, and flicker from a run of equal frames.

The camera's own curve comes first (``lps film response``, from brackets): with it a picture of the wedge measures the
light that the screen gives for each code.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize_scalar

from lps_sim.calibration.session_file import camera_of_frames, camera_of_means, read_frames, read_mean, read_session
from lps_sim.screen_view import ScreenView
from lps_sim.transfer import MeasuredCurve, eotf

from .registration import register_session
from .targets import screen_codes, wedge

Floats = NDArray[Any]

WEDGE_STEPS = 16
_INNER = 0.5  # of a field's width and height: the rest is left to blur
_GAMMAS = (1.0, 3.2)
_LEAST_FRAMES = 8
_LINE_SIGMAS = 6.0  # of a spectral line over the median of the periodogram
LEVEL_WARN, LEVEL_FAIL = 0.005, 0.02  # peak to peak of the frames' level, and of rows within a frame


@dataclass(frozen=True)
class ScreenCurve:
    """A screen's transfer curve, measured.

    Parameters
    ----------
    codes : (S,) codes of the wedge's fields, 0..1, rising
    light : (S,) their light, the brightest 1, black taken off
    glow : light of black as a share of white
    gamma : exponent of the power law that fits best
    gamma_error : rms difference to it, in light, white 1
    """

    codes: tuple[float, ...]
    light: tuple[float, ...]
    glow: float
    gamma: float
    gamma_error: float

    def curve(self, size: int = 256) -> MeasuredCurve:
        """The transfer function through the measured points (monotone cubic), for :func:`targets.screen_codes`."""
        codes, light = (np.concatenate([[0.0], values]) for values in (self.codes, self.light))
        keep = np.concatenate([[True], np.diff(np.maximum.accumulate(light)) > 0])
        found = PchipInterpolator(codes[keep], light[keep])(np.linspace(0, 1, size))
        # Where the wedge tells nothing the curve still has to rise.
        found = np.maximum.accumulate(found) + 1e-9 * np.arange(size)
        found = (found - found[0]) / (found[-1] - found[0])
        return MeasuredCurve(tuple(found.tolist()))

    def error_of(self, name: str) -> float:
        """rms difference of an assumed curve to the measured light, white 1."""
        return float(np.sqrt(np.mean((eotf(np.array(self.codes), name) - np.array(self.light)) ** 2)))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def wedge_light(picture: Floats, view: ScreenView, steps: int = WEDGE_STEPS) -> Floats:
    """(steps,) mean light of the wedge's fields, brightest first, in the camera's picture (H, W) of linear light.

    Raises ValueError where a field is outside the picture.
    """
    width, height = view.display_size
    columns = min(steps, max(1, round(math.sqrt(steps * width / height))))
    rows = math.ceil(steps / columns)
    straight = view.rectify(np.asarray(picture, np.float32), eotf=None)
    means = []
    for number in range(steps):
        row, column = divmod(number, columns)
        y, x = (row + 0.5) * height / rows, (column + 0.5) * width / columns
        half_y, half_x = _INNER * height / rows / 2, _INNER * width / columns / 2
        seen = view.to_camera(np.array([[x - half_x, y - half_y], [x + half_x, y + half_y]]))
        if not (np.isfinite(seen).all() and (seen >= 0).all() and (seen < np.array(view.camera_size)).all()):
            raise ValueError(f"picture: field {number} of the wedge lies outside of it; show the screen whole")
        part = straight[round(y - half_y) : round(y + half_y), round(x - half_x) : round(x + half_x)]
        means.append(float(part.mean()))
    return np.array(means)


def screen_curve(light: Floats, black: float, shown_eotf: str = "srgb") -> ScreenCurve:
    """The curve of a screen from the light of its wedge.

    Parameters
    ----------
    light : (S,) linear light of the fields, brightest first, as of :func:`wedge_light`
    black : light of a black screen in the same unit
    shown_eotf : curve by which the wedge's codes were made, see :func:`capture_rig.targets.screen_codes`

    Raises ValueError when the light does not rise with the code.
    """
    light = np.asarray(light, dtype=float)
    levels = wedge(len(light), 1, steps=len(light))[0] if len(light) > 1 else np.ones(1, np.float32)
    codes = screen_codes(levels, shown_eotf).astype(float)[::-1] / 255
    above = (light[::-1] - black) / (light[0] - black)
    distinct = np.concatenate([np.diff(codes) > 0, [True]])
    codes, above = codes[distinct], above[distinct]
    if len(codes) < 4 or above[-1] <= 0 or np.corrcoef(codes, above)[0, 1] < 0.5:
        raise ValueError("light must rise with the wedge's codes; is it the wedge, brightest field first?")

    def away(gamma: float) -> float:
        return float(((codes**gamma - above) ** 2).mean())

    gamma = float(minimize_scalar(away, bounds=_GAMMAS, method="bounded").x)
    return ScreenCurve(
        tuple(codes.tolist()), tuple(above.tolist()), float(black / light[0]), gamma, math.sqrt(away(gamma))
    )


@dataclass(frozen=True)
class Flicker:
    """How steady a lit screen is to a camera.

    Parameters
    ----------
    level_range : peak to peak of the frames' mean light over their mean, noise taken off
    row_range : peak to peak of the rows within a frame against the mean frame, noise taken off: rolling bands
    frequency_hz : of the strongest line in the frames' levels, as the camera sees it (aliased); None without one
    band_rows : period of the bands in rows; None without one
    status, cure : ok, warn or fail, and what helps
    """

    level_range: float
    row_range: float
    frequency_hz: float | None
    band_rows: float | None
    status: str
    cure: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def flicker(frames: Sequence[Floats], fps: float, refresh_hz: float = 60.0) -> Flicker:
    """Flicker and refresh beating in a run of frames of a still, lit screen.

    Parameters
    ----------
    frames : (H, W) linear light each, 8 or more, one after another
    fps : frames a second
    refresh_hz : of the screen, for the cure

    Raises ValueError for too few frames, or dark ones.
    """
    if len(frames) < _LEAST_FRAMES:
        raise ValueError(f"frames must be at least {_LEAST_FRAMES}, got {len(frames)}")
    light = np.stack([np.asarray(frame, dtype=float) for frame in frames])
    mean = light.mean(axis=0)
    if mean.mean() <= 1e-3:
        raise ValueError("frames are dark: show the flat target")
    rows = light.mean(axis=2) / np.maximum(mean.mean(axis=1), 1e-9)  # (K, H)
    levels = light.mean(axis=(1, 2)) / mean.mean()
    # Pixel noise, from neighbours across: what rows and frames would scatter by themselves.
    pixel = np.abs(np.diff(light - mean, axis=2))
    sd = 1.4826 * float(np.median(pixel)) / math.sqrt(2) / mean.mean()
    row_sd, level_sd = sd / math.sqrt(light.shape[2]), sd / math.sqrt(light.shape[1] * light.shape[2])
    level_range, frequency = _line(levels, level_sd)
    within = rows - rows.mean(axis=1, keepdims=True)
    lines = [_line(one, row_sd) for one in within]
    row_range = float(np.median([size for size, _ in lines]))
    bands = [period for _, period in lines if period]
    worst = max(level_range, row_range)
    status = "ok" if worst < LEVEL_WARN else "warn" if worst < LEVEL_FAIL else "fail"
    cure = ""
    if status != "ok":
        cure = f"make the exposure a multiple of 1/{refresh_hz:g} s; turn off dimming, variable refresh and lamps"
    return Flicker(
        level_range=level_range,
        row_range=row_range,
        frequency_hz=None if frequency is None else frequency * fps,
        band_rows=None if len(bands) < len(lines) / 2 else float(1 / np.median(bands)),
        status=status,
        cure=cure,
    )


def _line(values: Floats, sd: float) -> tuple[float, float | None]:
    """Peak to peak beyond noise, and the frequency (cycles a sample) of a line that stands out of the periodogram."""
    away = values - values.mean()
    expected = 2 * sd * math.sqrt(2 * math.log(max(len(away), 2)))  # range of as many normal deviates
    size = math.sqrt(max(float(np.ptp(away)) ** 2 - expected**2, 0.0))
    padded = 8 * len(away)
    power = np.abs(np.fft.rfft(away * np.hanning(len(away)), padded)) ** 2
    power[: padded // len(away)] = 0  # a slow drift is no line
    best = int(np.argmax(power))
    floor = float(sd**2 * (np.hanning(len(away)) ** 2).sum())
    if power[best] < _LINE_SIGMAS**2 * max(floor, 1e-30) or size == 0:
        return size, None
    return size, best / padded


def session_photometry(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Screen curve and flicker from a session's bare wedge, screen-off and flat shots; JSON-ready.

    Raises ValueError when one of them, or what the screen is registered by, is not there.
    """
    content = read_session(path)
    bare: dict[str, Any] = {}
    for shot in content.shots:
        if not shot.planned["layers"] and not shot.planned["capped"]:
            bare.setdefault(str(shot.planned["target"]), shot)
    lacking = [kind for kind in ("wedge", "screen_off", "flat") if kind not in bare]
    if lacking:
        raise ValueError(f"{path}: photometry needs bare shots of {', '.join(lacking)}")
    view = register_session(path)
    camera = camera_of_means(camera_of_frames(path, content), content)
    light = {kind: camera.decode(read_mean(path, bare[kind])).mean(axis=-1) / bare[kind].exposure for kind in bare}
    eotf_name = str(content.screen["eotf"])
    fields = wedge_light(light["wedge"], view)
    black = wedge_light(light["screen_off"], view).mean()
    curve = screen_curve(fields, float(black), eotf_name)
    frames = read_frames(path, bare["flat"])
    fps = float(content.camera_facts.get("fps") or 0) or 25.0
    refresh = float(content.screen.get("refresh_hz") or 60.0)
    steady = flicker([content.camera.decode(frame).mean(axis=-1) for frame in frames], fps, refresh)
    return {
        "curve": curve.to_dict(),
        "assumed": eotf_name,
        "assumed_error": curve.error_of(eotf_name),
        "flicker": steady.to_dict(),
        "response": list(curve.curve().response),
    }
