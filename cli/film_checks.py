"""``lps film check`` and ``response``: is a calibration set sound, and what is its camera's response curve?"""

from __future__ import annotations

from pathlib import Path

import click

from .common import LAYERS, json_option, print_json
from .film_calibration import SHOTS, print_checks


@click.command()
@click.argument("shots", metavar="SHOTS.yaml", type=SHOTS)
@click.option("--layers", type=LAYERS, help="Look at the film shots of these layer counts only.")
@json_option
def check(shots: Path, layers: tuple[int, ...] | None, as_json: bool) -> None:
    """Check calibration shots before a fit; exit status 1 if any check failed."""
    from lps_sim.calibration.checks import failed
    from lps_sim.calibration.gate import inspect_shots
    from lps_sim.calibration.shots import ShotSet

    shot_set = ShotSet.load(shots)
    checks = inspect_shots(shot_set, layers)
    wrong = failed(checks)
    if as_json:
        print_json({"shots": str(shots), "failed": len(wrong), "checks": [one.to_dict() for one in checks]})
    else:
        print_checks(checks)
    if wrong:
        raise click.ClickException(f"{len(wrong)} of {len(checks)} checks failed: {', '.join(c.name for c in wrong)}")


@click.command()
@click.argument("shots", metavar="SHOTS.yaml", type=SHOTS)
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Camera file, YAML.")
@click.option("--method", type=click.Choice(["debevec", "robertson"]), default="debevec", show_default=True)
@json_option
def response(shots: Path, out: Path, method: str, as_json: bool) -> None:
    """Measure the camera's response curve from the brackets of a set, and write the camera with it."""
    import yaml

    from lps_sim.calibration.response import measure_set_response
    from lps_sim.calibration.shots import ShotSet
    from lps_sim.files import write_atomic

    shot_set = ShotSet.load(shots)
    measured = measure_set_response(shot_set, method)
    camera = measured.camera(shot_set.camera)
    write_atomic(out, yaml.safe_dump({"camera": camera.to_dict()}, sort_keys=False))
    if as_json:
        print_json({"camera": str(out), "method": method, **measured.to_dict()})
        return
    click.echo(f"{out}: response of {measured.pixels} pixels in {measured.exposures} exposures by {method}")
    click.echo(f"relative standard deviation against repeated pixels: median {100 * measured.median_sd:.2g} %")
