"""``lps rig plan | capture | check | session``: from a list of shots to a session that ``lps film fit`` takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import CAMERA, FILM, LAYERS, SIZE, json_option, list_failures, print_json, progress_display, stopped
from .film_calibration import print_checks

if TYPE_CHECKING:
    from capture_rig.capture import CaptureRun, Waiting
    from capture_rig.plan import Plan
    from capture_rig.session import Session
    from lps_sim import Camera, FilmModel

_PATH = click.Path(dir_okay=False, path_type=Path)
_THERE = click.Path(exists=True, dir_okay=False, path_type=Path)
_KINDS = "flat,charuco,wedge,edge,hole,noise,siemens,fringe"


def _kinds(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


@click.command("plan")
@click.option("-o", "--out", required=True, type=_PATH, help="YAML file.")
@click.option("--layers", type=LAYERS, default="1,2,4,8", show_default=True, help="Film layer counts.")
@click.option("--targets", "kinds", callback=_kinds, default=_KINDS, show_default=True)
@click.option("--fringes-at", type=LAYERS, help="Layer counts at which fringes are shown; default: all.")
@click.option("--frames", type=click.IntRange(1, 1000), default=8, show_default=True, help="To average, a shot.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the noise targets.")
@click.option("--no-cap", is_flag=True, help="No shot with the lens cap on.")
@json_option
def plan_command(
    out: Path,
    layers: tuple[int, ...],
    kinds: tuple[str, ...],
    fringes_at: tuple[int, ...] | None,
    frames: int,
    seed: int,
    no_cap: bool,
    as_json: bool,
) -> None:
    """Write the list of shots of a calibration; edit it, or take it as it is."""
    from capture_rig.plan import plan_shots

    fringe_counts = None if fringes_at is None else (0, *fringes_at)
    plan = plan_shots(layers, kinds, seed, frames=frames, fringes_at=fringe_counts, dark="none" if no_cap else "cap")
    plan.save(out)
    if as_json:
        print_json({"plan": str(out), "shots": [shot.model_dump() for shot in plan.shots]})
    else:
        click.echo(f"{out}: {len(plan.shots)} shots of {frames} frames, film layers {', '.join(map(str, layers))}")


@click.command("capture")
@click.argument("session_path", metavar="SESSION", type=_PATH)
@click.option(
    "--plan", "plan_path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Of lps rig plan."
)
@click.option("--simulate", "film", type=FILM, help="No screen and no camera: a simulated one behind this film.")
@click.option("--screen", "screen_size", type=SIZE, default="1280x720", show_default=True, help="The simulated screen.")
@click.option("--size", type=SIZE, default="640x360", show_default=True, help="Of the simulated camera's frames.")
@click.option("--camera-model", type=CAMERA, help="Fields of the simulated camera, in the place of --size.")
@click.option("--lens-blur", type=click.FloatRange(0.0), default=0.6, show_default=True, help="Of it, s.d. in px.")
@click.option("--tilt", type=float, default=0.0, show_default=True, help="Of the simulated screen, degrees.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the simulated noise.")
@click.option("--means-only", is_flag=True, help="Keep means and variances alone, not every frame.")
@json_option
@click.pass_context
def capture_command(
    ctx: click.Context,
    session_path: Path,
    plan_path: Path | None,
    film: FilmModel | None,
    screen_size: tuple[int, int],
    size: tuple[int, int],
    camera_model: Camera | None,
    lens_blur: float,
    tilt: float,
    seed: int,
    means_only: bool,
    as_json: bool,
) -> None:
    """Take the shots of a plan into SESSION without a person at the desk: simulated.

    With a real screen and camera use lps rig serve, whose operator page asks for film when it is time. The same command
    goes on where it was stopped.
    """
    from capture_rig.cameras.pose import ScreenPose
    from capture_rig.cameras.simulated import SimulatedCamera
    from capture_rig.capture import CaptureRun
    from capture_rig.plan import Plan, plan_shots
    from capture_rig.screens import VirtualScreen
    from lps_sim.apply import film_camera
    from lps_sim.calibration.shots import ShotGeometry

    if film is None:
        raise click.UsageError("give --simulate FILM; a real screen and camera are operated by lps rig serve")
    model = camera_model or film_camera(film, *size)
    screen = VirtualScreen(*screen_size)
    pose = ScreenPose.placed(screen_size, model, fill=0.94, tilt_deg=tilt)
    camera = SimulatedCamera(screen.at, model, film, pose=pose, lens_blur_px=lens_blur, seed=seed)
    plan = Plan.load(plan_path) if plan_path else plan_shots()
    geometry = ShotGeometry(
        film_distance_m=film.geometry.film_distance_m,
        target_distance_m=film.geometry.target_distance_m,
        refractive_index=film.geometry.refractive_index,
    )
    with open_session(session_path, plan, screen, camera, model, geometry) as session:
        run = CaptureRun(session, screen, camera, keep_frames=not means_only)
        try:
            complete = capture_all(run)
        except KeyboardInterrupt:
            stopped(ctx)
        state = run.state()
    if as_json:
        print_json(state)
    else:
        click.echo(f"{session_path}: {state['done']} of {len(state['shots'])} shots; {state['message']}")
    ctx.exit(0 if complete else 1)


@contextlib.contextmanager
def open_session(path: Path, plan: Plan, screen: Any, camera: Any, model: Camera, geometry: Any) -> Iterator[Session]:
    """The session of a file: a new one, or the one that is there, which keeps its own plan."""
    from capture_rig.session import Session

    if path.exists():
        with Session.open(path) as session:
            yield session
    else:
        with Session.create(path, plan, screen.facts, camera.facts, model, geometry) as session:
            yield session


def capture_all(run: CaptureRun) -> bool:
    """Take every shot, with a progress bar and, at a terminal, a request for film when it is time."""

    def ask(wanted: Waiting) -> None:
        click.prompt(f"{wanted.text}; press Enter", default="", show_default=False, err=True)

    total = len(run.state()["shots"])
    with progress_display() as display:
        task = display.add_task("shots", total=total, completed=run.state()["done"])
        return run.run_all(ask, lambda done: display.update(task, completed=done))


@click.command("check")
@click.argument("session_path", metavar="SESSION", type=_THERE)
@click.option("--layers", type=LAYERS, help="Look at these layer counts only.")
@json_option
@click.pass_context
def check_command(ctx: click.Context, session_path: Path, layers: tuple[int, ...] | None, as_json: bool) -> None:
    """Run the calibration gate on SESSION and say which shots to take again. Exit status 1 when a check fails."""
    from capture_rig.check import check_session
    from lps_sim.calibration.session_file import read_session

    found = check_session(session_path, layers)
    lacking = read_session(session_path).lacking
    if as_json:
        print_json({"session": str(session_path), "checks": [one.to_dict() for one in found], "lacking": lacking})
    else:
        print_checks([one.check for one in found])
        again = [f"{one.check.name}: {', '.join(one.shots)}" for one in found if one.shots]
        list_failures("shots to take again", again, "--json")
        list_failures("shots not taken yet", lacking, "--json")
    ctx.exit(1 if any(one.check.status == "fail" for one in found) else 0)


@click.command("session")
@click.argument("session_path", metavar="SESSION", type=_THERE)
@click.option("--verify", is_flag=True, help="Read every frame and compare its checksum.")
@json_option
@click.pass_context
def session_command(ctx: click.Context, session_path: Path, verify: bool, as_json: bool) -> None:
    """What SESSION holds: screen, camera, its measured noise, shots taken and lacking."""
    from capture_rig.session import damaged_shots
    from lps_sim.calibration.session_file import camera_of_frames, camera_of_means, read_session

    content = read_session(session_path)
    damaged = damaged_shots(session_path) if verify else []
    model = camera_of_means(camera_of_frames(session_path, content), content)
    if as_json:
        print_json(
            {
                "session": str(session_path),
                "created": content.created,
                "simulated": content.simulated,
                "screen": dict(content.screen),
                "camera": dict(content.camera_facts),
                "camera_of_means": model.to_dict(),
                "shots": [
                    {"name": s.name, "exposure": s.exposure, "frames": s.frames, "note": s.note} for s in content.shots
                ],
                "lacking": content.lacking,
                "damaged": damaged,
                "notes": content.notes,
            }
        )
    else:
        simulated = " (simulated)" if content.simulated else ""
        click.echo(
            f"{session_path}: {len(content.shots)} of {len(content.plan)} shots, begun {content.created}{simulated}"
        )
        click.echo(f"screen {content.screen['name']} {content.screen['width_px']}x{content.screen['height_px']}")
        click.echo(f"camera {content.camera_facts['name']} {content.camera.width}x{content.camera.height}")
        frames = min((shot.frames for shot in content.shots), default=0)
        click.echo(
            f"mean of {frames} frames: full well {model.full_well_e:.4g} e-, read noise {model.read_noise_e:.3g} e-"
        )
        for shot in content.shots:
            if shot.note:
                click.echo(f"  {shot.name}: {shot.note}")
        list_failures("shots not taken yet", content.lacking, "--json")
        list_failures("damaged shots", damaged, "--json")
    ctx.exit(1 if damaged else 0)


@click.command("import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("session_path", metavar="SESSION", type=_PATH)
@click.option(
    "--plan", "plan_path", required=True, type=_THERE, help="Of lps rig plan; pictures are named as its shots."
)
@click.option("--screen", "screen_size", required=True, type=SIZE, help="Pixels of the screen that showed the targets.")
@click.option("--fov", type=click.FloatRange(1, 179), help="Angle across the pictures in degrees.")
@click.option("--camera-model", type=CAMERA, help="Fields of the camera, in the place of --fov.")
@click.option("--film-distance", type=click.FloatRange(0), default=0.0, show_default=True, help="Camera to film, m.")
@click.option("--distance", type=click.FloatRange(0.01), default=1.0, show_default=True, help="Camera to screen, m.")
@json_option
@click.pass_context
def import_command(
    ctx: click.Context,
    folder: Path,
    session_path: Path,
    plan_path: Path,
    screen_size: tuple[int, int],
    fov: float | None,
    camera_model: Camera | None,
    film_distance: float,
    distance: float,
    as_json: bool,
) -> None:
    """Bring pictures that a phone or another camera took by itself into SESSION.

    A picture is named as its shot of the plan, with a number behind it where there are several: N04_hole_x8.jpg, or
    N04_hole_x8_1.jpg, N04_hole_x8_2.jpg. Exposures are those of the EXIF data. Exit status 1 while shots are lacking.
    """
    from capture_rig.cameras.files import FolderCamera
    from capture_rig.importing import import_pictures
    from capture_rig.plan import Plan
    from capture_rig.screens import VirtualScreen
    from lps_sim.calibration.shots import ShotGeometry

    from .rig_display import camera_model as fitting_model

    if fov is None and camera_model is None:
        raise click.UsageError("give --fov DEGREES or --camera-model CAMERA.yaml: what angle a pixel sees")
    geometry = ShotGeometry(film_distance_m=film_distance, target_distance_m=distance)
    pictures = FolderCamera(folder)
    screen = VirtualScreen(*screen_size)
    model = fitting_model(pictures.facts, camera_model, fov)
    opened = open_session(session_path, Plan.load(plan_path), screen, pictures, model, geometry)
    with opened as session, progress_display() as display:
        task = display.add_task("shots", total=None)
        done = import_pictures(session, pictures, lambda n, total: display.update(task, completed=n, total=total))
    if as_json:
        print_json({"session": str(session_path), **done.to_dict()})
    else:
        click.echo(f"{session_path}: {len(done.taken)} shots stored, {len(done.lacking)} lacking")
        list_failures("pictures of no shot", list(done.unknown), "--json")
        list_failures("shots without a picture", list(done.lacking), f"lps rig session {session_path}")
    ctx.exit(1 if done.lacking else 0)
