"""The articulated skeleton: rest pose, forward and two-bone inverse kinematics for a whole clip at once.

Axes of a person: x to the person's left, y up, z forward; metres. World: y up, a person of heading 0 faces +z, where
the cameras stand. Rotation arrays are (T, 3, 3), points (T, 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .people import Proportions

Array = NDArray[np.float64]

BONES = (
    *("pelvis", "spine", "chest", "neck", "head"),
    *("clavicle_l", "upper_arm_l", "forearm_l", "hand_l", "clavicle_r", "upper_arm_r", "forearm_r", "hand_r"),
    *("thigh_l", "shin_l", "foot_l", "thigh_r", "shin_r", "foot_r", "prop", "seat"),
)
BONE = {name: i for i, name in enumerate(BONES)}

# The order of the Kinect v2 skeleton, as in NTU RGB+D.
JOINTS = (
    *("spine_base", "spine_mid", "neck", "head"),
    *("shoulder_left", "elbow_left", "wrist_left", "hand_left"),
    *("shoulder_right", "elbow_right", "wrist_right", "hand_right"),
    *("hip_left", "knee_left", "ankle_left", "foot_left", "hip_right", "knee_right", "ankle_right", "foot_right"),
    *("spine_shoulder", "hand_tip_left", "thumb_left", "hand_tip_right", "thumb_right"),
)

ARM_REST_RAD = 0.75  # how far the arms stand off the body in the pose in which the meshes are built


@dataclass(frozen=True)
class Skeleton:
    """Rest-pose joint positions (``rest``: name -> (3,) m) and lengths in metres."""

    rest: dict[str, Array]
    upper_arm: float
    forearm: float
    hand: float
    thigh: float
    shin: float
    foot: float
    head_height: float

    @property
    def arm(self) -> float:
        """Shoulder to wrist, metres."""
        return self.upper_arm + self.forearm

    @property
    def leg(self) -> float:
        """Hip to ankle, metres."""
        return self.thigh + self.shin

    @property
    def hip_height(self) -> float:
        """Height of the pelvis joint above the floor in the rest pose, metres."""
        return float(self.rest["pelvis"][1])


def build_skeleton(body: Proportions) -> Skeleton:
    """Rest pose of a person with these measures (segment lengths after Drillis and Contini, 1966)."""
    h = body.stature_m
    hip = 0.52 * h * body.leg
    trunk = (0.80 * h - hip) / (0.80 - 0.52)  # stature of which the trunk is the usual share
    ankle = 0.042 * h
    thigh, shin = 0.505 * (hip - ankle), 0.495 * (hip - ankle)
    shoulder = 0.112 * h * body.shoulder
    hip_half = 0.052 * h * body.hip
    head = 0.0665 * (0.75 * 1.72 + 0.25 * h) * body.head
    upper, fore, hand = 0.171 * h * body.arm, 0.150 * h * body.arm, 0.098 * h * body.arm
    rest: dict[str, Array] = {
        "pelvis": np.array([0, hip + 0.01 * trunk, 0]),
        "spine": np.array([0, hip + 0.09 * trunk, -0.008 * h]),
        "chest": np.array([0, hip + 0.19 * trunk, -0.012 * h]),
        "neck": np.array([0, 0.825 * h, -0.012 * h]),
        "head": np.array([0, 0.868 * h, -0.002 * h]),
        "head_centre": np.array([0, h - head, 0.004 * h]),
        "shoulders": np.array([0, 0.80 * h, -0.012 * h]),
    }
    for side, sign in (("l", 1.0), ("r", -1.0)):
        out = np.array([sign * np.sin(ARM_REST_RAD), -np.cos(ARM_REST_RAD), 0])
        rest[f"clavicle_{side}"] = np.array([sign * 0.025 * h, 0.80 * h, -0.010 * h])
        rest[f"upper_arm_{side}"] = np.array([sign * shoulder, 0.80 * h, -0.012 * h])
        rest[f"forearm_{side}"] = rest[f"upper_arm_{side}"] + upper * out
        rest[f"hand_{side}"] = rest[f"forearm_{side}"] + fore * out
        rest[f"hand_tip_{side}"] = rest[f"hand_{side}"] + hand * out
        rest[f"thigh_{side}"] = np.array([sign * hip_half, hip, 0])
        rest[f"shin_{side}"] = rest[f"thigh_{side}"] - [0, thigh, 0]
        rest[f"foot_{side}"] = rest[f"shin_{side}"] - [0, shin, 0]
        rest[f"toe_{side}"] = rest[f"foot_{side}"] + np.array([0, -0.7 * ankle, 0.1 * h])
    return Skeleton(rest, upper, fore, hand, thigh, shin, 0.15 * h, head)


def rotation(axis: str, angle_rad: ArrayLike) -> Array:
    """Right-handed rotation (T, 3, 3) about ``axis`` ("x", "y" or "z") by ``angle_rad`` (T,)."""
    angle = np.atleast_1d(np.asarray(angle_rad, np.float64))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.zeros((len(angle), 3, 3))
    matrix[:] = np.eye(3)
    matrix[:, i, i] = matrix[:, j, j] = np.cos(angle)
    matrix[:, j, i] = np.sin(angle)
    matrix[:, i, j] = -np.sin(angle)
    return matrix


def apply(matrix: Array, vector: ArrayLike) -> Array:
    """Rotations (T, 3, 3) times one vector (3,) or one each (T, 3) -> (T, 3)."""
    return np.einsum("tij,tj->ti", matrix, np.broadcast_to(np.asarray(vector, np.float64), matrix.shape[:2]))


def unit(vectors: Array) -> Array:
    """Vectors (..., 3) scaled to length 1; a zero vector stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def two_bone(root: Array, target: Array, pole: Array, upper_m: float, lower_m: float) -> tuple[Array, Array, Array]:
    """Middle joint, end and hinge axis (each (T, 3)) of a limb from ``root`` that reaches for ``target``.

    The middle joint lies on the side of the direction ``pole``; a target out of reach is approached as far as the
    limb goes.
    """
    offset = target - root
    distance = np.linalg.norm(offset, axis=1, keepdims=True)
    direction = unit(offset)
    reach = np.clip(distance, 1.02 * abs(upper_m - lower_m) + 1e-3, 0.9995 * (upper_m + lower_m))
    side = pole - (pole * direction).sum(1, keepdims=True) * direction
    side = unit(side)
    along = (upper_m**2 - lower_m**2 + reach**2) / (2 * reach)
    across = np.sqrt(np.maximum(upper_m**2 - along**2, 0))
    middle = root + along * direction + across * side
    return middle, root + reach * direction, np.cross(direction, side)


def limb_frame(along: Array, hinge: Array) -> Array:
    """Orientation (T, 3, 3), as columns, of a bone that points ``along`` and bends about ``hinge``."""
    first = unit(along)
    second = unit(hinge - (hinge * first).sum(1, keepdims=True) * first)
    return np.stack([first, second, np.cross(first, second)], axis=2)
