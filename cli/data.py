"""``lps data``: index, split, degrade, verify and describe data sets; render labelled clips."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import FILM, LAYERS, LOCATION, SIZE, LpsGroup, json_option, list_failures, print_json, stopped
from .data_export import FORMATS, export_command
from .data_index import NAMINGS, index, split
from .data_replay import ingest_replay_command, replay_map_command
from .data_stats import stats_command
from .progress import RunDisplay, counted

if TYPE_CHECKING:
    from dataset_builder.degrade import Summary

_PATH = click.Path(path_type=Path)


@click.group(cls=LpsGroup)
def data() -> None:
    """Index, split, degrade and verify data sets; render labelled clips."""


for command in (index, split, export_command, stats_command, replay_map_command, ingest_replay_command):
    data.add_command(command)


def _known_film(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        FILM.convert(value, param, ctx)
    return value


def _known_share(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        from dataset_builder.shares import Share

        try:
            Share.parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from error
    return value


@data.command()
@click.argument("src", type=LOCATION)
@click.argument("dst", type=LOCATION)
@click.option("--film", metavar="FILM", callback=_known_film, help="Film file or preset.")
@click.option("--layers", type=LAYERS, help="Layer counts, 1..64; with several, DST/layers-NN each.")
@click.option("--film-distance", type=float, help="Camera to film, in m; default: as calibrated.")
@click.option("--distance", type=float, help="Camera to scene, in m; default: as calibrated.")
@click.option("--clean", is_flag=True, help="Also make the clean twin: same camera, size and codec, no film.")
@click.option("--camera", type=_PATH, help="YAML file of camera fields.")
@click.option("--fov", type=float, default=70.0, show_default=True, help="Degrees across, without --camera.")
@click.option("--size", type=SIZE, help="Output size; default: that of each clip.")
@click.option("--fit", type=click.Choice(["squash", "crop", "letterbox"]), default="squash", show_default=True)
@click.option("--format", "format_name", type=click.Choice(FORMATS), default="mp4", show_default=True)
@click.option("--crf", type=click.IntRange(0, 51), help="H.264 quality; default: lps's own.")
@click.option("--gop", type=click.IntRange(1, 600), default=12, show_default=True, help="Frames between key frames.")
@click.option("--pixel-format", help="Such as yuv420p or yuv444p (odd sizes).")
@click.option("--jpeg-quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of frames and hdf5.")
@click.option("--hdf5-frames", type=click.Choice(["jpeg", "raw"]), default="jpeg", show_default=True)
@click.option("--clips-per-shard", type=click.IntRange(1), help="Of hdf5 and webdataset; default: 256.")
@click.option("--naming", type=click.Choice(NAMINGS), default="auto", show_default=True, help="When SRC is a folder.")
@click.option("--workers", type=click.IntRange(0, 1024), help="Worker processes; default: all processors.")
@click.option("--ray", metavar="ADDRESS|auto", help="Work on the nodes of this Ray cluster instead.")
@click.option(
    "--shard",
    metavar="I/N",
    callback=_known_share,
    help="Make one share of N, into DST/job-III-of-NNN, for lps data merge.",
)
@click.option("--scratch", type=_PATH, help="Folder on each machine's own disk to make clips in.")
@click.option("--clip-timeout", type=float, help="Seconds a clip may take; default: 300 and 60 more a source MB.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--retry-failed", is_flag=True, help="Do clips again that failed before.")
@json_option
@click.pass_context
def degrade(
    ctx: click.Context,
    src: Path | str,
    dst: Path | str,
    layers: tuple[int, ...] | None,
    clean: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Film every clip of SRC (a folder or an INDEX file) through FILM into the data set DST.

    Always resumes: the same command goes on where it was stopped or killed. Other settings on the same DST are
    refused. With one layer count DST is the data set; with several, DST/layers-NN. SRC and DST may be URLs that fsspec
    opens, such as s3://bucket/folder.
    """
    from dataset_builder.config import DegradeConfig
    from dataset_builder.degrade import degrade_dataset

    if not layers and not clean:
        raise click.UsageError("give --layers N[,N...], or --clean for clips without film")
    if layers and options["film"] is None:
        raise click.UsageError("--layers needs --film FILM")
    if not 0 < options["fov"] < 180:
        raise click.BadParameter(f"must be between 0 and 180 degrees, got {options['fov']:g}", param_hint="--fov")
    names = {
        "film_distance": "film_distance_m",
        "distance": "scene_distance_m",
        "fov": "field_of_view_deg",
        "format_name": "format",
        "clip_timeout": "clip_timeout_s",
    }
    fields = {names.get(name, name): value for name, value in options.items() if value is not None}
    config = DegradeConfig(source=src, destination=dst, layers=((0,) if clean else ()) + (layers or ()), **fields)
    try:
        with RunDisplay("degrading") as display:
            summary = degrade_dataset(config, display)
    except KeyboardInterrupt:
        stopped(ctx)
    _report_degrade(summary, dst, as_json)
    ctx.exit(0 if summary.ok else 1)


def _report_degrade(summary: Summary, dst: Path | str, as_json: bool) -> None:
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
    list_failures("failed", [f"{name}: {error}" for name, error in summary.failed], f"lps data status {dst}")
    list_failures("files refused", [f"{p}: {reason}" for p, reason in summary.problems], f"lps data status {dst}")


@data.command()
@click.argument("dst", type=_PATH)
@click.option("--partial", is_flag=True, help="Merge although jobs are missing or not finished.")
@json_option
@click.pass_context
def merge(ctx: click.Context, dst: Path, partial: bool, as_json: bool) -> None:
    """Join what the jobs of lps data degrade --shard made below DST into the data set DST.

    Files are moved, and the emptied DST/job-III-of-NNN removed. Exit status 1 when clips failed or are missing.
    """
    from dataset_builder.merge import merge_jobs

    with counted("merging") as update:
        merged = merge_jobs(dst, partial, update)
    if as_json:
        print_json([{**asdict(one), "directory": str(one.directory)} for one in merged])
    else:
        for one in merged:
            click.echo(f"{one.directory}: {one.clips} clips done, {one.failed} failed, {one.pending} pending")
    ctx.exit(0 if all(one.ok for one in merged) else 1)


@data.command()
@click.argument("dst", type=LOCATION)
@json_option
def status(dst: Path | str, as_json: bool) -> None:
    """Progress and failures of the data set DST, read from its manifest; may be asked while a run is at work.

    Of a DST behind a URL it tells what the run sent last, at most a minute ago.
    """
    from dataset_builder.layout import MANIFEST_FILE, read_dataset
    from dataset_builder.manifest import Manifest
    from dataset_builder.records import local_records

    reports = []
    with local_records(dst) as found:
        for location, root in found:
            with Manifest(root / MANIFEST_FILE) as manifest:
                frames, size = manifest.totals()
                reports.append(
                    {
                        "directory": str(location),
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
@click.option("--sources", is_flag=True, help="Hash the source files too, and compare with what clips were made from.")
@json_option
@click.pass_context
def verify(ctx: click.Context, dst: Path, workers: int | None, sources: bool, as_json: bool) -> None:
    """Re-hash and decode every finished clip of DST, and look for files that no clip owns. Exit status 1 if any."""
    from dataset_builder.layout import find_datasets
    from dataset_builder.verify import verify_dataset

    with counted("verifying") as update:
        verdicts = [verify_dataset(root, workers, update, sources) for root in find_datasets(dst)]
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
        with counted("rendering") as update:
            summary = render(SynthesizeConfig(destination=dst, **given), lambda done, total: update(done, total, ""))
    except KeyboardInterrupt:
        stopped(ctx)
    if as_json:
        print_json(summary.model_dump(mode="json"))
    else:
        rate = summary.frames / summary.seconds if summary.seconds else 0.0
        click.echo(
            f"{dst}: {summary.rendered} clips rendered, {summary.skipped} there before, {len(summary.failed)} failed; "
            f"{summary.frames} frames, {rate:.1f} a second"
        )
    list_failures("failed", [f"{name}: {error}" for name, error in summary.failed.items()], "run it again with --json")
    ctx.exit(1 if summary.failed else 0)
