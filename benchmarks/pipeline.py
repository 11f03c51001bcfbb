"""Speed of whole ``lps data degrade`` runs beside decoding the same files, beside no film and beside FFmpeg's gblur.

    python -m benchmarks.pipeline [--json pipeline.json] [--clips 48] [--full-clips 4] [--rounds 2] [--workers 2]

A real street clip is made 1920x1080 (bicubic), encoded once (H.264, crf 23) and hard-linked under NTU names; every job
runs over those files in as many processes as there are cores, by wall clock. Rounds go through all jobs in turn, and a
job's best round counts.

decode only   every frame decoded and thrown away: the ceiling
no film       ``layers 0``: the same decoding, resizing, sensor noise and encoder, without the film
gblur         decode, FFmpeg's own gblur and scale, frames thrown away, nothing encoded: a plain Gaussian in coded
              values with the width of the film's core, the wrong physics, but what a hurried user would pick

Frames/s are those of the whole run, start of the processes and index of the source included; ``settled`` leaves out
everything before each process has finished its first clip. Core time is that of all processes together.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from dataset_builder.config import DegradeConfig
from dataset_builder.degrade import degrade_dataset
from dataset_builder.runners.pool import WorkerDied, run_tasks
from lps_sim import Camera, FilmModel
from lps_sim.media import sample_clip
from lps_sim.media.demux import PacketTimes, decoded, open_video

from .results import finish, number, table

NAME = "Whole runs (benchmarks/pipeline.py)"
FOV_DEG = 70.0
SMALL = (224, 224)
FPS = 30
SOURCE_OPTIONS = {"crf": "23", "preset": "medium"}
LONGER = 10
NO_CORE_SIGMA_PX = 10.0  # gblur costs the same at any width
MIB = 1 << 20
# Issue "Degradation at the speed of decoding".
WANTED_SMALL, WANTED_GBLUR, WANTED_FULL, WANTED_HARD = 0.6, 1.3, 0.8, 0.4

Tick = Callable[[], None]


@dataclass(frozen=True)
class Job:
    """One row: ``run(clips folder, tick)``, where tick is called per finished clip; sizes of its output."""

    what: str
    output: str
    film: str | None
    layers: int | None
    run: Callable[[Path, Tick], None]


@dataclass
class Meter:
    """When clips were finished and how much memory the worker processes had taken at most until then."""

    moments: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def tick(self) -> None:
        """A clip is finished; its worker is still alive."""
        self.moments.append(time.perf_counter())
        children = [child.pid for child in multiprocessing.active_children()]
        self.peak_bytes = max([self.peak_bytes, *(peak_resident(pid) for pid in children or [os.getpid()])])


def peak_resident(pid: int | None) -> int:
    """Largest resident set of a living process so far, bytes (VmHWM); 0 where the system does not tell."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    return 0


def core_seconds() -> float:
    """Processor time of this process and of those it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def make_clip(path: Path, size: tuple[int, int], frames: int) -> None:
    """The street clip at ``size``, to and fro until there are enough frames."""
    with open_video(sample_clip()) as (container, stream):
        times = PacketTimes(stream.time_base)
        pictures = [frame for _, frame in zip(range(frames), decoded(container, stream, sample_clip(), times))]
    order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=SOURCE_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            picture = pictures[order[index % len(order)]]
            large = picture.reformat(*size, "yuv420p", interpolation="BICUBIC")
            large.pts, large.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(large))
        container.mux(stream.encode())


def make_longer(path: Path, source: Path, times: int) -> None:
    """The same packets several times over: a long clip that is as hard to decode."""
    with av.open(str(path), "w") as container:
        out = None
        for turn in range(times):
            with av.open(str(source)) as clip:
                stream = clip.streams.video[0]
                out = out or container.add_stream_from_template(stream)
                shift = turn * stream.duration
                for packet in clip.demux(stream):
                    if packet.dts is not None:
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = out
                        container.mux(packet)


def ntu_names(count: int) -> Iterator[str]:
    """S001C001P001R001A001 and on: actions 1..120, then performers."""
    for index in range(count):
        yield f"S001C001P{1 + index // 120:03d}R001A{1 + index % 120:03d}"


def link_clips(folder: Path, source: Path, count: int) -> Path:
    """``count`` names for one file."""
    folder.mkdir()
    for name in ntu_names(count):
        try:
            os.link(source, folder / f"{name}.mp4")
        except OSError:  # no hard links on this file system
            shutil.copy(source, folder / f"{name}.mp4")
    return folder


def decode_clip(path: Path) -> int:
    """Frames of a clip, each decoded and thrown away."""
    with open_video(path) as (container, stream):
        stream.codec_context.thread_count = 1
        return sum(1 for _ in decoded(container, stream, path, PacketTimes(stream.time_base)))


def gblur_clip(sigma_px: float, path: Path) -> int:
    """Frames of a clip, each decoded, blurred and scaled by FFmpeg's filters, and thrown away."""
    with open_video(path) as (container, stream):
        stream.codec_context.thread_count = 1
        graph = av.filter.Graph()
        graph.threads = 1
        chain = [graph.add_buffer(template=stream), graph.add("gblur", f"sigma={sigma_px:.3f}")]
        chain += [graph.add("scale", f"{SMALL[0]}:{SMALL[1]}"), graph.add("buffersink")]
        for before, after in itertools.pairwise(chain):
            before.link_to(after)
        graph.configure()
        count = 0
        for frame in decoded(container, stream, path, PacketTimes(stream.time_base)):
            graph.push(frame)
            graph.pull()
            count += 1
        return count


def in_processes(work: Callable[[Path], int], workers: int, folder: Path, tick: Tick) -> None:
    """``work`` on every clip, in the processes that ``lps data degrade`` starts."""
    for path, result in run_tasks(work, sorted(folder.iterdir()), workers):
        if isinstance(result, WorkerDied):
            raise RuntimeError(f"{path.name}: {result.reason}")
        tick()


def degrade(
    film: str | None, layers: int, size: tuple[int, int] | None, workers: int, folder: Path, tick: Tick
) -> None:
    """``lps data degrade`` on a folder; the result is thrown away."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as destination:
        config = DegradeConfig(
            source=folder,
            destination=Path(destination) / "out",
            film=film if layers else None,
            layers=(layers,),
            field_of_view_deg=FOV_DEG,
            size=size,
            workers=workers,
        )
        summary = degrade_dataset(config, lambda progress: tick() if progress.done else None)
        if not summary.ok:
            raise RuntimeError(f"degrade failed: {summary.failed[:3]} {summary.problems[:3]}")


def measure(job: Job, folder: Path, frames: int, workers: int) -> dict[str, Any]:
    """One run of one job."""
    meter, clips = Meter(), len(list(folder.iterdir()))
    core, start = core_seconds(), time.perf_counter()
    job.run(folder, meter.tick)
    wall, core = time.perf_counter() - start, core_seconds() - core
    first = max(workers, 1)
    settled = None
    if clips > first:
        settled = frames * (clips - first) / (meter.moments[-1] - meter.moments[first - 1])
    return {
        "what": job.what,
        "output": job.output,
        "film": job.film,
        "layers": job.layers,
        "frames": clips * frames,
        "wall_s": wall,
        "frames_a_second": clips * frames / wall,
        "settled_frames_a_second": settled,
        "core_ms_a_frame": 1e3 * core / (clips * frames),
        "peak_mib": meter.peak_bytes / MIB,
    }


def with_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row with its rate over those of decoding only, of the same output without film, and of gblur; whole runs,
    and settled ones."""
    jobs_by_key = {(row["what"], row["output"]): row for row in rows}
    for row in rows:
        beside = {
            "of_decode": jobs_by_key["decode only", ""],
            "of_no_film": jobs_by_key.get(("no film", row["output"])) if row["film"] else None,
            "of_gblur": jobs_by_key.get(("gblur + scale", row["output"])),
        }
        for name, other in beside.items():
            for prefix in ("", "settled_"):
                mine, theirs = (r and r[f"{prefix}frames_a_second"] for r in (row, other))
                row[prefix + name] = mine / theirs if mine and theirs else None
    return rows


def goals(rows: list[dict[str, Any]]) -> list[list[Any]]:
    """What was wanted of these rows, and what was found: (job, rate, wanted, found, settled, met)."""
    wanted = []
    for row in rows:
        if not row["film"] or row["layers"] not in (1, 8):
            continue
        hard = row["layers"] == 1 or not FilmModel.load(row["film"]).sigma_rad.any()
        small = row["output"] == size_text(SMALL)
        checks = [("decode only", "of_decode", WANTED_HARD if hard else WANTED_SMALL)] if small else []
        if small and row["layers"] == 8:
            checks.append(("gblur + scale", "of_gblur", WANTED_GBLUR))
        if not small:
            checks.append(("no film", "of_no_film", WANTED_HARD if hard else WANTED_FULL))
        job = f"{row['film']}, N = {row['layers']}, {row['output']}"
        for name, key, least in checks:
            found, settled = row[key], row["settled_" + key]
            met = "yes" if found >= least else "no"
            wanted.append([job, f"/ {name}", f">= {least}", number(found, 2), number(settled, 2), met])
    return wanted


def size_text(size: tuple[int, int]) -> str:
    """224x224."""
    return f"{size[0]}x{size[1]}"


def tables(rows: list[dict[str, Any]], memory: list[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    """For people."""
    cells = []
    for row in rows:
        figures = [number(row["frames_a_second"], 1), number(row["settled_frames_a_second"], 1)]
        figures.append(number(row["core_ms_a_frame"], 2))
        figures += [number(row[key], 2) for key in ("of_decode", "of_no_film", "of_gblur")]
        cells.append([row["what"], row["layers"], row["output"], *figures, number(row["peak_mib"], 0)])
    columns = ["job", "N", "output", "frames/s", "settled", "core ms/frame"]
    columns += ["/ decode only", "/ no film", "/ gblur", "peak MiB a process"]
    note = (
        f"{source} `no film` is `layers 0` of the same command: same resizing, noise and encoder, but a sharp picture, "
        "which costs the encoder more than a blurred one. `gblur + scale` encodes nothing and is the wrong physics "
        "(a Gaussian in coded values). `settled`: frames/s once every process has finished its first clip."
    )
    spent = [[m["frames"], number(m["peak_mib"], 0)] for m in memory]
    return [
        table("Rates", columns, cells, note),
        table("Wanted and found", ["job", "rate", "wanted", "found", "settled", "met"], goals(rows)),
        table(
            "Memory of one worker",
            ["frames of the clip", "peak resident MiB"],
            spent,
            f"{memory[0]['what']}, N = {memory[0]['layers']}, own size; no growth and at most 600 wanted.",
        ),
    ]


def jobs(films: Sequence[str], layers: Sequence[int], size: tuple[int, int], workers: int) -> dict[str, list[Job]]:
    """The rows with small outputs, and those at the clip's own size."""
    from .alternatives import core_sigma_px  # here, so that worker processes, whose memory counts, do without

    camera = Camera.from_field_of_view(*size, FOV_DEG)
    sigma_px = core_sigma_px(FilmModel.load(films[0]), 8, camera) or NO_CORE_SIGMA_PX

    def seen(output: tuple[int, int] | None) -> list[Job]:
        text = size_text(output or size)
        plain = Job("no film", text, None, 0, functools.partial(degrade, None, 0, output, workers))
        kinds = [(film, count) for film in films for count in layers]
        return [
            plain,
            *(Job(f, text, f, n, functools.partial(degrade, f, n, output, workers)) for f, n in kinds),
        ]

    alone = Job("decode only", "", None, None, functools.partial(in_processes, decode_clip, workers))
    blur = functools.partial(in_processes, functools.partial(gblur_clip, sigma_px), workers)
    gaussian = Job("gblur + scale", size_text(SMALL), None, None, blur)
    return {"small": [alone, gaussian, *seen(SMALL)], "full": seen(None)}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every job and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", default="p3ar-10layer,rough,bulk-haze", help="the first sets gblur's width")
    parser.add_argument("--layers", default="1,8")
    parser.add_argument("--size", default="1920x1080", help="of the source clips")
    parser.add_argument("--frames", type=int, default=96, help="a clip")
    parser.add_argument("--clips", type=int, default=48, help="for small outputs")
    parser.add_argument("--full-clips", type=int, default=4, help="for outputs of the clips' own size")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    films, layers = options.films.split(","), [int(count) for count in options.layers.split(",")]
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make_clip(place / "source.mp4", (width, height), options.frames)
        folders = {
            "small": link_clips(place / "small", place / "source.mp4", options.clips),
            "full": link_clips(place / "full", place / "source.mp4", options.full_clips),
        }
        best: dict[tuple[str, str, int | None], dict[str, Any]] = {}
        for turn in range(options.rounds):
            for kind, listed in jobs(films, layers, (width, height), options.workers).items():
                for job in listed:
                    row = measure(job, folders[kind], options.frames, options.workers)
                    key = (job.what, job.output, job.layers)
                    rates = [*best.get(key, {}).get("every_round", []), row["frames_a_second"]]
                    if key not in best or row["frames_a_second"] > best[key]["frames_a_second"]:
                        best[key] = row
                    best[key]["every_round"] = rates
                    rate = f"{row['frames_a_second']:8.1f} frames/s  {row['core_ms_a_frame']:7.2f} ms of core time"
                    print(f"round {turn + 1}  {job.what:16s} {job.layers!s:>4}  {job.output:>9}  {rate}", flush=True)
        rows = with_ratios(list(best.values()))
        memory = []
        make_longer(place / "long.mp4", place / "source.mp4", LONGER)
        for clip, times in (("source", 1), ("long", LONGER)):
            folder = link_clips(place / f"memory-{clip}", place / f"{clip}.mp4", 1)
            work = functools.partial(degrade, films[0], layers[-1], None, min(options.workers, 1))
            memory.append(measure(Job(films[0], "", films[0], layers[-1], work), folder, times * options.frames, 1))
        kilobytes = (place / "source.mp4").stat().st_size / options.frames / 1e3
    source = (
        f"{options.size} H.264, {kilobytes:.1f} kB a frame, {options.frames} frames a clip; {options.clips} clips for "
        f"small outputs, {options.full_clips} for others; {options.workers} processes; best of {options.rounds}."
    )
    kept = {key.replace("_", "-"): value for key, value in vars(options).items() if key != "json"}
    command = " ".join(["python -m benchmarks.pipeline", *(f"--{key} {value}" for key, value in kept.items())])
    finish(NAME, command, {"rates": rows, "memory": memory}, tables(rows, memory, source), options.json)


if __name__ == "__main__":
    main()
