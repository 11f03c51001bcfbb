"""``lps film fit``, ``predict`` and ``simulate-shots``: from calibration shots to a film, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import CAMERA, FILM, LAYERS, SIZE, json_option, print_json, progress_display

if TYPE_CHECKING:
    import numpy as np

    from lps_sim import Camera, FilmModel
    from lps_sim.calibration.fit import FitResult
    from lps_sim.calibration.simulate import Scene

# A screen does not fill the view, and its black still glows (LCD, about 1:1250).
_SCREEN_SHARE = 0.94
_BLACK_GLOW = 8e-4


camera_option = click.option("--camera", type=CAMERA, help="The camera; default: the one stored with the film.")
SHOTS = click.Path(exists=True, dir_okay=False, path_type=Path)


def calibration_scenes(width: int, height: int, seed: int = 0) -> list[Scene]:
    """What a screen shows in a calibration: targets to fit, and held ones (another noise, a Siemens star).

    Parameters
    ----------
    width, height : of the camera's frame in px, which the screen fills to 94 % of each side
    seed : of the noise targets
    """
    from capture_rig.targets import target
    from lps_sim.calibration.simulate import Scene

    def on_screen(kind: str, **parameters: Any) -> np.ndarray:
        import numpy as np

        inner = round(width * _SCREEN_SHARE), round(height * _SCREEN_SHARE)
        picture = target(kind, *inner, **parameters)
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        frame = np.full((height, width), 0.0)
        frame[top : top + inner[1], left : left + inner[0]] = np.maximum(picture, _BLACK_GLOW)
        return frame

    return [
        Scene("edge", "edge", on_screen("edge")),
        Scene("hole", "hole", on_screen("hole")),
        Scene("noise1", "noise", on_screen("noise", seed=seed + 1, smallest_px=3), bracket=(1.0, 4.0)),
        Scene("flat", "flat", on_screen("flat"), bracket=(1.0,)),
        Scene("noise2", "noise", on_screen("noise", seed=seed + 2, smallest_px=3), role="held", bracket=(1.0,)),
        Scene("siemens", "siemens", on_screen("siemens"), role="held", bracket=(1.0,)),
    ]


@click.command("simulate-shots")
@click.argument("film_model", metavar="FILM", type=FILM)
@click.option("-o", "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder.")
@click.option("--layers", type=LAYERS, default="1,2,4,8", show_default=True, help="Film layer counts.")
@camera_option
@click.option("--size", type=SIZE, default="640x360", show_default=True, help="Of the shots.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@json_option
def simulate_shots_command(
    film_model: FilmModel,
    out: Path,
    layers: tuple[int, ...],
    camera: Camera | None,
    size: tuple[int, int],
    seed: int,
    as_json: bool,
) -> None:
    """Photograph targets through FILM with a simulated camera: a calibration set with known truth."""
    from lps_sim.apply import film_camera
    from lps_sim.calibration.simulate import simulate_shots

    seen = film_camera(film_model, *size) if camera is None else camera
    with progress_display() as progress:
        task = progress.add_task("shots", total=None)
        path = simulate_shots(
            film_model,
            calibration_scenes(seen.width, seen.height, seed),
            seen,
            out,
            layers,
            seed,
            on_shot=lambda done, total: progress.update(task, completed=done, total=total),
        )
        count = int(progress.tasks[0].completed)
    if as_json:
        print_json({"shots": str(path), "count": count, "film": film_model.name, "checksum": film_model.checksum()})
    else:
        click.echo(f"{path}: {count} shots through {film_model.name}")


@click.command()
@click.argument("shots", metavar="SHOTS.yaml", type=SHOTS)
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Film file.")
@click.option("--layers", type=LAYERS, help="Use only the film shots of these layer counts.")
@click.option("--family", default="auto", show_default=True, help="Kernel family, or auto: the best by BIC.")
@click.option("--geometry", default="equal_area", show_default=True, help="Projection of the convolution, or auto.")
@click.option("--name", help="Of the film; default: the file's stem.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the choice of pixels.")
@json_option
def fit(
    shots: Path,
    out: Path,
    layers: tuple[int, ...] | None,
    family: str,
    geometry: str,
    name: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Fit a film to calibration shots."""
    import datetime

    from lps_sim.calibration.fit import fit_film
    from lps_sim.calibration.shots import ShotSet

    shot_set = ShotSet.load(shots)
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    with progress_display() as progress:
        task = progress.add_task("reading", total=None)
        result = fit_film(
            shot_set,
            layers,
            family,
            geometry,
            name or out.stem,
            seed,
            today,
            on_step=lambda step: progress.update(task, description=step),
        )
        progress.update(task, description="fitted", completed=1, total=1)
    result.film.save(out)
    if as_json:
        print_json(_fit_summary(result, out))
    else:
        _print_fit(result, out)
    if not result.converged:
        raise click.ClickException("the search did not converge; the film was written, but do not trust it")


def _fit_summary(result: FitResult, out: Path) -> dict[str, Any]:
    return {
        "film": str(out),
        "checksum": result.film.checksum(),
        "family": result.film.family,
        "converged": result.converged,
        "iterations": result.iterations,
        "reduced_chi2": result.reduced_chi2,
        "gains": result.gains,
        "families": [vars(score) for score in result.scores],
        "residuals": [vars(row) for row in result.residuals],
        "exclusions": [vars(item) for item in result.exclusions],
    }


def _print_fit(result: FitResult, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("family", "BIC above best", "reduced chi2", "parameters per sheet", title="families, best first")
    for score in result.scores:
        values = ", ".join(f"{name} {value:.4g}" for name, value in score.parameters.items())
        table.add_row(score.family, f"{score.bic - result.scores[0].bic:.0f}", f"{score.reduced_chi2:.2f}", values)
    console.print(table)
    table = Table("scene", "layers", "channel", "pixels", "weighted rms", "relative rms", title="shots used")
    for row in result.residuals:
        cells = row.scene, str(row.layers), "RGB"[row.channel], str(row.pixels), f"{row.rms:.2f}"
        table.add_row(*cells, f"{100 * row.relative_rms:.2f} %")
    console.print(table)
    for item in result.exclusions:
        console.print(f"left out: {item.what}: {item.reason}")
    console.print(f"reduced chi2 {result.reduced_chi2:.2f} after {result.iterations} steps; written to {out}")


@click.command()
@click.argument("film_model", metavar="FILM", type=FILM)
@click.argument("shots", metavar="SHOTS.yaml", type=SHOTS)
@click.option("--layers", type=LAYERS, help="Only these layer counts.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write the predictions here (.npy).")
@json_option
def predict(
    film_model: FilmModel, shots: Path, layers: tuple[int, ...] | None, out: Path | None, as_json: bool
) -> None:
    """Predict every filmed shot from the bare shot of its scene; PSNR per shot."""
    from lps_sim.calibration.predict import predict_shots
    from lps_sim.calibration.shots import ShotSet

    shot_set = ShotSet.load(shots)
    with progress_display() as progress:
        task = progress.add_task("predicting", total=None)
        rows, exclusions = predict_shots(
            film_model, shot_set, layers, out, on_shot=lambda name: progress.update(task, advance=1, description=name)
        )
        progress.update(task, description="predicted", total=len(rows))
    if as_json:
        print_json({"shots": [row.to_dict() for row in rows], "exclusions": [vars(item) for item in exclusions]})
    else:
        _print_predictions(rows, exclusions)
    if not rows:
        raise click.ClickException(
            "no shot could be predicted: " + "; ".join(f"{e.what}: {e.reason}" for e in exclusions)
        )


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
