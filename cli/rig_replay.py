"""``lps rig capture-replay`` and ``read-marks``: clips played on a screen with marks, filmed, and found again."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import SIZE, FilmType, json_option, list_failures, print_json, progress_display, stopped

if TYPE_CHECKING:
    from capture_rig.cameras.protocol import CameraSource
    from capture_rig.screens import Screen

_PATH = click.Path(path_type=Path)
_RATE = click.FloatRange(0, 0.5)
_FOV_DEG = 70.0
_DEFAULT_SCREEN = (1280, 720)


@click.command("capture-replay")
@click.argument("list_path", metavar="LIST", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", "folder", required=True, type=_PATH, help="Folder of the recording.")
@click.option("--fps", type=click.FloatRange(1, 120), default=25.0, show_default=True, help="Pictures a second.")
@click.option("--camera", "camera_text", help="0, /dev/video0, rtsp://...; without --simulate.")
@click.option("--simulate", "film", type=FilmType(), help="No camera: a simulated one, through this film.")
@click.option("--layers", type=click.IntRange(0, 64), default=0, show_default=True, help="Of film, with --simulate.")
@click.option("--clock-drift", type=click.FloatRange(-0.01, 0.01), default=0.0, help="Simulated: camera's slowness.")
@click.option("--drop-rate", type=_RATE, default=0.0, help="Simulated: share of the frames that are lost.")
@click.option("--shutter", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Simulated: share open.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Simulated: of noise and losses.")
@click.option("--screen", type=SIZE, help="Pixels to play on; default: the page's own, simulated 1280x720.")
@click.option("--level", type=click.FloatRange(0.05, 1), default=1.0, show_default=True, help="Light of the strip.")
@click.option(
    "--segment-s", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Of clips in one file."
)
@click.option("--reserve-mib", type=click.IntRange(min=0), default=1024, show_default=True, help="Disk to leave free.")
@json_option
@click.pass_context
def capture_replay(
    ctx: click.Context,
    list_path: Path,
    folder: Path,
    fps: float,
    segment_s: float,
    reserve_mib: int,
    level: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Play the clips of LIST (a folder, or a text file with one path a line) with marks, and film them into FOLDER.

    The screen flashes black and white at the start and end of every segment and once a minute: do not look at it when
    flashing light is a danger to you. Always resumes, at the first clip that no finished segment holds. Afterwards:
    lps rig read-marks FOLDER, and lps data ingest-replay FOLDER FOLDER/MAP DST --sync marks.
    """
    from capture_rig.cameras.protocol import CameraLostError, CameraRefusedError
    from capture_rig.replay import capture_replay as run
    from capture_rig.replay import read_list
    from capture_rig.screens import ScreenLostError

    if (options["film"] is None) == (options["camera_text"] is None):
        raise click.UsageError("give --camera CAMERA, or --simulate FILM for a simulated one")
    clips = read_list(list_path)
    try:
        with _devices(fps, options) as (screen, camera), progress_display() as display, _ctrl_c() as asked:
            task = display.add_task("clips played", total=len(clips))
            capture = run(
                clips,
                folder,
                screen,
                camera,
                fps,
                level,
                segment_s,
                reserve_mib << 20,
                asked.is_set,
                on_clips=lambda done, total: display.update(task, completed=done, total=total),
            )
    except (CameraLostError, CameraRefusedError, ScreenLostError) as error:
        raise click.ClickException(str(error)) from error
    if asked.is_set():
        stopped(ctx)
    facts = {
        "folder": str(folder),
        "simulated": capture.settings["simulated"],
        "clips": len(clips),
        "done": len(capture.done),
        "segments": len(capture.segments),
        "played_frames": capture.played_frames,
        "problems": [{"clip": name, "reason": reason} for name, reason in capture.problems.items()],
    }
    if as_json:
        print_json(facts)
    else:
        note = " (simulated)" if facts["simulated"] else ""
        click.echo(
            f"{folder}: {facts['done']} of {len(clips)} clips in {facts['segments']} segments{note}; "
            f"next: lps rig read-marks {folder}"
        )
    failures = [f"{name}: {reason}" for name, reason in capture.problems.items()]
    list_failures("clips that could not be played", failures, str(folder / "capture.json"))
    ctx.exit(0 if len(capture.done) == len(clips) else 1)


@contextlib.contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """Ctrl-C ends the segment where it stands, whole, instead of throwing it away."""
    asked = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _devices(fps: float, options: dict[str, Any]) -> Iterator[tuple[Screen, CameraSource]]:
    """Screen and camera: a simulated pair, or a browser's page and a real camera."""
    if options["film"] is not None:
        from capture_rig.cameras.pose import ScreenPose
        from capture_rig.cameras.simulated import SimulatedCamera
        from capture_rig.screens import VirtualScreen
        from lps_sim import Camera

        width, height = options["screen"] or _DEFAULT_SCREEN
        screen = VirtualScreen(width, height)
        sensor = Camera.from_field_of_view(width, height, _FOV_DEG)
        with SimulatedCamera(
            screen.at,
            sensor,
            options["film"] if options["layers"] else None,
            options["layers"],
            pose=ScreenPose.placed((width, height), sensor, fill=0.95),
            fps=fps,
            phase=0.25,
            clock_drift=options["clock_drift"],
            shutter=options["shutter"],
            screen_fps=fps,
            drop_rate=options["drop_rate"],
            engine="fast",
            seed=options["seed"],
        ) as simulated:
            yield screen, simulated
        return
    from capture_rig.cameras.opening import open_camera
    from capture_rig.display.server import RigServer

    from .rig_display import wait_for_display

    with RigServer(size=options["screen"]) as server, open_camera(options["camera_text"], kept=32) as camera:
        click.echo(f"open this page on the showing screen, full screen: {server.display_url}", err=True)
        wait_for_display(server)
        click.pause("when it is full screen press any key", err=True)
        yield server.screen, camera


@click.command("read-marks")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
@click.pass_context
def read_marks(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """Find which played frame every recorded frame of FOLDER shows, and write FOLDER/marks.json.

    Exit status 1 when the marks of a segment cannot be read.
    """
    from capture_rig.marks_file import MARKS_FILE, read_capture

    with progress_display() as display:
        task = display.add_task("segments read", total=None)
        marks = read_capture(folder, lambda done, total: display.update(task, completed=done, total=total))
    failed = [segment for segment in marks["segments"] if segment["error"]]
    if as_json:
        print_json(marks)
    else:
        for segment in marks["segments"]:
            if not segment["error"]:
                click.echo(
                    f"{segment['file']}: {len(segment['clips'])} clips, dropped {len(segment['dropped'])}, doubled "
                    f"{len(segment['doubled'])}, clock drift {100 * segment['clock_drift']:+.4f} %, "
                    f"{100 * segment['agreement']:.1f} % of the bits agree"
                )
        click.echo(f"{folder / MARKS_FILE}: {len(marks['segments'])} segments")
    list_failures("segments without marks", [f"{one['file']}: {one['error']}" for one in failed], str(folder))
    ctx.exit(1 if failed else 0)
