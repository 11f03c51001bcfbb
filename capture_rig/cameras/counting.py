"""Numbers of frames from their times: a gap of two periods means that one frame was lost."""

from __future__ import annotations

import statistics
from collections import deque

from .protocol import CameraSettings, SettingFact

_KNOWN_STEPS = 31
_FEWEST_STEPS = 5


class FrameCounter:
    """Counts frames by the gaps between their times.

    Parameters
    ----------
    period_s : frame period until enough frames have come to know it: the median of the last 31 steps; None: the first
        steps count one frame each
    """

    def __init__(self, period_s: float | None = None) -> None:
        self._period_s = period_s
        self._steps: deque[float] = deque(maxlen=_KNOWN_STEPS)
        self._last_s: float | None = None
        self._number = -1

    @property
    def period_s(self) -> float | None:
        """The frame period as known now."""
        return statistics.median(self._steps) if len(self._steps) >= _FEWEST_STEPS else self._period_s

    def count(self, time_s: float | None) -> int:
        """The number of the frame of this time, from 0; a frame without time, or one that goes back, is the next."""
        steps = 1
        if time_s is not None and self._last_s is not None and time_s > self._last_s:
            step_s = time_s - self._last_s
            if self.period_s:
                steps = max(1, round(step_s / self.period_s))
            self._steps.append(step_s)
        if time_s is not None:
            self._last_s = time_s
        self._number += steps
        return self._number


def as_recorded(
    settings: CameraSettings, source: str = "a recording or stream", **known: float | None
) -> tuple[SettingFact, ...]:
    """What was asked of a source that cannot be set, against what is known of it."""
    facts = []
    for name, asked in vars(settings).items():
        got = known.get(name)
        if asked is not None or got is not None:
            honoured = asked is None or (got is not None and abs(got - asked) <= 1e-3 * abs(asked))
            facts.append(SettingFact(name, asked, got, honoured, "" if honoured else f"{source} is as it is"))
    return tuple(facts)
