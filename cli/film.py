"""``lps film``: show, fit, predict and apply film models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import FILM, LAYERS, SIZE, LpsGroup, json_option, print_json, progress_display
from .film_calibration import camera_option, fit, predict, simulate_shots_command
from .film_checks import check, response
from .film_pairs import fit_pairs_command, simulate_pairs_command

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lps_sim import Camera, FilmModel


@click.group(cls=LpsGroup)
def film() -> None:
    """Fit, show, predict and apply film models. FILM is a film file or the name of a preset."""


@film.command()
@json_option
def presets(as_json: bool) -> None:
    """The films that ship with the package, each with where its numbers come from."""
    from lps_sim import FilmModel

    films = [FilmModel.load(name) for name in FilmModel.presets()]
    if as_json:
        print_json([{"name": f.name, "family": f.family, "checksum": f.checksum(), **f.provenance} for f in films])
        return
    for item in films:
        click.secho(item.name, bold=True, nl=False)
        click.echo(f"  ({item.provenance['kind']}; {item.family})")
        click.echo(click.wrap_text(item.provenance["text"], width=100, initial_indent="    ", subsequent_indent="    "))


@film.command()
@click.argument("film_model", metavar="FILM", type=FILM)
@click.option("--layers", type=LAYERS, default="1,4,8,10", show_default=True, help="Layer counts to show.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Draw MTF, energy and PSF into this file.")
@click.option("--film-distance", type=float, help="Camera to film, in m; default: as calibrated.")
@click.option("--distance", type=float, default=3.0, show_default=True, help="Camera to face, in m.")
@click.option("--dwell", type=float, default=2.0, show_default=True, help="Seconds that a subject keeps still.")
@click.option("--face-pixels", type=click.FloatRange(0, min_open=True), help="At most so many: how many layers?")
@camera_option
@json_option
def show(
    film_model: FilmModel,
    layers: tuple[int, ...],
    out: Path | None,
    film_distance: float | None,
    distance: float,
    dwell: float,
    face_pixels: float | None,
    camera: Camera | None,
    as_json: bool,
) -> None:
    """Parameters with uncertainty, transmittance, haze, MTF and privacy numbers.

    With --face-pixels P also the fewest layers that leave at most P effective pixels across a face, and no sharp image.
    """
    from lps_sim.film_report import save_curves, summary
    from lps_sim.privacy import Observer, layers_needed

    fields = camera.to_dict() if camera is not None else film_model.calibration_camera or {}
    film_model = film_model.at(film_distance_m=film_distance)
    observer = Observer.of_camera(fields, distance_m=distance, dwell_s=dwell)
    result = summary(film_model, layers, observer)
    if face_pixels is not None:
        result["layers_needed"] = layers_needed(film_model, face_pixels, observer).to_dict()
    if out is not None:
        save_curves(film_model, layers, out)
    if as_json:
        print_json(result)
        return
    _print_film(result)
    if out is not None:
        click.echo(f"curves: {out}")


def _rgb(values: list[float], digits: str = ".3f") -> str:
    """Three channels as one number when they agree to the digits shown, else as R/G/B."""
    texts = [format(value, digits) for value in values]
    return texts[0] if len(set(texts)) == 1 else "/".join(texts)


def _print_film(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=False)
    geometry = result["geometry"]
    console.print(f"[bold]{result['name']}[/]  family {result['family']}, {geometry['projection']} geometry")
    place = f"film {geometry['film_distance_m']:g} m, scene {geometry['target_distance_m']:g} m from the camera"
    found = result["provenance"].get("calibrated_at")
    if found is not None:
        place += f" (calibrated at {found['film_distance_m']:g} m and {found['target_distance_m']:g} m)"
    console.print(place)
    console.print(f"provenance: {result['provenance'].get('text', 'none')}")
    console.print(f"checksum {result['checksum']}")

    table = Table("parameter", "value (R/G/B)", "unit", "+-", title="per sheet")
    for row in result["parameters"]:
        spread = "" if row["relative_sd"] is None else f"{100 * row['relative_sd']:.2g} % ({row['source']})"
        table.add_row(row["name"], _rgb(row["value"], ".4g"), row["unit"], spread)
    console.print(table)

    frequencies = list(result["by_layers"][0]["mtf"])
    table = Table("layers", "T", "veil", "haze", *[f"MTF {q}" for q in frequencies], title="by layers")
    for row in result["by_layers"]:
        # The green channel stands for all three here; --json has every channel.
        mtf = [f"{row['mtf'][q][1]:.3f}" for q in frequencies]
        table.add_row(str(row["layers"]), *[f"{row[key][1]:.3f}" for key in ("transmittance", "veil", "haze")], *mtf)
    console.print(table)

    observer = result["by_layers"][0]["privacy"]["observer"]
    title = f"what an attacker who knows the film gets back; face at {observer['distance_m']:g} m"
    table = _privacy_table([row["privacy"] for row in result["by_layers"]], title)
    console.print(table)
    failed = [str(row["layers"]) for row in result["by_layers"] if row["privacy"]["ballistic_visible"]]
    if failed:
        console.print(
            f"[bold red]FAIL[/] at {', '.join(failed)} layers: the unscattered part stands above noise/contrast, "
            "so a sharp image survives however hazy the film is."
        )
    if "layers_needed" in result:
        _print_needed(console, result["layers_needed"], observer["distance_m"])


def _privacy_table(stacks: list[dict[str, Any]], title: str, cost: bool = False) -> Table:
    """One row a layer count and number of frames, of :func:`lps_sim.privacy.report`; ``cost``: stops, not A(q_c)."""
    from rich.table import Table

    columns = ["layers", "sharp", "frames", "q_c (cyc/rad)", "A(q_c)", "face pixels", "bits a face"]
    if cost:
        columns = ["layers", "stops", "sharp", "frames", "q_c (cyc/rad)", "face pixels", "bits a face"]
    known = [frames["interval_source"] for stack in stacks for frames in stack["frames"] if frames["interval_source"]]
    caption = f"in brackets: 95 % by linear propagation, {known[0]}" if known else None
    table = Table(*columns, title=title, caption=caption)
    for stack in stacks:
        for numbers in stack["frames"]:
            cells = {
                "layers": str(stack["layers"]),
                "stops": f"{stack['stops']:.2f}",
                "sharp": f"{stack['ballistic']:.3f}" + (" FAIL" if stack["ballistic_visible"] else ""),
                "frames": str(numbers["frames"]),
                "q_c (cyc/rad)": f"{numbers['cutoff_cpr']:.1f}" + _interval(numbers["cutoff_interval_cpr"], ".1f"),
                "A(q_c)": f"{numbers['amplitude_at_cutoff']:.2g}",
                "face pixels": f"{numbers['face_pixels']:.3g}" + _interval(numbers["face_pixels_interval"], ".3g"),
                "bits a face": f"{numbers['bits_a_face']:.2g}",
            }
            table.add_row(*[cells[column] for column in columns])
    return table


def _interval(ends: list[float] | None, digits: str) -> str:
    return "" if ends is None else f" ({ends[0]:{digits}}-{ends[1]:{digits}})"


def _print_needed(console: Console, needed: dict[str, Any], distance_m: float) -> None:
    limit = f"at most {needed['face_pixels']:g} effective face pixels at {distance_m:g} m, {needed['frames']} frames"
    dwell = [{**row, "frames": row["frames"][-1:]} for row in needed["rows"]]
    console.print(_privacy_table(dwell, limit, cost=True))
    if needed["layers"] is None:
        console.print(f"[bold red]{limit}: no number of layers up to 64 does: {needed['reason']}[/]")
        return
    row = next(row for row in needed["rows"] if row["layers"] == needed["layers"])
    cost = f"T {_rgb(row['transmittance'])}, {row['stops']:.2f} stops of light"
    console.print(f"[bold]{limit}: {needed['layers']} layers[/]; {cost}")
    if needed["layers_sure"] is not None:
        console.print(f"with the upper end of the interval: {needed['layers_sure']} layers")
    elif row["frames"][-1]["interval_source"]:
        console.print("with the upper end of the interval: no number of layers up to 64")


@film.command()
@click.argument("film_model", metavar="FILM", type=FILM)
@click.argument("source", metavar="INPUT", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", metavar="OUTPUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--layers", type=click.IntRange(1, 64), required=True, help="Sheets of film.")
@camera_option
@click.option("--film-distance", type=float, help="Camera to film, in m; default: as calibrated.")
@click.option("--distance", type=float, help="Camera to scene, in m; default: as calibrated.")
@click.option("--size", type=SIZE, help="Size of the output; default: that of the input.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the sensor noise.")
@json_option
def apply(
    film_model: FilmModel,
    source: Path,
    target: Path,
    layers: int,
    camera: Camera | None,
    film_distance: float | None,
    distance: float | None,
    size: tuple[int, int] | None,
    seed: int,
    as_json: bool,
) -> None:
    """Put one image or video behind the film."""
    from lps_sim.apply import apply_to_file

    with progress_display() as progress:
        task = progress.add_task(source.name, total=None)
        done = apply_to_file(
            film_model.at(film_distance, distance),
            layers,
            source,
            target,
            camera,
            size,
            seed,
            on_frames=lambda count, total: progress.update(task, completed=count, total=total),
        )
        progress.update(task, completed=done.frames, total=done.frames)
    if as_json:
        print_json(done.to_dict())
    else:
        what = "1 frame" if done.frames == 1 else f"{done.frames} frames"
        click.echo(f"{done.output}: {what}, {done.width}x{done.height}, {layers} layers of {done.film}")


for command in (
    check,
    fit,
    fit_pairs_command,
    predict,
    response,
    simulate_pairs_command,
    simulate_shots_command,
):
    film.add_command(command)
