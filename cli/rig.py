"""``lps rig``: a screen and a camera measure a film, and recapture data sets through it; targets as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import SIZE, LpsGroup, json_option, print_json, progress_display
from .rig_cameras import cameras
from .rig_compare import compare_command
from .rig_display import serve
from .rig_flicker import flicker_command
from .rig_optics import photometry_command, register_command
from .rig_replay import capture_replay, read_marks
from .rig_session import capture_command, check_command, import_command, plan_command, session_command

if TYPE_CHECKING:
    from lps_sim.transfer import MeasuredCurve

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=LpsGroup)
def rig() -> None:
    """Measure a film with a screen and a camera, and recapture data sets through it."""


@rig.command()
@click.option("--out", "-o", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write.")
@click.option("--size", type=SIZE, required=True, help="The screen's own resolution, such as 1920x1080.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the noise targets.")
@click.option("--eotf", default="srgb", show_default=True, help="The screen's transfer curve.")
@click.option("--curve", "measured", type=_FILE, help="The screen's measured curve, of lps rig photometry -o.")
@click.option("--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Bits per sample.")
@json_option
def targets(
    out: Path, size: tuple[int, int], seed: int, eotf: str, measured: Path | None, bits: str, as_json: bool
) -> None:
    """Write the calibration targets as PNG files, and targets.yaml that lists them.

    Show them full-screen, one screen pixel to one image pixel, with the screen's enhancements switched off.
    """
    import yaml

    from capture_rig.targets import screen_codes, standard_set, target
    from lps_sim import __version__
    from lps_sim.files import sha256_file, write_atomic
    from lps_sim.media import write_image
    from lps_sim.transfer import check_eotf_name

    check_eotf_name(eotf)
    curve = eotf if measured is None else _measured_curve(measured)
    target("charuco", *size)  # a screen without room for it is refused before anything is written
    specs = standard_set(seed)
    entries = []
    with progress_display() as progress:
        for spec in progress.track(specs, description="targets"):
            path = out / f"{spec.name}.png"
            write_image(path, screen_codes(spec.draw(*size), curve, int(bits)))
            entries.append(
                {
                    "file": path.name,
                    "target": spec.kind,
                    "scene": spec.name,
                    "role": spec.role,
                    "parameters": spec.parameters,
                    "sha256": sha256_file(path),
                }
            )
    shown = eotf if measured is None else f"measured: {measured.name}, sha256 {sha256_file(measured)}"
    screen = {"width": size[0], "height": size[1], "eotf": shown, "bits": int(bits)}
    listing = {"screen": screen, "seed": seed, "version": __version__, "targets": entries}
    write_atomic(out / "targets.yaml", yaml.safe_dump(listing, sort_keys=False))
    if as_json:
        print_json({"out": str(out), **listing})
    else:
        click.echo(f"{len(entries)} targets of {size[0]}x{size[1]} in {out}; they are listed in {out / 'targets.yaml'}")


def _measured_curve(path: Path) -> MeasuredCurve:
    """The screen's curve in a file of ``lps rig photometry -o``."""
    import json

    from lps_sim.transfer import MeasuredCurve

    try:
        return MeasuredCurve(tuple(json.loads(path.read_text(encoding="utf-8"))["screen"]["response"]))
    except (KeyError, TypeError, ValueError) as error:
        raise click.ClickException(f"{path}: no measured curve of lps rig photometry -o in it ({error})") from error


rig.add_command(cameras)
rig.add_command(capture_replay)
rig.add_command(read_marks)
rig.add_command(compare_command)
rig.add_command(plan_command)
rig.add_command(capture_command)
rig.add_command(check_command)
rig.add_command(session_command)
rig.add_command(import_command)
rig.add_command(serve)
rig.add_command(flicker_command)
rig.add_command(register_command)
rig.add_command(photometry_command)
