"""What was found in a recapture: ``DST/replay.json`` and the same as a table, ``DST/replay.txt``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lps_sim.files import write_atomic

from .alignment import Alignment
from .config import ReplayConfig
from .cuts import Cut
from .map import ReplayMap
from .marked import MarkedRecording
from .recording import Recording

REPORT_FILE, TABLE_FILE = "replay.json", "replay.txt"


def write_report(
    root: Path,
    config: ReplayConfig,
    recording: Recording | MarkedRecording,
    replay_map: ReplayMap,
    alignment: Alignment,
    cuts: Sequence[Cut],
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """Write both files and return what the first holds. ``failed``: reason by clip name."""
    # An offset alone says nothing of clocks and losses: unknown is not none.
    followed = config.sync != "offset"
    clips = [{**cut.to_dict(), "error": failed.get(cut.clip.name, "")} for cut in cuts]
    report = {
        "recording": {
            "path": str(config.recording.resolve()),
            "sha256": recording.sha256,
            "frames": recording.frames,
            "damage": recording.damage,
        },
        "map": {
            "path": str(config.map.resolve()),
            "clips": len(replay_map.entries),
            "played_frames": replay_map.played_frames,
            "gaps": [list(gap) for gap in replay_map.gaps],
        },
        "sync": config.sync,
        "offset": alignment.offset,
        "clock_drift": alignment.clock_drift if followed else None,
        "net_drift": alignment.net_drift if followed else None,
        "dropped": sum(len(cut.dropped) for cut in cuts) if followed else None,
        "doubled": sum(len(cut.doubled) for cut in cuts) if followed else None,
        "missing": sum(len(cut.missing) for cut in cuts),
        "clips_failed": len(failed),
        "residual_frames": _residuals(cuts),
        "slips": _slips(alignment),
        "clips": clips,
    }
    write_atomic(root / REPORT_FILE, json.dumps(report, indent=1) + "\n")
    write_atomic(root / TABLE_FILE, _table(clips))
    return report


def _residuals(cuts: Sequence[Cut]) -> dict[str, Any]:
    """Of all clips whose motion tells theirs, in frames."""
    found = np.abs([cut.residual for cut in cuts if not math.isnan(cut.residual)])
    if not found.size:
        return {"clips": 0}
    figures = {"rms": np.sqrt((found**2).mean()), "median": np.median(found), "largest": found.max()}
    return {"clips": int(found.size), **{key: round(float(value), 3) for key, value in figures.items()}}


def _slips(alignment: Alignment) -> list[dict[str, int]]:
    """Where the lag changes: played frames lost (+) or shown again (-) between two recorded frames."""
    matched = np.flatnonzero(alignment.shown >= 0)
    steps = np.diff(alignment.shown[matched]) - 1
    return [
        {
            "recorded": int(matched[place + 1]),
            "played": int(alignment.shown[matched[place + 1]]),
            "frames": int(steps[place]),
        }
        for place in np.flatnonzero(steps)
    ]


def _table(clips: Sequence[Mapping[str, Any]]) -> str:
    width = max([4, *(len(clip["name"]) for clip in clips)])
    head = f"{'clip':{width}s}  {'played':>17s}  {'recorded':>17s}  {'residual':>8s}  drop  doub  miss  state\n"
    return head + "".join(_row(clip, width) for clip in clips)


def _row(clip: Mapping[str, Any], width: int) -> str:
    played, recorded = (f"{span[0]}-{span[1]}" if span else "-" for span in (clip["played"], clip["recorded"]))
    residual = "-" if clip["residual_frames"] is None else f"{clip['residual_frames']:+.2f}"
    counts = "  ".join(f"{len(clip[kind]):4d}" for kind in ("dropped", "doubled", "missing"))
    return (
        f"{clip['name']:{width}s}  {played:>17s}  {recorded:>17s}  {residual:>8s}  {counts}  {clip['error'] or 'ok'}\n"
    )
