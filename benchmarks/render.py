"""Speed of the rendered action clips on one core: rendering alone, with H.264 encoding, and encoding alone.

    python benchmarks/render.py [--size 480x270] [--frames 75] [--json RESULT.json]

CPU time of this process is counted (rendering and encoding are single-threaded), the best of three runs each, so that
other work on the machine matters little. Wanted: at least 60 frames a second at 480x270.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from dataset_builder.scenes.render import SceneSettings, render_clip
from lps_sim.media import EncoderSettings, write_video

CLIPS = {"one performer": "S001C001P003R001A022", "two performers": "S001C002P004R001A055"}
REPEATS = 3
ENCODER = EncoderSettings("libx264", crf=16, preset="veryfast", pixel_format="yuv420p", tune="", b_frames=3, aq=True)


def main() -> None:
    """Measure both clips and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="480x270", help="WIDTHxHEIGHT in pixels, even")
    parser.add_argument("--frames", type=int, default=75)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    arguments = parser.parse_args()
    width, _, height = arguments.size.partition("x")
    settings = SceneSettings(int(width), int(height), frames=arguments.frames)
    results = {label: measure(name, settings) for label, name in CLIPS.items()}
    for label, figures in results.items():
        print(f"{label}, {arguments.size}, {settings.frames} frames")
        for key, value in figures.items():
            print(f"  {key:28s} {value:8.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(name: str, settings: SceneSettings) -> dict[str, float]:
    """Frames a second of CPU time for a clip, and the share of the encoder."""
    clip = render_clip(name, settings)
    kept = np.stack(list(clip.frames()))
    start = time.process_time()
    again = render_clip(name, settings)
    truth_seconds = time.process_time()
    again.truth()
    ready = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        render = best(lambda: consume(clip.frames()))
        both = best(lambda: write_video(path, clip.frames(), settings.fps, ENCODER))
        encode = best(lambda: write_video(path, kept, settings.fps, ENCODER))
    return {
        "render frames/s": settings.frames / render,
        "render + H.264 frames/s": settings.frames / both,
        "H.264 alone frames/s": settings.frames / encode,
        "render + H.264 / H.264": both / encode,
        "motion and staging ms/clip": 1e3 * (truth_seconds - start),
        "ground truth ms/clip": 1e3 * (ready - truth_seconds),
    }


def best(work: Callable[[], object]) -> float:
    """Least CPU seconds of several runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def consume(frames: Iterable[np.ndarray]) -> None:
    """Render every frame and drop it."""
    for _ in frames:
        pass


if __name__ == "__main__":
    main()
