"""``lps rig flicker``: whether the light that a camera sees is steady, and the exposure that makes it so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from .common import json_option, print_json, progress_display
from .film_calibration import print_checks

if TYPE_CHECKING:
    from capture_rig.cameras.protocol import CameraSettings
    from capture_rig.flicker import Flicker
    from lps_sim.calibration.checks import Check


@click.command("flicker")
@click.argument("camera")
@click.option("--frames", type=click.IntRange(6, 1000), default=120, show_default=True, help="To look at.")
@click.option("--refresh", type=click.FloatRange(1, 1000), help="Refresh rate of the screen in Hz, where it is known.")
@click.option("--exposure-s", type=click.FloatRange(0, 10, min_open=True), help="Exposure time to set, in seconds.")
@click.option("--fps", type=click.FloatRange(0, 1000, min_open=True), help="Of a folder of pictures, or to set.")
@json_option
def flicker_command(
    camera: str, frames: int, refresh: float | None, exposure_s: float | None, fps: float | None, as_json: bool
) -> None:
    """Look for flicker and refresh beating in what CAMERA sees: 0, /dev/video0, rtsp://..., a folder or a video file.

    Show an even, still picture (lps rig serve: flat), without film, and let it fill most of the view. Exit status 1
    when the light varies by more than a calibration bears.
    """
    from capture_rig.cameras.opening import SIMULATED
    from capture_rig.cameras.protocol import CameraSettings

    if camera.startswith(SIMULATED):
        raise click.UsageError(f"{camera}: a simulated screen is steady; give a camera, a stream or a recording")
    settings = CameraSettings(exposure_s=exposure_s, fps=fps)
    name, found, check, ended = _looked(camera, settings, frames, refresh)
    if as_json:
        print_json({"camera": name, "flicker": found.to_dict(), "check": check.to_dict(), "ended": ended})
    else:
        print_checks([check])
        if ended:
            click.echo(f"{found.frames} of {frames} frames came: {ended}", err=True)
    click.get_current_context().exit(1 if check.status == "fail" else 0)


def _looked(
    camera: str, settings: CameraSettings, frames: int, refresh: float | None
) -> tuple[str, Flicker, Check, str]:
    """The camera's name, what was found, how it is judged, and why there are fewer frames than were asked for."""
    import numpy as np

    from capture_rig.cameras.opening import open_camera
    from capture_rig.cameras.protocol import CameraLostError
    from capture_rig.flicker import LEAST_FRAMES, find_flicker, row_levels, steady_times

    times: list[tuple[float, int]] = []
    ended: list[str] = []
    with open_camera(camera, settings, allow_ignored=True, kept=8) as source, progress_display() as progress:

        def run() -> Iterator[Any]:
            for _ in progress.track(range(frames), description="frames"):
                try:
                    frame = source.read()
                except CameraLostError as error:
                    ended.append(str(error))
                    return
                times.append((frame.at_s, frame.number))
                yield frame.codes

        facts = source.facts
        levels = row_levels(run(), facts.eotf, facts.bits)
    if len(times) < LEAST_FRAMES:
        raise click.ClickException(f"{len(times)} frames came, {LEAST_FRAMES} are needed: {', '.join(ended)}")
    at_s, numbers = np.array(times).T
    found = find_flicker(levels, steady_times(at_s, numbers), refresh)
    exposures = [fact.got for fact in facts.settings if fact.name == "exposure_s" and fact.got is not None]
    return facts.name, found, found.check(exposures[0] if exposures else settings.exposure_s), "".join(ended)
