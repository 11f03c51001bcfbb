"""``lps rig compare``: a filmed clip against its simulation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import FILM, json_option, print_json, progress_display
from .film_calibration import camera_option

if TYPE_CHECKING:
    from lps_sim import Camera, FilmModel

_CLIP = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("compare")
@click.argument("clean", type=_CLIP)
@click.argument("filmed", type=_CLIP)
@click.argument("film", metavar="FILM", type=FILM)
@click.option("--layers", type=click.IntRange(0, 64), required=True, help="Sheets of film that it was filmed through.")
@camera_option
@click.option("--fov", type=click.FloatRange(0, 180, True, True), help="Degrees across the clip, as the camera saw it.")
@click.option(
    "--border",
    type=click.Choice(["dark", "mean", "reflect"]),
    default="dark",
    show_default=True,
    help="Light from outside the clip.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the simulated noise.")
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Draw it into this file.")
@json_option
@click.pass_context
def compare_command(
    ctx: click.Context,
    clean: Path,
    filmed: Path,
    film: FilmModel,
    layers: int,
    camera: Camera | None,
    fov: float | None,
    border: str,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Put CLEAN behind FILM and compare it with FILMED, the same frames cut from a recording and rectified.

    PSNR, SSIM, temporal noise, transfer by frequency, and contrast at silhouette scale, after one gain. Exit status 1
    when a figure lies beyond its threshold; --json names them.
    """
    from capture_rig.compare import compare_clips, draw_comparison, summary_lines

    with progress_display() as progress:
        task = progress.add_task("comparing", total=None)
        found, sample = compare_clips(
            clean,
            filmed,
            film,
            layers,
            camera,
            fov,
            border,
            seed,
            on_frame=lambda done: progress.update(task, completed=done),
        )
        progress.update(task, total=found.frames)
    if out is not None:
        draw_comparison(found, sample, out)
    if as_json:
        print_json({**found.to_dict(), "film": film.name, "picture": None if out is None else str(out)})
    else:
        for line in summary_lines(found):
            click.echo(line)
    ctx.exit(0 if found.close else 1)
