"""``lps predict`` and ``lps fuse``: a trained network's word on any video; several networks' on one test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import FILM, VIEWS, json_option, one_line, print_json
from .film_calibration import camera_option

if TYPE_CHECKING:
    from lps_sim import Camera, FilmModel
    from training.views import Views


@click.command()
@click.argument("clips", metavar="CLIP...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--checkpoint", required=True, type=click.Path(path_type=Path), help="A .safetensors checkpoint.")
@click.option("--film", "film_model", type=FILM, help="Film to put before the videos first; default: as they are.")
@click.option("--layers", type=click.IntRange(1, 64), help="Layers of the film.")
@camera_option
@click.option("--views", type=VIEWS, default="1x1", show_default=True, help="Draws of frames x crops; published: 4x3.")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Actions to print.")
@click.option("--device", type=click.Choice(["auto", "cpu"]), default="auto", show_default=True)
@json_option
def predict(
    clips: tuple[str, ...],
    checkpoint: Path,
    film_model: FilmModel | None,
    layers: int | None,
    camera: Camera | None,
    views: Views,
    top: int,
    device: str,
    as_json: bool,
) -> None:
    """The top actions of any video: lps predict walk.mp4 --checkpoint best.safetensors --film p3ar-10layer --layers 8

    Frames are sampled as in lps test. A video that cannot be read is listed and makes the exit status 1.
    """
    if (film_model is None) != (layers is None):
        raise click.UsageError("--film and --layers must be given together")
    import torch

    from training.predict import VideoPredictor

    chosen = "cuda" if device == "auto" and torch.cuda.is_available() else "cpu"
    predictor = VideoPredictor(checkpoint, film_model, layers or 0, camera, views, device=chosen)
    results: list[dict[str, Any]] = []
    failures: list[str] = []
    for clip in clips:
        try:
            found = predictor(clip, top)
        except (ValueError, OSError) as error:
            failures.append(f"{clip}: {one_line(error).removeprefix(f'{clip}: ')}")
            continue
        results.append(found.to_dict())
        if not as_json:
            click.echo(f"{clip}  ({found.frames} frames)")
            for name, share in found.actions:
                click.echo(f"  {share:6.1%}  {name}")
    if as_json:
        print_json(results)
    for failure in failures:
        click.echo(f"failed: {failure}", err=True)
    if failures:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("predictions", metavar="PREDICTIONS.npz...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--weights", metavar="W,W,...", help="One a file; default: equal.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the fused results.")
@json_option
def fuse(predictions: tuple[Path, ...], weights: str | None, out: Path, as_json: bool) -> None:
    """Late fusion: score the mean of several tests' probabilities on the same clips."""
    try:
        shares = None if weights is None else [float(part) for part in weights.split(",")]
    except ValueError:
        raise click.UsageError(f"--weights: {weights!r} is not a list of numbers such as 1,0.5") from None
    from training import scores
    from training.evaluate import write_results

    from .train import summary_table

    loaded = [scores.load_predictions(path) for path in predictions]
    labels = loaded[0][1]
    for path, (_, other) in zip(predictions, loaded):
        if other != labels:
            raise ValueError(f"{path}: other classes than {predictions[0]}")
    fused = scores.fuse([found for found, _ in loaded], shares)
    results = {**scores.score(fused, labels), "fused": [str(path) for path in predictions], "weights": shares}
    scores.save_predictions(out / "predictions.npz", fused, labels)
    write_results(results, out)
    if as_json:
        print_json(results)
        return
    click.echo(summary_table(results))
    click.echo(f"results {out / 'results.json'}")
