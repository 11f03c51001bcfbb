"""Brightness and contrast of clips in linear light, before and after the film, on a sample.

With Y the luminance of a pixel (ITU-R BT.709 weights on linear RGB, 1 = full scale):

- brightness: the mean of Y over pixels and frames;
- RMS contrast: the standard deviation of Y over a frame's pixels by its mean, averaged over frames (Peli 1990, JOSA A
  7:2032, with the mean divided out: exposure and the film's transmittance cancel, its blur and veil remain);
- temporal RMS: the root of the mean over pixels of the variance of Y over the sampled frames, by the brightness:
  motion and sensor noise.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lps_sim.camera import Camera
from lps_sim.fast import Degrader
from lps_sim.media import read_frames
from lps_sim.seeding import named_seed
from lps_sim.transfer import Transfer, eotf_table, inverse_eotf

from .clip import clip_camera, describe
from .formats import open_reader
from .formats.base import ClipReader
from .layout import MANIFEST_FILE, read_dataset
from .manifest import ClipRow, Manifest
from .stats_counts import Reason, ReasonCounter

BT709_LUMINANCE = (0.2126, 0.7152, 0.0722)
SAMPLED_FRAMES = 9
"""Frames measured of a clip, evenly spread; an odd number, so that the middle frame is among them."""
_THUMBNAIL_PX = 320


@dataclass(frozen=True)
class ClipLight:
    """One clip: mean linear luminance, RMS contrast over space, RMS over time; see the module's definitions."""

    brightness: float
    rms_contrast: float
    temporal_rms: float


QUANTITIES = ("brightness", "rms_contrast", "temporal_rms")


def clip_light(frames: np.ndarray, transfer: Transfer = "srgb") -> ClipLight:
    """Brightness and contrast of frames (T, H, W, 3) uint8 coded by ``transfer``.

    Contrasts of a black picture are 0; so is the temporal one of a single frame.
    """
    table, weights = eotf_table(transfer), np.array(BT709_LUMINANCE, np.float32)
    means, contrasts = [], []
    middle = np.zeros(frames.shape[1:3])
    squares = np.zeros(frames.shape[1:3])
    for count, frame in enumerate(frames, start=1):  # Welford's recurrence: one frame in floats at a time
        luminance = table[frame] @ weights
        means.append(float(luminance.mean(dtype=np.float64)))
        contrasts.append(float(luminance.std(dtype=np.float64)) / means[-1] if means[-1] > 0 else 0.0)
        step = luminance - middle
        middle += step / count
        squares += step * (luminance - middle)
    brightness = float(np.mean(means))
    temporal = 0.0
    if len(frames) > 1 and brightness > 0:
        temporal = float(np.sqrt(squares.mean() / (len(frames) - 1))) / brightness
    return ClipLight(brightness, float(np.mean(contrasts)), temporal)


def spread_indices(count: int, wanted: int = SAMPLED_FRAMES) -> list[int]:
    """At most ``wanted`` frame indices, each in the middle of its share of ``count`` frames."""
    wanted = min(count, wanted)
    return [(2 * place + 1) * count // (2 * wanted) for place in range(wanted)]


@dataclass(frozen=True)
class SampledClip:
    """A measured clip, with its middle frame in at most 320 pixels across where it was asked for."""

    light: ClipLight
    picture: np.ndarray | None = None


@dataclass(frozen=True)
class LightComparison:
    """One data set's sample. ``after`` holds every clip measured, ``before`` those of them that were found clean.

    ``before_from`` says where the clean clips came from; ``without_before`` why some have none; ``unreadable`` which
    of the data set's own clips could not be read, although its manifest calls them done.
    """

    after: dict[str, SampledClip]
    before: dict[str, SampledClip]
    before_from: str
    without_before: tuple[Reason, ...] = ()
    unreadable: tuple[Reason, ...] = ()

    def values(self, quantity: str, when: str) -> np.ndarray:
        """(K,) values of one of :data:`QUANTITIES`, by clip: ``before``, ``after``, or ``kept``, after by before."""
        if when != "kept":
            clips = self.before if when == "before" else self.after
            return np.array([getattr(clip.light, quantity) for clip in clips.values()])
        pairs = [
            (getattr(clip.light, quantity), getattr(self.before[name].light, quantity))
            for name, clip in self.after.items()
            if name in self.before
        ]
        return np.array([after / before for after, before in pairs if before > 0])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: 10 %, median and 90 % of each quantity before, after, and kept; null where nothing is known."""
        return {
            "clips": len(self.after),
            "clips_with_before": len(self.before),
            "before_from": self.before_from,
            **{
                quantity: {when: _quantiles(self.values(quantity, when)) for when in ("before", "after", "kept")}
                for quantity in QUANTITIES
            },
            "without_before": [reason.to_dict() for reason in self.without_before],
            "unreadable": [reason.to_dict() for reason in self.unreadable],
        }


def _quantiles(values: np.ndarray) -> dict[str, float] | None:
    if not values.size:
        return None
    return {name: float(np.quantile(values, q)) for name, q in (("p10", 0.1), ("median", 0.5), ("p90", 0.9))}


Frames = Callable[[ClipRow], np.ndarray]
Outcome = SampledClip | str


class LightMeter:
    """Measures samples of several data sets of the same clips; what is measured clean once is not measured again.

    Parameters
    ----------
    pictured : names whose middle frames are kept
    workers : threads; default the number of processors, at most 8
    on_clip : called with the name of each clip measured, clean or not
    """

    def __init__(
        self, pictured: Sequence[str] = (), workers: int | None = None, on_clip: Callable[[str], None] | None = None
    ) -> None:
        self._pictured = frozenset(pictured)
        self._workers = workers or min(os.cpu_count() or 1, 8)
        self._on_clip = on_clip
        self._clean: dict[tuple[str, str], Outcome] = {}

    def compare(self, root: Path, names: Sequence[str], twin: Path | None = None) -> LightComparison:
        """Measure finished clips of the data set at ``root``, and the same clips clean.

        Clean clips come from ``twin``, the data set without film, or else from the source files, brought to the same
        camera, size and noise. Raises ValueError when ``root`` or ``twin`` is not a data set.
        """
        settings = read_dataset(root)
        with Manifest(root / MANIFEST_FILE) as manifest:
            rows = [row for name in names if (row := manifest.row(name)) is not None]
        unreadable, without = ReasonCounter(), ReasonCounter()
        after: dict[str, SampledClip] = {}
        for row, outcome in self._measure(rows, _stored_frames(open_reader(root)), _transfer(settings)):
            if isinstance(outcome, str):
                unreadable.add(row.name, outcome, str(root / row.output))
            else:
                after[row.name] = outcome
        is_clean = int(settings["layers"]) == 0
        before_from, before = "no clean clips: this is the clean data set", {}
        if not is_clean:
            place, frames, transfer = self._clean_source(twin, settings)
            before_from = f"the data set {twin.name}" if twin is not None else "the source files"
            before = self._measure_clean([row for row in rows if row.name in after], place, frames, transfer, without)
        return LightComparison(after, before, before_from, without.reasons(), unreadable.reasons())

    def _clean_source(self, twin: Path | None, settings: Mapping[str, Any]) -> tuple[str, Frames, Transfer]:
        """A key of what makes the clean frames, how to get them, and their transfer function."""
        if twin is not None:
            return str(twin), _twin_frames(twin), _transfer(read_dataset(twin))
        key = json.dumps({name: settings.get(name) for name in ("camera", "size", "fit", "seed")}, sort_keys=True)
        return key, _source_frames(settings), _transfer(settings)

    def _measure_clean(
        self, rows: list[ClipRow], place: str, frames: Frames, transfer: Transfer, without: ReasonCounter
    ) -> dict[str, SampledClip]:
        new = [row for row in rows if (place, row.name) not in self._clean]
        if self._on_clip:
            for row in rows:
                if (place, row.name) in self._clean:
                    self._on_clip(row.name)
        for row, outcome in self._measure(new, frames, transfer):
            self._clean[place, row.name] = outcome
        found = {}
        for row in rows:
            outcome = self._clean[place, row.name]
            if isinstance(outcome, str):
                without.add(row.name, outcome, row.source)
            else:
                found[row.name] = outcome
        return found

    def _measure(self, rows: list[ClipRow], frames: Frames, transfer: Transfer) -> Iterator[tuple[ClipRow, Outcome]]:
        def measure(row: ClipRow) -> Outcome:
            try:
                clip = frames(row)
            except (ValueError, OSError, IndexError) as error:
                return describe(error)
            picture = _thumbnail(clip[len(clip) // 2], transfer) if row.name in self._pictured else None
            return SampledClip(clip_light(clip, transfer), picture)

        with ThreadPoolExecutor(self._workers) as pool:
            for row, outcome in zip(rows, pool.map(measure, rows)):
                yield row, outcome
                if self._on_clip:
                    self._on_clip(row.name)


def _transfer(settings: Mapping[str, Any]) -> Transfer:
    """How a data set's codes stand for light: its camera's transfer function, sRGB where it has none."""
    camera = settings.get("camera") or {}
    return Camera.from_dict(camera).transfer if "width" in camera else str(camera.get("eotf", "srgb"))


def _stored_frames(reader: ClipReader) -> Frames:
    # A copy a clip, as a worker process would get by pickling: readers may keep a file open, and this is called by
    # several threads.
    return lambda row: copy.copy(reader).read(row.name, spread_indices(row.frames))


def _twin_frames(twin: Path) -> Frames:
    reader = open_reader(twin)
    finished = frozenset(reader.names())

    def frames(row: ClipRow) -> np.ndarray:
        if row.name not in finished:
            raise ValueError(f"not finished in {twin.name}")
        return copy.copy(reader).read(row.name, spread_indices(reader.frame_count(row.name)))

    return frames


def _source_frames(settings: Mapping[str, Any]) -> Frames:
    """The frames that a clean twin would hold, made from the source file; its codec's error is left out."""

    def frames(row: ClipRow) -> np.ndarray:
        if not settings.get("camera"):
            raise ValueError("the source file is not the clip's: the data set was not made by a simulated camera")
        taken = read_frames(row.source, spread_indices(row.frames))
        size = settings["size"]
        camera = clip_camera(settings["camera"], taken.shape[2], taken.shape[1])
        seed = named_seed(int(settings["seed"]), row.name)
        return Degrader(None, 0, camera, tuple(size) if size else None, seed, settings["fit"]).degrade(taken)

    return frames


def _thumbnail(frame: np.ndarray, transfer: Transfer) -> np.ndarray:
    """The frame at most 320 pixels across, averaged in linear light."""
    import cv2

    height, width = frame.shape[:2]
    if width <= _THUMBNAIL_PX:
        return frame
    size = (_THUMBNAIL_PX, max(1, round(height * _THUMBNAIL_PX / width)))
    light = cv2.resize(eotf_table(transfer)[frame], size, interpolation=cv2.INTER_AREA)
    return np.rint(255 * np.clip(inverse_eotf(light, transfer), 0, 1)).astype(np.uint8)
