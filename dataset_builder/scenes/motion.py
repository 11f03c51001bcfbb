"""A performer's motion over one clip: channels that actions fill, and the pose they solve to.

Channels are arrays over the frames. Hands are aimed in units of the arm's length from the shoulder along (out, up,
forward), feet in units of the leg's length from where they stand along the same axes; two-bone inverse kinematics
does the rest. So one action's numbers fit every performer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from .people import Style
from .skeleton import BONE, BONES, JOINTS, Array, Skeleton, apply, limb_frame, rotation, two_bone, unit

SIDES = (("l", 1.0), ("r", -1.0))
_SCALARS = (
    *("x", "z", "heading", "px", "py", "pz", "pitch", "roll", "twist", "bend", "side", "turn", "nod", "tilt", "look"),
)


def smooth(low: float, high: float, value: ArrayLike) -> Array:
    """Smoothstep: 0 below ``low``, 1 above ``high``, with zero slope at both."""
    t = np.clip((np.asarray(value, np.float64) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


class Motion:
    """Channels of one performer in one clip.

    Parameters
    ----------
    frames, fps : the clip's length and rate.
    skeleton, style : whose motion it is.
    rng : the clip's stream; replications differ by it in timing, amplitude and idle sway.
    """

    def __init__(self, frames: int, fps: float, skeleton: Skeleton, style: Style, rng: np.random.Generator) -> None:
        self.skeleton, self.style, self.rng = skeleton, style, rng
        self.t = np.arange(frames) / fps
        self.duration_s = frames / fps
        start, end = rng.uniform(0.04, 0.11), rng.uniform(0.86, 0.95)
        fraction = np.arange(frames) / max(1, frames - 1)
        # A performer of quick tempo is done earlier; the whole action always fits the clip.
        self.p = np.clip((fraction - start) / (start + (end - start) / max(style.tempo, 1.0) ** 0.5 - start), 0, 1)
        self.tempo = style.tempo * rng.uniform(0.93, 1.07)
        self.gain = style.amplitude * rng.uniform(0.94, 1.06)
        self.main = "r" if style.right else "l"
        self.other = "l" if style.right else "r"
        for name in _SCALARS:
            setattr(self, name, np.zeros(frames))
        self.hand = {s: np.zeros((frames, 3)) for s, _ in SIDES}
        self.pole = {s: np.zeros((frames, 3)) for s, _ in SIDES}
        self.pole_weight = {s: np.zeros(frames) for s, _ in SIDES}
        self.grip = {s: np.zeros((frames, 3)) for s, _ in SIDES}
        self.grip_weight = {s: np.zeros(frames) for s, _ in SIDES}
        self.foot = {s: np.zeros((frames, 3)) for s, _ in SIDES}
        self.toe = {s: np.zeros(frames) for s, _ in SIDES}
        self.prop: str | None = None
        self.prop_hands: tuple[str, ...] = (self.main,)
        self.prop_path = np.zeros((frames, 3))
        self.prop_free = np.zeros(frames)
        self.seat: str | None = None
        self.seat_offset_m = 0.0
        self._idle()

    x: Array
    z: Array
    heading: Array
    px: Array
    py: Array
    pz: Array
    pitch: Array
    roll: Array
    twist: Array
    bend: Array
    side: Array
    turn: Array
    nod: Array
    tilt: Array
    look: Array

    def noise(self, rate_hz: float = 0.5) -> Array:
        """Smooth random signal (T,) of about unit size and bandwidth ``rate_hz``."""
        rates = rate_hz * self.rng.uniform(0.4, 1.6, 4)
        phases = self.rng.uniform(0, 2 * np.pi, 4)
        return np.asarray(np.sin(2 * np.pi * np.outer(self.t, rates) + phases).sum(1) / 2)

    def keys(self, times: ArrayLike, values: ArrayLike) -> Array:
        """Key values at ``times`` (fractions of the action, increasing) joined without overshoot: (T,) or (T, D)."""
        return np.asarray(PchipInterpolator(times, values, axis=0)(np.clip(self.p, np.min(times), np.max(times))))

    def pulse(self, rise: float, hold: float, release: float, end: float) -> Array:
        """Envelope (T,): 0 before ``rise``, 1 from ``hold`` to ``release``, 0 after ``end`` (of the action)."""
        return smooth(rise, hold, self.p) * (1 - smooth(release, end, self.p))

    def cycle(self, rate_hz: float) -> Array:
        """Phase in radians (T,) of a repeated movement of about ``rate_hz`` at this performer's tempo."""
        return 2 * np.pi * (rate_hz * self.tempo * self.t + self.style.phase)

    def reach(self, side: str, target: ArrayLike, weight: ArrayLike = 1.0) -> None:
        """Blend the hand towards ``target`` (3,) or (T, 3) along an arc about the shoulder, by ``weight`` (T,)."""
        goal = np.broadcast_to(np.asarray(target, np.float64), self.hand[side].shape)
        share = np.broadcast_to(np.asarray(weight, np.float64), self.t.shape)[:, None]
        now = self.hand[side]
        la, lb = np.linalg.norm(now, axis=1, keepdims=True), np.linalg.norm(goal, axis=1, keepdims=True)
        a, b = now / np.maximum(la, 1e-6), goal / np.maximum(lb, 1e-6)
        angle = np.arccos(np.clip((a * b).sum(1, keepdims=True), -1, 1))
        sine = np.where(np.sin(angle) < 1e-3, 1.0, np.sin(angle))
        arc = np.where(np.sin(angle) < 1e-3, b, (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / sine)
        self.hand[side] = arc * (la + share * (lb - la))

    def elbow(self, side: str, pole: ArrayLike, weight: ArrayLike = 1.0) -> None:
        """Blend the direction in which the elbow points to ``pole`` (out, up, forward), by ``weight`` (T,)."""
        share = np.broadcast_to(np.asarray(weight, np.float64), self.t.shape)
        self.pole[side] = self.pole[side] * (1 - share[:, None]) + np.asarray(pole, np.float64) * share[:, None]
        self.pole_weight[side] = np.maximum(self.pole_weight[side], share)

    def hold(self, side: str, point: Array, weight: Array) -> None:
        """Take the hand to a place in the world (T, 3) m, by ``weight`` (T,)."""
        self.grip[side], self.grip_weight[side] = point, weight

    def walk(self, distance_m: Array, lift: float = 0.09) -> None:
        """Step forward along the heading by ``distance_m`` (T,); feet do not slide, arms swing."""
        stride = 0.62 * self.style.stride * self.skeleton.leg
        speed = np.abs(np.gradient(distance_m, self.t))
        moving = smooth(0.02, 0.45, speed)
        steps = np.diff(distance_m, prepend=0.0)
        self.x += np.cumsum(steps * np.sin(self.heading))
        self.z += np.cumsum(steps * np.cos(self.heading))
        cycle = distance_m / (2.0 * stride) + 0.25 + 0.5 * (self.style.phase > 0.5)
        for side, lag in (("l", 0.0), ("r", 0.5)):
            c = (cycle + lag) % 1.0
            swing = smooth(0, 1, (c - 0.55) / 0.45)
            forward = np.where(c < 0.55, 0.5 - c / 0.55, -0.5 + swing) * 2 * 0.55 * stride / self.skeleton.leg
            up = np.where(c < 0.55, 0.0, np.sin(np.pi * np.clip((c - 0.55) / 0.45, 0, 1)))
            self.foot[side][:, 2] += forward * moving
            self.foot[side][:, 1] += lift * up * moving
            self.toe[side] += moving * np.where(c < 0.55, 0.0, 0.35 * np.sin(2 * np.pi * (c - 0.55) / 0.45))
            other = "r" if side == "l" else "l"
            self.hand[other][:, 2] += 0.5 * self.style.arm_swing * forward * moving
        self.py += moving * 0.018 * self.style.bounce * np.cos(4 * np.pi * cycle) - 0.03 * moving
        self.roll += 0.03 * moving * np.sin(2 * np.pi * cycle)
        self.twist += 0.09 * moving * np.cos(2 * np.pi * cycle)
        self.turn -= 0.16 * moving * np.cos(2 * np.pi * cycle)
        self.bend += 0.04 * moving

    def _idle(self) -> None:
        style = self.style
        self.py -= 0.012
        self.bend += style.slouch_rad + 0.008 * np.sin(2 * np.pi * 0.27 * self.t + self.rng.uniform(0, 6))
        self.px += 0.012 * style.sway * self.noise(0.35)
        self.pz += 0.008 * style.sway * self.noise(0.35)
        self.twist += 0.03 * style.sway * self.noise(0.3)
        self.look += 0.07 * self.noise(0.3)
        self.nod += style.head_pitch_rad - 0.5 * style.slouch_rad + 0.03 * self.noise(0.4)
        self.tilt += style.head_tilt_rad
        for side, sign in SIDES:
            rest = np.array([0.07 + 0.06 * style.elbow, -0.965, 0.08 + 0.12 * max(style.slouch_rad, 0)])
            self.hand[side] += rest + 0.015 * style.sway * np.stack([self.noise(0.4) for _ in range(3)], axis=1)
            self.hand[side][:, 2] += 0.05 * sign * style.asymmetry


@dataclass(frozen=True)
class Pose:
    """Solved clip: ``bones`` (T, B, 3, 4) rest -> world, ``joints`` (T, 25, 3) world metres in Kinect order."""

    bones: NDArray[np.float32]
    joints: NDArray[np.float32]


def solve(motion: Motion) -> Pose:
    """Positions and orientations of every bone in every frame; see :mod:`dataset_builder.scenes.skeleton`."""
    sk, rest, frames = motion.skeleton, motion.skeleton.rest, len(motion.t)
    bones = np.zeros((frames, len(BONES), 3, 4))
    joint: dict[str, Array] = {}

    def place(name: str, turn: Array, at: Array, pivot: Array) -> None:
        bones[:, BONE[name], :, :3] = turn
        bones[:, BONE[name], :, 3] = at - apply(turn, pivot)

    def child(parent: str, name: str, parent_turn: Array) -> Array:
        return joint[parent] + apply(parent_turn, rest[name] - rest[parent])

    heading = rotation("y", motion.heading)
    base = np.stack([motion.x, np.zeros(frames), motion.z], axis=1)
    offset = np.stack([motion.px * sk.leg, sk.hip_height + motion.py * sk.leg, motion.pz * sk.leg], axis=1)
    pelvis = heading @ rotation("y", motion.twist) @ rotation("x", motion.pitch) @ rotation("z", motion.roll)
    joint["pelvis"] = base + apply(heading, offset)
    place("pelvis", pelvis, joint["pelvis"], rest["pelvis"])
    turns = {"pelvis": pelvis}
    for name, parent, share, angles in (
        ("spine", "pelvis", 0.45, (motion.turn, motion.bend, motion.side)),
        ("chest", "spine", 0.55, (motion.turn, motion.bend, motion.side)),
        ("neck", "chest", 0.45, (motion.look, motion.nod, motion.tilt)),
        ("head", "neck", 0.55, (motion.look, motion.nod, motion.tilt)),
    ):
        yaw, pitch, roll = angles
        local = rotation("y", share * yaw) @ rotation("x", share * pitch) @ rotation("z", share * roll)
        turns[name] = turns[parent] @ local
        joint[name] = child(parent, name, turns[parent])
        place(name, turns[name], joint[name], rest[name])
    aim = pelvis @ rotation("y", motion.turn)
    for side, sign in SIDES:
        _arm(motion, side, sign, turns["chest"], aim, joint, place)
        _leg(motion, side, sign, pelvis, heading, base, joint, place)
    joint["head_centre"] = joint["head"] + apply(turns["head"], rest["head_centre"] - rest["head"])
    joint["shoulders"] = joint["chest"] + apply(turns["chest"], rest["shoulders"] - rest["chest"])
    palms = [0.6 * joint[f"hand_tip_{side}"] + 0.4 * joint[f"hand_{side}"] for side in motion.prop_hands]
    palm = sum(palms[1:], palms[0]) / len(palms)
    free = motion.prop_free[:, None]
    place("prop", heading, palm * (1 - free) + motion.prop_path * free, np.zeros(3))
    seat = base[0] + apply(heading[:1], [0, 0, motion.seat_offset_m])[0]
    place("seat", np.repeat(heading[:1], frames, axis=0), np.broadcast_to(seat, (frames, 3)), np.zeros(3))
    return Pose(bones.astype(np.float32), _kinect(joint).astype(np.float32))


def _arm(motion, side, sign, chest, aim, joint, place) -> None:  # type: ignore[no-untyped-def]
    sk, rest = motion.skeleton, motion.skeleton.rest
    mirror = np.array([sign, 1.0, 1.0])
    up = np.clip(motion.hand[side][:, 1] / np.maximum(np.linalg.norm(motion.hand[side], axis=1), 0.5), -1, 1)
    clavicle = chest @ rotation("z", sign * 0.5 * smooth(0.0, 1.0, up))
    at = joint["chest"] + apply(chest, rest[f"clavicle_{side}"] - rest["chest"])
    place(f"clavicle_{side}", clavicle, at, rest[f"clavicle_{side}"])
    shoulder = at + apply(clavicle, rest[f"upper_arm_{side}"] - rest[f"clavicle_{side}"])
    target = shoulder + apply(aim, motion.hand[side] * mirror * sk.arm)
    weight = motion.grip_weight[side][:, None]
    palm = motion.grip[side] - 0.5 * sk.hand * unit(motion.grip[side] - shoulder)
    target = target * (1 - weight) + palm * weight
    high = smooth(0.2, 0.9, up)[:, None]
    natural = np.array([0.45 + motion.style.elbow, -0.6, -0.8]) * (1 - high) + np.array([1.0, 0.0, 0.35]) * high
    chosen = motion.pole_weight[side][:, None]
    pole = apply(aim, (natural * (1 - chosen) + motion.pole[side] * chosen) * mirror)
    elbow, wrist, hinge = two_bone(shoulder, target, pole, sk.upper_arm, sk.forearm)
    along = rest[f"forearm_{side}"] - rest[f"upper_arm_{side}"]
    rest_frame = limb_frame(along[None], np.cross(along, [0.0, 0.0, -1.0])[None])[0]
    upper = limb_frame(elbow - shoulder, hinge) @ rest_frame.T
    fore = limb_frame(wrist - elbow, hinge) @ rest_frame.T
    place(f"upper_arm_{side}", upper, shoulder, rest[f"upper_arm_{side}"])
    place(f"forearm_{side}", fore, elbow, rest[f"forearm_{side}"])
    place(f"hand_{side}", fore, wrist, rest[f"hand_{side}"])
    joint[f"upper_arm_{side}"], joint[f"forearm_{side}"], joint[f"hand_{side}"] = shoulder, elbow, wrist
    joint[f"hand_tip_{side}"] = wrist + apply(fore, rest[f"hand_tip_{side}"] - rest[f"hand_{side}"])
    joint[f"thumb_{side}"] = 0.5 * (wrist + joint[f"hand_tip_{side}"]) + apply(fore, [0, 0, 0.04])


def _leg(motion, side, sign, pelvis, heading, base, joint, place) -> None:  # type: ignore[no-untyped-def]
    sk, rest, style = motion.skeleton, motion.skeleton.rest, motion.style
    hip = joint["pelvis"] + apply(pelvis, rest[f"thigh_{side}"] - rest["pelvis"])
    foot = motion.foot[side]
    out = abs(rest[f"thigh_{side}"][0]) * (0.75 + 0.55 * style.stance) + foot[:, 0] * sk.leg
    ankle_height = rest[f"foot_{side}"][1]
    up = ankle_height + np.maximum(foot[:, 1], 0) * sk.leg
    target = base + apply(heading, np.stack([sign * out, up, foot[:, 2] * sk.leg], axis=1))
    forward = 0.6 * apply(heading, [sign * (0.12 + 0.8 * style.toe_out_rad), 0, 1]) + 0.6 * pelvis[:, :, 2]
    knee, ankle, hinge = two_bone(hip, target, forward, sk.thigh, sk.shin)
    down = np.array([0.0, -1.0, 0.0])
    rest_frame = limb_frame(down[None], np.cross(down, [0.0, 0.0, 1.0])[None])[0]
    thigh = limb_frame(knee - hip, hinge) @ rest_frame.T
    shin = limb_frame(ankle - knee, hinge) @ rest_frame.T
    # A foot off the floor keeps its angle to the shin; on the floor it lies flat.
    local = np.einsum("tji,tj->ti", heading, ankle - knee)
    lifted = smooth(0.03, 0.2, (ankle[:, 1] - ankle_height) / sk.leg)
    pitch = motion.toe[side] + lifted * np.arctan2(local[:, 2], np.maximum(-local[:, 1], -0.2 * sk.shin))
    sole = heading @ rotation("y", sign * style.toe_out_rad) @ rotation("x", -pitch)
    place(f"thigh_{side}", thigh, hip, rest[f"thigh_{side}"])
    place(f"shin_{side}", shin, knee, rest[f"shin_{side}"])
    place(f"foot_{side}", sole, ankle, rest[f"foot_{side}"])
    joint[f"thigh_{side}"], joint[f"shin_{side}"], joint[f"foot_{side}"] = hip, knee, ankle
    joint[f"toe_{side}"] = ankle + apply(sole, rest[f"toe_{side}"] - rest[f"foot_{side}"])


_KINECT = {
    **{"spine_base": "pelvis", "spine_mid": "chest", "neck": "neck", "head": "head_centre"},
    "spine_shoulder": "shoulders",
}
for _word, _side in (("left", "l"), ("right", "r")):
    for _name, _bone in (("shoulder", "upper_arm"), ("elbow", "forearm"), ("hip", "thigh"), ("knee", "shin")):
        _KINECT[f"{_name}_{_word}"] = f"{_bone}_{_side}"
    _KINECT |= {f"wrist_{_word}": f"hand_{_side}", f"ankle_{_word}": f"foot_{_side}", f"foot_{_word}": f"toe_{_side}"}
    _KINECT |= {f"hand_tip_{_word}": f"hand_tip_{_side}", f"thumb_{_word}": f"thumb_{_side}"}


def _kinect(joint: dict[str, Array]) -> Array:
    for side, word in (("l", "left"), ("r", "right")):
        joint[f"hand_{word}"] = 0.5 * (joint[f"hand_{side}"] + joint[f"hand_tip_{side}"])
    return np.stack([joint[_KINECT.get(name, name)] for name in JOINTS], axis=1)
