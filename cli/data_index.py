"""``lps data index`` and ``lps data split``: what there is, and who is trained and tested on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import json_option, list_failures, print_json
from .progress import counted

if TYPE_CHECKING:
    from dataset_builder.index import Index
    from dataset_builder.protocols import SplitLists

NAMINGS = ("auto", "ntu", "p3ar-pku", "folders", "csv")
_PATH = click.Path(path_type=Path)


class NumbersType(click.ParamType):
    """``1,3,8-12`` -> the set of these numbers."""

    name = "N[,N-N...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[int]:
        if isinstance(value, frozenset):
            return value
        numbers: set[int] = set()
        for part in str(value).split(","):
            first, dash, last = part.strip().partition("-")
            if not (first.isdecimal() and (last.isdecimal() or not dash) and int(first) >= 1):
                self.fail(f"{value!r} is not a list of numbers such as 1,3,8-12", param, ctx)
            numbers.update(range(int(first), int(last or first) + 1))
        return frozenset(numbers)


NUMBERS = NumbersType()


@click.command()
@click.argument("src", type=_PATH)
@click.option(
    "-o", "--output", "index_path", type=_PATH, default=Path("index.jsonl"), show_default=True, help="INDEX file."
)
@click.option("--naming", type=click.Choice(NAMINGS), default="auto", show_default=True, help="How files are named.")
@click.option("--exclude", multiple=True, type=_PATH, help="List of names to leave out, one a line; repeatable.")
@click.option("--sha256", is_flag=True, help="Hash every file, and list clips that are the same bytes.")
@click.option("--workers", type=click.IntRange(1, 256), help="Files probed at once.")
@json_option
@click.pass_context
def index(
    ctx: click.Context,
    src: Path,
    index_path: Path,
    naming: str,
    exclude: tuple[Path, ...],
    sha256: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Scan and probe SRC: a folder of videos or, with --naming csv, a CSV file with a column path.

    Files that were probed before (an INDEX of the same name is there) and have not changed are not opened again.
    Exit status 1 when files had to be refused; the index of the others is written all the same. Clips of equal bytes
    are usable, and only listed.
    """
    from dataset_builder.index import Index, build_index

    cache = Index.load(index_path) if index_path.is_file() else None
    with counted("probing", "files") as update:
        built = build_index(src, naming, exclude, workers, cache, update, sha256)
    if not built.entries and built.problems:
        raise click.ClickException(_no_clip(src, built))
    built.save(index_path)
    frames = sum(entry.frames for entry in built.entries)
    duplicates = built.duplicates()
    if as_json:
        print_json(
            {
                "index": str(index_path),
                "naming": built.naming,
                "clips": len(built.entries),
                "frames": frames,
                "excluded": len(built.excluded),
                "duplicates": duplicates,
                "problems": [{"path": problem.path, "reason": problem.reason} for problem in built.problems],
            }
        )
    else:
        click.echo(f"{index_path}: {len(built.entries)} clips, {frames} frames, naming {built.naming}")
        if built.excluded:
            click.echo(f"left out by exclude lists: {len(built.excluded)}")
    list_failures("equal bytes", [" = ".join(names) for names in duplicates], "--json")
    list_failures("files refused", [str(problem) for problem in built.problems], f"see {index_path}")
    ctx.exit(1 if built.problems else 0)


def _no_clip(src: Path, built: Index) -> str:
    first, rest = built.problems[0], len(built.problems) - 1
    return f"{src}: no usable clip in it: {first}" + (f" (and {rest} more)" if rest else "")


@click.command()
@click.argument("index", type=_PATH)
@click.option("--protocol", required=True, help="Such as ntu120-xsub; a wrong one lists all.")
@click.option("--out", type=_PATH, help="Folder of the lists; default: splits/PROTOCOL beside INDEX.")
@click.option("--validation", type=float, default=0.1, show_default=True, help="Share of training performers held out.")
@click.option("--actions", help="Only these: numbers, names or class folders, by commas.")
@click.option("--performers", type=NUMBERS, help="Only these, such as 1,3,8-12.")
@click.option("--cameras", type=NUMBERS, help="Only these.")
@click.option("--setups", type=NUMBERS, help="Only these.")
@click.option("--limit-per-class", type=click.IntRange(1), help="Few-shot: so many training clips of each class.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of random, few-shot and pairs.")
@click.option("--train-share", type=float, default=0.7, show_default=True, help="For random: of each class's clips.")
@click.option("--lists", type=_PATH, help="For ucf101-N and hmdb51-N: folder of their own lists.")
@click.option("--unseen", type=float, default=0.25, show_default=True, help="Performers kept for verification.")
@click.option("--pairs", type=click.IntRange(2), default=2000, show_default=True, help="For identity-verification.")
@click.option("--pyskl", type=_PATH, help="Write {split, annotations} to this pickle for pyskl or MMAction2.")
@json_option
def split(
    index: Path, protocol: str, out: Path | None, actions: str | None, pyskl: Path | None, as_json: bool, **options: Any
) -> None:
    """Write train.txt, val.txt and test.txt, one name a line, for INDEX: an index file or a data set directory.

    val.txt holds the clips of validation performers, who are not trained on. identity-closed has no val.txt,
    identity-verification has pairs.txt alone, lines NAME NAME 0|1.
    """
    from dataset_builder.protocols import ALL_PROTOCOLS, SplitOptions, make_split
    from dataset_builder.selection import Selection, list_clips
    from dataset_builder.split_files import write_lists, write_pyskl
    from lps_sim.errors import UnknownNameError

    if protocol not in ALL_PROTOCOLS:
        raise click.BadParameter(str(UnknownNameError("protocol", protocol, ALL_PROTOCOLS)), param_hint="--protocol")
    clips = list_clips(index)
    selection = Selection(
        actions=frozenset(part.strip() for part in actions.split(",")) if actions is not None else None,
        performers=options["performers"],
        cameras=options["cameras"],
        setups=options["setups"],
    )
    try:
        chosen = selection.of(clips)
    except UnknownNameError as error:
        raise click.BadParameter(str(error), param_hint="--actions") from error
    result = make_split(
        chosen,
        protocol,
        SplitOptions(
            validation_share=options["validation"],
            train_share=options["train_share"],
            seed=options["seed"],
            lists=options["lists"],
            limit_per_class=options["limit_per_class"],
            unseen_share=options["unseen"],
            pairs=options["pairs"],
        ),
    )
    if pyskl is not None:
        write_pyskl(pyskl, clips, result)
    folder = out or (index if index.is_dir() else index.parent) / "splits" / protocol
    write_lists(folder, result)
    _report_split(result, folder, pyskl, as_json)


def _report_split(split: SplitLists, folder: Path, pyskl: Path | None, as_json: bool) -> None:
    counts = {name: len(clips) for name, clips in split.lists.items()}
    if split.pairs:
        counts["pairs"] = len(split.pairs)
    if as_json:
        print_json(
            {
                "protocol": split.protocol,
                "out": str(folder),
                **counts,
                "outside": len(split.outside),
                "absent": len(split.absent),
                "validation_performers": split.validation_performers,
                "short_classes": split.short_classes,
                "pyskl": str(pyskl) if pyskl else None,
            }
        )
        return
    click.echo(f"{folder}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    if "val" in counts:
        click.echo(f"validation performers: {', '.join(map(str, split.validation_performers)) or 'none'}")
    if split.outside:
        click.echo(f"not covered by {split.protocol}: {len(split.outside)}")
    if split.absent:
        click.echo(f"in its lists, but no clip: {len(split.absent)}, such as {split.absent[0]}")
    if split.short_classes:
        click.echo(f"classes with fewer clips than asked for: {', '.join(split.short_classes)}")
    if pyskl:
        click.echo(f"{pyskl}: split and annotations")
