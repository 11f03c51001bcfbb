"""``lps rig register`` and ``photometry``: where the screen stands in the picture, and what it does to light."""

from __future__ import annotations

from pathlib import Path

import click

from .common import json_option, print_json
from .film_calibration import print_checks

_SESSION = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("register")
@click.argument("session_path", metavar="SESSION", type=_SESSION)
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file of the view.")
@click.option("--layers", type=click.IntRange(0, 64), default=0, show_default=True, help="Of film it is seen through.")
@click.option(
    "--method", type=click.Choice(["auto", "charuco", "fringes", "outline"]), default="auto", show_default=True
)
@json_option
def register_command(session_path: Path, out: Path | None, layers: int, method: str, as_json: bool) -> None:
    """Find where the screen stands in the camera's picture, from the shots of SESSION.

    Register the bare screen; through film the same shots say whether anything has moved since.
    """
    import numpy as np

    from capture_rig.registration import moved_px, register_session

    view = register_session(session_path, layers, method)
    if out is not None:
        view.save(out)
    moved = moved_px(view, register_session(session_path, 0)) if layers else None
    if as_json:
        facts = {key: value for key, value in vars(view).items() if key != "homography"}
        print_json({"out": out and str(out), "homography": view.matrix.tolist(), **facts, "moved_px": moved})
        return
    corners = np.array([[0, 0], [view.display_size[0] - 1, 0], [0, view.display_size[1] - 1]])
    places = ", ".join(f"({x:.1f}, {y:.1f})" for x, y in view.to_camera(corners))
    click.echo(f"corners of the screen at {places} px, distortion k1 {view.k1:+.4f}, k2 {view.k2:+.4f}")
    tiles = "" if view.sd_px is None else f", of its means over tiles {view.sd_px:.3f} px"
    told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in view.provenance.items())
    click.echo(f"residual {view.residual_px:.3f} px rms{tiles}; {told}")
    if moved is not None:
        click.echo(f"through {layers} layers {moved:.2f} px rms from where the bare screen stood")
    if out is not None:
        click.echo(f"{out}: {view.display_size[0]}x{view.display_size[1]} screen in {view.camera_size} px")


@click.command("photometry")
@click.argument("session_path", metavar="SESSION", type=_SESSION)
@click.option("--screen", type=_SESSION, help="Of lps rig register; default: registered from SESSION itself.")
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file of what was measured.")
@json_option
@click.pass_context
def photometry_command(
    ctx: click.Context, session_path: Path, screen: Path | None, out: Path | None, as_json: bool
) -> None:
    """Measure the screen's transfer curve and its flicker from the bare wedge and flat of SESSION.

    The camera's own curve must be right first: lps film check, lps film response. Exit status 1 when it flickers.
    """
    import json

    from capture_rig.photometry import session_photometry
    from lps_sim.calibration.checks import failed
    from lps_sim.files import write_atomic
    from lps_sim.screen_view import ScreenView

    found = session_photometry(session_path, None if screen is None else ScreenView.load(screen))
    content = found.to_dict()
    if out is not None:
        write_atomic(out, json.dumps(content, indent=2) + "\n")
    if as_json:
        print_json(content)
    else:
        curve = found.curve
        whose = "simulated screen" if found.simulated else "screen"
        click.echo(
            f"{whose}: gamma {curve.gamma:.3f} +- {curve.gamma_sd:.3f}, misfit "
            f"{100 * curve.misfit:.2g} %; nearest {curve.nearest}, misfit {100 * curve.nearest_misfit:.2g} %; "
            f"black {100 * curve.black:.2g} % of white"
        )
        click.echo(f"its pictures were made for {found.assumed}: {100 * found.assumed_misfit:.2g} % off")
        if found.flicker is None:
            click.echo("flicker: not judged, six frames of the flat are needed; lps rig flicker looks at any camera")
        else:
            print_checks(found.checks())
    ctx.exit(1 if failed(found.checks()) else 0)
