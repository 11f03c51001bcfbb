"""Do the quoted intervals hold the truth? Simulated calibration sets of a known film, fitted again and again.

    python -m benchmarks.fit_coverage [--film rough] [--law radiative] [--repeats 30] [--json OUT]

Every repeat has new noise, new fixed pattern and new noise targets; three channels make three fits. The film is one of
the presets' families by either layer law, with the transmittance that the transfer equation gives it. Simulated by the
package's own model: what a wrong model does is not seen here (see benchmarks/fit_accuracy.py).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from capture_rig.targets import target
from lps_sim import Camera, FilmModel
from lps_sim.calibration.fit import fit_film
from lps_sim.calibration.shots import ShotSet
from lps_sim.calibration.simulate import Scene, simulate_shots
from lps_sim.error_bars import parameter_values
from lps_sim.stack import stack

KINDS = ("disc", "edge", "hole", "noise", "flat")
LAYERS = (1, 2, 4)


def truth(name: str, law: str) -> FilmModel:
    """A preset by a layer law in sphere geometry; by the radiative one with its stack's own transmittance."""
    film = FilmModel.load(name)
    film = replace(film, layer_law=law, geometry=replace(film.geometry, projection="sphere", oblique_ballistic=False))
    if law == "radiative":
        solved = stack(film.bulk_events(1), film.geometry.refractive_index, 0.004)
        film = replace(film, transmittance_table={n: np.full(3, solved.light(n).transmittance) for n in range(1, 17)})
    return film


def one_set(film: FilmModel, seed: int, folder: Path, size: tuple[int, int]) -> ShotSet:
    """A simulated calibration set of one seed."""
    camera = Camera.from_field_of_view(*size, 70.0, cos_power=4.0, prnu_seed=seed)
    scenes = []
    for kind in KINDS:
        inner = round(0.9 * size[0]), round(0.9 * size[1])
        options = {"seed": seed, "smallest_px": 3} if kind == "noise" else {}
        light = np.zeros(size[::-1])
        top, left = (size[1] - inner[1]) // 2, (size[0] - inner[0]) // 2
        picture = np.maximum(target(kind, *inner, **options), 8e-4)
        light[top : top + inner[1], left : left + inner[0]] = picture
        scenes.append(Scene(kind, kind, light, bracket=(1.0,) if kind == "flat" else (1.0, 8.0)))
    return ShotSet.load(simulate_shots(film, scenes, camera, folder, LAYERS, seed))


def main() -> None:
    """Run the repeats and print, for every parameter, how often its interval held the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", default="rough", help="a preset")
    parser.add_argument("--law", default="radiative", choices=("radiative", "poisson"))
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--size", default="320x180")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    size = tuple(map(int, options.size.split("x")))
    film = truth(options.film, options.law)
    held: dict[str, list[bool]] = {}
    pulls: dict[str, list[float]] = {}
    started = time.perf_counter()
    for seed in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            shots = one_set(film, seed, Path(folder), (size[0], size[1]))
            result = fit_film(shots, family=film.family, law=options.law, geometry="sphere")
        fitted = parameter_values(result.film)
        for name, (low, high) in result.intervals.items():
            stem = name.partition("_")[0]
            if stem in ("c1", "c2"):
                continue
            known = parameter_values(replace(film, parameter_names=(stem,)))[stem]
            held.setdefault(stem, []).append(low <= known <= high)
            pulls.setdefault(stem, []).append(float(np.log(fitted[name] / known) / (np.log(high / low) / 2 / 1.96)))
        print(f"{seed + 1}/{options.repeats}  {time.perf_counter() - started:.0f} s", end="\r", flush=True)
    print()
    rows = {
        name: {
            "coverage": float(np.mean(values)),
            "intervals": len(values),
            "mean_pull": float(np.mean(pulls[name])),
            "sd_pull": float(np.std(pulls[name])),
        }
        for name, values in held.items()
    }
    print(f"{options.film}, {options.law} law, layers {LAYERS}, {size[0]}x{size[1]}, {options.repeats} sets")
    for name, row in rows.items():
        print(
            f"{name:8s} {100 * row['coverage']:5.1f} % of {row['intervals']} intervals hold the truth; "
            f"pull {row['mean_pull']:+.2f} +- {row['sd_pull']:.2f}"
        )
    whole = float(np.mean([value for values in held.values() for value in values]))
    print(f"all      {100 * whole:5.1f} %")
    if options.json is not None:
        options.json.write_text(json.dumps({"all": whole, "parameters": rows}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
