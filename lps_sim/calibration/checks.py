"""A check: one measured figure of a calibration, held against its limit, with the cure where it fails."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One measured figure and what it means for the calibration.

    Parameters
    ----------
    name : what was measured, in two or three words: "clipping", "registration drift"
    status : "ok"; "warn": the fit goes on and its report says so; "fail": the film is not to be trusted
    text : one line with the figure, its limit and the shots that it holds for
    value, limit : the figure and the limit that decided, in ``unit``; None where there is no single one
    unit : of both: "%", "px", "" for a ratio
    cure : what to do about it; empty when ok
    """

    name: str
    status: Status
    text: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    cure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return asdict(self)


def failed(checks: Iterable[Check]) -> list[Check]:
    """Those that failed, in their order."""
    return [check for check in checks if check.status == "fail"]


def judge(value: float, warn: float, fail: float) -> tuple[Status, float]:
    """(status, the limit that decided) of a figure that should be small: it warns and fails above these."""
    if value > fail:
        return "fail", fail
    return ("warn" if value > warn else "ok"), warn
