"""Calibration sets of simulated films with known truth, and the renderer's check of itself.

python -m benchmarks.film_truth OUT --film bulk-haze [--layers 1,2,4,8,10] [--photons 4e7] [--seed 0]
python -m benchmarks.film_truth --check [--truth SET/truth.npz] [--photons 4e6]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .films import FILMS
from .render import LAYERS, PHOTONS, make_set


def main() -> int:
    """Make a set, or check; the status is 1 where a check fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.film_truth", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", nargs="?", type=Path, help="folder of the set")
    parser.add_argument("--film", choices=FILMS, default="example")
    parser.add_argument("--layers", default=",".join(map(str, LAYERS)), help="film layer counts")
    parser.add_argument("--photons", type=float, default=PHOTONS, help="followed for each layer count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--oblique", choices=("full", "extinction"), default="full", help="of the unscattered light")
    parser.add_argument("--check", action="store_true", help="check the renderer in the place of making a set")
    parser.add_argument("--truth", type=Path, help="with --check: the truth.npz of a set to compare with")
    arguments = parser.parse_args()
    if arguments.check:
        from .check import check

        return 0 if check(int(arguments.photons), arguments.seed, arguments.truth) else 1
    if arguments.out is None:
        parser.error("name the folder OUT, or ask for --check")
    layers = [int(count) for count in arguments.layers.split(",")]
    film = FILMS[arguments.film]
    photons, oblique = int(arguments.photons), arguments.oblique
    print(make_set(film, arguments.out, layers, arguments.seed, photons=photons, oblique=oblique, report=print))
    return 0


if __name__ == "__main__":
    sys.exit(main())
