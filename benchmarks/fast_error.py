"""How far the fast engine is from the exact one: the largest error in 8-bit codes before rounding, noise off.

    python -m benchmarks.fast_error [--films rough,...] [--layers 1,2,3,4,8,10] [--sizes 1920x1080,640x360] [--json OUT]

Every film and layer count, on pieces of real frames at their own sharpness (a mosaic), a checkerboard, single bright
pixels (one of them in a corner, one at an edge) and binary noise of single pixels; the frame's own size and smaller
outputs, whose truth is the area mean of the exact engine's light. 0.5 is promised.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from lps_sim import Camera, Degrader, FilmModel, apply_film
from lps_sim.media import read_frames, sample_clip
from lps_sim.resampling import area_matrix
from lps_sim.transfer import eotf_srgb, inverse_eotf_srgb

FOV_DEG = 70.0
OUTPUTS = {(1920, 1080): [(1920, 1080), (960, 540), (224, 224)], (640, 360): [(640, 360), (224, 224)]}
SQUARE_PX = 8
PROMISED = 0.5


def scenes(width: int, height: int) -> dict[str, np.ndarray]:
    """Name -> (H, W, 3) uint8."""
    tiles = read_frames(sample_clip(), range(0, 240, 20))
    rows, columns = -(-height // tiles.shape[1]), -(-width // tiles.shape[2])
    mosaic = tiles[: rows * columns].reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    mosaic = mosaic.reshape(rows * tiles.shape[1], columns * tiles.shape[2], 3)[:height, :width]
    squares = (np.arange(height)[:, None] // SQUARE_PX + np.arange(width)[None, :] // SQUARE_PX) % 2
    pixel = np.zeros((height, width, 3), np.uint8)
    for y, x in [(height // 3, width // 4), (0, 0), (height - 1, width // 3)]:
        pixel[y, x] = 255
    noise = 255 * np.random.default_rng(0).integers(0, 2, (height, width), dtype=np.uint8)
    grey = {"checkerboard": (255 * squares).astype(np.uint8), "noise": noise}
    return {
        "real frames": np.ascontiguousarray(mosaic),
        "single pixels": pixel,
        **{name: np.repeat(picture[..., None], 3, axis=2) for name, picture in grey.items()},
    }


def codes(light: np.ndarray) -> np.ndarray:
    """8-bit codes before rounding."""
    return 255 * inverse_eotf_srgb(np.asarray(light, float))


def measure(film: FilmModel, layers: int, size: tuple[int, int]) -> list[dict[str, object]]:
    """One row a scene and output size."""
    camera = Camera.from_field_of_view(*size, FOV_DEG)
    rows: list[dict[str, object]] = []
    for name, picture in scenes(*size).items():
        exact = apply_film(eotf_srgb(picture / 255.0), film, layers, camera)
        for output in OUTPUTS.get(size, [size]):
            across, down = (area_matrix(have, 0, have, want) for have, want in zip(size, output))
            truth = np.einsum("hy,yxc->hxc", down, exact, optimize=True)
            truth = np.einsum("wx,hxc->hwc", across, truth, optimize=True)
            found = Degrader(film, layers, camera, output, noise=False).signal(picture)
            worst = float(np.abs(codes(found) - codes(truth)).max())
            rows.append(
                {"film": film.name, "layers": layers, "size": size, "output": output, "scene": name, "codes": worst}
            )
    return rows


def main() -> None:
    """Measure and print; status 1 where the promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", default=",".join(FilmModel.presets()), help="presets or film files")
    parser.add_argument("--layers", default="1,2,3,4,8,10")
    parser.add_argument("--sizes", default="1920x1080,640x360")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    for size in (tuple(map(int, text.split("x"))) for text in options.sizes.split(",")):
        for name in options.films.split(","):
            for layers in map(int, options.layers.split(",")):
                found = measure(FilmModel.load(name), layers, (size[0], size[1]))
                rows += found
                worst = {output: max(r["codes"] for r in found if r["output"] == output) for output in OUTPUTS[size]}  # type: ignore[index, type-var]
                listed = "  ".join(f"-> {w}x{h}: {value:.3f}" for (w, h), value in worst.items())
                print(f"{size[0]}x{size[1]} {name:14s} N = {layers:2d}  {listed}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    largest = max(float(row["codes"]) for row in rows)  # type: ignore[arg-type]
    print(f"largest error {largest:.3f} codes, promised {PROMISED}")
    raise SystemExit(largest > PROMISED)


if __name__ == "__main__":
    main()
