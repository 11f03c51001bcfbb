"""The rendered actions of one performer, and the list of all rendered actions with their NTU numbers.

Each function fills the channels of a :class:`dataset_builder.scenes.motion.Motion`. Hands: (out, up, forward) in arm
lengths from the shoulder; feet: the same in leg lengths from their place; angles in radians.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..actions import NTU_ACTIONS, NTU_MUTUAL_ACTIONS
from . import mutual
from .motion import SIDES, Motion, smooth
from .skeleton import Array


@dataclass(frozen=True)
class RenderedAction:
    """An action that can be rendered: ``number`` and ``name`` as in NTU RGB+D 120; ``mutual`` takes two performers."""

    number: int
    name: str
    mutual: bool
    animate: Callable[..., None]


def centre(m: Motion, side: str) -> float:
    """How far (out, in arm lengths; negative) the middle of the body lies from the shoulder."""
    return float(-abs(m.skeleton.rest[f"upper_arm_{side}"][0]) / m.skeleton.arm)


def _both(
    m: Motion, out: Array | float, up: Array | float, forward: Array | float, weight: Array | float = 1.0
) -> None:
    for side, _ in SIDES:
        m.reach(side, np.stack(np.broadcast_arrays(m.t * 0 + out, up, forward), axis=1), weight)


def drink(m: Motion) -> None:
    m.prop = "cup"
    m.reach(m.main, (-0.05, -0.45, 0.62))
    lift = m.pulse(0.12, 0.38, 0.68, 0.92)
    m.reach(m.main, (0.62 * centre(m, m.main), 0.13, 0.46), lift)
    m.elbow(m.main, (0.9, -0.5, 0.2), 0.8 * lift)
    m.nod += -0.38 * m.pulse(0.35, 0.5, 0.62, 0.8)


def pick_up(m: Motion) -> None:
    m.prop = "parcel"
    down = m.pulse(0.05, 0.42, 0.55, 0.95)
    m.bend += 1.05 * m.gain * down
    m.pitch += 0.35 * down
    m.py -= 0.36 * m.gain * down
    m.pz -= 0.2 * down
    for side, _ in SIDES:
        m.reach(side, (0.62 * centre(m, side), -0.82, 0.5), smooth(0.05, 0.4, m.p))
        m.reach(side, (0.62 * centre(m, side), -0.42, 0.72), smooth(0.6, 0.95, m.p))
    m.nod -= 0.3 * down
    held = smooth(0.46, 0.52, m.p)
    m.prop_free = 1 - held
    ahead = 0.46
    m.prop_path[:] = np.stack(
        [m.x + ahead * np.sin(m.heading), np.full_like(m.t, 0.12), m.z + ahead * np.cos(m.heading)], axis=1
    )
    m.prop_hands = ("l", "r")


def throw(m: Motion) -> None:
    m.prop = "ball"
    sign = 1.0 if m.main == "l" else -1.0
    m.reach(m.main, (0.1, -0.4, 0.55))
    m.reach(m.main, (0.62, 0.42, -0.48), smooth(0.05, 0.32, m.p))
    m.reach(m.main, (0.15, 0.62, 0.72), smooth(0.40, 0.50, m.p))
    m.reach(m.main, (-0.35, -0.45, 0.75), smooth(0.50, 0.64, m.p))
    m.reach(m.main, (0.14, -0.95, 0.1), smooth(0.75, 1.0, m.p))
    m.turn += sign * m.gain * m.keys([0, 0.32, 0.42, 0.56, 0.75, 1], [0, 0.65, 0.6, -0.5, -0.4, 0])
    m.bend += m.gain * m.keys([0, 0.32, 0.55, 0.75, 1], [0, -0.15, 0.35, 0.25, 0])
    m.foot[m.other][:, 2] += m.keys([0, 0.2, 0.42, 1], [0, 0, 0.42, 0.42]) * m.gain
    m.foot[m.other][:, 1] += 0.12 * m.pulse(0.2, 0.3, 0.32, 0.42)
    m.pz += m.keys([0, 0.2, 0.5, 1], [0, -0.05, 0.22, 0.2])
    m.py -= 0.05 * smooth(0.2, 0.5, m.p)
    m.reach(m.other, (0.4, 0.0, 0.8), m.pulse(0.08, 0.3, 0.42, 0.6))
    # The ball leaves the hand at p = 0.47 and flies on a parabola.
    released = int(np.argmax(m.p >= 0.47))
    flight = np.maximum(m.t - m.t[released], 0)
    forward = 0.62 + 6.5 * flight
    m.prop_free = (m.p >= 0.47).astype(float)
    height = m.skeleton.rest["head"][1] + 0.25 + 1.6 * flight - 4.9 * flight**2
    m.prop_path[:] = np.stack(
        [m.x + forward * np.sin(m.heading), np.maximum(height, 0.07), m.z + forward * np.cos(m.heading)], axis=1
    )


def _seated(m: Motion, down: Array, lean: Array) -> None:
    sk = m.skeleton
    m.seat = "seat"
    m.seat_offset_m = -0.40
    m.py += down * ((0.44 + 0.085 - sk.hip_height) / sk.leg + 0.012)
    m.pz -= down * 0.36 / sk.leg
    m.pitch -= 0.08 * down
    m.bend += 0.75 * m.gain * lean
    m.nod -= 0.35 * lean
    for side, _ in SIDES:
        m.reach(side, (0.0, -0.62, 0.55), down)
        m.reach(side, (0.15, -0.5, 0.7), 0.6 * lean)


def sit_down(m: Motion) -> None:
    _seated(m, m.keys([0, 0.15, 0.68, 1], [0, 0, 1, 1]), m.pulse(0.08, 0.4, 0.5, 0.85))


def stand_up(m: Motion) -> None:
    _seated(m, m.keys([0, 0.32, 0.85, 1], [1, 1, 0, 0]), m.pulse(0.12, 0.42, 0.5, 0.9))


def clapping(m: Motion) -> None:
    on = m.pulse(0.0, 0.14, 0.88, 1.0)
    opening = (0.5 - 0.5 * np.cos(m.cycle(2.1))) * 0.42 * m.gain
    for side, _ in SIDES:
        target = np.stack([centre(m, side) + 0.03 + opening, -0.18 + 0 * m.t, 0.62 - 0.25 * opening], axis=1)
        m.reach(side, target, on)
        m.elbow(side, (0.9, -0.6, 0.0), on)


def cheer_up(m: Motion) -> None:
    on = m.pulse(0.0, 0.2, 0.85, 1.0)
    pump = np.sin(m.cycle(1.7))
    _both(m, 0.42 + 0.0 * m.t, 0.78 + 0.17 * pump * m.gain, 0.12, on)
    spring = np.maximum(np.sin(m.cycle(1.7)), 0) * 0.07 * m.style.bounce * on
    m.py += spring - 0.05 * on * (pump < 0) * np.abs(pump)
    for side, _ in SIDES:
        m.foot[side][:, 1] += np.maximum(spring - 0.02, 0)
    m.nod -= 0.2 * on


def waving(m: Motion) -> None:
    on = m.pulse(0.0, 0.18, 0.86, 1.0)
    swing = np.sin(m.cycle(1.7)) * 0.34 * m.gain
    m.reach(m.main, np.stack([0.42 + swing, 0.72 - 0.12 * np.abs(swing), 0.22 + 0 * m.t], axis=1), on)
    m.elbow(m.main, (1.0, -0.5, -0.1), on)


def kicking(m: Motion) -> None:
    side = m.main
    height = m.keys([0, 0.15, 0.3, 0.48, 0.6, 0.8, 1], [0, 0.0, 0.16, 0.42, 0.36, 0.05, 0]) * m.gain
    forward = m.keys([0, 0.15, 0.3, 0.5, 0.6, 0.8, 1], [0, 0, -0.38, 0.82, 0.75, 0.1, 0]) * m.gain
    m.foot[side][:, 1] += height
    m.foot[side][:, 2] += forward
    m.bend -= 0.3 * m.pulse(0.3, 0.48, 0.58, 0.85)
    m.pitch -= 0.15 * m.pulse(0.3, 0.48, 0.58, 0.85)
    m.px -= (1.0 if side == "l" else -1.0) * 0.07 * m.pulse(0.05, 0.2, 0.7, 0.95)
    m.reach(m.other, (0.4, -0.3, 0.8), m.pulse(0.28, 0.45, 0.6, 0.85))
    m.reach(m.main, (0.55, -0.5, -0.55), m.pulse(0.28, 0.45, 0.6, 0.85))


def hopping(m: Motion) -> None:
    sign = 1.0 if m.main == "l" else -1.0
    on = m.pulse(0.0, 0.12, 0.9, 1.0)
    spring = np.maximum(np.sin(m.cycle(1.9)), -0.35) * on
    m.py += 0.13 * m.gain * spring
    m.foot[m.main][:, 1] += 0.13 * m.gain * np.maximum(spring, 0)
    m.toe[m.main] -= 0.5 * np.maximum(spring, 0)
    m.foot[m.other][:, 1] += 0.42 * on + 0.1 * spring * on
    m.foot[m.other][:, 2] -= 0.22 * on
    m.px += sign * 0.09 * on
    _both(m, 0.55 + 0.15 * spring, -0.55 + 0.35 * spring, 0.25, on)


def jump_up(m: Motion) -> None:
    crouch = m.keys([0, 0.14, 0.26, 0.42, 0.5, 0.58, 0.7, 0.85, 1], [0, -0.24, 0, 0, -0.24, -0.2, 0, 0, -0.02])
    air = smooth(0.2, 0.3, m.p) * (1 - smooth(0.34, 0.46, m.p)) + smooth(0.63, 0.73, m.p) * (1 - smooth(0.77, 0.9, m.p))
    m.py += (crouch + 0.27 * air) * m.gain
    for side, _ in SIDES:
        m.foot[side][:, 1] += 0.25 * air * m.gain
        m.toe[side] -= 0.7 * air
    up = smooth(0.13, 0.31, m.p) * (1 - smooth(0.33, 0.5, m.p)) + smooth(0.56, 0.74, m.p) * (
        1 - smooth(0.76, 0.94, m.p)
    )
    _both(m, 0.2, -0.85, -0.35, m.pulse(0.0, 0.1, 0.12, 0.26))
    _both(m, 0.42, 0.85, 0.2, up)
    m.bend -= crouch * 1.6
    m.pz += crouch * 0.3


def phone_call(m: Motion) -> None:
    m.prop = "phone"
    on = m.pulse(0.0, 0.22, 0.88, 1.0)
    m.reach(m.main, (-0.05, -0.5, 0.6), 1 - on)
    m.reach(m.main, (0.36 * centre(m, m.main), 0.28, 0.16), on)
    m.elbow(m.main, (1.0, -0.55, 0.3), on)
    m.tilt += (-0.22 if m.main == "l" else 0.22) * on
    m.nod += 0.06 * np.sin(m.cycle(0.9)) * on
    m.look += 0.2 * np.sin(m.cycle(0.4)) * on


def point(m: Motion) -> None:
    on = m.pulse(0.05, 0.28, 0.78, 1.0)
    out, up = m.rng.uniform(0.25, 0.7), m.rng.uniform(0.02, 0.2)
    m.reach(m.main, (out, up, 0.95 - 0.45 * out), on)
    m.look += (1.0 if m.main == "l" else -1.0) * 0.6 * out * on
    m.turn += (1.0 if m.main == "l" else -1.0) * 0.25 * out * on


def bow(m: Motion) -> None:
    down = m.pulse(0.08, 0.4, 0.58, 0.95)
    m.bend += 0.95 * m.gain * down
    m.pitch += 0.22 * down
    m.pz -= 0.12 * down
    m.nod += 0.35 * down


def salute(m: Motion) -> None:
    on = m.pulse(0.05, 0.25, 0.8, 1.0)
    m.reach(m.main, (0.36 * centre(m, m.main), 0.42, 0.34), on)
    m.elbow(m.main, (1.0, -0.1, 0.25), on)
    m.look *= 1 - on


def cross_hands(m: Motion) -> None:
    on = m.pulse(0.05, 0.3, 0.75, 1.0)
    beat = 0.08 * np.sin(m.cycle(1.1)) * m.gain
    for side, depth in (("l", 0.58), ("r", 0.66)):
        m.reach(side, np.stack([1.55 * centre(m, side) + 0 * beat, 0.16 + beat, depth + 0 * beat], axis=1), on)
        m.elbow(side, (0.8, -1.0, 0.1), on)


def falling(m: Motion) -> None:
    sk = m.skeleton
    side = float(m.rng.choice([-1.0, 1.0]))
    down = m.keys([0, 0.16, 0.34, 0.62, 0.7, 1], [0, 0.0, 0.22, 0.97, 1.0, 1.0])
    tip = m.keys([0, 0.14, 0.34, 0.66, 0.75, 1], [0, 0.02, 0.25, 1.0, 1.0, 1.0])
    m.py += down * (0.125 - sk.hip_height) / sk.leg
    m.pz -= 0.55 * tip
    m.px += 0.12 * side * tip
    m.pitch -= 1.38 * tip
    m.roll += 0.25 * side * tip
    m.bend += 0.25 * m.pulse(0.1, 0.3, 0.5, 0.8) - m.style.slouch_rad * tip
    m.nod += 0.25 * tip
    for foot, _ in SIDES:
        m.foot[foot][:, 1] += 0.22 * m.pulse(0.35, 0.5, 0.55, 0.75)
        m.foot[foot][:, 0] += 0.12 * tip
    m.foot[m.main][:, 2] -= 0.22 * tip
    _both(m, 0.75, 0.35, 0.35, m.pulse(0.15, 0.35, 0.5, 0.7))
    m.reach(m.main, (0.9, -0.3, -0.1), smooth(0.55, 0.75, m.p))
    m.reach(m.other, (0.6, 0.55, 0.0), smooth(0.55, 0.75, m.p))


def squat_down(m: Motion) -> None:
    down = m.keys([0, 0.1, 0.42, 0.6, 0.95, 1], [0, 0, 1, 1, 0.05, 0])
    m.py -= 0.56 * down * min(m.gain, 1.05)
    m.pz -= 0.20 * down
    m.bend += 0.5 * down
    m.pitch += 0.25 * down
    m.nod -= 0.4 * down
    _both(m, -0.05, -0.12, 0.9, down)


def arm_circles(m: Motion) -> None:
    # The circle itself starts and ends at the hanging arm: no way from the top of it straight down.
    turns = max(1, round(0.95 * m.tempo * m.duration_s * 0.85))
    angle = 2 * np.pi * turns * m.keys([0, 0.12, 0.9, 1], [0, 0.08, 0.97, 1])
    _both(m, 0.42, -0.86 * np.cos(angle), 0.86 * np.sin(angle), m.pulse(0.0, 0.08, 0.92, 1.0))


def arm_swings(m: Motion) -> None:
    on = m.pulse(0.0, 0.12, 0.9, 1.0)
    wide = 0.5 + 0.5 * np.sin(m.cycle(0.95))
    for side, _ in SIDES:
        out = 1.5 * centre(m, side) * (1 - wide) + 0.93 * wide
        m.reach(side, np.stack([out, 0.02 + 0 * out, 0.72 * (1 - wide) - 0.2 * wide], axis=1), on)


def _running(m: Motion, lift: float, back: float, rate: float, arms: bool) -> None:
    on = m.pulse(0.0, 0.1, 0.92, 1.0)
    angle = m.cycle(rate)
    for side, sign in SIDES:
        up = np.maximum(sign * np.sin(angle), 0) * on * m.gain
        m.foot[side][:, 1] += lift * up
        m.foot[side][:, 2] += back * up
        m.toe[side] -= 0.3 * up
        if arms:
            swing = -sign * np.sin(angle) * 0.38
            m.reach(side, np.stack([0.1 + 0 * swing, -0.42 + 0.22 * swing, 0.42 + swing], axis=1), on)
    m.py += (0.03 * m.style.bounce * np.abs(np.sin(angle)) - 0.03) * on
    m.px += 0.04 * np.sin(angle) * on
    m.turn += 0.12 * np.sin(angle) * on
    m.bend += 0.1 * on


def run_on_spot(m: Motion) -> None:
    _running(m, 0.36, 0.16, 1.45, True)


def butt_kicks(m: Motion) -> None:
    _running(m, 0.52, -0.42, 1.3, False)
    _both(m, 0.15, -0.55, -0.35)


def cross_toe_touch(m: Motion) -> None:
    on = m.pulse(0.0, 0.14, 0.8, 1.0)
    angle = m.cycle(0.62)
    which = np.tanh(2.5 * np.sin(angle))
    down = np.abs(np.sin(angle)) ** 0.8 * on
    m.bend += 1.35 * down * m.gain
    m.pitch += 0.3 * down
    m.pz -= 0.16 * down
    m.turn += 0.75 * which * on
    for side, sign in SIDES:
        m.foot[side][:, 0] += 0.28 * on
        m.reach(side, (0.95, 0.0, 0.1), on)
        low = np.clip(-sign * which, 0, 1) * down
        m.reach(side, (0.35 * centre(m, side), -0.9, 0.4), low)
        m.reach(side, (0.65, 0.7, -0.25), np.clip(sign * which, 0, 1) * down)
    m.py -= 0.05 * on


def side_kick(m: Motion) -> None:
    sign = 1.0 if m.main == "l" else -1.0
    out = m.keys([0, 0.14, 0.3, 0.46, 0.58, 0.8, 1], [0, 0.0, 0.1, 0.88, 0.84, 0.1, 0]) * m.gain
    up = m.keys([0, 0.14, 0.3, 0.46, 0.58, 0.8, 1], [0, 0.0, 0.42, 0.58, 0.55, 0.1, 0]) * m.gain
    m.foot[m.main][:, 0] += out
    m.foot[m.main][:, 1] += up
    lean = m.pulse(0.2, 0.45, 0.6, 0.88)
    m.roll += sign * 0.38 * lean
    m.px -= sign * 0.12 * lean
    m.side += sign * 0.2 * lean
    for side, _ in SIDES:
        m.reach(side, (0.1, -0.25, 0.6), lean)
        m.elbow(side, (0.8, -1.0, 0.0), lean)


def stretch(m: Motion) -> None:
    on = m.pulse(0.02, 0.32, 0.78, 1.0)
    for side, _ in SIDES:
        m.reach(side, (0.55 * centre(m, side), 0.97, 0.08), on)
    m.side += 0.42 * m.gain * np.sin(m.cycle(0.5)) * on
    m.bend -= 0.22 * on
    m.nod -= 0.3 * on
    m.py += 0.02 * on


_SINGLE: dict[int, Callable[[Motion], None]] = {
    **{1: drink, 6: pick_up, 7: throw, 8: sit_down, 9: stand_up, 10: clapping, 22: cheer_up, 23: waving, 24: kicking},
    **{26: hopping, 27: jump_up, 28: phone_call, 31: point, 35: bow, 38: salute, 40: cross_hands, 43: falling},
    **{80: squat_down, 97: arm_circles, 98: arm_swings, 99: run_on_spot, 100: butt_kicks, 101: cross_toe_touch},
    **{102: side_kick, 104: stretch},
}

_ANIMATE: dict[int, Callable[..., None]] = {**_SINGLE, **mutual.MUTUAL}

# NTU action number -> what is rendered for it.
RENDERED_ACTIONS: dict[int, RenderedAction] = {
    number: RenderedAction(number, NTU_ACTIONS[number - 1], number in NTU_MUTUAL_ACTIONS, animate)
    for number, animate in sorted(_ANIMATE.items())
}
