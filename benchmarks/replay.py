"""A recapture of 200 clips through ten layers is aligned: boundaries, lost and doubled frames against the truth.

    python -m benchmarks.replay [--clips 200] [--size 160x90] [--recorded 320x180] [--layers 10] [--json RESULT.json]

Rendered clips of 40 to 75 frames, some standing still at both ends and some repeating the one before, are played in a
row and filmed: 168 frames late, the clock off by 0.02 %, 30 frames dropped and 10 doubled, camera noise included. Each
row is another recorder; the first is the one of the promise: every boundary within a frame, every loss reported, no
false one. A loss is right when one of its kind lies within 45 frames: where the picture stands still it cannot be
placed better. CPU seconds are those of this process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dataset_builder.naming import ntu_name
from dataset_builder.replay.alignment import align
from dataset_builder.replay.cuts import Signatures, cut_clips
from dataset_builder.replay.map import MapEntry, ReplayMap
from dataset_builder.replay.signature import signature
from dataset_builder.replay.simulate import Recorder, record, shown_frames
from dataset_builder.scenes.actions import RENDERED_ACTIONS
from dataset_builder.scenes.render import SceneSettings, render_clip
from lps_sim import FilmModel
from lps_sim.media import iter_pictures

RECORDERS = {
    "as promised": {},
    "shutter open for half a frame": {"shutter": 0.5},
    "slower clock": {"drift": -2e-4},
    "bars, a tenth of the height each": {"bars": 0.1},
    "H.264 at crf 20": {"crf": 20},
    "bars, crf 20, exposure wandering by 2 %": {"bars": 0.1, "crf": 20, "flicker": 0.02},
}
DROPPED, DOUBLED = 30, 10
APART = 20  # frames between two losses: a drop and a repeat side by side undo each other
PLACED = 45


def main() -> None:
    """Measure every recorder; status 1 where the first breaks the promise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--size", default="160x90", help="of the played clips")
    parser.add_argument("--recorded", default="320x180", help="of the recording")
    parser.add_argument("--film", default="p3ar-10layer")
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--recorders", type=int, default=len(RECORDERS), help="only the first so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args()
    width, _, height = options.size.partition("x")
    across, _, down = options.recorded.partition("x")
    clips = render(options.clips, int(width), int(height), options.seed)
    played = np.stack([signature(frame) for clip in clips.values() for frame in clip])
    rows = []
    for number, (name, how) in enumerate(list(RECORDERS.items())[: options.recorders]):
        recorder = Recorder(size=(int(across), int(down)), **how)
        row = measure(clips, played, recorder, FilmModel.load(options.film), options.layers, options.seed + number)
        rows.append({"recorder": name, **row})
        print(", ".join(f"{key} {value}" for key, value in rows[-1].items() if key != "how"), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"options": {**vars(options), "json": None}, "rows": rows}, indent=1) + "\n")
    first = rows[0]
    raise SystemExit(bool(first["boundary_worst"] > 1 or first["missed"] or first["false"]))


def render(count: int, width: int, height: int, seed: int) -> dict[str, np.ndarray]:
    """Name -> (T, H, W, 3) uint8, in the order of the names."""
    rng = np.random.default_rng(seed)
    every = [ntu_name(s, c, p, 1, a) for s in (1, 2) for c in (1, 2) for p in (1, 2, 3) for a in RENDERED_ACTIONS]
    clips: dict[str, np.ndarray] = {}
    before = np.empty(0)
    for number, name in enumerate(sorted(rng.permutation(every)[:count])):
        frames = int(rng.integers(40, 76))
        if number % 11 == 5:
            before = clips[name] = before[: max(40, len(before) - 5)]
            continue
        still = frames // 3 if number % 7 == 3 else 0
        moving = np.stack(list(render_clip(name, SceneSettings(width, height, 30, frames - 2 * still, 0)).frames()))
        before = np.concatenate([moving[:1].repeat(still, 0), moving, moving[-1:].repeat(still, 0)])
        clips[name] = before
    return clips


def measure(
    clips: dict[str, np.ndarray], played: np.ndarray, how: Recorder, film: FilmModel, layers: int, seed: int
) -> dict[str, Any]:
    """One recording: what was found against the truth."""
    rng = np.random.default_rng(seed)
    places = APART * rng.choice(np.arange(1, len(played) // APART), DROPPED + DOUBLED, replace=False)
    shown = shown_frames(len(played), how, places[:DROPPED], places[DROPPED:])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw.mp4"
        record(path, (frame for clip in clips.values() for frame in clip), shown, film, layers, how, seed=seed)
        recorded = np.stack([signature(picture) for picture in iter_pictures(path)])
    started = time.process_time()
    found = align(recorded, played)
    seconds = time.process_time() - started
    cuts = list(cut_clips(clip_map(clips), found, 5, Signatures(recorded, played, np.ones(len(played), bool))))
    boundary = np.abs([error for cut in cuts for error in boundary_errors(cut.clip, found.shown, shown.frame)])
    truth, measured = losses(shown.frame), losses(found.shown)
    missed, false = unmatched(truth, measured)
    residual = np.array([cut.residual for cut in cuts])
    return {
        "clips": len(clips),
        "frames": len(recorded),
        "offset": found.offset,
        "clock_drift": round(found.clock_drift, 6),
        "boundary_worst": int(boundary.max()),
        "boundaries_off_by_1": int((boundary == 1).sum()),
        "dropped": sum(max(loss, 0) for _, loss in measured),
        "dropped_truth": sum(max(loss, 0) for _, loss in truth),
        "doubled": sum(max(-loss, 0) for _, loss in measured),
        "doubled_truth": sum(max(-loss, 0) for _, loss in truth),
        "missed": missed,
        "false": false,
        "residual_rms": round(float(np.sqrt(np.nanmean(residual**2))), 3),
        "align_cpu_s": round(seconds, 2),
        "how": asdict(how),
    }


def clip_map(clips: dict[str, np.ndarray]) -> ReplayMap:
    """The map of clips that are played in a row."""

    def lines() -> Iterator[tuple[int, MapEntry]]:
        first = 0
        for number, (name, frames) in enumerate(clips.items(), 1):
            yield number, MapEntry(first, first + len(frames) - 1, f"{name}_rgb.mp4", name)
            first += len(frames)

    return ReplayMap.of(lines())


def boundary_errors(clip: MapEntry, found: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """Frames by which a clip's first and last recorded frame are off."""
    spans = [np.flatnonzero((shown >= clip.first) & (shown <= clip.last)) for shown in (found, truth)]
    return int(spans[0][0] - spans[1][0]), int(spans[0][-1] - spans[1][-1])


def losses(shown: np.ndarray) -> list[tuple[int, int]]:
    """(played frame, frames lost (+1) or shown again (-1)), one at a time."""
    steps = np.diff(shown[shown >= 0]) - 1
    places = np.flatnonzero(steps)
    return [(int(shown[shown >= 0][p]), int(np.sign(steps[p]))) for p in places for _ in range(abs(int(steps[p])))]


def unmatched(truth: list[tuple[int, int]], measured: list[tuple[int, int]]) -> tuple[int, int]:
    """How many true losses have no measured one of their kind near, and how many measured ones are left over."""
    left, missed = list(measured), 0
    for place, kind in truth:
        near = [loss for loss in left if loss[1] == kind and abs(loss[0] - place) <= PLACED]
        if near:
            left.remove(min(near, key=lambda loss: abs(loss[0] - place)))
        else:
            missed += 1
    return missed, len(left)


if __name__ == "__main__":
    main()
