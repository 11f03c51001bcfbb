"""Targets stepped through by hand: what the operator's page operates while there is neither a camera nor a session."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from lps_sim.errors import UnknownNameError

from ..screens import Screen, ScreenLostError
from ..targets import TargetSpec, screen_codes
from .operated import Preview


class TargetStepper:
    """An :class:`.operated.Operated` that shows one target after the other when told to.

    Parameters
    ----------
    screen : shows them
    specs : the targets, in their order
    """

    def __init__(self, screen: Screen, specs: list[TargetSpec]) -> None:
        self._screen, self._specs = screen, {spec.name: spec for spec in specs}
        self._status = dict.fromkeys(self._specs, "todo")
        self._current: str | None = None
        self._busy = False
        self._message = "Show next puts the first target on the display."
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "stepper")

    def state(self) -> dict[str, Any]:
        """See :meth:`.operated.Operated.state`."""
        with self._lock:
            shots = [
                {"name": spec.name, "scene": spec.name, "target": spec.kind, "role": spec.role}
                | {"status": self._status[spec.name], "note": ""}
                for spec in self._specs.values()
            ]
            phase = "Showing" if self._current is not None else "Dark"
            told = {"phase": phase, "message": self._message, "current": self._current, "running": self._busy}
        return {"shots": shots, "checks": [], "waiting_for": None, "stepping": True, **told}

    def preview(self) -> Preview | None:
        """No camera, no picture."""
        return None

    def start(self) -> None:
        """Show the next target: the first that was not shown, after the last one from the first on again."""
        with self._lock:
            names = list(self._specs)
            left = [name for name in names if self._status[name] != "done" and name != self._current]
            following = names[(names.index(self._current) + 1) % len(names)] if self._current else names[0]
        self.repeat(left[0] if left else following)

    def stop(self) -> None:
        """Make the screen dark."""
        self._begin(None)

    def repeat(self, shot_name: str) -> None:
        """Show one target."""
        if shot_name not in self._specs:
            raise UnknownNameError("shot", shot_name, self._specs)
        self._begin(shot_name)

    def confirm(self, layers: int) -> None:
        """Raises ValueError: no film is asked for here."""
        raise ValueError(f"no film is asked for while targets are stepped through by hand, got {layers} layers")

    def close(self) -> None:
        """Let the last picture be finished with; nothing more is shown."""
        self._worker.shutdown(cancel_futures=True)

    def _begin(self, name: str | None) -> None:
        with self._lock:
            if self._busy:
                raise ValueError(f"the display has not confirmed {self._current or 'the dark picture'} yet")
            self._busy, self._current = True, name
            if name is not None:
                self._status[name] = "doing"
        self._worker.submit(self._show, name)

    def _show(self, name: str | None) -> None:
        try:
            facts = self._screen.facts
            size = (facts.width_px, facts.height_px)
            linear = np.zeros(size[::-1], np.float32) if name is None else self._specs[name].draw(*size)
            shown = self._screen.show(screen_codes(linear, facts.eotf), name or "dark")
            status = "done"
            message = f"{name or 'The dark picture'} is on the display, confirmed as picture {shown.number}."
        except (ScreenLostError, ValueError) as error:
            status, message = "failed", str(error)
        with self._lock:
            self._busy, self._message = False, message
            if name is not None:
                self._status[name] = status
