"""What a frame costs on its way through the film, beside a copy, a resize and the obvious alternatives.

    python -m benchmarks.degrade [--json degrade.json] [--films rough,...] [--budget 0.4] [--quick]

One thread, processor time, best of several calls, every row measured in this run. The Degrader's time is for everything
from 8-bit codes (the decoder's planes, or RGB) to 8-bit codes, sensor noise included. The alternatives
(benchmarks/alternatives.py) only blur a frame that is already linear light; their error is that of the whole picture
against the exact engine, on a mosaic of real frames, noise off, in 8-bit codes before rounding.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numba
import numpy as np
from threadpoolctl import threadpool_limits

from lps_sim import Camera, Degrader, FilmModel, apply_film
from lps_sim.media.colour import FromRgb, ToPlanes, ToRgb
from lps_sim.transfer import eotf_srgb
from lps_sim.yuv import YuvFrame

from .alternatives import alternatives
from .fast_error import codes, scenes
from .results import finish, number, table

NAME = "One frame, one thread (benchmarks/degrade.py)"
FOV_DEG = 70.0
SMALL = (224, 224)
MOSAIC = (1920, 1080)  # as far as the street clip's frames go
WAYS = [((1920, 1080), SMALL), ((1920, 1080), (1920, 1080)), ((640, 360), SMALL)]
LAYERS = (1, 4, 8, 10)
ALTERNATIVE_FILMS, ALTERNATIVE_LAYERS = ("p3ar-10layer", "rough", "bulk-haze"), 8
GROWTH_FILM = "p3ar-10layer"
GROWTH_SIZES = [(480, 270), (640, 360), (960, 540), (1280, 720), (1920, 1080), (3840, 2160)]
GROWTH_LAYERS = (1, 2, 4, 8, 10, 32)
LEAST_CALLS, MOST_CALLS = 3, 200
WANTED_RESIZES, WANTED_TIMES_FASTER, WANTED_CODES = 3.0, 20.0, 0.5


def cpu_ms(work: Callable[[], Any], budget_s: float) -> float:
    """Least processor milliseconds of one call, after one call that is not counted; three or more within the budget."""
    work()
    times: list[float] = []
    while len(times) < LEAST_CALLS or (sum(times) < budget_s and len(times) < MOST_CALLS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def picture_of(size: tuple[int, int]) -> np.ndarray:
    """Pieces of real frames at their own sharpness, repeated beyond 1920x1080: (H, W, 3) uint8."""
    width, height = size
    real = scenes(min(width, MOSAIC[0]), min(height, MOSAIC[1]))["real frames"]
    tiles = (-(-height // real.shape[0]), -(-width // real.shape[1]), 1)
    return np.ascontiguousarray(np.tile(real, tiles)[:height, :width])


def decoded_of(picture: np.ndarray) -> tuple[Any, YuvFrame]:
    """The picture as a decoder hands it out, 4:2:0: its frame and its planes."""
    frame = FromRgb("yuv420p")(picture)
    planes = ToPlanes(ToRgb())(frame)
    if planes is None:
        raise RuntimeError("a yuv420p frame has no planes")
    return frame, planes


def way_text(size: tuple[int, int], output: tuple[int, int]) -> str:
    """1920x1080 -> 224x224."""
    return f"{size[0]}x{size[1]} -> {output[0]}x{output[1]}"


def degrader_ms(film: FilmModel | None, layers: int, output: tuple[int, int], frames: Any, budget_s: float) -> float:
    """Cost of one frame, in either form."""
    height, width = frames[0].shape[:2]
    degrader = Degrader(film, layers, Camera.from_field_of_view(width, height, FOV_DEG), output)
    return cpu_ms(lambda: degrader(frames), budget_s)


def floors(size: tuple[int, int], output: tuple[int, int], budget_s: float) -> dict[str, float]:
    """What cannot be avoided, or is commonly done: name -> ms."""
    picture = picture_of(size)
    frame, planes = decoded_of(picture)
    to_rgb = ToRgb()
    return {
        "frame copy, RGB": cpu_ms(picture.copy, budget_s),
        "frame copy, planes": cpu_ms(lambda: [plane.copy() for plane in (planes.luma, planes.u, planes.v)], budget_s),
        "OpenCV area resize, RGB": cpu_ms(lambda: cv2.resize(picture, output, interpolation=cv2.INTER_AREA), budget_s),
        "decoded frame to RGB, swscale": cpu_ms(lambda: to_rgb(frame), budget_s),
        "no film, planes": degrader_ms(None, 0, output, [planes], budget_s),
        "no film, RGB": degrader_ms(None, 0, output, picture[None], budget_s),
    }


def measure_kernel(
    films: Sequence[str], ways: Sequence[Any], layers: Sequence[int], budget_s: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the floors, and of every film and layer count."""
    ground, rows = [], []
    for size, output in ways:
        way, picture = way_text(size, output), picture_of(size)
        found = floors(size, output, budget_s)
        ground += [{"way": way, "what": name, "ms": ms} for name, ms in found.items()]
        planes = decoded_of(picture)[1]
        for name in films:
            film = FilmModel.load(name)
            for count in layers:
                row = {
                    "way": way,
                    "film": film.name,
                    "layers": count,
                    "planes_ms": degrader_ms(film, count, output, [planes], budget_s),
                    "rgb_ms": degrader_ms(film, count, output, picture[None], budget_s),
                }
                row["times_copy"] = row["planes_ms"] / found["frame copy, RGB"]
                row["times_no_film"] = row["planes_ms"] / found["no film, planes"]
                # At the frame's own size a resize is a copy.
                row["times_resize"] = row["planes_ms"] / found["OpenCV area resize, RGB"] if output != size else None
                rows.append(row)
                print(f"{way:>24}  {film.name:14s} N = {count:2d} {row['planes_ms']:9.2f} ms", flush=True)
    return ground, rows


def measure_alternatives(
    films: Sequence[str], layers: int, size: tuple[int, int], budget_s: float
) -> list[dict[str, Any]]:
    """The Degrader, the exact engine and every alternative on one frame; error in codes against the exact engine."""
    picture = picture_of(size)
    light = eotf_srgb(picture / 255.0)
    camera = Camera.from_field_of_view(*size, FOV_DEG)
    planes, rows = decoded_of(picture)[1], []
    for name in films:
        film = FilmModel.load(name)
        exact = codes(apply_film(light, film, layers, camera))
        rgb = picture[None]
        small_ms, full_ms = (degrader_ms(film, layers, output, [planes], budget_s) for output in (SMALL, size))
        ours = Degrader(film, layers, camera, size, noise=False).signal(picture)
        known = {"film": film.name, "layers": layers, "small_ms": small_ms, "full_ms": full_ms}

        def row(what: str, leaves_out: str, ms: float, error: float, known: dict[str, Any] = known) -> None:
            rows.append(
                {
                    **known,
                    "what": what,
                    "leaves_out": leaves_out,
                    "ms": ms,
                    "codes": error,
                    "whole_kernel": leaves_out.startswith("image plane") and "cut to" not in leaves_out,
                    "over_small": ms / known["small_ms"],
                    "over_full": ms / known["full_ms"],
                }
            )
            print(f"{known['film']:14s} {what:40s} {ms:9.1f} ms  {error:7.2f} codes", flush=True)

        error = float(np.abs(codes(ours) - exact).max())
        row(f"Degrader, planes, to {SMALL[0]}x{SMALL[1]}", "", small_ms, error)
        row("Degrader, planes, own size", "", full_ms, error)
        row("Degrader, RGB, own size", "", degrader_ms(film, layers, size, rgb, budget_s), error)
        row("exact engine, float64", "", cpu_ms(lambda f=film: apply_film(light, f, layers, camera), 0), 0.0)
        gain, veil = film.transmittance(layers), film.veil(layers)
        for other in alternatives(light.astype(np.float32), film, layers, camera):
            # An FFT may leave black slightly negative.
            seen = np.maximum(gain * other.blur().astype(float) + veil, 0)
            error = float(np.abs(codes(seen) - exact).max())
            row(other.name, other.simplification, cpu_ms(other.blur, budget_s), error)
    return rows


def measure_growth(
    name: str, sizes: Sequence[tuple[int, int]], layers: Sequence[int], budget_s: float
) -> list[dict[str, Any]]:
    """Cost by frame size and layer count, to a small output and to the frame's own size."""
    film, rows = FilmModel.load(name), []
    for small in (True, False):
        for size in sizes:
            planes, output = decoded_of(picture_of(size))[1], SMALL if small else size
            for count in layers:
                ms = degrader_ms(film, count, output, [planes], budget_s)
                rows.append({"size": size, "output": output, "small": small, "layers": count, "ms": ms})
            print(f"{way_text(size, output):>24}  {film.name:14s} N = 1 .. {layers[-1]}", flush=True)
    return rows


def kernel_tables(ground: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Floors, then the films."""
    ways = list(dict.fromkeys(row["way"] for row in ground))
    names = list(dict.fromkeys(row["what"] for row in ground))
    ms = {(row["what"], row["way"]): row["ms"] for row in ground}
    below = [[name, *(number(ms[name, way], 2) for way in ways)] for name in names]
    figures = ("planes_ms", "rgb_ms", "times_resize", "times_no_film", "times_copy")
    cells = [[row["way"], row["film"], row["layers"], *(number(row[key], 2) for key in figures)] for row in rows]
    columns = ["size", "film", "N", "planes ms", "RGB ms", "x area resize", "x no film", "x copy"]
    note = (
        "Ratios are of the time from planes: to OpenCV's area resize of the RGB frame (empty where there is nothing to "
        "resize), to the same without film, to a copy of the RGB frame."
    )
    return [table("Floors, ms", ["", *ways], below), table("Through film", columns, cells, note)]


def alternative_table(rows: list[dict[str, Any]], size: tuple[int, int]) -> dict[str, Any]:
    """Time and error side by side."""
    digits = {"ms": 1, "over_small": 1, "over_full": 1, "codes": 2}
    cells = [
        [row["film"], row["what"], *(number(row[key], count) for key, count in digits.items()), row["leaves_out"]]
        for row in rows
    ]
    columns = ["film", f"{size[0]}x{size[1]}, N = {rows[0]['layers']}", "ms", f"x Degrader to {SMALL[0]}x{SMALL[1]}"]
    columns += ["x Degrader, own size", "worst codes", "leaves out"]
    note = (
        "An alternative's time is for its blur alone: no decoding of codes, resizing, noise or coding, which the "
        "Degrader's holds. On the image plane a film's blur is wider towards the corners; none of them knows that, "
        "and a wider kernel or padding does not mend it."
    )
    return table("Alternatives", columns, cells, note)


def goal_table(kernel: list[dict[str, Any]], others: list[dict[str, Any]]) -> dict[str, Any]:
    """What was wanted and what was found: the resize, and the fastest alternatives.

    Those within the error wanted, and, since the exact engine may stand alone there, those that convolve with the whole
    kernel whatever their error.
    """
    cells = []
    for row in kernel:
        if row["layers"] == 8 and row["way"].endswith(f"{SMALL[0]}x{SMALL[1]}") and row["times_resize"]:
            ratio, met = row["times_resize"], row["times_resize"] <= WANTED_RESIZES
            cells.append(
                [
                    f"{row['film']}, N = 8, {row['way']}",
                    "x area resize",
                    f"<= {WANTED_RESIZES:g}",
                    number(ratio, 2),
                    "yes" if met else "no",
                ]
            )
    for film in dict.fromkeys(row["film"] for row in others):
        rest = [row for row in others if row["film"] == film and not row["what"].startswith("Degrader")]
        exact_enough = [row for row in rest if row["codes"] <= WANTED_CODES]
        whole = [row for row in rest if row["whole_kernel"]]
        for kind, kept in ((f"the fastest within {WANTED_CODES} code", exact_enough), ("the whole kernel", whole)):
            fastest = min(kept, key=lambda row: row["ms"])
            beside = f"{fastest['what']} ({fastest['codes']:.2f} codes)"
            for way, key in ((f"to {SMALL[0]}x{SMALL[1]}", "over_small"), ("own size", "over_full")):
                met = "yes" if fastest[key] >= WANTED_TIMES_FASTER else "no"
                what = f"{film}, N = {fastest['layers']}, {way}: {kind}"
                cells.append([what, beside, f">= {WANTED_TIMES_FASTER:g}", number(fastest[key], 1), met])
    return table("Wanted and found", ["what", "beside", "wanted", "found", "met"], cells)


def growth_tables(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """A table an output: sizes down, layer counts across."""
    layers = list(dict.fromkeys(row["layers"] for row in rows))
    made = []
    for small in (True, False):
        ms = {(tuple(row["size"]), row["layers"]): row["ms"] for row in rows if row["small"] == small}
        cells = [
            [f"{size[0]}x{size[1]}", *(number(ms[size, count], 2) for count in layers)]
            for size in dict.fromkeys(size for size, _ in ms)
        ]
        title = f"Growth, {name}, from planes to {'224x224' if small else 'the same size'}, ms"
        made.append(table(title, ["frame", *(f"N = {count}" for count in layers)], cells))
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", default=",".join(FilmModel.presets()), help="presets or film files")
    parser.add_argument("--budget", type=float, default=0.4, help="seconds a figure; at least three calls are made")
    parser.add_argument("--quick", action="store_true", help="640x360 and below, one film, two layer counts")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    films, ways, layers, budget_s = options.films.split(","), WAYS, LAYERS, options.budget
    others, size, grown, counts = ALTERNATIVE_FILMS, (1920, 1080), GROWTH_SIZES, GROWTH_LAYERS
    if options.quick:
        films, ways, layers, others, size = films[:1], [((320, 180), SMALL)], (8,), others[:1], (320, 180)
        grown, counts = [(320, 180)], (8,)
    cv2.setNumThreads(1)
    numba.set_num_threads(1)
    # BLAS and OpenMP, torch's among them
    import torch

    torch.set_num_threads(1)
    with threadpool_limits(1):
        ground, kernel = measure_kernel(films, ways, layers, budget_s)
        beside = measure_alternatives(others, ALTERNATIVE_LAYERS, size, budget_s)
        growth = measure_growth(GROWTH_FILM, grown, counts, budget_s)
    tables = [*kernel_tables(ground, kernel), alternative_table(beside, size), goal_table(kernel, beside)]
    tables += growth_tables(growth, GROWTH_FILM)
    rows = {"floors": ground, "kernel": kernel, "alternatives": beside, "growth": growth}
    command = f"python -m benchmarks.degrade --films {options.films} --budget {budget_s:g}"
    finish(NAME, command + " --quick" * options.quick, rows, tables, options.json)


if __name__ == "__main__":
    main()
