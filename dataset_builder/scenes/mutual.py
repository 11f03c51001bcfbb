"""The rendered actions of two performers: ``a`` acts, ``b`` answers. They face each other ``gap`` metres apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .motion import SIDES, Motion, smooth
from .skeleton import Array


def place(of: Motion, forward_m: float | Array, height_m: float | Array, left_m: float = 0.0) -> Array:
    """A place (T, 3) in the world, ``forward_m`` before and ``left_m`` beside where a performer stands."""
    sine, cosine = np.sin(of.heading), np.cos(of.heading)
    return np.stack(
        [
            of.x + forward_m * sine + left_m * cosine,
            np.broadcast_to(np.asarray(height_m, np.float64), of.t.shape),
            of.z + forward_m * cosine - left_m * sine,
        ],
        axis=1,
    )


def _shoulder_height(m: Motion) -> float:
    return float(m.skeleton.rest["upper_arm_l"][1])


def _between(a: Motion, b: Motion, share: float, height_m: float) -> Array:
    """A place on the line between the two, at ``share`` of the way from ``a`` to ``b``."""
    middle = np.stack([a.x + share * (b.x - a.x), np.full_like(a.t, height_m), a.z + share * (b.z - a.z)], axis=1)
    return middle


def _stagger(b: Motion, hit: Array, strength: float) -> None:
    b.bend -= 0.45 * strength * hit
    b.nod -= 0.3 * strength * hit
    b.pz -= 0.2 * strength * hit
    step = smooth(0.44, 0.6, b.p)
    b.foot[b.main][:, 2] -= 0.32 * strength * step
    b.foot[b.main][:, 1] += 0.08 * b.pulse(0.44, 0.5, 0.53, 0.6)
    b.pz -= 0.14 * strength * step
    for side, _ in SIDES:
        b.reach(side, (0.55, -0.25, 0.5), 0.8 * hit)


def punch(a: Motion, b: Motion, gap: float) -> None:
    """A050: a fist to the other's head, who reels back."""
    target = place(b, 0.16, b.skeleton.rest["head_centre"][1] - 0.05)
    wind = a.pulse(0.05, 0.28, 0.34, 0.44)
    a.reach(a.main, (0.3, -0.15, -0.35), wind)
    a.reach(a.other, (0.0, -0.15, 0.5), a.pulse(0.05, 0.25, 0.7, 0.95))
    a.hold(a.main, target, a.pulse(0.36, 0.47, 0.52, 0.72))
    sign = 1.0 if a.main == "l" else -1.0
    a.turn += sign * a.keys([0, 0.3, 0.36, 0.48, 0.56, 0.8, 1], [0, 0.5, 0.5, -0.55, -0.5, 0, 0])
    a.bend += 0.22 * a.pulse(0.3, 0.47, 0.55, 0.8)
    a.foot[a.other][:, 2] += 0.45 * smooth(0.2, 0.42, a.p)
    a.foot[a.other][:, 1] += 0.08 * a.pulse(0.2, 0.28, 0.34, 0.42)
    a.pz += max(0.0, gap - 0.85) / a.skeleton.leg * smooth(0.25, 0.47, a.p)
    _stagger(b, b.pulse(0.44, 0.55, 0.68, 0.95), 1.0)


def kick(a: Motion, b: Motion, gap: float) -> None:
    """A051: a foot to the other's body, who gives way."""
    forward = max(0.7, (gap - 0.22) / a.skeleton.leg)
    a.foot[a.main][:, 2] += a.keys([0, 0.15, 0.3, 0.48, 0.56, 0.8, 1], [0, 0, -0.3, forward, forward * 0.95, 0.1, 0])
    a.foot[a.main][:, 1] += a.keys([0, 0.15, 0.3, 0.48, 0.56, 0.8, 1], [0, 0, 0.25, 0.75, 0.72, 0.1, 0])
    lean = a.pulse(0.25, 0.47, 0.58, 0.85)
    a.pitch -= 0.35 * lean
    a.pz += 0.12 * lean
    a.py -= 0.02 * lean
    a.reach(a.other, (0.3, -0.1, 0.7), lean)
    a.reach(a.main, (0.6, -0.4, -0.4), lean)
    _stagger(b, b.pulse(0.46, 0.56, 0.68, 0.95), 0.8)
    b.bend += 1.1 * b.pulse(0.46, 0.56, 0.68, 0.95)


def push(a: Motion, b: Motion, gap: float) -> None:
    """A052: both hands against the other's chest, who steps back."""
    height = 0.93 * _shoulder_height(b)
    on = a.pulse(0.22, 0.45, 0.55, 0.8)
    for side, sign in SIDES:
        a.reach(side, (0.0, -0.3, 0.45), a.pulse(0.02, 0.22, 0.3, 0.45))
        a.hold(side, place(b, 0.14, height, -0.1 * sign), on)
    a.bend += 0.35 * a.pulse(0.25, 0.47, 0.6, 0.85)
    a.foot[a.main][:, 2] += 0.4 * smooth(0.22, 0.42, a.p)
    a.foot[a.main][:, 1] += 0.07 * a.pulse(0.22, 0.3, 0.34, 0.42)
    a.pz += max(0.0, gap - 0.75) / a.skeleton.leg * smooth(0.25, 0.47, a.p)
    _stagger(b, b.pulse(0.45, 0.56, 0.7, 0.95), 1.15)


def hug(a: Motion, b: Motion, gap: float) -> None:
    """A055: both come close and put their arms around each other."""
    near = a.pulse(0.0, 0.34, 0.8, 1.0)
    come = 0.5 * (gap - 0.31)
    for one in (a, b):
        one.walk(come * smooth(0.0, 0.36, one.p) - come * smooth(0.84, 1.0, one.p) * 0.6, 0.06)
    for one, other in ((a, b), (b, a)):
        other_chest = 0.90 * _shoulder_height(other)
        for side, sign in SIDES:
            one.reach(side, (0.45, -0.1, 0.75), one.pulse(0.05, 0.3, 0.8, 1.0))
            back = place(other, -0.10, other_chest + (0.06 if (side == "l") == (one is a) else -0.14), -0.02 * sign)
            one.hold(side, back, smooth(0.28, 0.46, one.p) * (1 - smooth(0.74, 0.9, one.p)))
            one.elbow(side, (1.0, 0.1, 0.1), near)
        one.bend += 0.2 * near
        one.tilt += 0.25 * near
        one.px -= 0.05 * near


def shake_hands(a: Motion, b: Motion, gap: float) -> None:
    """A058: right hand in right hand, moved up and down."""
    on = smooth(0.06, 0.3, a.p) * (1 - smooth(0.8, 0.98, a.p))
    height = 0.66 * 0.5 * (_shoulder_height(a) + _shoulder_height(b))
    beat = 0.055 * np.sin(a.cycle(1.9)) * smooth(0.3, 0.36, a.p) * (1 - smooth(0.74, 0.8, a.p))
    lean = max(0.0, 0.5 * gap - 0.42)
    for one in (a, b):
        meeting = _between(a, b, 0.5, height)
        meeting[:, 1] += beat
        one.hold("r", meeting, on)
        one.bend += (0.12 + 0.5 * lean) * on
        one.pz += 0.6 * lean / one.skeleton.leg * on


def walk_towards(a: Motion, b: Motion, gap: float) -> None:
    """A059: both walk towards each other and stop."""
    for one in (a, b):
        one.walk(0.5 * (gap - 0.8) * smooth(-0.05, 0.97, one.p))


def walk_apart(a: Motion, b: Motion, gap: float) -> None:
    """A060: both turn round and walk away from each other."""
    for one in (a, b):
        turned = smooth(0.02, 0.26, one.p)
        direction = 1.0 if one is a else -1.0
        one.heading = one.heading + direction * np.pi * turned
        one.walk(0.95 * smooth(0.12, 1.1, one.p))


def high_five(a: Motion, b: Motion, gap: float) -> None:
    """A112: raised palms meet between the two."""
    height = 1.06 * 0.5 * (a.skeleton.rest["head_centre"][1] + b.skeleton.rest["head_centre"][1])
    on = smooth(0.15, 0.48, a.p) * (1 - smooth(0.58, 0.92, a.p))
    wind = a.pulse(0.02, 0.24, 0.28, 0.48)
    lean = max(0.0, 0.5 * gap - 0.36)
    for one in (a, b):
        one.reach("r", (0.35, 0.6, -0.25), wind)
        one.hold("r", _between(a, b, 0.5, height), on)
        one.bend += (0.05 + 0.4 * lean) * on
        one.pz += 0.8 * lean / one.skeleton.leg * on


MUTUAL: dict[int, Callable[[Motion, Motion, float], None]] = {
    **{50: punch, 51: kick, 52: push, 55: hug, 58: shake_hands, 59: walk_towards, 60: walk_apart, 112: high_five},
}

# How far apart the two stand at the start, in metres.
GAP_M = {50: 1.05, 51: 1.1, 52: 0.95, 55: 1.3, 58: 1.0, 59: 2.5, 60: 0.8, 112: 0.95}
