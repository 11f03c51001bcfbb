"""The picture of docs/fit.md: a fitted film's MTF beside the truth and a model-free estimate, and what they differ by.

    python -m benchmarks.fit_figure SET FILM.h5 OUT.png [--layers 1,2,4]

SET has ``shots.yaml`` and ``truth.npz``; FILM.h5 was fitted to its shots at ``--layers``, as by
``python -m benchmarks.fit_accuracy SET --save FOLDER``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lps_sim.calibration.cross_spectrum import CrossSpectrum
from lps_sim.calibration.observations import observe
from lps_sim.calibration.shots import ShotSet
from lps_sim.film_file import load_film
from lps_sim.report import PALETTE, new_figure

from .fit_accuracy import GREEN

# Below, light beyond the window biases the model-free estimate (lps_sim.calibration.cross_spectrum).
LEAST_FREE_CPR = 3.0
SIZE_IN = (11.0, 4.0)


def main() -> None:
    """Draw and write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("film", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", default="1,2,4", help="that the film was fitted on")
    arguments = parser.parse_args()
    seen_counts = {int(count) for count in arguments.layers.split(",")}
    film, shot_set = load_film(arguments.film), ShotSet.load(arguments.set / "shots.yaml")
    with np.load(arguments.set / "truth.npz") as stored:
        known = {key: stored[key] for key in stored.files if key.startswith(("q_", "A_", "EE_"))}
    q = known["q_cyc_per_rad"]
    free = CrossSpectrum(*observe(shot_set, "fit"), "equal_area")
    figure, axes = new_figure(1, 2, SIZE_IN)
    curves, errors = axes[0]
    for count, color in zip(shot_set.layer_counts(), PALETTE):
        whole = known[f"EE_N{count}"][-1]
        true = known[f"A_N{count}"] / whole
        mtf = film.mtf(q, count)[:, GREEN]
        mtf = mtf * (mtf @ true) / (mtf @ mtf)
        point = free.estimate(count, [whole] * (1 if free.estimate(count).mtf.shape[1] == 1 else 3))
        channel = min(GREEN, point.mtf.shape[1] - 1)
        shown = point.usable[:, channel] & (point.q_cpr >= LEAST_FREE_CPR)
        at, value = point.q_cpr[shown], point.mtf[shown, channel]
        label = f"N = {count}, {'fitted' if count in seen_counts else 'predicted'}"
        curves.plot(q, true, color=color, alpha=0.35, linewidth=4)
        curves.plot(q, mtf, color=color, label=label)
        curves.plot(at, value, "o", color=color, markersize=3.5, markerfacecolor="white")
        errors.plot(q, mtf - true, color=color)
        errors.errorbar(
            at,
            value - np.interp(at, q, true),
            1.96 * point.sd[shown, channel],
            fmt="o",
            color=color,
            markersize=3.5,
            markerfacecolor="white",
            linewidth=0.8,
        )
    curves.plot([], [], color="0.4", alpha=0.35, linewidth=4, label="truth")
    curves.plot([], [], "o", color="0.4", markersize=3.5, markerfacecolor="white", label="model-free")
    curves.set(xscale="log", xlim=(1, 100), ylim=(0, 1), title="MTF")
    errors.set(xscale="log", xlim=(1, 100), ylim=(-0.01, 0.01), title="difference from the truth")
    for axis in (curves, errors):
        axis.set_xlabel("q, cycles/rad")
    curves.legend(frameon=False, fontsize="small")
    figure.savefig(arguments.out, dpi=110, facecolor="white", metadata={"Software": None})


if __name__ == "__main__":
    main()
