"""Benchmark results as tables: what the benchmarks share, and benchmarks/RESULTS.md made from their JSON files.

    python -m benchmarks.results benchmarks/RESULTS.md degrade.json pipeline.json [seal.json ...] [fast_error.json]

The page is written anew, one section a file in the order given; no figure in it is typed by hand.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lps_sim import __version__

LIBRARIES = ("av", "kornia", "numba", "numpy", "opencv-python-headless", "scipy", "torch")
INTRODUCTION = (
    "# Speed and error, measured\n\n"
    "Written by `python -m benchmarks.results`; see there. Ratios are between rows of one run on one machine. "
    "Films are the package's presets: simulated, not measured ones.\n"
)
# Of rows that bring no table of their own: heading and format by key, in this order.
SEAL_COLUMNS = {
    "size": ("size", "{}"),
    "layers": ("N", "{}"),
    "ms_a_frame": ("ms/frame", "{:.2f}"),
    "frames_a_second": ("frames/s", "{:.0f}"),
    "share_of_bandwidth": ("share of bandwidth", "{:.2%}"),
    "times_reading_once": ("x reading once", "{:.1f}"),
    "numpy_ms_a_frame": ("numpy ms/frame", "{:.2f}"),
    "times_numpy": ("x numpy", "{:.2f}"),
}


def processor() -> str:
    """The processor's name, as the machine itself has it."""
    names = Path("/proc/cpuinfo")
    if names.exists():
        for line in names.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine_facts() -> dict[str, Any]:
    """Processor, cores, system, date (UTC) and versions."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "machine": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "version": __version__,
        "python": platform.python_version(),
        "libraries": versions,
    }


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], note: str = "") -> dict[str, Any]:
    """A table that JSON can hold; None is an empty cell."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    return {"title": title, "note": note, "columns": list(columns), "rows": cells}


def number(value: float | None, digits: int) -> str | None:
    """A figure for a cell, None staying empty."""
    return None if value is None else f"{value:.{digits}f}"


def as_markdown(content: dict[str, Any], level: int = 3) -> str:
    """A table under its heading, columns aligned for the eye."""
    lines = [content["columns"], *content["rows"]]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(content["columns"]))]

    def drawn(line: list[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    parts = ["#" * level + " " + content["title"], content["note"]]
    parts.append("\n".join([drawn(lines[0]), rule, *map(drawn, lines[1:])]))
    return "\n\n".join(part for part in parts if part)


def finish(name: str, command: str, rows: Any, tables: list[dict[str, Any]], path: Path | None) -> None:
    """Print the tables; write everything as JSON where a path is given."""
    facts = machine_facts()
    print(f"\n{described(facts)}")
    for content in tables:
        print("\n" + as_markdown(content))
    if path is not None:
        stored = {"benchmark": name, "command": command, **facts, "rows": rows, "tables": tables}
        path.write_text(json.dumps(stored, indent=1), encoding="utf-8")


def described(facts: dict[str, Any]) -> str:
    """One line on where and with what a result was found; only what the facts hold."""
    words = [str(facts.get("machine") or "machine not recorded")]
    if facts.get("cores"):
        words.append(f"{facts['cores']} cores")
    words += [str(facts[key]) for key in ("system", "date") if facts.get(key)]
    words += [f"{key} {facts[key]}" for key in ("version", "film", "python", "torch", "dtype") if facts.get(key)]
    words += [f"{name} {version}" for name, version in facts.get("libraries", {}).items()]
    return ", ".join(words)


def section(stored: Any) -> str:
    """The section of one JSON file: of this suite, of benchmarks/seal.py or of benchmarks/fast_error.py."""
    if isinstance(stored, list):
        return "## Error against the exact engine\n\n" + as_markdown(error_table(stored))
    head = f"`{stored['command']}`: " if stored.get("command") else ""
    if "tables" in stored:
        body = [as_markdown(content) for content in stored["tables"]]
        return "\n\n".join([f"## {stored['benchmark']}", head + described(stored), *body])
    known = {key: value for key, value in SEAL_COLUMNS.items() if any(key in row for row in stored["rows"])}
    cells = [
        [form.format(row[key]) if key in row else None for key, (_, form) in known.items()] for row in stored["rows"]
    ]
    batch = [f"Batches of {stored['frames']}"] if stored.get("frames") else []
    batch += [word for word, key in (("torch.compile", "compiled"), ("sensor noise", "noise")) if stored.get(key)]
    content = table(", ".join(batch) or "Rows", [heading for heading, _ in known.values()], cells)
    return "\n\n".join(["## Torch twin (benchmarks/seal.py)", described(stored), as_markdown(content)])


def error_table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of benchmarks/fast_error.py: the worst of all scenes by film, size and layer count."""
    layers = sorted({row["layers"] for row in rows})
    worst: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        way = f"{row['size'][0]}x{row['size'][1]} -> {row['output'][0]}x{row['output'][1]}"
        found = worst.setdefault((row["film"], way), {})
        found[row["layers"]] = max(found.get(row["layers"], 0.0), row["codes"])
    cells = [[*key, *(number(found.get(count), 3) for count in layers)] for key, found in worst.items()]
    scenes = ", ".join(dict.fromkeys(row["scene"] for row in rows))
    note = f"8-bit codes before rounding, noise off, worst pixel of all scenes ({scenes}); 0.5 is promised."
    return table("Largest error", ["film", "size", *(f"N = {count}" for count in layers)], cells, note)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="Markdown file to write")
    parser.add_argument("json", type=Path, nargs="+", help="results, in the order of the page")
    options = parser.parse_args(argv)
    parts = [section(json.loads(path.read_text(encoding="utf-8"))) for path in options.json]
    options.page.write_text("\n".join([INTRODUCTION, "\n\n".join(parts), ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
