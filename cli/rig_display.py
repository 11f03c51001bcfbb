"""``lps rig serve``: the display page and the operator's page in a browser, with or without a camera."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import CAMERA, SIZE, json_option, print_json

if TYPE_CHECKING:
    from capture_rig.display.server import RigServer
    from lps_sim import Camera


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind to; 0.0.0.0 for the network.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--size", type=SIZE, help="Pixels of the targets, such as 1920x1080; default: the display page's own.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the noise targets.")
@click.option("--eotf", default="srgb", show_default=True, help="The screen's transfer curve.")
@click.option("--session", "session_path", type=click.Path(dir_okay=False, path_type=Path), help="Record into it.")
@click.option(
    "--plan", "plan_path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Of lps rig plan."
)
@click.option("--camera", "camera_text", default="0", show_default=True, help="As of lps rig cameras; simulated:FILM.")
@click.option("--camera-size", type=SIZE, help="Frames to ask the camera for.")
@click.option("--exposure-s", type=click.FloatRange(min=0, min_open=True), help="Exposure time at relative exposure 1.")
@click.option("--gain", type=float, help="To lock, in the driver's unit.")
@click.option("--white-balance", type=click.FloatRange(min=0, min_open=True), help="To lock, in kelvin.")
@click.option("--focus", type=float, help="To lock, in the driver's unit.")
@click.option("--fov", type=click.FloatRange(1, 179), help="Angle across the camera's frame in degrees.")
@click.option("--camera-model", type=CAMERA, help="Fields of the camera, such as of lps film response.")
@click.option("--film-distance", type=click.FloatRange(0), default=0.0, show_default=True, help="Camera to film, m.")
@click.option(
    "--distance", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True, help="To screen."
)
@json_option
def serve(
    host: str,
    port: int,
    size: tuple[int, int] | None,
    seed: int,
    eotf: str,
    session_path: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Serve the display page and the operator's page.

    With --session a camera films what the display shows, shot by shot, and the operator's page runs it; the same
    command goes on with a session. Without it targets are stepped through by hand, for a camera of its own.

    Only this machine reaches the pages, unless --host says otherwise: then the addresses carry a random token, and who
    has it can operate the rig. Ctrl-C ends it.
    """
    from capture_rig.display.server import RigServer
    from lps_sim.transfer import check_eotf_name

    check_eotf_name(eotf)
    if session_path is not None and options["fov"] is None and options["camera_model"] is None:
        raise click.UsageError("--session needs --fov DEGREES or --camera-model CAMERA.yaml: what angle a pixel sees")
    try:
        with RigServer(host=host, port=port, size=size, eotf=eotf) as server:
            if as_json:
                print_json({"display": server.display_url, "operator": server.operator_url})
            else:
                click.echo(f"on the screen to be filmed: {server.display_url}")
                click.echo(f"for the operator:           {server.operator_url}")
            try:
                with (
                    _stepping(server, seed) if session_path is None else _recording(server, session_path, seed, options)
                ):
                    threading.Event().wait()
            except KeyboardInterrupt:
                click.echo("stopped", err=True)
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from error


@contextlib.contextmanager
def _stepping(server: RigServer, seed: int) -> Iterator[None]:
    """Targets by hand."""
    from capture_rig.display.stepper import TargetStepper
    from capture_rig.targets import standard_set

    stepper = TargetStepper(server.screen, standard_set(seed))
    server.run = stepper
    try:
        yield
    finally:
        stepper.close()


@contextlib.contextmanager
def _recording(server: RigServer, path: Path, seed: int, options: dict[str, Any]) -> Iterator[None]:
    """A capture run into a session, once a display page is open."""
    from capture_rig.cameras.opening import SIMULATED, open_camera
    from capture_rig.cameras.protocol import CameraSettings
    from capture_rig.capture import CaptureRun
    from capture_rig.plan import Plan, plan_shots
    from capture_rig.screens import MirroredScreen
    from lps_sim.calibration.shots import ShotGeometry

    from .rig_session import open_session

    wait_for_display(server)
    screen = MirroredScreen(server.screen)
    text = options["camera_text"]
    width, height = options["camera_size"] or (None, None)
    settings = CameraSettings(
        width=width,
        height=height,
        exposure_s=options["exposure_s"],
        gain=options["gain"],
        white_balance_k=options["white_balance"],
        focus=options["focus"],
    )
    view = screen.at if text.startswith(SIMULATED) else None

    def opened() -> Any:
        return open_camera(text, settings, view)

    camera = opened()
    try:
        plan = Plan.load(options["plan_path"]) if options["plan_path"] else plan_shots(seed=seed)
        model = camera_model(camera.facts, options["camera_model"], options["fov"])
        geometry = ShotGeometry(film_distance_m=options["film_distance"], target_distance_m=options["distance"])
        with open_session(path, plan, screen, camera, model, geometry) as session:
            run = CaptureRun(session, screen, camera, reopen=opened)
            server.run = run
            click.echo(f"{path}: {run.state()['done']} of {len(session.planned)} shots; start on the operator's page")
            try:
                yield
            finally:
                run.stop()
                run.join(5.0)
    finally:
        camera.close()


def wait_for_display(server: RigServer) -> None:
    """Until a display page is open; Ctrl-C ends it."""
    from capture_rig.screens import ScreenLostError

    click.echo("waiting for the display page", err=True)
    while True:
        with contextlib.suppress(ScreenLostError):
            server.screen.wait(1.0)
            return


def camera_model(facts: Any, given: Camera | None, fov_deg: float | None) -> Camera:
    """The model of a camera's pictures: the one given, which must fit them, or one of a field of view."""
    from lps_sim import Camera

    if given is not None:
        if (given.width, given.height) != (facts.width, facts.height):
            given = given.resized(facts.width, facts.height)
        return given
    return Camera.from_field_of_view(facts.width, facts.height, fov_deg or 70.0, bits=facts.bits, eotf=facts.eotf)
