"""A whole data set of rendered clips: names, worker processes, resume, ground truth beside each clip.

Every clip depends on its name, the seed and the settings alone, so that any number of workers writes the same bytes,
and a run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from lps_sim import __version__
from lps_sim.config import StrictModel
from lps_sim.files import clear_unfinished, write_atomic
from lps_sim.media import EncoderSettings, write_video
from lps_sim.seeding import named_seed

from ..naming import ntu_name
from ..runners.pool import WorkerDied, run_tasks
from .actions import RENDERED_ACTIONS
from .people import PERFORMERS
from .render import RenderedClip, SceneSettings

CONFIG_FILE = "synthesize.json"
SETUPS = 32
# Sources for a simulation: fast to write, and finer than what the film lets through.
_ENCODERS = {
    "h264": (
        ".mp4",
        EncoderSettings("libx264", crf=16, preset="veryfast", pixel_format="yuv420p", tune="", b_frames=3, aq=True),
    ),
    "mpeg4": (".avi", EncoderSettings("mpeg4", crf=3, pixel_format="yuv420p")),
}
# Settings that change neither which clips there are nor what is in them.
_FREE = ("destination", "workers")


class SynthesizeConfig(StrictModel):
    """What to render and where.

    Parameters
    ----------
    destination
        Folder for the clips; it may hold an unfinished run of the same configuration.
    performers, setups
        A count (numbers 1..N) or the numbers themselves; performers 1..106, setups 1..32.
    actions
        NTU action numbers out of RENDERED_ACTIONS; all of them by default.
    cameras
        1..3: C001 (0 degrees), C002 (+45), C003 (-45).
    replications
        1 or 2.
    limit
        Render only this many of all combinations, chosen evenly at random by the seed.
    size
        Width and height in pixels, at most 1920x1080.
    fps, seconds
        Rate and length of each clip.
    codec
        "h264" (.mp4) or "mpeg4" (.avi, as NTU RGB+D).
    workers
        Processes; 1 renders in this one.
    seed
        Seed of the cast, the rooms and the motion.
    """

    destination: Path
    performers: int | tuple[int, ...] = 30
    setups: int | tuple[int, ...] = 2
    actions: tuple[int, ...] = tuple(RENDERED_ACTIONS)
    cameras: int = Field(3, ge=1, le=3)
    replications: int = Field(2, ge=1, le=2)
    limit: int | None = Field(None, ge=1)
    size: tuple[int, int] = (480, 270)
    fps: float = Field(30.0, gt=0, le=240)
    seconds: float = Field(2.5, gt=0, le=60)
    codec: Literal["h264", "mpeg4"] = "h264"
    workers: int = Field(1, ge=1)
    seed: int = 0

    @field_validator("performers", "setups")
    @classmethod
    def _numbers(cls, value: int | tuple[int, ...], info: Any) -> int | tuple[int, ...]:
        top = PERFORMERS if info.field_name == "performers" else SETUPS
        numbers = (value,) if isinstance(value, int) else value
        if not numbers or not all(1 <= number <= top for number in numbers):
            raise ValueError(f"{info.field_name} must be 1..{top}")
        return value if isinstance(value, int) else tuple(sorted(set(value)))

    @field_validator("actions")
    @classmethod
    def _rendered(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        unknown = sorted(set(value) - set(RENDERED_ACTIONS))
        if unknown or not value:
            raise ValueError(f"actions must be among {', '.join(map(str, RENDERED_ACTIONS))}")
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _fits(self) -> SynthesizeConfig:
        width, height = self.size
        if not (16 <= width <= 1920 and 16 <= height <= 1080):
            raise ValueError(f"size must be 16x16..1920x1080, got {width}x{height}")
        if self.codec == "mpeg4" and (width % 2 or height % 2):
            raise ValueError(f"size must be even for mpeg4, got {width}x{height}")
        return self

    @property
    def frames(self) -> int:
        """Frames of each clip."""
        return max(2, math.floor(self.seconds * self.fps + 0.5))

    def scene(self) -> SceneSettings:
        """The settings that every clip shares."""
        return SceneSettings(self.size[0], self.size[1], self.fps, self.frames, self.seed)

    def names(self) -> list[str]:
        """NTU names of all clips, in the order in which they are rendered (views of one room together)."""
        performers = _expand(self.performers)
        combinations = itertools.product(
            _expand(self.setups), range(1, self.cameras + 1), performers, range(1, self.replications + 1), self.actions
        )
        names = [ntu_name(*numbers) for numbers in combinations]
        if self.limit is not None and self.limit < len(names):
            chosen = sorted(names, key=lambda name: named_seed(self.seed, "limit", name))[: self.limit]
            names = sorted(chosen)
        return names


class SynthesizeSummary(StrictModel):
    """What a run did: counts of clips, the failures by name, wall-clock seconds."""

    destination: Path
    planned: int
    rendered: int
    skipped: int
    failed: dict[str, str]
    frames: int
    seconds: float


def _expand(numbers: int | tuple[int, ...]) -> Iterable[int]:
    return range(1, numbers + 1) if isinstance(numbers, int) else numbers


def clip_paths(config: SynthesizeConfig, name: str) -> tuple[Path, Path]:
    """The video file and the ground-truth file of a clip."""
    return config.destination / f"{name}_rgb{_ENCODERS[config.codec][0]}", config.destination / f"{name}_truth.npz"


def render_to_disk(config: SynthesizeConfig, name: str) -> int:
    """Render one clip and write its ground truth and then its video, each whole or not at all; returns its frames."""
    video, truth_file = clip_paths(config, name)
    clip = RenderedClip(name, config.scene())
    truth = clip.truth()
    attributes = json.dumps(truth.pop("attributes"), sort_keys=True)
    stream = io.BytesIO()
    np.savez_compressed(stream, attributes=np.array(attributes), **truth)
    write_atomic(truth_file, stream.getvalue())
    return write_video(video, clip.frames(), config.fps, _encoder(config))


def _encoder(config: SynthesizeConfig) -> EncoderSettings:
    """The encoder of this codec; an odd size leaves only full colour resolution."""
    settings = _ENCODERS[config.codec][1]
    odd = config.size[0] % 2 or config.size[1] % 2
    return replace(settings, pixel_format="yuv444p") if odd else settings


def _record(config: SynthesizeConfig) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(config.model_dump_json(exclude=set(_FREE)))
    return {"version": __version__, **settings, "encoder": _encoder(config).to_dict()}


def _claim(config: SynthesizeConfig) -> None:
    """Write the configuration into the folder, or refuse when another one is there."""
    path, mine = config.destination / CONFIG_FILE, _record(config)
    if path.exists():
        theirs = json.loads(path.read_text())
        changed = [
            f"{key} was {theirs.get(key)!r}, now {mine.get(key)!r}"
            for key in sorted({*mine, *theirs})
            if mine.get(key) != theirs.get(key)
        ]
        if changed:
            raise ValueError(
                f"destination {config.destination} holds clips of another configuration: {'; '.join(changed)}"
            )
        return
    write_atomic(path, json.dumps(mine, indent=2) + "\n")


def synthesize(config: SynthesizeConfig, on_progress: Callable[[int, int], None] | None = None) -> SynthesizeSummary:
    """Render the data set of ``config``; clips that are already there are kept.

    ``on_progress(done, total)`` is called after each clip. A clip that fails is listed in the summary and does not
    stop the others. Raises ValueError when the destination holds clips of another configuration.
    One run at a time: what another one is writing would be cleared as unfinished.
    """
    start = time.monotonic()
    _claim(config)
    clear_unfinished(config.destination)
    names = config.names()
    todo = [name for name in names if not all(path.exists() for path in clip_paths(config, name))]
    skipped, frames, failed = len(names) - len(todo), 0, {}
    for done, (name, count, error) in enumerate(_run(config, todo), start=skipped + 1):
        frames += count
        if error:
            failed[name] = error
        if on_progress:
            on_progress(done, len(names))
    return SynthesizeSummary(
        destination=config.destination,
        planned=len(names),
        rendered=len(todo) - len(failed),
        skipped=skipped,
        failed=dict(sorted(failed.items())),
        frames=frames,
        seconds=time.monotonic() - start,
    )


def _attempt(config: SynthesizeConfig, name: str) -> tuple[str, int, str]:
    """(name, frames, error): a failure becomes text, so that it can cross processes and be listed."""
    try:
        return name, render_to_disk(config, name), ""
    except (ValueError, OSError, ArithmeticError, LookupError, RuntimeError) as error:
        return name, 0, f"{type(error).__name__}: {error}"


def _run(config: SynthesizeConfig, names: list[str]) -> Iterator[tuple[str, int, str]]:
    workers = 0 if config.workers == 1 or len(names) < 2 else min(config.workers, len(names))
    for name, result in run_tasks(partial(_attempt, config), names, workers):
        yield (name, 0, result.reason) if isinstance(result, WorkerDied) else result
