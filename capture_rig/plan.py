"""What is to be filmed, in which order: targets, layer counts, exposures, frames a shot.

All bare shots come first, then layer counts rise, so that film is only ever added. Exposures are factors of one that is
metered for every scene and layer count before its first shot, and then stays; nothing is left to an automatic exposure.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from lps_sim.calibration.shots import Role, Target
from lps_sim.config import StrictModel, validation_message
from lps_sim.errors import UnknownNameError
from lps_sim.files import write_atomic

from .targets import KINDS, TargetSpec, standard_set

DEFAULT_LAYERS = (1, 2, 4, 8)
DEFAULT_FRAMES = 8
# Those up to 64 px measure the film; the longer ones tell where the screen is, and stay out of the fit.
DEFAULT_PERIODS = (8, 16, 32, 64, 128, 256, 2048)
_LONGEST_MEASURED_PX = 64
# The halo is below the noise at the exposure that holds a bright disc; a flat has no dark part to see deeper into.
_BRACKETS: dict[str, tuple[float, ...]] = {
    "flat": (1.0,),
    "fringe": (1.0,),
    "charuco": (1.0,),
    "wedge": (1.0, 4.0),
    "noise": (1.0, 4.0),
}
_BRACKET = (1.0, 8.0)
_SMALLEST_BLOCK_PX = 3  # finer blocks beat with the camera's pixels


class PlannedShot(StrictModel):
    """One shot to take.

    Parameters
    ----------
    name : of the shot, once in a plan
    target : what it is to the fit, one of ``lps_sim.calibration.shots.TARGETS``; ``charuco`` is for registration alone
    scene : what the screen shows; shots of one scene belong together
    kind : target of :mod:`capture_rig.targets` to draw; None leaves the screen black
    parameters : of the target
    layers : of film before the camera
    capped : lens cap on
    factor : exposure as a factor of the metered one
    role : ``fit``, or ``held`` out of every fit
    frames : to average
    """

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_-]+$")
    target: Target | Literal["charuco"]
    scene: str = Field(min_length=1)
    kind: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    layers: int = Field(ge=0, le=64)
    capped: bool = False
    factor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    role: Role = "fit"
    frames: int = Field(default=DEFAULT_FRAMES, ge=1, le=1000)


class Plan(StrictModel):
    """A list of shots. ``seed`` is that of the noise targets."""

    seed: int = 1
    shots: tuple[PlannedShot, ...] = Field(min_length=1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as YAML, one line a shot; whole or absent."""
        import yaml

        rows = [
            yaml.safe_dump(shot.model_dump(exclude_defaults=True), default_flow_style=True, sort_keys=False, width=1000)
            for shot in self.shots
        ]
        write_atomic(path, f"seed: {self.seed}\nshots:\n" + "".join(f"- {row.strip()}\n" for row in rows))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan. Raises ValueError naming file and key for anything that breaks a rule."""
        import yaml

        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path}: must hold shots:, got {str(content)[:60]!r}")
        try:
            return checked(cls(**content))
        except ValidationError as error:
            raise ValueError(f"{path}: {validation_message(error)}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def checked(plan: Plan) -> Plan:
    """The plan; raises ValueError for a name that stands twice or a target that does not exist."""
    names = [shot.name for shot in plan.shots]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"shots: named twice: {', '.join(twice)}")
    for shot in plan.shots:
        if shot.kind is not None and shot.kind not in KINDS:
            raise UnknownNameError(f"kind of shot {shot.name}", shot.kind, KINDS)
    return plan


def plan_shots(
    layers: Sequence[int] = DEFAULT_LAYERS,
    kinds: Sequence[str] = ("flat", "charuco", "wedge", "edge", "hole", "noise", "siemens", "fringe"),
    seed: int = 1,
    periods_px: tuple[int, ...] = DEFAULT_PERIODS,
    frames: int = DEFAULT_FRAMES,
    fringes_at: Sequence[int] | None = None,
    dark: Literal["cap", "none"] = "cap",
) -> Plan:
    """The shots of one calibration.

    Parameters
    ----------
    layers : film layer counts, 1..64 each; bare shots are always taken
    kinds : targets of :data:`capture_rig.targets.KINDS` but ``dark``; ``noise`` adds a second, held one
    seed : of the noise targets
    periods_px : of the fringes, screen pixels; those above 64 are held, for registration alone
    frames : a shot
    fringes_at : layer counts at which fringes are shown; default: all. They are many shots
    dark : ``cap``: one shot with the lens cap on comes first

    Notes
    -----
    Every layer count ends with the flat once more: two equal shots tell whether the light drifted in between.
    """
    for kind in kinds:
        if kind not in KINDS or kind == "dark":
            raise UnknownNameError("kinds", kind, [name for name in KINDS if name != "dark"])
    counts = [0, *sorted({int(count) for count in layers} - {0})]
    shots: list[PlannedShot] = []
    if dark == "cap":
        shots.append(PlannedShot(name="cap_on", target="dark", scene="cap_on", layers=0, capped=True, frames=frames))
    for count in counts:
        shots.append(
            PlannedShot(name=f"N{count:02d}_off", target="screen_off", scene="off", layers=count, frames=frames)
        )
        for spec in _specs(kinds, seed, periods_px):
            if spec.kind == "fringe" and fringes_at is not None and count not in fringes_at:
                continue
            if spec.kind in ("wedge", "charuco") and count:
                continue  # they measure camera and screen; film would only smear them
            shots += _bracketed(spec, count, frames)
        if "flat" in kinds:
            again = _bracketed(TargetSpec("flat", "flat"), count, frames)[0]
            shots.append(again.model_copy(update={"name": f"{again.name}_again"}))
    return checked(Plan(seed=seed, shots=tuple(shots)))


def _specs(kinds: Sequence[str], seed: int, periods_px: tuple[int, ...]) -> list[TargetSpec]:
    rank = {kind: place for place, kind in enumerate(kinds)}
    specs = [spec for spec in standard_set(seed, periods_px) if spec.kind in rank]
    for place, spec in enumerate(specs):
        if spec.kind == "noise":
            spec.parameters["smallest_px"] = _SMALLEST_BLOCK_PX
        if spec.parameters.get("period_px", 0) > _LONGEST_MEASURED_PX:
            specs[place] = replace(spec, role="held")
    return sorted(specs, key=lambda spec: rank[spec.kind])


def _bracketed(spec: TargetSpec, layers: int, frames: int) -> list[PlannedShot]:
    factors = (1.0,) if spec.role == "held" else _BRACKETS.get(spec.kind, _BRACKET)
    return [
        PlannedShot(
            name=f"N{layers:02d}_{spec.name}_x{factor:g}",
            target=spec.kind,  # type: ignore[arg-type]
            scene=spec.name,
            kind=spec.kind,
            parameters=spec.parameters,
            layers=layers,
            factor=factor,
            role=spec.role,  # type: ignore[arg-type]
            frames=frames,
        )
        for factor in factors
    ]
