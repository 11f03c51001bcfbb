"""``lps data replay-map`` and ``ingest-replay``: one long recording of a played data set, cut into named clips."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from .common import SIZE, json_option, list_failures, print_json, progress_display, stopped

if TYPE_CHECKING:
    from dataset_builder.replay.ingest import ReplaySummary

_PATH = click.Path(path_type=Path)
_NAMINGS = click.Choice(["auto", "ntu", "p3ar-pku", "folders", "csv"])
_LISTED = 20


@click.command("replay-map")
@click.argument("src", type=_PATH)
@click.option("-o", "--output", "map_path", required=True, type=_PATH, help="MAP file.")
@click.option("--naming", type=_NAMINGS, default="auto", show_default=True, help="When SRC is a folder.")
@click.option("--count", is_flag=True, help="Decode every file for its number of frames; headers may be wrong.")
@json_option
@click.pass_context
def replay_map_command(ctx: click.Context, src: Path, map_path: Path, naming: str, count: bool, as_json: bool) -> None:
    """Write MAP, the lines START END NAME of all clips of SRC (a folder or an INDEX file) in playing order.

    Playing order is that of the sorted file names. Exit status 1 when files of SRC had to be refused.
    """
    from dataset_builder.index import Index, build_index
    from dataset_builder.replay.map import build_map

    index = build_index(src, naming) if src.is_dir() or naming == "csv" else Index.load(src)
    if not index.entries:
        raise click.ClickException(f"{src}: no usable clip in it: {'; '.join(map(str, index.problems[:3]))}")
    built = build_map(index, count)
    built.save(map_path)
    if as_json:
        print_json(
            {
                "map": str(map_path),
                "clips": len(built.entries),
                "frames": built.played_frames,
                "problems": [{"path": problem.path, "reason": problem.reason} for problem in index.problems],
            }
        )
    else:
        click.echo(f"{map_path}: {len(built.entries)} clips, {built.played_frames} frames")
    list_failures("files refused", [str(problem) for problem in index.problems], str(src))
    ctx.exit(1 if index.problems else 0)


@click.command("ingest-replay")
@click.argument("recording", metavar="RAW", type=_PATH)
@click.argument("map_path", metavar="MAP", type=_PATH)
@click.argument("dst", type=_PATH)
@click.option("--sync", type=click.Choice(["offset", "auto", "marks"]), help="Default: by what else is given.")
@click.option("--offset", type=int, help="Recorded frame of played frame 0; with --sync auto where to search first.")
@click.option("--played", type=_PATH, help="Folder or INDEX of the played clips, for --sync auto.")
@click.option("--marks", type=_PATH, help="What lps rig read-marks wrote; default with --sync marks: RAW/marks.json.")
@click.option("--screen", type=_PATH, help="Where the screen stands in RAW: clips are cut out of it, upright.")
@click.option("--naming", type=_NAMINGS, default="auto", show_default=True, help="When --played is a folder.")
@click.option("--layers", type=click.IntRange(0, 64), default=0, show_default=True, help="Of film there were, to keep.")
@click.option(
    "--max-gap",
    type=click.IntRange(0, 1000),
    default=5,
    show_default=True,
    help="Frames lost in one go that neighbours stand in for; a clip that lacks more fails.",
)
@click.option("--size", type=SIZE, help="Output size; default: the recording's.")
@click.option("--fit", type=click.Choice(["squash", "crop", "letterbox"]), default="squash", show_default=True)
@click.option("--format", "format_name", type=click.Choice(["mp4", "frames"]), default="mp4", show_default=True)
@click.option("--crf", type=click.IntRange(0, 51), help="H.264 quality; default: lps's own.")
@click.option("--gop", type=click.IntRange(1, 600), default=12, show_default=True, help="Frames between key frames.")
@click.option("--pixel-format", help="Such as yuv420p or yuv444p (odd sizes).")
@click.option("--jpeg-quality", type=click.IntRange(1, 100), default=95, show_default=True, help="For --format frames.")
@click.option("--workers", type=click.IntRange(0, 1024), help="Processes that read the played clips; default: all.")
@click.option("--threads", type=click.IntRange(0, 256), default=0, help="Decoder threads for RAW; default: all.")
@click.option("--retry-failed", is_flag=True, help="Do clips again that failed before.")
@json_option
@click.pass_context
def ingest_replay_command(
    ctx: click.Context, recording: Path, map_path: Path, dst: Path, as_json: bool, **options: Any
) -> None:
    """Cut RAW, one recording of all clips played in a row, into the data set DST by MAP's lines START END NAME.

    With --offset N every recorded frame is the played one plus N, and RAW is decoded once. With --sync auto offset,
    clock drift, dropped and doubled frames are found by comparing RAW with the --played clips, in a first decode that
    is kept. With --sync marks RAW is the folder of lps rig capture-replay (or one segment of it), and its marks say it
    all. Always resumes. DST/replay.json and replay.txt say what was found, clip by clip.
    """
    import os

    from dataset_builder.replay.config import ReplayConfig
    from dataset_builder.replay.ingest import ingest_replay

    sync: Literal["offset", "auto", "marks"] = options.pop("sync") or _sync_of(options)
    if sync == "marks" and options["marks"] is None:
        options["marks"] = (recording if recording.is_dir() else recording.parent) / "marks.json"
    if sync == "offset" and options["offset"] is None:
        raise click.UsageError("--sync offset needs --offset N")
    if sync == "auto" and options["played"] is None:
        raise click.UsageError("give --offset N, or --played SRC for --sync auto to compare RAW with")
    workers = options.pop("workers")
    config = ReplayConfig(
        recording=recording,
        map=map_path,
        destination=dst,
        sync=sync,
        format=options.pop("format_name"),
        workers=(os.cpu_count() or 1) if workers is None else workers,
        **options,
    )
    try:
        with _stages() as update:
            summary = ingest_replay(config, update)
    except KeyboardInterrupt:
        stopped(ctx)
    _report(summary, as_json)
    ctx.exit(0 if summary.ok else 1)


def _sync_of(options: dict[str, Any]) -> Literal["offset", "auto", "marks"]:
    if options["marks"] is not None:
        return "marks"
    return "auto" if options["offset"] is None else "offset"


@contextlib.contextmanager
def _stages() -> Iterator[Callable[[str, int, int | None], None]]:
    """One progress bar a stage, on stderr."""
    with progress_display() as display:
        bars: dict[str, Any] = {}

        def update(stage: str, done: int, total: int | None) -> None:
            if stage not in bars:
                bars[stage] = display.add_task(stage, total=total)
            display.update(bars[stage], completed=done, total=total)

        yield update


def _report(summary: ReplaySummary, as_json: bool) -> None:
    if as_json:
        print_json(summary.to_dict())
    else:
        found, residual = summary.report, summary.report["residual_frames"]
        click.echo(
            f"{summary.directory}: {summary.done} clips done, {summary.already_done} done before, "
            f"{len(summary.failed)} failed; {summary.frames} frames"
        )
        if found["sync"] == "offset":
            click.echo(f"offset {found['offset']} throughout; missing {found['missing']}; other losses not looked for")
        else:
            click.echo(
                f"offset {found['offset']}, clock drift {100 * found['clock_drift']:+.4f} %, with lost frames "
                f"{100 * found['net_drift']:+.4f} %; dropped {found['dropped']}, doubled {found['doubled']}, "
                f"missing {found['missing']}"
            )
        if residual["clips"]:
            click.echo(
                f"residual in frames: rms {residual['rms']}, median {residual['median']}, largest "
                f"{residual['largest']}, of {residual['clips']} clips that move enough"
            )
        if found["recording"]["damage"]:
            click.echo(f"the recording is damaged: {found['recording']['damage']}")
        lossy = [clip for clip in found["clips"] if clip["dropped"] and not clip["error"]]
        for clip in lossy[:_LISTED]:
            click.echo(f"  {clip['name']}: filled from neighbours: {', '.join(map(str, clip['dropped']))}")
        if len(lossy) > _LISTED:
            click.echo(f"  and {len(lossy) - _LISTED} more: {summary.directory / 'replay.txt'}")
    more = f"lps data status {summary.directory}"
    list_failures("failed", [f"{name}: {error}" for name, error in summary.failed], more)
    list_failures("played clips that could not be compared", [f"{p}: {reason}" for p, reason in summary.problems], more)
