"""``lps data``: index, split, degrade and verify data sets; render labelled clips."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .common import FILM, LAYERS, SIZE, LpsGroup, json_option, print_json, progress_display
from .data_replay import ingest_replay_command, replay_map_command

if TYPE_CHECKING:
    from dataset_builder.index import Index
    from dataset_builder.runners.local import Summary

_LISTED = 20
_NAMINGS = ("auto", "ntu", "p3ar-pku", "folders", "csv")
_INTERRUPTED = 130
_PATH = click.Path(path_type=Path)


@click.group(cls=LpsGroup)
def data() -> None:
    """Index, split, degrade and verify data sets; render labelled clips."""


@contextlib.contextmanager
def _progress(description: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr, fed by (done, total, name)."""
    with progress_display() as display:
        bar = display.add_task(description, total=None)

        def update(done: int, total: int, name: str) -> None:
            display.update(bar, completed=done, total=total)

        yield update


def _stopped(ctx: click.Context) -> NoReturn:
    """The end of a command that Ctrl-C stopped between two clips."""
    click.echo("stopped; the same command goes on from here", err=True)
    ctx.exit(_INTERRUPTED)


def _list_failures(title: str, items: list[str], more: str) -> None:
    """The failures on stderr, one line each; past the first few, where to see the rest."""
    if items:
        click.echo(f"{title}: {len(items)}", err=True)
        for item in items[:_LISTED]:
            click.echo(f"  {item}", err=True)
        if len(items) > _LISTED:
            click.echo(f"  and {len(items) - _LISTED} more: {more}", err=True)


@data.command()
@click.argument("src", type=_PATH)
@click.option(
    "-o", "--output", "index_path", type=_PATH, default=Path("index.jsonl"), show_default=True, help="INDEX file."
)
@click.option("--naming", type=click.Choice(_NAMINGS), default="auto", show_default=True, help="How files are named.")
@click.option("--exclude", multiple=True, type=_PATH, help="List of names to leave out, one a line; repeatable.")
@click.option("--workers", type=click.IntRange(1, 256), help="Files probed at once.")
@json_option
@click.pass_context
def index(
    ctx: click.Context,
    src: Path,
    index_path: Path,
    naming: str,
    exclude: tuple[Path, ...],
    workers: int | None,
    as_json: bool,
) -> None:
    """Scan and probe SRC: a folder of videos or, with --naming csv, a CSV file with a column path.

    Files that were probed before (an INDEX of the same name is there) and have not changed are not opened again.
    Exit status 1 when files had to be refused; the index of the others is written all the same.
    """
    from dataset_builder.index import Index, build_index

    cache = Index.load(index_path) if index_path.is_file() else None
    with _progress("probing") as update:
        built = build_index(src, naming, exclude, workers, cache, update)
    if not built.entries and built.problems:
        raise click.ClickException(_no_clip(src, built))
    built.save(index_path)
    if as_json:
        print_json(
            {
                "index": str(index_path),
                "naming": built.naming,
                "clips": len(built.entries),
                "frames": sum(entry.frames for entry in built.entries),
                "excluded": len(built.excluded),
                "problems": [{"path": problem.path, "reason": problem.reason} for problem in built.problems],
            }
        )
    else:
        frames = sum(entry.frames for entry in built.entries)
        click.echo(f"{index_path}: {len(built.entries)} clips, {frames} frames, naming {built.naming}")
        if built.excluded:
            click.echo(f"left out by exclude lists: {len(built.excluded)}")
    if built.problems:
        _list_failures("files refused", [str(problem) for problem in built.problems], f"see {index_path}")
        ctx.exit(1)


def _no_clip(src: Path, built: Index) -> str:
    first, rest = built.problems[0], len(built.problems) - 1
    return f"{src}: no usable clip in it: {first}" + (f" (and {rest} more)" if rest else "")


@data.command()
@click.argument("index", type=_PATH)
@click.option("--protocol", required=True, help="ntu120-xsub, ntu120-xset, ntu60-xsub, ntu60-xview or p3ar-pku.")
@click.option("--out", type=_PATH, help="Folder of the lists; default: splits/PROTOCOL beside INDEX.")
@click.option("--validation", type=float, default=0.1, show_default=True, help="Share of training performers held out.")
@json_option
def split(index: Path, protocol: str, out: Path | None, validation: float, as_json: bool) -> None:
    """Write train.txt, val.txt and test.txt, one name a line, for INDEX: an index file or a data set directory.

    val.txt holds the clips of validation performers, who are not trained on.
    """
    from dataset_builder.splits import PROTOCOLS, split_names
    from lps_sim.errors import UnknownNameError
    from lps_sim.files import write_atomic

    if protocol not in PROTOCOLS:
        raise click.BadParameter(str(UnknownNameError("protocol", protocol, PROTOCOLS)), param_hint="--protocol")
    result = split_names(_names_of(index), protocol, validation)
    folder = out or (index if index.is_dir() else index.parent) / "splits" / protocol
    sides = {"train": result.train, "val": result.val, "test": result.test}
    for name, clips in sides.items():
        write_atomic(folder / f"{name}.txt", "".join(f"{clip}\n" for clip in clips))
    if as_json:
        print_json(
            {
                "protocol": protocol,
                "out": str(folder),
                **{name: len(clips) for name, clips in sides.items()},
                "outside": len(result.outside),
                "validation_performers": result.validation_performers,
            }
        )
        return
    click.echo(f"{folder}: " + ", ".join(f"{name} {len(clips)}" for name, clips in sides.items()))
    click.echo(f"validation performers: {', '.join(map(str, result.validation_performers)) or 'none'}")
    if result.outside:
        click.echo(f"not covered by {protocol}: {len(result.outside)}")


def _names_of(path: Path) -> list[str]:
    """Names in an index file, or of all clips in a data set's manifest."""
    from dataset_builder.index import Index
    from dataset_builder.layout import MANIFEST_FILE, find_datasets
    from dataset_builder.manifest import Manifest

    if not path.is_dir():
        return Index.load(path).names()
    with Manifest(find_datasets(path)[0] / MANIFEST_FILE) as manifest:
        return [row.name for row in manifest.rows()]


def _known_film(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        FILM.convert(value, param, ctx)
    return value


@data.command()
@click.argument("src", type=_PATH)
@click.argument("dst", type=_PATH)
@click.option("--film", metavar="FILM", callback=_known_film, help="Film file or preset.")
@click.option("--layers", type=LAYERS, help="Layer counts, 1..64; with several, DST/layers-NN each.")
@click.option("--film-distance", type=float, help="Camera to film, in m; default: as calibrated.")
@click.option("--distance", type=float, help="Camera to scene, in m; default: as calibrated.")
@click.option("--clean", is_flag=True, help="Also make the clean twin: same camera, size and codec, no film.")
@click.option("--camera", type=_PATH, help="YAML file of camera fields.")
@click.option("--fov", type=float, default=70.0, show_default=True, help="Degrees across, without --camera.")
@click.option("--size", type=SIZE, help="Output size; default: that of each clip.")
@click.option("--fit", type=click.Choice(["squash", "crop", "letterbox"]), default="squash", show_default=True)
@click.option("--format", "format_name", type=click.Choice(["mp4", "frames"]), default="mp4", show_default=True)
@click.option("--crf", type=click.IntRange(0, 51), help="H.264 quality; default: lps's own.")
@click.option("--gop", type=click.IntRange(1, 600), default=12, show_default=True, help="Frames between key frames.")
@click.option("--pixel-format", help="Such as yuv420p or yuv444p (odd sizes).")
@click.option("--jpeg-quality", type=click.IntRange(1, 100), default=95, show_default=True, help="For --format frames.")
@click.option("--naming", type=click.Choice(_NAMINGS), default="auto", show_default=True, help="When SRC is a folder.")
@click.option("--workers", type=click.IntRange(0, 1024), help="Worker processes; default: all processors.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--retry-failed", is_flag=True, help="Do clips again that failed before.")
@json_option
@click.pass_context
def degrade(
    ctx: click.Context, src: Path, dst: Path, layers: tuple[int, ...] | None, clean: bool, as_json: bool, **options: Any
) -> None:
    """Film every clip of SRC (a folder or an INDEX file) through FILM into the data set DST.

    Always resumes: the same command goes on where it was stopped or killed. Other settings on the same DST are
    refused. With one layer count DST is the data set; with several, DST/layers-NN.
    """
    from dataset_builder.config import DegradeConfig
    from dataset_builder.runners.local import degrade_dataset

    if not layers and not clean:
        raise click.UsageError("give --layers N[,N...], or --clean for clips without film")
    if layers and options["film"] is None:
        raise click.UsageError("--layers needs --film FILM")
    if not 0 < options["fov"] < 180:
        raise click.BadParameter(f"must be between 0 and 180 degrees, got {options['fov']:g}", param_hint="--fov")
    config = DegradeConfig(
        source=src,
        destination=dst,
        film=options["film"],
        layers=((0,) if clean else ()) + (layers or ()),
        film_distance_m=options["film_distance"],
        scene_distance_m=options["distance"],
        camera=options["camera"],
        field_of_view_deg=options["fov"],
        size=options["size"],
        fit=options["fit"],
        format=options["format_name"],
        crf=options["crf"],
        gop=options["gop"],
        pixel_format=options["pixel_format"],
        jpeg_quality=options["jpeg_quality"],
        naming=options["naming"],
        workers=options["workers"],
        seed=options["seed"],
        retry_failed=options["retry_failed"],
    )
    try:
        with _progress("degrading") as update:
            summary = degrade_dataset(config, update)
    except KeyboardInterrupt:
        _stopped(ctx)
    _report_degrade(summary, dst, as_json)
    ctx.exit(0 if summary.ok else 1)


def _report_degrade(summary: Summary, dst: Path, as_json: bool) -> None:
    if as_json:
        print_json(summary.to_dict())
    else:
        for layers, directory in summary.directories.items():
            click.echo(f"{directory}: {layers} layers" if layers else f"{directory}: clean, no film")
        rate = summary.frames / summary.seconds if summary.seconds else 0.0
        click.echo(
            f"clips: {summary.done} done, {summary.already_done} done before, {len(summary.failed)} failed; "
            f"{summary.frames} frames, {rate:.1f} a second"
        )
    _list_failures("failed", [f"{name}: {error}" for name, error in summary.failed], f"lps data status {dst}")
    _list_failures("files refused", [f"{p}: {reason}" for p, reason in summary.problems], f"lps data status {dst}")


@data.command()
@click.argument("dst", type=_PATH)
@json_option
def status(dst: Path, as_json: bool) -> None:
    """Progress and failures of the data set DST, read from its manifest; may be asked while a run is at work."""
    from dataset_builder.layout import MANIFEST_FILE, find_datasets, read_dataset
    from dataset_builder.manifest import Manifest

    reports = []
    for root in find_datasets(dst):
        with Manifest(root / MANIFEST_FILE) as manifest:
            frames, size = manifest.totals()
            reports.append(
                {
                    "directory": str(root),
                    "layers": read_dataset(root)["layers"],
                    "counts": manifest.counts(),
                    "frames": frames,
                    "bytes": size,
                    "failed": [
                        {"name": row.name, "error": row.error, "attempts": row.attempts}
                        for row in manifest.rows("failed")
                    ],
                    "problems": [{"path": path, "reason": reason} for path, reason in manifest.problems()],
                }
            )
    if as_json:
        print_json(reports)
        return
    for report in reports:
        counts = report["counts"]
        click.echo(
            f"{report['directory']}: {report['layers']} layers, {counts['done']} of {sum(counts.values())} clips done, "
            f"{counts['pending']} pending, {counts['failed']} failed; {report['frames']} frames, "
            f"{report['bytes'] / 1e6:.1f} MB"
        )
        for row in report["failed"]:
            click.echo(f"  failed {row['name']} (attempts {row['attempts']}): {row['error']}")
        for problem in report["problems"]:
            click.echo(f"  refused {problem['path']}: {problem['reason']}")


@data.command()
@click.argument("dst", type=_PATH)
@click.option("--workers", type=click.IntRange(1, 256), help="Files checked at once.")
@json_option
@click.pass_context
def verify(ctx: click.Context, dst: Path, workers: int | None, as_json: bool) -> None:
    """Re-hash and decode every finished clip of DST, and look for files that no clip owns. Exit status 1 if any."""
    from dataset_builder.layout import find_datasets
    from dataset_builder.verify import verify_dataset

    with _progress("verifying") as update:
        verdicts = [verify_dataset(root, workers, update) for root in find_datasets(dst)]
    if as_json:
        print_json([verdict.to_dict() for verdict in verdicts])
    for verdict in verdicts:
        counts = verdict.counts
        if not as_json:
            state = "all whole and unchanged" if verdict.ok else f"{len(verdict.findings)} findings"
            click.echo(
                f"{verdict.directory}: {verdict.checked} clips checked, {state}; "
                f"{counts['pending']} pending, {counts['failed']} failed"
            )
        for finding in verdict.findings:
            click.echo(f"  {finding}", err=True)
    ctx.exit(0 if all(verdict.ok for verdict in verdicts) else 1)


def _action_numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """``23,A050,hand waving`` -> NTU action numbers."""
    if value is None:
        return None
    from dataset_builder.actions import NTU_ACTIONS
    from lps_sim.errors import suggestion

    numbers = []
    for part in (part.strip() for part in value.split(",")):
        digits = part.removeprefix("A")
        if digits.isdecimal() and 1 <= int(digits) <= len(NTU_ACTIONS):
            numbers.append(int(digits))
        elif part in NTU_ACTIONS:
            numbers.append(NTU_ACTIONS.index(part) + 1)
        else:
            near = suggestion(part, NTU_ACTIONS).partition(" (known")[0]
            hint = "" if near.startswith("known") else f"; {near}"
            raise click.BadParameter(
                f"{part!r} is not an NTU action, 1..{len(NTU_ACTIONS)} or its name{hint}", ctx, param
            )
    return tuple(numbers)


@data.command()
@click.argument("dst", type=_PATH)
@click.option("--performers", type=click.IntRange(1, 106), default=30, show_default=True, help="Number of people.")
@click.option("--setups", type=click.IntRange(1, 32), default=2, show_default=True, help="Number of rooms.")
@click.option(
    "--actions", callback=_action_numbers, help="NTU numbers or names, by commas; default: all rendered ones."
)
@click.option(
    "--cameras", type=click.IntRange(1, 3), default=3, show_default=True, help="Views at 0, +45, -45 degrees."
)
@click.option("--replications", type=click.IntRange(1, 2), default=2, show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Only so many of all combinations, evenly at random.")
@click.option("--size", type=SIZE, default="480x270", show_default=True)
@click.option("--fps", type=float, default=30.0, show_default=True)
@click.option("--seconds", type=float, default=2.5, show_default=True, help="Length of each clip.")
@click.option("--codec", type=click.Choice(["h264", "mpeg4"]), default="h264", show_default=True)
@click.option("--workers", type=click.IntRange(1, 1024), help="Worker processes; default: all processors.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@json_option
@click.pass_context
def synthesize(ctx: click.Context, dst: Path, as_json: bool, **options: Any) -> None:
    """Render labelled action clips with NTU names and ground truth into DST. Goes on where it stopped."""
    import os

    from dataset_builder.scenes.synthesize import SynthesizeConfig
    from dataset_builder.scenes.synthesize import synthesize as render

    options["workers"] = options["workers"] or os.cpu_count() or 1
    given = {name: value for name, value in options.items() if value is not None}
    try:
        with _progress("rendering") as update:
            summary = render(SynthesizeConfig(destination=dst, **given), lambda done, total: update(done, total, ""))
    except KeyboardInterrupt:
        _stopped(ctx)
    if as_json:
        print_json(summary.model_dump(mode="json"))
    else:
        rate = summary.frames / summary.seconds if summary.seconds else 0.0
        click.echo(
            f"{dst}: {summary.rendered} clips rendered, {summary.skipped} there before, {len(summary.failed)} failed; "
            f"{summary.frames} frames, {rate:.1f} a second"
        )
    _list_failures("failed", [f"{name}: {error}" for name, error in summary.failed.items()], "run it again with --json")
    ctx.exit(1 if summary.failed else 0)


for command in (replay_map_command, ingest_replay_command):
    data.add_command(command)
