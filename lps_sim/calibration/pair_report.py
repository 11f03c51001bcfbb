"""The page about a fit to paired material: what is known, what is not, and how the prediction looks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from ..files import write_atomic
from ..report import Block, Page, bullets, facts, new_figure, paragraph, picture, table
from ..transfer import inverse_eotf
from .pair_result import Estimate, PairFit

_COLUMNS = ("quantity", "value", "from", "to", "unit", "why")


def write_report(result: PairFit, folder: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` (opens offline) and ``report.json`` into ``folder``; returns the page's path."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "report.json", json.dumps(result.to_dict(), indent=2))
    page = Page(
        f"{result.film.name}: a film from paired material",
        f"{result.layers} layers, {result.frames.size} frames, without a calibration.",
    )
    angle = f"{result.camera.fov_deg:.0f}° across"
    page.section(
        "In short",
        facts(
            [
                (result.film.family, "family", f"{result.residual_codes:.2f} codes left"),
                (f"{result.homography_precision_px:.2f} px", "position of the picture", "standard deviation, rms"),
                (f"frame {result.time.start:.1f}", "at the start of the recording", f"drift {result.time.drift:+.2%}"),
                (angle, "field of view", "assumed: all angles scale with it" if result.camera_assumed else "as given"),
            ]
        ),
        bullets([f"{c.status}: {c.name}: {c.text}" + (f"; {c.cure}" if c.cure else "") for c in result.checks]),
    )
    page.section("Pinned", table(_rows(result.pinned), _COLUMNS, "95 % intervals"))
    page.section(
        "Not pinned",
        paragraph("This material cannot fix these, whatever its quality or for its length; intervals say how far."),
        table(_rows(result.not_pinned), _COLUMNS),
    )
    page.section("Contrast", *_curves(result), *_example(result))
    page.write(out / "report.html")
    return out / "report.html"


def _rows(estimates: tuple[Estimate, ...]) -> list[tuple[str, float, float, float, str, str]]:
    return [(e.name, e.value, e.low, e.high, e.unit, e.reason) for e in estimates]


def _curves(result: PairFit) -> list[Block]:
    q, value, low, high = np.array(result.mtf).T
    figure, ((axes,),) = new_figure(1, 1, (7, 3.6))
    axes.fill_between(q, low, high, alpha=0.3, label="95 %")
    axes.semilogx(q, value, label=f"{result.layers} layers")
    axes.set(xlabel="frequency (cycles/rad)", ylabel="MTF relative to the lowest q", title="What contrast is left")
    axes.legend()
    return [picture(figure, "Over the range in which the material has contrast.", "MTF over frequency with its band")]


def _example(result: PairFit) -> list[Block]:
    filmed, predicted = (inverse_eotf(np.clip(light, 0, 1), result.camera.eotf) for light in result.example)
    return [
        picture(filmed, f"Recorded frame {result.frames[0]}, as filmed.", "a filmed frame, grey"),
        picture(predicted, "The same frame, predicted from the clean one.", "the predicted frame, grey"),
    ]
