"""What a frame costs on its way through the film, beside a copy, a resize and the obvious alternatives.

    python benchmarks/degrade.py [--json degrade.json] [--film p3ar-10layer] [--quick]

Every row is measured in this run, one thread, CPU time, best of several; the ratios are to rows of the same size in the
same run, so that they mean something on any machine. The alternatives compute one convolution of a linear float frame
on the image plane: no angle space, no noise, no coding.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from scipy import fft

from lps_sim import Camera, Degrader, FilmModel, __version__, apply_film
from lps_sim.transfer import eotf_srgb, inverse_eotf_srgb

SIZES = [
    ((480, 270), (224, 224)),
    ((480, 270), (480, 270)),
    ((1920, 1080), (224, 224)),
    ((1920, 1080), (1920, 1080)),
]
LAYERS = (1, 4, 8, 10)
FOV_DEG = 70.0


def cpu_ms(work: Callable[[], Any], budget_s: float) -> float:
    """Least CPU milliseconds of one call, after one call that is not counted; at least three, within the budget."""
    work()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < budget_s and len(times) < 200):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return 1e3 * min(times)


def frame(width: int, height: int) -> np.ndarray:
    """A frame with edges at every scale: multi-scale binary noise, (height, width, 3) uint8."""
    rng = np.random.default_rng(0)
    total = np.zeros((height, width, 3))
    for block in (1, 4, 16, 64):
        small = rng.integers(0, 2, (-(-height // block), -(-width // block), 3))
        total += np.kron(small, np.ones((block, block, 1)))[:height, :width]
    return (total * 60).astype(np.uint8)


def alternatives(picture: np.ndarray, sigma_px: float) -> dict[str, Callable[[], Any]]:
    """The ways a hurried user would take, on linear light."""
    light = eotf_srgb(picture.astype(np.float32) / 255)
    height, width = light.shape[:2]
    padded = (2 * fft.next_fast_len(height, True), 2 * fft.next_fast_len(width, True))
    transfer = np.exp(
        -2 * (np.pi * sigma_px) ** 2 * (fft.fftfreq(padded[0])[:, None] ** 2 + fft.rfftfreq(padded[1])[None, :] ** 2)
    ).astype(np.float32)[..., None]

    def by_fft() -> np.ndarray:
        spectrum = fft.rfft2(light, padded, axes=(0, 1))
        return fft.irfft2(spectrum * transfer, padded, axes=(0, 1))[:height, :width]

    return {
        "scipy rfft2, padded, float32": by_fft,
        "OpenCV GaussianBlur, float32": lambda: cv2.GaussianBlur(light, (0, 0), sigma_px),
    }


def worst_codes(film: FilmModel, layers: int, camera: Camera, picture: np.ndarray) -> float:
    """Largest difference between the engines in 8-bit codes before rounding."""
    light = eotf_srgb(picture / 255.0)
    pair = (apply_film(light, film, layers, camera, engine=engine) for engine in ("exact", "fast"))
    exact, fast = (255 * inverse_eotf_srgb(np.asarray(y, np.float64)) for y in pair)
    return float(np.abs(exact - fast).max())


def measure(film: FilmModel, size: tuple[int, int], output: tuple[int, int], budget_s: float) -> list[dict[str, Any]]:
    """The rows of one input and output size."""
    picture = frame(*size)
    camera = Camera.from_field_of_view(*size, FOV_DEG)
    label = f"{size[0]}x{size[1]} -> {output[0]}x{output[1]}"
    rows: list[dict[str, Any]] = []

    def add(name: str, work: Callable[[], Any], **facts: Any) -> None:
        rows.append({"size": label, "what": name, "ms": cpu_ms(work, budget_s), **facts})
        print(f"{label:>24}  {name:<38} {rows[-1]['ms']:8.2f} ms", flush=True)

    def degrade(layers: int) -> Callable[[], Any]:
        degrader = Degrader(film if layers else None, layers, camera, output)
        return lambda: degrader(picture[None])

    add("frame copy", picture.copy)
    add("no film: resize, noise, code", degrade(0))
    for layers in LAYERS:
        small = size == output and size[0] < 1000
        error = worst_codes(film, layers, camera, picture) if small else None
        add(f"film, {layers} layers", degrade(layers), layers=layers, worst_codes=error)
    if size != output:
        add("OpenCV area resize, coded", lambda: cv2.resize(picture, output, interpolation=cv2.INTER_AREA))
        return rows
    sigma_px = 8**0.5 * float(film.sigma_rad.max()) * camera.f_px or 10.0
    for name, work in alternatives(picture, sigma_px).items():
        add(name, work)
    if size[0] < 1000:
        light = eotf_srgb(picture / 255.0)
        add("exact engine, 8 layers", lambda: apply_film(light, film, 8, camera))
    return rows


def with_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row with its cost in units of the same job without film."""
    for row in rows:
        plain = next(r["ms"] for r in rows if r["size"] == row["size"] and r["what"].startswith("no film"))
        row["times_no_film"] = row["ms"] / plain
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", default="p3ar-10layer", help="preset or film file")
    parser.add_argument("--json", help="write the rows here")
    parser.add_argument("--quick", action="store_true", help="480x270 only")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    film = FilmModel.load(arguments.film)
    sizes = SIZES[:2] if arguments.quick else SIZES
    budget_s = 0.2 if arguments.quick else 1.0
    rows = with_ratios([row for size, output in sizes for row in measure(film, size, output, budget_s)])
    print(f"\n{'size':>24}  {'what':<38} {'ms':>9} {'x no film':>9}  worst codes")
    for row in rows:
        error = f"{row['worst_codes']:.3f}" if row.get("worst_codes") is not None else ""
        print(f"{row['size']:>24}  {row['what']:<38} {row['ms']:9.2f} {row['times_no_film']:9.1f}  {error}")
    if arguments.json:
        facts = {
            "film": film.name,
            "film_checksum": film.checksum(),
            "version": __version__,
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "rows": rows,
        }
        with open(arguments.json, "w", encoding="utf-8") as stream:
            json.dump(facts, stream, indent=1)


if __name__ == "__main__":
    main()
