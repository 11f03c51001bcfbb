"""``lps film fit-pairs`` and ``simulate-pairs``: a film from clean material and its recapture through the film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import CAMERA, FILM, SIZE, json_option, print_json, progress_display

if TYPE_CHECKING:
    from lps_sim import Camera, FilmModel
    from lps_sim.calibration.pair_result import Estimate, PairFit

MATERIAL = click.Path(exists=True, path_type=Path)
_ONE_COUNT = click.IntRange(1, 64)


@click.command("fit-pairs")
@click.argument("clean", metavar="CLEAN", type=MATERIAL)
@click.argument("filmed", metavar="FILMED", type=MATERIAL)
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Film file.")
@click.option("--layers", type=_ONE_COUNT, required=True, help="Sheets of film before the camera.")
@click.option("--camera", type=CAMERA, help="That filmed; default: 70 degrees across. All angles scale with it.")
@click.option("--family", default="auto", show_default=True, help="Kernel family, or auto: the better by BIC.")
@click.option("--border", default="dark", show_default=True, help="Around the clean picture: dark, mean or reflect.")
@click.option("--timing", default="auto", show_default=True, help="match in time, aligned (frame by frame), or auto.")
@click.option("--frames", type=click.IntRange(4, 64), default=16, show_default=True, help="That take part in the fit.")
@click.option("--name", help="Of the film; default: the file's stem.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the choice of pixels.")
@click.option("--report", type=click.Path(file_okay=False, path_type=Path), help="Write report.html and .json here.")
@json_option
def fit_pairs_command(
    clean: Path,
    filmed: Path,
    out: Path,
    layers: int,
    camera: Camera | None,
    family: str,
    border: str,
    timing: str,
    frames: int,
    name: str | None,
    seed: int,
    report: Path | None,
    as_json: bool,
) -> None:
    """Fit a film to CLEAN material and the same material FILMED through it (videos or folders of images)."""
    import datetime

    from lps_sim.calibration.pairs import fit_pairs

    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    with progress_display() as progress:
        task = progress.add_task("reading", total=None)
        result = fit_pairs(
            clean,
            filmed,
            layers,
            camera,
            family=family,
            border=border,
            timing=timing,
            frames=frames,
            name=name or out.stem,
            seed=seed,
            created=today,
            on_step=lambda step: progress.update(task, advance=1, description=step),
        )
        progress.update(task, description="fitted", total=progress.tasks[0].completed)
    result.film.save(out)
    if report is not None:
        from lps_sim.calibration.pair_report import write_report

        write_report(result, report)
    if as_json:
        print_json({"file": str(out), **result.to_dict()})
    else:
        _print(result, out)
    if not result.converged:
        raise click.ClickException("the fit failed its checks; the film was written, but do not trust it")


def _print(result: PairFit, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()

    def show(rows: tuple[Estimate, ...], title: str) -> None:
        table = Table("quantity", "value", "95 % interval", "unit", "why", title=title)
        for row in rows:
            table.add_row(row.name, f"{row.value:.4g}", f"{row.low:.4g} to {row.high:.4g}", row.unit, row.reason)
        console.print(table)

    show(result.pinned, "pinned by this material")
    show(result.not_pinned, "not pinned by this material")
    if result.camera_assumed:
        console.print(f"no camera given: {result.camera.fov_deg:.0f} degrees across assumed; all angles scale with it")
    for check in result.checks:
        style = {"ok": "green", "warn": "yellow", "fail": "bold red"}[check.status]
        console.print(f"[{style}]{check.status}[/] {check.name}: {check.text}" + (f"; {check.cure}" * bool(check.cure)))
    console.print(
        f"{result.film.family}, {result.frames.size} frames, {result.residual_codes:.2f} codes left; written to {out}"
    )


@click.command("simulate-pairs")
@click.argument("film_model", metavar="FILM", type=FILM)
@click.argument("clean", metavar="CLEAN", type=MATERIAL)
@click.argument("target", metavar="OUTPUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--layers", type=_ONE_COUNT, required=True, help="Sheets of film.")
@click.option("--camera", type=CAMERA, help="That films; default: 70 degrees across.")
@click.option("--size", type=SIZE, default="640x360", show_default=True, help="Of the recording.")
@click.option("--lead", type=click.IntRange(0), default=168, show_default=True, help="Frames before the clip starts.")
@click.option("--drift", type=float, default=5e-4, show_default=True, help="Of the recorder's clock.")
@click.option("--tilt", type=float, default=3.0, show_default=True, help="Of the screen, in degrees.")
@click.option("--frames", type=click.IntRange(2), help="Clean frames to play at most.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of exposure and noise.")
@json_option
def simulate_pairs_command(
    film_model: FilmModel,
    clean: Path,
    target: Path,
    layers: int,
    camera: Camera | None,
    size: tuple[int, int],
    lead: int,
    drift: float,
    tilt: float,
    frames: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Simulate a recapture: CLEAN on a tilted screen, filmed through FILM into OUTPUT, its truth beside it."""
    import json

    from lps_sim import Camera
    from lps_sim.calibration.simulate_pairs import Recapture, simulate_pairs
    from lps_sim.files import write_atomic

    seen = Camera.from_field_of_view(*size, 70.0) if camera is None else camera.resized(*size)
    how = Recapture(lead_frames=lead, drift=drift, tilt_deg=(tilt, 0.0, 0.0))
    with progress_display() as progress:
        task = progress.add_task(target.name, total=None)
        truth = simulate_pairs(
            film_model,
            layers,
            clean,
            target,
            seen,
            how,
            frames,
            seed,
            on_frame=lambda count: progress.update(task, completed=count),
        )
        progress.update(task, total=progress.tasks[0].completed)
    beside = target.with_suffix(".truth.json")
    fields: dict[str, Any] = truth.to_dict()
    write_atomic(beside, json.dumps(fields))
    if as_json:
        print_json({"output": str(target), "truth": str(beside), "frames": len(truth.clean_index), "kind": "simulated"})
    else:
        click.echo(f"{target}: {len(truth.clean_index)} simulated frames, {layers} layers of {film_model.name}")
