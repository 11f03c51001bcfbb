"""Marks that a screen shows around and beside played clips, so that a recording through film tells what it shows.

Codes are maximal-length sequences (Golomb 1967) of a screen that is all white or all black: however much the film
scatters, the mean light stays. Below the clips a strip of six pairs of patches counts the played frames modulo 64 in
Gray code, one bit a pair, the patches of a pair opposite to each other: the strip's light is always the same, and a
shutter that is open across a change blurs one bit alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import max_len_seq

from lps_sim.transfer import inverse_eotf

DARK, START, TRAINING, CLIP, MINUTE, END = "dark", "start", "training", "clip", "minute", "end"
KINDS = (DARK, START, TRAINING, CLIP, MINUTE, END)
CODES = (START, MINUTE, END)
BITS = 6
COUNT = 1 << BITS  # the counter begins again after so many frames
CHIP_FRAMES = 2
_TAPS: dict[str, tuple[int, list[int]]] = {START: (6, [5]), END: (6, [5, 2, 1]), MINUTE: (5, [3]), TRAINING: (5, [2])}
_TRAINING_SHIFT = 5  # chips between the sequences of two pairs
_STRIP, _GUTTER = 0.1, 0.04  # of the screen's height
_FEWEST_STRIP_PX, _FEWEST_PATCH_PX = 8, 4
_DARK_S, _MINUTE_S = 1.0, 60.0


@dataclass(frozen=True)
class Stretch:
    """A run of played frames with one kind of mark.

    Parameters
    ----------
    kind : dark, start, training, clip (counter strip below it), minute or end
    first, frames : played frames that it takes, counted in its run
    name : the clip's
    """

    kind: str
    first: int
    frames: int
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.first < 0 or self.frames < 1:
            raise ValueError(f"first must be >= 0 and frames >= 1, got {self.first} and {self.frames}")

    @property
    def end(self) -> int:
        """The played frame behind its last."""
        return self.first + self.frames

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Box:
    """A rectangle of screen pixels: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int


@cache
def sequence(kind: str) -> NDArray[np.int8]:
    """(chips,) of +1 and -1: the maximal-length sequence of a code (63 chips; 31 of the minute mark and training)."""
    bits, taps = _TAPS[kind]
    chips: NDArray[np.int8] = (2 * max_len_seq(bits, taps=taps)[0].astype(np.int8) - 1).astype(np.int8)
    chips.setflags(write=False)
    return chips


def code_frames(kind: str) -> int:
    """Played frames that a code or the training takes."""
    return CHIP_FRAMES * len(sequence(kind))


def lay_out(clips: Sequence[tuple[str, int]], fps: float) -> tuple[Stretch, ...]:
    """The stretches of one run: dark, start code, training, the clips with a mark a minute, end code, dark.

    Parameters
    ----------
    clips : (name, frames) in playing order
    fps : pictures a second

    Raises ValueError for no clips, a clip without frames, or fps not above 0.
    """
    if not clips:
        raise ValueError("clips must hold at least one clip, got none")
    if not fps > 0:
        raise ValueError(f"fps must be above 0, got {fps:g}")
    parts = [(DARK, round(_DARK_S * fps) or 1, ""), *((kind, code_frames(kind), "") for kind in (START, TRAINING))]
    since = 0
    for name, frames in clips:
        if since >= _MINUTE_S * fps:
            parts.append((MINUTE, code_frames(MINUTE), ""))
            since = 0
        parts.append((CLIP, frames, name))
        since += frames
    parts += [(END, code_frames(END), ""), (DARK, round(_DARK_S * fps) or 1, "")]
    laid, first = [], 0
    for kind, frames, name in parts:
        laid.append(Stretch(kind, first, frames, name))
        first += frames
    return tuple(laid)


def patterns(stretches: Sequence[Stretch]) -> NDArray[np.float32]:
    """(P, 7) what every played frame of a run shows: six bits of the strip and the whole screen's brightness, +1 or -1,
    NaN where it shows none."""
    table = np.full((stretches[-1].end, BITS + 1), np.nan, np.float32)
    for stretch in stretches:
        frames = np.arange(stretch.first, stretch.end)
        rows = table[stretch.first : stretch.end]
        if stretch.kind in CODES:
            rows[:, BITS] = sequence(stretch.kind)[(frames - stretch.first) // CHIP_FRAMES]
        elif stretch.kind == TRAINING:
            chips = sequence(TRAINING)
            place = (frames - stretch.first) // CHIP_FRAMES
            rows[:, :BITS] = chips[(place[:, None] + _TRAINING_SHIFT * np.arange(BITS)) % len(chips)]
        elif stretch.kind == CLIP:
            rows[:, :BITS] = counter(frames)
        else:
            rows[:, BITS] = -1
    return table


def counter(frames: NDArray[Any]) -> NDArray[np.int8]:
    """(n, 6) Gray code of frame numbers modulo 64 as +1 and -1, the fastest bit first."""
    number = np.asarray(frames) % COUNT
    gray = number ^ (number >> 1)
    bits: NDArray[np.int8] = (2 * ((gray[:, None] >> np.arange(BITS)) & 1) - 1).astype(np.int8)
    return bits


class MarkPainter:
    """Draws screen pictures with marks.

    Parameters
    ----------
    width, height : the screen in pixels
    eotf : transfer curve that its codes are made for
    level : linear light of a bright patch of the strip, above 0..1; less of it reaches the clips, and the marks are
        fainter

    Raises ValueError for a screen too small for the strip, or another level.
    """

    def __init__(self, width: int, height: int, eotf: str = "srgb", level: float = 1.0) -> None:
        strip, gutter = round(_STRIP * height), round(_GUTTER * height)
        if strip < _FEWEST_STRIP_PX or width < 2 * BITS * _FEWEST_PATCH_PX:
            raise ValueError(
                f"the screen must be at least {2 * BITS * _FEWEST_PATCH_PX} x {round(_FEWEST_STRIP_PX / _STRIP)} px "
                f"for its marks, got {width} x {height}"
            )
        if not 0 < level <= 1:
            raise ValueError(f"level must be above 0 and at most 1, got {level:g}")
        self.width, self.height, self.level = width, height, level
        self.stage = Box(0, 0, width, height - strip - gutter)
        self._strip = slice(height - strip, height)
        self._edges = np.linspace(0, width, 2 * BITS + 1).round().astype(int)
        self._bright = int(np.rint(255 * float(inverse_eotf(level, eotf))))

    def box_of(self, width: int, height: int) -> Box:
        """Where a clip of this size stands: as large as fits above the strip, centred, its shape kept."""
        scale = min(self.stage.width / width, self.stage.height / height)
        w, h = max(1, round(width * scale)), max(1, round(height * scale))
        return Box((self.stage.width - w) // 2, (self.stage.height - h) // 2, w, h)

    def paint(self, pattern: NDArray[np.float32], clip: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 codes of one row of :func:`patterns`, with a clip's picture that fits its box."""
        if pattern[BITS] > 0:
            return np.full((self.height, self.width, 3), 255, np.uint8)
        picture = np.zeros((self.height, self.width, 3), np.uint8)
        if clip is not None:
            box = self.box_of(clip.shape[1], clip.shape[0])
            picture[box.y : box.y + box.height, box.x : box.x + box.width] = clip
        if not np.isnan(pattern[0]):
            patches = np.where(np.stack([pattern[:BITS], -pattern[:BITS]], axis=1).ravel() > 0, self._bright, 0)
            picture[self._strip] = np.repeat(patches, np.diff(self._edges)).astype(np.uint8)[None, :, None]
        return picture
