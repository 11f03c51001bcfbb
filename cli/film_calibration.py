"""``lps film fit``, ``predict`` and ``simulate-shots``: from calibration shots to a film, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import CAMERA, FILM, LAYERS, SIZE, json_option, print_json, progress_display

if TYPE_CHECKING:
    from lps_sim import Camera, FilmModel
    from lps_sim.calibration.checks import Check
    from lps_sim.calibration.fit import FitResult
    from lps_sim.calibration.simulate import Scene

# A screen does not fill the view, and its black still glows (LCD, about 1:1250).
_SCREEN_SHARE = 0.94
_BLACK_GLOW = 8e-4
# What is shown by default, and at which exposures beside each other; a bare "dark" is always taken.
_TARGETS = "edge,hole,noise,flat,siemens"
_BRACKETS = {"noise": (1.0, 4.0), "flat": (1.0,)}
_BRACKET = (1.0, 8.0)


camera_option = click.option("--camera", type=CAMERA, help="The camera; default: the one stored with the film.")
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
SHOTS = click.Path(exists=True, dir_okay=False, path_type=Path)


def calibration_scenes(
    width: int,
    height: int,
    seed: int = 0,
    targets: Sequence[str] = tuple(_TARGETS.split(",")),
    screen_share: float = _SCREEN_SHARE,
    bracket: tuple[float, ...] | None = None,
) -> list[Scene]:
    """What a screen shows in a calibration: targets to fit, and held ones (another noise, a Siemens star).

    Parameters
    ----------
    width, height : of the camera's frame in px
    seed : of the noise targets
    targets : kinds of capture_rig.targets but ``dark``; ``noise`` also gives a second, held one, ``siemens`` is held
    screen_share : of each side of the frame that the screen fills, above 0 and at most 1
    bracket : relative exposures of every shot to fit; default: two, but one of the flat. Held shots have one.

    Raises
    ------
    UnknownNameError
        for a kind that does not exist
    """
    import numpy as np

    from capture_rig.targets import KINDS, TargetSpec, standard_set
    from lps_sim.calibration.simulate import Scene
    from lps_sim.errors import UnknownNameError

    inner = round(width * screen_share), round(height * screen_share)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2

    def specs(kind: str) -> list[TargetSpec]:
        if kind not in KINDS or kind == "dark":
            raise UnknownNameError("targets", kind, [name for name in KINDS if name != "dark"])
        if kind == "noise":
            roles = {1: "fit", 2: "held"}
            return [TargetSpec(f"noise{k}", kind, {"seed": seed + k, "smallest_px": 3}, roles[k]) for k in roles]
        if kind == "fringe":
            return [spec for spec in standard_set() if spec.kind == kind]
        return [TargetSpec(kind, kind, {}, "held" if kind == "siemens" else "fit")]

    def scene(spec: TargetSpec) -> Scene:
        frame = np.zeros((height, width))
        frame[top : top + inner[1], left : left + inner[0]] = np.maximum(spec.draw(*inner), _BLACK_GLOW)
        exposures = (1.0,) if spec.role == "held" else bracket or _BRACKETS.get(spec.kind, _BRACKET)
        return Scene(spec.name, spec.kind, frame, spec.role, exposures)

    scenes = [scene(spec) for kind in dict.fromkeys(targets) for spec in specs(kind)]
    return sorted(scenes, key=lambda made: made.role)  # "fit" before "held"


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """``1,8`` -> exposures above 0, without repeats, rising."""
    if value is None:
        return None
    try:
        numbers = sorted({float(part) for part in value.split(",")})
    except ValueError:
        numbers = []
    if not numbers or not 0 < numbers[0] <= numbers[-1] < float("inf"):
        raise click.BadParameter(f"{value!r} is not a list of exposures above 0 such as 1,8", ctx, param)
    return tuple(numbers)


@click.command("simulate-shots")
@click.argument("film_model", metavar="FILM", type=FILM)
@click.option("-o", "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder.")
@click.option("--layers", type=LAYERS, default="1,2,4,8", show_default=True, help="Film layer counts.")
@click.option("--targets", default=_TARGETS, show_default=True, help="Siemens and a second noise are held.")
@click.option("--brackets", callback=_numbers, help="Relative exposures, such as 1,8; default: by target.")
@click.option(
    "--screen-share",
    type=click.FloatRange(0.1, 1.0),
    default=_SCREEN_SHARE,
    show_default=True,
    help="Of each side of the frame that the screen fills.",
)
@click.option("--film-distance", type=float, help="Camera to film, in m; default: that of FILM.")
@click.option("--distance", type=float, help="Camera to screen, in m; default: that of FILM.")
@click.option("--lens-blur", type=click.FloatRange(0.0), default=0.6, show_default=True, help="Gaussian, s.d. in px.")
@camera_option
@click.option("--size", type=SIZE, default="640x360", show_default=True, help="Of the shots.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@json_option
def simulate_shots_command(
    film_model: FilmModel,
    out: Path,
    layers: tuple[int, ...],
    targets: str,
    brackets: tuple[float, ...] | None,
    screen_share: float,
    film_distance: float | None,
    distance: float | None,
    lens_blur: float,
    camera: Camera | None,
    size: tuple[int, int],
    seed: int,
    as_json: bool,
) -> None:
    """Photograph targets through FILM with a simulated camera: a calibration set with known truth."""
    from lps_sim.apply import film_camera
    from lps_sim.calibration.simulate import simulate_shots
    from lps_sim.errors import UnknownNameError

    seen = film_camera(film_model, *size) if camera is None else camera
    film_model = film_model.at(film_distance, distance)
    kinds = [kind.strip() for kind in targets.split(",")]
    try:
        scenes = calibration_scenes(seen.width, seen.height, seed, kinds, screen_share, brackets)
    except UnknownNameError as error:
        raise click.BadParameter(str(error), param_hint="--targets") from error
    with progress_display() as progress:
        task = progress.add_task("shots", total=None)
        path = simulate_shots(
            film_model,
            scenes,
            seen,
            out,
            layers,
            seed,
            on_shot=lambda done, total: progress.update(task, completed=done, total=total),
            lens_blur_px=lens_blur,
        )
        count = int(progress.tasks[0].completed)
    if as_json:
        geometry = dict(vars(film_model.geometry))
        made = {"shots": str(path), "count": count, "film": film_model.name, "checksum": film_model.checksum()}
        print_json({"kind": "simulated", **made, "geometry": geometry})
    else:
        click.echo(f"{path}: {count} simulated shots through {film_model.name}")


@click.command()
@click.argument("shots", metavar="SHOTS.yaml", type=SHOTS)
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Film file.")
@click.option("--layers", type=LAYERS, help="Use only the film shots of these layer counts.")
@click.option(
    "--report", type=click.Path(file_okay=False, path_type=Path), help="Write report.html and report.json here."
)
@click.option("--family", default="auto", show_default=True, help="Kernel family, or auto: the best by BIC.")
@click.option("--law", default="auto", show_default=True, help="From one layer to many: radiative, poisson, or auto.")
@click.option("--geometry", default="auto", show_default=True, help="Where the blur is the same for every direction.")
@click.option("--jackknife/--no-jackknife", default=True, help="Leave shots out in turn for the systematic error.")
@click.option("--force", is_flag=True, help="Fit although a check of the shots failed.")
@click.option("--name", help="Of the film; default: the file's stem.")
@json_option
def fit(
    shots: Path,
    out: Path,
    layers: tuple[int, ...] | None,
    report: Path | None,
    family: str,
    law: str,
    geometry: str,
    jackknife: bool,
    force: bool,
    name: str | None,
    as_json: bool,
) -> None:
    """Fit a film to calibration shots.

    The shots are checked first; where a check fails there is no film unless --force. Exit status 1 if any check of the
    shots, of the fit or of the comparison with a model-free estimate failed.
    """
    import datetime

    from lps_sim.calibration.calibrate import RefusedShotsError, calibrate
    from lps_sim.calibration.checks import failed
    from lps_sim.calibration.shots import ShotSet

    shot_set = ShotSet.load(shots)
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    page = None
    with progress_display() as progress:
        task = progress.add_task("reading", total=None)

        def say(step: str) -> None:
            progress.update(task, description=step)

        try:
            result = calibrate(shot_set, layers, family, geometry, name or out.stem, today, say, law, jackknife, force)
        except RefusedShotsError as error:
            refused = error.checks
        else:
            refused = ()
            result.film.save(out)
            if report is not None:
                from lps_sim.calibration.report import write_report

                page = write_report(result, shot_set, report, say)
        progress.update(task, description="done", completed=1, total=1)
    if refused:
        _refuse(refused, as_json)
    if as_json:
        print_json(_fit_summary(result, out, page))
    else:
        _print_fit(result, out, page)
    wrong = failed(result.checks)
    if wrong:
        names = ", ".join(check.name for check in wrong)
        raise click.ClickException(f"do not trust this film: {len(wrong)} checks failed ({names}); it was written")


def _refuse(checks: Sequence[Check], as_json: bool) -> None:
    """Say which checks of the shots failed, and end with status 1."""
    from lps_sim.calibration.checks import failed

    if as_json:
        print_json({"film": None, "checks": [check.to_dict() for check in checks]})
    else:
        print_checks(checks)
    names = ", ".join(check.name for check in failed(checks))
    raise click.ClickException(f"no film: the shots failed these checks: {names}; --force fits all the same")


def print_checks(checks: Sequence[Check]) -> None:
    """The table of checks, with the cures under what is not ok."""
    from rich.console import Console
    from rich.table import Table

    table = Table("check", "status", "figure and limit", title="checks")
    for one in checks:
        text = f"{one.text}\n-> {one.cure}" if one.cure else one.text
        table.add_row(one.name, f"[{_COLOURS[one.status]}]{one.status}[/]", text)
    Console().print(table)


def _fit_summary(result: FitResult, out: Path, page: Path | None) -> dict[str, Any]:
    from lps_sim.error_bars import parameter_values

    values = parameter_values(result.film)
    return {
        "film": str(out),
        "report": None if page is None else str(page),
        "checksum": result.film.checksum(),
        "family": result.film.family,
        "law": result.film.layer_law,
        "geometry": vars(result.film.geometry),
        "converged": result.converged,
        "iterations": result.iterations,
        "reduced_chi2": result.reduced_chi2,
        "parameters": {
            name: {"value": values[name], "low": low, "high": high} for name, (low, high) in result.intervals.items()
        },
        "dominant_error": result.dominant,
        "gains": result.gains,
        "families": [vars(score) for score in result.scores],
        "geometries": [vars(score) for score in result.geometries],
        "jackknife": [vars(row) for row in result.jackknife],
        "checks": [check.to_dict() for check in result.checks],
        "residuals": [vars(row) for row in result.residuals],
        "exclusions": [vars(item) for item in result.exclusions],
    }


def _print_fit(result: FitResult, out: Path, page: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from lps_sim.error_bars import parameter_values

    console = Console()
    table = Table("law", "family", "BIC above best", "reduced chi2", "parameters per sheet", title="best first")
    for score in result.scores:
        values = ", ".join(f"{name} {value:.4g}" for name, value in score.parameters.items())
        bic = f"{score.bic - result.scores[0].bic:.0f}"
        table.add_row(score.law, score.family, bic, f"{score.reduced_chi2:.2f}", values)
    console.print(table)
    if result.geometries:
        table = Table("geometry", "oblique", "chi2 a pixel, left out", "above the chosen", title="cross-validation")
        for row in result.geometries:
            above = f"{row.above_best:.3f} +- {row.above_best_sd:.3f}"
            table.add_row(row.projection, "yes" if row.oblique_ballistic else "", f"{row.score:.3f}", above)
        console.print(table)
    known = parameter_values(result.film)
    table = Table("parameter", "value", "95 % interval", title=f"per sheet; error mostly from {result.dominant}")
    for name, (low, high) in result.intervals.items():
        table.add_row(name, f"{known[name]:.4g}", f"{low:.4g} .. {high:.4g}")
    console.print(table)
    print_checks(result.checks)
    for item in result.exclusions:
        console.print(f"left out: {item.what}: {item.reason}")
    console.print(f"reduced chi2 {result.reduced_chi2:.2f}; written to {out}")
    if page is not None:
        console.print(f"report: {page}")


@click.command()
@click.argument("film_model", metavar="FILM", type=FILM)
@click.argument("shots", metavar="SHOTS.yaml", type=SHOTS)
@click.option("--layers", type=LAYERS, help="Only these layer counts.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write the predictions here (.npy).")
@click.option("--denoise/--no-denoise", default=True, show_default=True, help="Take the bare shots' noise off first.")
@json_option
def predict(
    film_model: FilmModel, shots: Path, layers: tuple[int, ...] | None, out: Path | None, denoise: bool, as_json: bool
) -> None:
    """Predict every filmed shot from the bare shot of its scene; PSNR per shot.

    A film that was calibrated at other distances than the set's is moved there first.
    """
    from lps_sim.calibration.predict import film_in_place, predict_shots
    from lps_sim.calibration.shots import ShotSet

    shot_set = ShotSet.load(shots)
    moved = _moved(film_model, film_in_place(film_model, shot_set.geometry))
    with progress_display() as progress:
        task = progress.add_task("predicting", total=None)
        rows, exclusions = predict_shots(
            film_model,
            shot_set,
            layers,
            out,
            on_shot=lambda name: progress.update(task, advance=1, description=name),
            denoise=denoise,
        )
        progress.update(task, description="predicted", total=len(rows))
    if as_json:
        listed = [row.to_dict() for row in rows]
        print_json({"shots": listed, "exclusions": [vars(item) for item in exclusions], "moved": moved})
    else:
        _print_predictions(rows, exclusions)
        if moved is not None:
            click.echo(
                "film moved from {from[0]:g} m before a scene at {from[1]:g} m to {to[0]:g} m before {to[1]:g} m: "
                "blur angles x {factor:.4g}".format(**moved)
            )
    if not rows:
        raise click.ClickException(
            "no shot could be predicted: " + "; ".join(f"{e.what}: {e.reason}" for e in exclusions)
        )


def _moved(film_model: FilmModel, there: FilmModel) -> dict[str, Any] | None:
    """Distances [film, scene] in m before and after, and the factor of blur angles; None where the film stays."""
    if there is film_model:
        return None
    distances = [[f.geometry.film_distance_m, f.geometry.target_distance_m] for f in (film_model, there)]
    factor = there.geometry.blur_factor / film_model.geometry.blur_factor
    return {"from": distances[0], "to": distances[1], "factor": factor}


def _print_predictions(rows: list[Any], exclusions: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("shot", "role", "layers", "PSNR", "PSNR, gain and offset fitted", title="dB, against the noisy shot")
    for row in rows:
        table.add_row(row.file, row.role, str(row.layers), f"{row.psnr_db:.1f}", f"{row.psnr_fitted_db:.1f}")
    console.print(table)
    for item in exclusions:
        console.print(f"left out: {item.what}: {item.reason}")
