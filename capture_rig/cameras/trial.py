"""A short reading of a camera: its rate, its losses, and the noise of a scene that stands still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .protocol import CameraLostError, CameraSource


@dataclass(frozen=True)
class CameraTrial:
    """What some frames of a still scene say.

    Parameters
    ----------
    frames : that were read
    lost : frames missing between them by the camera's own count
    fps : frames a second by their times and numbers; None of fewer than two
    noise_codes : root mean square, over pixels and channels, of the standard deviation from frame to frame, in codes of
        the camera; None of fewer than two. A scene that moves counts as noise
    flicker : standard deviation of the frames' means over their mean; None of fewer than two, or in the dark
    mean_codes : mean code
    clipped_share : share of samples at the largest code
    ended : why fewer frames than asked for were read; empty when all were
    """

    frames: int
    lost: int
    fps: float | None
    noise_codes: float | None
    flicker: float | None
    mean_codes: float
    clipped_share: float
    ended: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def try_camera(
    camera: CameraSource, frames: int = 30, timeout_s: float = 2.0, on_frame: Callable[[], object] | None = None
) -> CameraTrial:
    """Read up to ``frames`` frames; fewer when the camera is lost on the way.

    Raises CameraLostError when it delivers none at all, ValueError for fewer than 1.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}")
    top = 2**camera.facts.bits - 1
    times: list[float] = []
    numbers: list[int] = []
    means: list[float] = []
    ended, clipped = "", 0.0
    mean: np.ndarray | None = None
    squares: np.ndarray | None = None
    while len(numbers) < frames:
        try:
            frame = camera.read(timeout_s)
        except CameraLostError as error:
            if not numbers:
                raise
            ended = str(error)
            break
        times.append(frame.at_s)
        numbers.append(frame.number)
        codes = frame.codes.astype(np.float64)
        means.append(float(codes.mean()))
        clipped += float((frame.codes == top).mean())
        # Welford (1962): no frame need be kept.
        if mean is None or squares is None:
            mean, squares = codes, np.zeros_like(codes)
        else:
            step = codes - mean
            mean += step / len(numbers)
            squares += step * (codes - mean)
        if on_frame is not None:
            on_frame()
    count, span_s = len(numbers), times[-1] - times[0]
    level = float(np.mean(means))
    return CameraTrial(
        frames=count,
        lost=numbers[-1] - numbers[0] + 1 - count,
        fps=(numbers[-1] - numbers[0]) / span_s if span_s > 0 else None,
        noise_codes=float(np.sqrt(squares.mean() / (count - 1))) if count > 1 and squares is not None else None,
        flicker=float(np.std(means, ddof=1)) / level if count > 1 and level > 0 else None,
        mean_codes=level,
        clipped_share=clipped / count,
        ended=ended,
    )
