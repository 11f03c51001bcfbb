"""``lps rig register`` and ``photometry``: where the screen stands in the picture, and what it does to light."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .common import json_option, print_json

_SESSION = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("register")
@click.argument("session_path", metavar="SESSION", type=_SESSION)
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file of the view.")
@click.option("--layers", type=click.IntRange(0, 64), default=0, show_default=True, help="Of film it is seen through.")
@click.option("--method", type=click.Choice(["auto", "charuco", "fringes"]), default="auto", show_default=True)
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
    click.echo(
        f"residual {view.residual_px:.3f} px rms, of its means over tiles {view.sd_px:.3f} px; {view.provenance}"
    )
    if moved is not None:
        click.echo(f"through {layers} layers {moved:.2f} px rms from where the bare screen stood")
    if out is not None:
        click.echo(f"{out}: {view.display_size[0]}x{view.display_size[1]} screen in {view.camera_size} px")


@click.command("photometry")
@click.argument("session_path", metavar="SESSION", type=_SESSION)
@json_option
@click.pass_context
def photometry_command(ctx: click.Context, session_path: Path, as_json: bool) -> None:
    """Measure the screen's transfer curve and its flicker from the bare wedge and flat of SESSION.

    The camera's own curve must be right first: lps film check, lps film response. Exit status 1 when it flickers.
    """
    from capture_rig.photometry import session_photometry

    found: dict[str, Any] = session_photometry(session_path)
    steady = found["flicker"]
    if as_json:
        print_json(found)
    else:
        curve, line = found["curve"], steady["frequency_hz"]
        click.echo(
            f"screen curve: gamma {curve['gamma']:.3f}, {100 * curve['gamma_error']:.2g} % of white off it; "
            f"{found['assumed']} assumed, {100 * found['assumed_error']:.2g} % off; black glows with "
            f"{100 * curve['glow']:.2g} % of white"
        )
        click.echo(
            f"flicker: {steady['status']}, {100 * steady['level_range']:.2g} % from frame to frame, "
            f"{100 * steady['row_range']:.2g} % within a frame" + (f", {line:.3g} Hz as seen" if line else "")
        )
        if steady["cure"]:
            click.echo(f"-> {steady['cure']}", err=True)
    ctx.exit(1 if steady["status"] == "fail" else 0)
