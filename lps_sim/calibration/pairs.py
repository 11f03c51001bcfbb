"""The film from paired material, without a calibration: a clean video, and the same video seen through the film.

Time first (:mod:`.pair_timing`), then where the camera sees the clean picture (:mod:`.pair_geometry`), coarse to fine
behind a Gaussian film, then homography, film, veil and the gain of every frame at once (:mod:`.pair_solver`). What such
material cannot say is part of the result (:mod:`.pair_result`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..apply import DEFAULT_FOV_DEG
from ..camera import Camera
from ..errors import UnknownNameError
from ..film import check_layers
from ..resampling import area_matrix
from .families import Family
from .pair_checks import HOPELESS_CORRELATION
from .pair_geometry import BORDERS, first_guesses, overhang, similarity_steps
from .pair_material import Material
from .pair_model import Shot, View
from .pair_result import PairFit, conclude
from .pair_solver import Solution, first_gains, solve
from .pair_timing import FEWEST_FRAMES, TimeMatch, match_times

Floats = NDArray[np.float64]

FAMILIES = ("gaussian+moffat", "ballistic+moffat")
TIMINGS = ("auto", "match", "aligned")
_STORED = 640  # px across: the largest picture that is kept of a chosen frame
_COARSE, _MIDDLE, _FINE = 80, 160, 320  # px across, of the camera's frame
_FIRST_BLUR_DEG = 2.0  # standard deviation of the Gaussian that stands for the film in the search for the picture
_SEARCH_FRAMES = 8
# Pixels of a frame that take part, by level: neighbours behind a film say the same.
_COARSE_PIXELS, _MIDDLE_PIXELS, _FINE_PIXELS = 1500, 4000, 6000
_SEARCH_BEYOND = 0.08  # frame widths around the view in which the search may find the picture
_ROUGH_PITCH = 1.2  # of the angle grid in the search for the picture, which need not be exact
_TRIAL = 8  # steps after which families are compared; the better one goes on
_STILL = 0.6  # share of frames, the calmest, that may be chosen: a frame more or less matters least there


@dataclass(frozen=True)
class _Stored:
    """Chosen frames of both materials: (K, rows, columns) linear light, and the share of clipped filmed pixels."""

    clean: NDArray[np.float32]
    filmed: NDArray[np.float32]
    clipped: NDArray[np.float32]


def fit_pairs(
    clean: str | os.PathLike[str],
    filmed: str | os.PathLike[str],
    layers: int,
    camera: Camera | None = None,
    *,
    family: str = "auto",
    border: str = "dark",
    timing: str = "auto",
    frames: int = 16,
    name: str = "film from a pair",
    seed: int = 0,
    created: str = "",
    on_step: Callable[[str], None] | None = None,
) -> PairFit:
    """Fit a film to clean material and the same material filmed through ``layers`` sheets of it.

    Parameters
    ----------
    clean, filmed : video or folder of images each; any sizes and lengths. Clean codes are taken as sRGB
    layers : sheets of film before the camera, 1..64; they are not found by the fit
    camera : that filmed; resized to the filmed material. Default: 70 degrees across, sRGB. All angles scale with it
    family : "gaussian+moffat", "ballistic+moffat", or "auto": the better by BIC
    border : around the clean picture: "dark" (a screen in a dark room), "mean" (as bright as its mean) or "reflect"
        (the scene goes on: for material that was not filmed from a screen)
    timing : "match" in time, "aligned": frame k shows frame k; "auto": aligned for two folders of as many images
    frames : that take part in the fit, 4..64
    name, created : of the film, for its file
    seed : of the choice of pixels and of resampling
    on_step : called with one line at the start of every step

    Raises
    ------
    ValueError
        an argument out of range, material that cannot be read, nothing that moves, no match in time
    """
    check_layers(layers)
    if family not in (*FAMILIES, "auto"):
        raise UnknownNameError("family", family, [*FAMILIES, "auto"])
    if border not in BORDERS:
        raise UnknownNameError("border", border, BORDERS)
    if timing not in TIMINGS:
        raise UnknownNameError("timing", timing, TIMINGS)
    if not 4 <= frames <= 64:
        raise ValueError(f"frames must be 4..64, got {frames}")
    say = on_step or (lambda message: None)
    rng = np.random.default_rng(seed)
    source, target = Material.open(clean), Material.open(filmed)
    assumed = camera is None
    seen = camera or Camera.from_field_of_view(target.width, target.height, DEFAULT_FOV_DEG)
    seen = seen.resized(target.width, target.height)

    say("reading the clean material")
    clean_means = source.block_means("srgb")
    say("reading the filmed material")
    filmed_means = target.block_means(seen.eotf)
    say("matching in time")
    time = _time(source, target, clean_means, filmed_means, timing, seed)
    chosen = _choose(clean_means, time, frames)
    say(f"picking {chosen.size} frames")
    stored = _store(source, target, time.clean_index[chosen], chosen, seen.eotf)

    aspect = source.width / source.height
    say("looking for the picture in the view")
    found = _search(seen, border, layers, stored, aspect, rng)
    names = FAMILIES if family == "auto" else (family,)
    best = _middle(seen, border, layers, stored, names, found, rng, say)
    say(f"fitting {best[0].state.family.name}, {_FINE} px across")
    view = _view(seen, _FINE, border, layers, best[0])
    shots = _shots(view, stored, best[0].state.entries, _FINE_PIXELS, rng)
    final = solve(view, shots, best[0].state, iterations=12)
    say("estimating what is known how well")
    whole = _shots(view, stored, final.state.entries, view.size[0] * view.size[1], rng)
    return conclude(
        view=view,
        shots=shots,
        whole=whole,
        solution=final,
        rivals=best,
        time=time,
        chosen=chosen,
        camera=seen,
        camera_assumed=assumed,
        clipped=float((stored.clipped > 0).mean()),
        materials=(source, target),
        name=name,
        created=created,
    )


def _time(
    source: Material,
    target: Material,
    clean: NDArray[np.float32],
    filmed: NDArray[np.float32],
    timing: str,
    seed: int,
) -> TimeMatch:
    stills = bool(source.images and target.images)
    if timing == "aligned" or (timing == "auto" and stills and len(clean) == len(filmed)):
        index = np.arange(len(filmed), dtype=np.intp)
        index[len(clean) :] = -1
        return TimeMatch(0.0, 1.0, 0.0, (0.0, 0.0), (0.0, 0.0), 1.0, 0.0, index)
    speed = source.fps / target.fps if source.fps and target.fps else 1.0
    match = match_times(clean, filmed, speed, seed)
    if match.correlation < HOPELESS_CORRELATION:
        raise ValueError(
            f"{target.path.name}: its changes in time correlate with those of {source.path.name} by no more than "
            f"{match.correlation:.2f} at any offset (at least {HOPELESS_CORRELATION} is needed): other material, or "
            "hardly any motion in it; use timing 'aligned' if frame k is known to show frame k"
        )
    return match


def _choose(clean: NDArray[np.float32], time: TimeMatch, frames: int) -> NDArray[np.intp]:
    """Recorded frames that differ most from each other, among those where little moves; in order."""
    matched = time.matched
    if matched.size >= 3 * FEWEST_FRAMES:
        matched = matched[3:-3]  # the ends, where a frame's slip is likeliest
    index = time.clean_index[matched]
    flat = clean.reshape(len(clean), -1)
    if matched.size > 2 * frames:
        before, after = flat[np.maximum(index - 1, 0)], flat[np.minimum(index + 1, len(flat) - 1)]
        motion = np.abs(after - before).mean(axis=1)
        calm = motion <= np.quantile(motion, _STILL)
        matched, index = matched[calm], index[calm]
    pictures = flat[index]
    distance = np.square(pictures - pictures.mean(axis=0)).sum(axis=1)
    picks = [int(distance.argmax())]
    distance = np.square(pictures - pictures[picks[0]]).sum(axis=1)
    while len(picks) < min(frames, matched.size):
        picks.append(int(distance.argmax()))
        distance = np.minimum(distance, np.square(pictures - pictures[picks[-1]]).sum(axis=1))
    return matched[np.array(sorted(set(picks)))]


def _store(
    source: Material, target: Material, clean_index: NDArray[np.intp], chosen: NDArray[np.intp], eotf: str
) -> _Stored:
    def size(material: Material) -> tuple[int, int]:
        width = min(material.width, _STORED)
        return max(2, round(material.height * width / material.width)), width

    clean, _ = source.pick(clean_index, size(source), "srgb")
    filmed, clipped = target.pick(chosen, size(target), eotf)
    return _Stored(clean, filmed, clipped)


def _at_width(camera: Camera, width: int) -> Camera:
    width = min(camera.width, width)
    return camera.resized(width, max(2, round(camera.height * width / camera.width)))


def _view(camera: Camera, width: int, border: str, layers: int, found: Solution) -> View:
    at_width = _at_width(camera, width)
    return View(at_width, border, layers, overhang(found.state.entries, (at_width.height, at_width.width)))


def _shots(view: View, stored: _Stored, entries: Floats, pixels: int, rng: np.random.Generator) -> list[Shot]:
    """The stored frames at the view's size; the clean ones as finely as the camera sees them."""
    height, width = stored.clean.shape[1:]
    # Across the frame the picture has the slope M00 at its centre: 2 / M00 of the frame's half width is the picture.
    across = min(width, max(16, round(view.size[1] / max(np.hypot(entries[0], entries[1]), 0.05))))
    clean = _shrunk(stored.clean, (max(2, round(height * across / width)), across))
    filmed, clipped = _shrunk(stored.filmed, view.size), _shrunk(stored.clipped, view.size)
    return [view.shot(*frames, pixels, rng) for frames in zip(clean, filmed, clipped)]


def _shrunk(stack: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    rows, columns = (area_matrix(have, 0, have, want).astype(np.float32) for have, want in zip(stack.shape[1:], size))
    return rows @ stack @ columns.T


def _search(
    camera: Camera, border: str, layers: int, stored: _Stored, aspect: float, rng: np.random.Generator
) -> Solution:
    """The homography behind a Gaussian film, from pictures of several sizes; the best of them."""
    view = View(_at_width(camera, _COARSE), border, layers, _SEARCH_BEYOND, _ROUGH_PITCH)
    few = np.linspace(0, len(stored.clean) - 1, min(_SEARCH_FRAMES, len(stored.clean))).astype(int)
    sample = _Stored(stored.clean[few], stored.filmed[few], stored.clipped[few])
    family = Family.of("gaussian")
    logs = family.encode({"sigma": _FIRST_BLUR_DEG / np.sqrt(layers)})
    steps, ends = similarity_steps(aspect), []
    for guess in first_guesses(aspect, camera.width / camera.height):
        shots = _shots(view, sample, guess, _COARSE_PIXELS, rng)
        ends.append(solve(view, shots, first_gains(view, shots, guess, family, logs), steps, iterations=8))
    ends.sort(key=lambda solution: solution.bic)
    finished = []
    for end in ends[:2]:
        shots = _shots(view, sample, end.state.entries, _COARSE_PIXELS, rng)
        finished.append(solve(view, shots, end.state, iterations=12))
    return min(finished, key=lambda solution: solution.bic)


def _middle(
    camera: Camera,
    border: str,
    layers: int,
    stored: _Stored,
    families: Sequence[str],
    found: Solution,
    rng: np.random.Generator,
    say: Callable[[str], None],
) -> list[Solution]:
    """Every family on the same pixels, best first; the best one searched to its end."""
    view = _view(camera, _MIDDLE, border, layers, found)
    shots = _shots(view, stored, found.state.entries, _MIDDLE_PIXELS, rng)
    trials = []
    for name in families:
        say(f"fitting {name}, {_MIDDLE} px across")
        family = Family.of(name)
        logs = family.starts[0].copy()
        if "sigma" in family.names:
            low, high = family.bounds
            at = family.names.index("sigma")
            logs[at] = np.clip(found.state.logs[0], low[at] + 0.1, high[at] - 0.1)
        start = first_gains(view, shots, found.state.entries, family, logs)
        trials.append(solve(view, shots, start, iterations=_TRIAL))
    trials.sort(key=lambda solution: solution.bic)
    say(f"going on with {trials[0].state.family.name}")
    return [solve(view, shots, trials[0].state, iterations=30), *trials[1:]]
