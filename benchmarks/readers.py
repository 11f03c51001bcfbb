"""Clips a second that training reads, from each format: 8 samples of a clip with frames t-D, t, t+D, and its mean.

    python -m benchmarks.readers [--json readers.json] [--clips 48] [--frames 72] [--rounds 5]

A real street clip seen through a film (8 layers, sensor noise, 224x224) is cut into overlapping clips, written once as
mp4 and exported to the other formats. One process reads all clips in random order as ``training.data.ClipDataset``
does, without its cache. Rounds go through all formats in turn, and a format's best round counts. Files come from the
system's memory: what a disk adds is not in it. Ratios are by processor time, which other work on the machine disturbs
least.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dataset_builder.config import DegradeConfig
from dataset_builder.export import ExportConfig, export_dataset
from dataset_builder.formats import open_reader, writer_class
from dataset_builder.layout import MANIFEST_FILE, claim_dataset
from dataset_builder.manifest import ClipRow, Manifest
from lps_sim import Camera, Degrader, FilmModel
from lps_sim.media import iter_frames, sample_clip
from training.config import DataConfig
from training.data import ClipDataset
from training.sides import Labels

from .pipeline import ntu_names
from .results import finish, number, table

NAME = "Reading (benchmarks/readers.py)"
FILM, LAYERS, FOV_DEG, SIZE = "p3ar-10layer", 8, 70.0, 224
SAMPLES, GAP = 8, 4
EXPORTS: dict[str, dict[str, Any]] = {
    "webdataset": {"format": "webdataset"},
    "frames": {"format": "frames"},
    "hdf5, JPEG": {"format": "hdf5", "hdf5_frames": "jpeg"},
    "hdf5, raw": {"format": "hdf5", "hdf5_frames": "raw"},
}


@dataclass
class Row:
    """One format: bytes a clip, least seconds a clip in its best round, first read of a fresh reader."""

    format: str
    bytes_a_clip: float
    wall_s: float = np.inf
    core_s: float = np.inf
    first_s: float = np.inf


def degraded_street(most: int) -> np.ndarray:
    """The street clip, or its first frames, through the film: (T, 224, 224, 3) uint8."""
    frames = np.stack(list(itertools.islice(iter_frames(sample_clip()), most)))
    camera = Camera.from_field_of_view(frames.shape[2], frames.shape[1], FOV_DEG)
    found: np.ndarray = Degrader(FilmModel.load(FILM), LAYERS, camera, (SIZE, SIZE))(frames)
    return found


def write_mp4(root: Path, street: np.ndarray, clips: int, frames: int) -> None:
    """A data set of overlapping parts of the street clip, each from another start."""
    root.mkdir()
    codec = DegradeConfig(source=root, destination=root, layers=(0,)).codec()
    claim_dataset(root, {"format": "mp4", "layers": LAYERS, "film": None, "codec": codec})
    starts = np.linspace(0, len(street) - frames, clips).astype(int)
    with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
        for name, start in zip(ntu_names(clips), starts):
            manifest.add([ClipRow(name, str(sample_clip()))])
            with writer_class("mp4")(root, name, Fraction(30), SIZE, SIZE, codec) as writer:
                for frame in street[start : start + frames]:
                    writer.write(frame)
            if writer.stored is not None:
                manifest.record_done(name, writer.stored, "", 0)


def size_of(root: Path) -> int:
    """Bytes of a data set's clips and means."""
    tops = ("clips", "frames", "means", "shards")
    return sum(path.stat().st_size for top in tops for path in (root / top).rglob("*") if path.is_file())


def read_all(root: Path, order: np.ndarray, epoch: int) -> tuple[float, float, float]:
    """Wall and processor seconds for every clip once, and wall seconds of the very first one, with a fresh reader."""
    config = DataConfig(dataset=root, frames=SAMPLES, gap=GAP, size=SIZE)
    names = open_reader(root).names()
    data = ClipDataset(open_reader(root), names, Labels(tuple(range(1, 121)), (), {}), config, seed=0)
    start = time.perf_counter()
    data[(epoch, int(order[0]))]
    first_s = time.perf_counter() - start
    start, core = time.perf_counter(), time.process_time()
    for index in order:
        data[(epoch, int(index))]
    return time.perf_counter() - start, time.process_time() - core, first_s


def measure(folder: Path, clips: int, frames: int, rounds: int) -> list[Row]:
    """The same clips in every format, read in turn."""
    write_mp4(folder / "mp4", degraded_street(4 * frames), clips, frames)
    roots = {"mp4": folder / "mp4"}
    for title, options in EXPORTS.items():
        roots[title] = folder / title.replace(", ", "-")
        config = ExportConfig(source=folder / "mp4", destination=roots[title], workers=0, **options)
        if not export_dataset(config).ok:
            raise RuntimeError(f"{title}: the export left clips out")
    rows = {title: Row(title, size_of(root) / clips) for title, root in roots.items()}
    rng = np.random.default_rng(0)
    for epoch in range(rounds):
        order = rng.permutation(clips)
        for title, root in roots.items():
            wall_s, core_s, first_s = read_all(root, order, epoch)
            row = rows[title]
            row.wall_s, row.core_s = min(row.wall_s, wall_s / clips), min(row.core_s, core_s / clips)
            row.first_s = min(row.first_s, first_s)
    return list(rows.values())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--frames", type=int, default=72, help="of each clip, as NTU RGB+D has on average")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), options.clips, options.frames, options.rounds)
    baseline = rows[0].core_s
    cells = [
        [
            row.format,
            number(row.bytes_a_clip / 1e3, 0),
            number(1 / row.wall_s, 1),
            number(1e3 * row.core_s, 1),
            number(baseline / row.core_s, 2),
            number(1e3 * row.first_s, 1),
        ]
        for row in rows
    ]
    columns = ["format", "kB a clip", "clips/s", "core ms a clip", "x mp4", "first clip, ms"]
    note = (
        f"{options.clips} clips of {options.frames} frames, {SIZE}x{SIZE}; {SAMPLES} samples a clip with frames "
        f"t-{GAP}, t, t+{GAP} and the clip mean. The first clip includes opening its shard's index."
    )
    command = f"python -m benchmarks.readers --clips {options.clips} --frames {options.frames}"
    tables = [table("Clips read by one process", columns, cells, note)]
    finish(NAME, f"{command} --rounds {options.rounds}", [asdict(row) for row in rows], tables, options.json)


if __name__ == "__main__":
    main()
