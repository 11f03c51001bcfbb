"""``lps rig cameras``: which cameras there are, and whether one does what is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .common import SIZE, json_option, print_json, progress_display

if TYPE_CHECKING:
    from capture_rig.cameras.opening import ListedCamera
    from capture_rig.cameras.protocol import SettingFact
    from capture_rig.cameras.trial import CameraTrial

_GREY = 128


@click.command()
@click.option("--test", "tested", metavar="CAMERA", help="Open it: 0, /dev/video0, rtsp://..., a folder or video file.")
@click.option("--exposure-s", type=click.FloatRange(min=0, min_open=True), help="Exposure time in seconds.")
@click.option("--gain", type=float, help="Gain in the driver's own unit.")
@click.option("--white-balance", "white_balance_k", type=click.FloatRange(min=0, min_open=True), help="In kelvin.")
@click.option("--focus", type=float, help="Focus in the driver's own unit.")
@click.option("--size", type=SIZE, help="Frame size, such as 1920x1080.")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="Frames a second.")
@click.option("--frames", type=click.IntRange(min=2), default=30, show_default=True, help="Frames to read.")
@json_option
def cameras(
    tested: str | None,
    exposure_s: float | None,
    gain: float | None,
    white_balance_k: float | None,
    focus: float | None,
    size: tuple[int, int] | None,
    fps: float | None,
    frames: int,
    as_json: bool,
) -> None:
    """List the cameras of this machine; with --test, open one, lock its settings and read some frames.

    Point it at a scene that stands still: what moves is counted as noise. Exit status 1 when the camera ignores
    something that was asked for, or breaks off.
    """
    from capture_rig.cameras.opening import list_cameras
    from capture_rig.cameras.protocol import CameraSettings

    width, height = size or (None, None)
    settings = CameraSettings(width, height, fps, exposure_s, gain, white_balance_k, focus)
    if tested is None:
        asked = [name for name, value in vars(settings).items() if value is not None]
        if asked:
            raise click.UsageError(f"settings go with --test CAMERA, got {', '.join(asked)} without it")
        _print_list(list_cameras(), as_json)
        return
    facts, trial = _tried(tested, settings, frames)
    ignored = [fact for fact in facts.settings if fact.asked is not None and not fact.honoured]
    if as_json:
        print_json({"camera": facts.to_dict(), "trial": trial.to_dict(), "ignored": [fact.name for fact in ignored]})
    else:
        simulated = " (simulated, no lens has seen this)" if facts.simulated else ""
        click.echo(f"{facts.name}{simulated}: {facts.width}x{facts.height}, {facts.bits} bits, by {facts.backend}")
        _print_settings(facts.settings)
        _print_trial(trial, frames)
    if ignored:
        names = ", ".join(fact.name for fact in ignored)
        raise click.ClickException(f"{facts.name} ignores {names}; settings that it does not hold spoil a calibration")
    if trial.ended:
        raise click.ClickException(f"{trial.frames} of {frames} frames came: {trial.ended}")


def _tried(tested: str, settings: Any, frames: int) -> tuple[Any, CameraTrial]:
    from capture_rig.cameras.opening import open_camera
    from capture_rig.cameras.protocol import CameraLostError
    from capture_rig.cameras.trial import try_camera

    try:
        with (
            open_camera(tested, settings, _grey_view(tested, settings), allow_ignored=True, kept=8) as camera,
            progress_display() as progress,
        ):
            task = progress.add_task("frames", total=frames)
            trial = try_camera(camera, frames, on_frame=lambda: progress.advance(task))
            return camera.facts, trial
    except CameraLostError as error:
        raise click.ClickException(str(error)) from error


def _grey_view(tested: str, settings: Any) -> Any:
    """A grey screen for a simulated camera to look at; None for a real one, which has its own view."""
    from capture_rig.cameras.opening import SIMULATED

    if not tested.startswith(SIMULATED):
        return None
    import numpy as np

    picture = np.full((settings.height or 360, settings.width or 640, 3), _GREY, np.uint8)
    return lambda _: picture


def _print_list(listed: tuple[ListedCamera, ...], as_json: bool) -> None:
    if as_json:
        print_json({"cameras": [camera.to_dict() for camera in listed]})
        return
    for camera in listed:
        notes = [] if camera.index == 0 else ["a further node of the one above"]
        notes += [] if camera.readable else ["no permission: add your user to the group video"]
        click.echo(f"{camera.device}  {camera.name}{''.join(f' ({note})' for note in notes)}")
    if not listed:
        click.echo(
            "no camera at this machine (V4L2); streams, folders and video files need no listing: --test rtsp://..."
        )


def _print_settings(settings: tuple[SettingFact, ...]) -> None:
    for fact in settings:
        asked, got = ("-" if value is None else f"{value:g}" for value in (fact.asked, fact.got))
        state = "ok" if fact.honoured else "IGNORED" if fact.asked is not None else "not locked"
        click.echo(f"  {fact.name:<20} asked {asked:>8}  has {got:>8}  {state}{f': {fact.note}' if fact.note else ''}")


def _print_trial(trial: CameraTrial, frames: int) -> None:
    rate = "unknown" if trial.fps is None else f"{trial.fps:.2f}"
    click.echo(f"frames read {trial.frames} of {frames}, lost between them {trial.lost}, rate {rate} a second")
    noise = "unknown" if trial.noise_codes is None else f"{trial.noise_codes:.3g} codes"
    flicker = "unknown" if trial.flicker is None else f"{100 * trial.flicker:.2g} %"
    click.echo(
        f"mean {trial.mean_codes:.1f} codes, clipped {100 * trial.clipped_share:.2g} %, "
        f"noise from frame to frame {noise}, flicker {flicker}"
    )
