"""What a session says of its screen's light: the transfer curve, black, and how steady it is.

The camera's own curve comes first (``lps film check`` judges it, ``lps film response`` measures it from brackets): with
it, a picture of the wedge is a measurement of the light that the screen gives for each code.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from lps_sim import Camera
from lps_sim.calibration.checks import Check
from lps_sim.calibration.merge import Merged, merge_bracket
from lps_sim.calibration.session_file import (
    SessionContent,
    StoredShot,
    camera_of_frames,
    camera_of_means,
    read_frames,
    read_mean,
    read_session,
    read_times,
)
from lps_sim.screen_view import ScreenView

from .flicker import LEAST_FRAMES, Flicker, find_flicker, row_levels, steady_times
from .registration import register_session
from .screen_curve import ScreenCurve, measure_screen

_NEEDED = ("wedge", "flat")


@dataclass(frozen=True)
class Photometry:
    """A session's screen.

    Parameters
    ----------
    curve : as measured
    assumed : curve that the session's pictures were made for, and ``assumed_misfit`` of the measured light to it, rms,
        relative
    flicker : of the bare flat; None where its frames were not kept or are fewer than six
    exposure_s : as the camera told it; None where it did not
    view : of the screen that the fields were told by
    simulated : whether no lens has seen this
    """

    curve: ScreenCurve
    assumed: str
    assumed_misfit: float
    flicker: Flicker | None
    exposure_s: float | None
    view: ScreenView
    simulated: bool

    def checks(self) -> list[Check]:
        """Flicker against the limits of the calibration's gate."""
        return [] if self.flicker is None else [self.flicker.check(self.exposure_s)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "simulated": self.simulated,
            "assumed": self.assumed,
            "assumed_misfit": self.assumed_misfit,
            "screen": self.curve.to_dict(),
            "flicker": None if self.flicker is None else self.flicker.to_dict(),
            "checks": [check.to_dict() for check in self.checks()],
            "registration": {**self.view.provenance, "residual_px": self.view.residual_px},
        }


def session_photometry(path: str | os.PathLike[str], view: ScreenView | None = None) -> Photometry:
    """Screen curve and flicker from a session's bare wedge and flat, and its black screen and capped shots if any.

    Parameters
    ----------
    path : session file
    view : of the screen; default: registered from the session itself

    Raises ValueError when a shot that is needed is not there, and as ``register_session`` and ``measure_screen``.
    """
    content = read_session(path)
    bare: dict[str, list[StoredShot]] = {}
    for shot in content.shots:
        if not shot.planned["layers"]:
            bare.setdefault(str(shot.planned["target"]), []).append(shot)
    lacking = [kind for kind in _NEEDED if kind not in bare]
    if lacking:
        raise ValueError(f"{path}: photometry needs bare shots of {' and '.join(lacking)}")
    view = view or register_session(path)
    single = camera_of_frames(path, content)
    camera = camera_of_means(single, content)
    light = {
        kind: _merged(path, bare[kind], camera, single)
        for kind in ("wedge", "flat", "screen_off", "dark")
        if kind in bare
    }
    assumed = str(content.screen["eotf"])
    curve = measure_screen(
        light["wedge"],
        light["flat"],
        view,
        assumed,
        int(bare["wedge"][0].planned["parameters"].get("steps", 16)),
        light["dark"].mean if "dark" in light else 0.0,
        light.get("screen_off"),
    )
    return Photometry(
        curve=curve,
        assumed=assumed,
        assumed_misfit=curve.misfit_to(assumed),
        flicker=_flicker_of(path, bare["flat"], content),
        exposure_s=_exposure_s(content),
        view=view,
        simulated=content.simulated,
    )


def _merged(path: str | os.PathLike[str], shots: list[StoredShot], camera: Camera, single: Camera) -> Merged:
    pictures: list[NDArray[Any]] = [read_mean(path, shot) for shot in shots]
    merged = merge_bracket(pictures, [shot.exposure for shot in shots], camera, single)
    return Merged(merged.mean.mean(axis=-1), merged.variance.mean(axis=-1) / merged.variance.shape[-1])


def _flicker_of(path: str | os.PathLike[str], flats: list[StoredShot], content: SessionContent) -> Flicker | None:
    longest = max(flats, key=lambda shot: shot.frames)
    frames = read_frames(path, longest)
    if len(frames) < LEAST_FRAMES:
        return None
    levels = row_levels(frames, content.camera.transfer, content.camera.bits)
    refresh = content.screen.get("refresh_hz")
    return find_flicker(levels, steady_times(*read_times(path, longest)), None if refresh is None else float(refresh))


def _exposure_s(content: SessionContent) -> float | None:
    for fact in content.camera_facts.get("settings", ()):
        if fact["name"] == "exposure_s" and fact["got"] is not None:
            return float(fact["got"])
    return None
