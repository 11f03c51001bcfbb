"""What a frame costs in the torch twin: frames a second and the share of memory bandwidth reached, on this device.

    python -m benchmarks.seal [--json seal.json] [--device cuda] [--compile] [--quick]

The bandwidth is that of this run: twice the size of a frame batch over the time of its copy. The share is the time that
reading the frames once and writing the result once would take at that rate, over the time measured; 1 is the least that
any film could cost. On a CPU each row also has the numpy engine's time on the same frames in the same run, both in CPU
time of one thread; on a GPU times are those of its own clock.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lps_sim import Camera, Degrader, FilmModel, __version__
from lps_sim.seal import LensPrivacySeal

from .results import processor

JOBS = [  # frame size, output size
    ((1920, 1080), (224, 224)),
    ((1920, 1080), (1920, 1080)),
    ((640, 360), (224, 224)),
    ((224, 224), (224, 224)),
]
LAYERS = (1, 4, 8, 10)
FOV_DEG = 70.0


def machine(device: torch.device) -> str:
    """The name of what runs the rows, as the machine itself has it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor()


def least_seconds(work: Callable[[], Any], device: torch.device, budget_s: float) -> float:
    """Least time of one call, after one that is not counted; at least three, within the budget."""
    work()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < budget_s and len(times) < 200):
        if device.type == "cuda":
            start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            work()
            stop.record()
            torch.cuda.synchronize(device)
            times.append(start.elapsed_time(stop) / 1e3)
        else:
            begin = time.thread_time()
            work()
            times.append(time.thread_time() - begin)
    return min(times)


def measure(
    film: FilmModel, size: tuple[int, int], output: tuple[int, int], arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """One row a layer count."""
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    camera = Camera.from_field_of_view(*size, FOV_DEG)
    pictures = np.random.default_rng(0).integers(0, 256, (arguments.frames, size[1], size[0], 3), dtype=np.uint8)
    frames = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(device, dtype).div_(255).contiguous()[None]
    budget_s = 0.3 if arguments.quick else 1.0
    copied = torch.empty_like(frames)
    copy_s = least_seconds(lambda: copied.copy_(frames), device, budget_s)
    bytes_a_second = 2 * frames.nbytes / copy_s
    rows = []
    for layers in LAYERS:
        seal = LensPrivacySeal(film, layers, camera, output, noise=arguments.noise).to(device)
        start = time.perf_counter()
        cell_px = seal.plan(size[1], size[0]).cell_px
        plan_s = time.perf_counter() - start
        with torch.no_grad():
            seal(frames)  # tables move to the device
            run = torch.compile(seal, fullgraph=True) if arguments.compile else seal
            seconds = least_seconds(functools.partial(run, frames), device, budget_s)
        least = frames.nbytes * (1 + output[0] * output[1] / (size[0] * size[1])) / bytes_a_second
        row = {
            "size": f"{size[0]}x{size[1]} -> {output[0]}x{output[1]}",
            "layers": layers,
            "cell_px": cell_px,
            "plan_s": plan_s,
            "ms_a_frame": 1e3 * seconds / arguments.frames,
            "frames_a_second": arguments.frames / seconds,
            "share_of_bandwidth": least / seconds,
            "times_reading_once": seconds / (frames.nbytes / bytes_a_second),
        }
        text = ""
        if device.type == "cpu":
            degrader = Degrader(film, layers, camera, output, noise=arguments.noise)
            row["numpy_ms_a_frame"] = (
                1e3 * least_seconds(functools.partial(degrader, pictures), device, budget_s) / len(pictures)
            )
            row["times_numpy"] = row["ms_a_frame"] / row["numpy_ms_a_frame"]
            text = f"{row['numpy_ms_a_frame']:9.2f} {row['times_numpy']:8.1f}"
        print(
            f"{row['size']:>24} {layers:>6} {cell_px:>7.2f} {row['ms_a_frame']:9.2f} {row['frames_a_second']:10.1f} "
            f"{100 * row['share_of_bandwidth']:9.1f}% {text}",
            flush=True,
        )
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", default="p3ar-10layer", help="preset or film file")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"], help="of the frames")
    parser.add_argument("--frames", type=int, help="a batch; default 32 on a GPU, 4 on a CPU")
    parser.add_argument("--noise", action="store_true", help="sensor noise too")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    parser.add_argument("--json", help="write the rows here")
    parser.add_argument("--quick", action="store_true", help="small frames only")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    arguments.frames = arguments.frames or (32 if device.type == "cuda" else 4)
    torch.set_num_threads(1)
    film = FilmModel.load(arguments.film)
    print(f"{machine(device)}, torch {torch.__version__}, {arguments.frames} frames of {arguments.dtype} a batch")
    columns = f"{'size':>24} {'layers':>6} {'cell px':>7} {'ms/frame':>9} {'frames/s':>10} {'bandwidth':>10}"
    print(columns + (f" {'numpy ms':>9} {'x numpy':>8}" if device.type == "cpu" else ""))
    rows = [row for job in (JOBS[2:] if arguments.quick else JOBS) for row in measure(film, *job, arguments)]
    if arguments.json:
        facts = {
            "machine": machine(device),
            "device": device.type,
            "film": film.name,
            "film_checksum": film.checksum(),
            "version": __version__,
            "torch": torch.__version__,
            "python": sys.version.split()[0],
            "dtype": arguments.dtype,
            "frames": arguments.frames,
            "compiled": arguments.compile,
            "noise": arguments.noise,
            "rows": rows,
        }
        Path(arguments.json).write_text(json.dumps(facts, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
