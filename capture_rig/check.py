"""The calibration gate while the person still stands at the desk: what is wrong, and which shots to take again."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lps_sim.calibration.checks import Check
from lps_sim.calibration.gate import inspect_shots
from lps_sim.calibration.session_file import SessionContent
from lps_sim.calibration.shots import ShotSet


@dataclass(frozen=True)
class SessionCheck:
    """One check of the gate, and the shots of the session that it is about (none: the set as a whole)."""

    check: Check
    shots: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**self.check.to_dict(), "shots": list(self.shots)}


def check_session(path: str | os.PathLike[str], layers: Sequence[int] | None = None) -> list[SessionCheck]:
    """Every check of the shots taken so far.

    Parameters
    ----------
    path : session file
    layers : look at these layer counts alone

    Raises
    ------
    ValueError
        the file is no session, or what was taken so far is no set that could be checked; the message says what lacks
    """
    found = ShotSet.load(path)
    names = [shot.file for shot in found.shots]
    return [SessionCheck(check, _named(check, names)) for check in inspect_shots(found, layers)]


def finished_layers(content: SessionContent) -> list[int]:
    """Layer counts of which every planned shot was taken."""
    lacking = set(content.lacking)
    counts = sorted({int(shot["layers"]) for shot in content.plan})
    return [n for n in counts if not any(s["layers"] == n and s["name"] in lacking for s in content.plan)]


def _named(check: Check, names: Sequence[str]) -> tuple[str, ...]:
    if check.status == "ok":
        return ()
    words = set(re.findall(r"[A-Za-z0-9_-]+(?:\.\d+)?", check.text))
    return tuple(name for name in names if name in words)
