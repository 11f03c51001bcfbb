"""``lps data stats``: what a data set holds, as tables and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import json_option, print_json
from .progress import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataset_builder.manifest import Status
    from dataset_builder.stats import Stats

_PATH = click.Path(path_type=Path)
_LISTED = 20


@click.command("stats")
@click.argument("dst", type=_PATH)
@click.option(
    "--clean", type=_PATH, help="Data set without film to compare with; default: layers-00, else the sources."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the page; default: DST/stats.")
@click.option("--samples", type=click.IntRange(0), default=200, show_default=True, help="Clips opened a data set.")
@click.option("--workers", type=click.IntRange(1, 256), help="Clips opened at once.")
@json_option
@click.pass_context
def stats_command(
    ctx: click.Context,
    dst: Path,
    clean: Path | None,
    out: Path | None,
    samples: int,
    workers: int | None,
    as_json: bool,
) -> None:
    """Count the clips of DST, measure a sample before and after the film, and write stats.html and stats.json.

    May be asked while a run is at work. Exit status 1 when a clip that should be there could not be read.
    """
    import json

    from dataset_builder.stats import collect_stats
    from dataset_builder.stats_page import write_page
    from lps_sim.files import write_atomic

    with counted("measuring") as update:
        stats = collect_stats(dst, clean, samples, workers, update)
    folder = out or dst / "stats"
    write_page(stats, folder / "stats.html")
    write_atomic(folder / "stats.json", json.dumps(stats.to_dict(), indent=2) + "\n")
    if as_json:
        print_json({**stats.to_dict(), "page": str(folder / "stats.html")})
    else:
        _print(stats)
        click.echo(f"page: {folder / 'stats.html'}")
    if stats.unreadable:
        click.echo("not readable although finished; lps data verify tells more:", err=True)
        for line in stats.unreadable[:_LISTED]:
            click.echo(f"  {line}", err=True)
        ctx.exit(1)


def _print(stats: Stats) -> None:
    from dataset_builder import stats_tables as tables

    datasets = stats.datasets
    shown: tuple[Status, ...] = ("done", "pending", "failed")
    overview = [tables.overview_row(dataset) for dataset in datasets]
    # A column a data set, since a terminal is narrow and the facts are many.
    facts = [[fact, *(row[fact] for row in overview)] for fact in list(overview[0])[1:]]
    _table("", [str(stats.place), *(dataset.counted.directory.name for dataset in datasets)], facts)
    first = datasets[0].counted
    _table(f"clips by field, {first.directory.name}", tables.BREAKDOWN_COLUMNS, tables.breakdown_rows(first.breakdowns))
    few = [
        [breakdown.field, tables.group_label(group.key, group.label), *(group.counts[status] for status in shown)]
        for breakdown in first.breakdowns
        if 1 < len(breakdown.groups) <= _LISTED
        for group in breakdown.groups
    ]
    _table("", ["field", "value", *shown], few)
    if first.clip_frames.clips:
        title = f"length of a clip, {first.directory.name}"
        _table(title, ["a clip has", *tables.LENGTH_COLUMNS], tables.length_rows(first))
    title = "linear light: median (10 to 90 %) of sampled clips"
    _table(title, tables.LIGHT_COLUMNS, tables.light_rows(datasets))
    _table("failed and refused", tables.MISSING_COLUMNS, tables.missing_rows(datasets))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on stdout; nothing where it has no rows."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lps_sim.report import format_cell

    if not rows:
        return
    table = Table(title=title or None, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(format_cell(cell)) for cell in row))
    Console().print(table)
