"""``lps data export``: a data set in another format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import json_option, list_failures, print_json, stopped
from .progress import counted

if TYPE_CHECKING:
    from dataset_builder.export import ExportSummary

FORMATS = ("mp4", "frames", "hdf5", "webdataset")


@click.command("export")
@click.argument("dst", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--format", "format_name", type=click.Choice(FORMATS), required=True)
@click.option("--jpeg-quality", type=click.IntRange(1, 100), help="For frames and hdf5; default: DST's, or 95.")
@click.option("--hdf5-frames", type=click.Choice(["jpeg", "raw"]), help="Default: as in DST, or jpeg.")
@click.option("--clips-per-shard", type=click.IntRange(1), help="For hdf5 and webdataset; default: DST's, or 256.")
@click.option("--workers", type=click.IntRange(0, 1024), help="Worker processes; default: all processors.")
@json_option
@click.pass_context
def export_command(
    ctx: click.Context,
    dst: Path,
    out: Path,
    format_name: str,
    jpeg_quality: int | None,
    hdf5_frames: str | None,
    clips_per_shard: int | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Write the data set DST as OUT in another format; several layer counts each as OUT/layers-NN.

    mp4 and webdataset share their video files, frames and hdf5 their JPEG frames: these are copied, pixels unchanged.
    hdf5 with raw frames keeps the pixels of any format. All else is coded again, and OUT/dataset.json says so. Always
    resumes. Exit status 1 when a clip of DST is missing in OUT.
    """
    from dataset_builder.export import ExportConfig, export_dataset
    from dataset_builder.layout import find_datasets

    summaries = []
    try:
        for source in find_datasets(dst):
            config = ExportConfig.model_validate(
                {
                    "source": source,
                    "destination": out / source.relative_to(dst),
                    "format": format_name,
                    "jpeg_quality": jpeg_quality,
                    "hdf5_frames": hdf5_frames,
                    "clips_per_shard": clips_per_shard,
                    "workers": workers,
                }
            )
            with counted(f"exporting {source.name}") as update:
                summaries.append(export_dataset(config, update))
    except KeyboardInterrupt:
        stopped(ctx)
    if as_json:
        print_json([summary.to_dict() for summary in summaries])
    for summary in summaries:
        _report(summary, as_json)
    ctx.exit(0 if all(summary.ok for summary in summaries) else 1)


def _report(summary: ExportSummary, as_json: bool) -> None:
    if not as_json:
        rate = summary.done / summary.seconds if summary.seconds else 0.0
        click.echo(
            f"{summary.directory}: {summary.format}, pixels {summary.pixels}; {summary.done} clips done, "
            f"{summary.already_done} done before, {len(summary.failed)} failed; {rate:.1f} clips a second"
        )
    for title, items in (("failed", summary.failed), ("left out", summary.left_out)):
        list_failures(title, [f"{name}: {reason}" for name, reason in items], "run it again with --json")
