"""``lps rig compare``: a filmed clip against its clean one degraded by a film model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .common import CameraType, FilmType, json_option, print_json

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("clean", type=_FILE)
@click.argument("filmed", type=_FILE)
@click.argument("film", type=FilmType())
@click.option("--layers", type=click.IntRange(0, 64), required=True, help="Of film before the camera.")
@click.option("--camera", type=CameraType(), help="Of FILMED; default: of the field of view below.")
@click.option("--fov", type=click.FloatRange(1, 170), default=70.0, show_default=True, help="FILMED's width, degrees.")
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), help="HTML page with the pictures.")
@json_option
@click.pass_context
def compare(
    ctx: click.Context,
    clean: Path,
    filmed: Path,
    film: Any,
    layers: int,
    camera: Any,
    fov: float,
    page: Path | None,
    as_json: bool,
) -> None:
    """Degrade CLEAN by FILM and say how near FILMED, the same clip through the real film, is to it.

    FILMED is a clip as lps data ingest-replay cuts it, upright and of as many frames. Exit status 1 when a figure lies
    outside its limits.
    """
    from capture_rig.compare import LIMITS, compare_clips, write_page
    from lps_sim import Camera
    from lps_sim.media import probe

    size = probe(filmed)
    camera = camera or Camera.from_field_of_view(size.width, size.height, fov)
    found, pictures = compare_clips(clean, filmed, film, layers, camera)
    if page is not None:
        lead = f"{clean.name} through {layers} layers of {film.name}, against {filmed.name}; {found.frames} frames."
        write_page(page, found, pictures, lead)
    if as_json:
        print_json({"clean": str(clean), "filmed": str(filmed), "film": film.name, **found.to_dict()})
    else:
        for name, (low, high) in LIMITS.items():
            mark = "differs" if name in found.failed else "ok"
            click.echo(f"{name:18s} {getattr(found, name):8.3f}  {low:g}..{high:g}  {mark}")
        click.echo(f"gain {found.gain:.3f}, offset {found.offset:+.4f} in linear light; {found.frames} frames")
        click.echo(found.verdict)
    ctx.exit(1 if found.failed else 0)
