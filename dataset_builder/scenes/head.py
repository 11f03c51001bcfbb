"""Head and hair shapes of a performer, in the rest pose (metres)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .people import Performer
from .skeleton import Skeleton
from .surface import SUBTRACT, box, cone, ellipsoid, plane

Float = NDArray[np.float32]
Shape = list[Float]


def _scale(skeleton: Skeleton) -> float:
    """Size of this head against one of 0.23 m from chin to crown."""
    return skeleton.head_height / 0.115


def head_shape(person: Performer, skeleton: Skeleton) -> Shape:
    """Skull, jaw, chin, nose, ears, lips and neck."""
    face, s, rest = person.face, _scale(skeleton), skeleton.rest
    c = rest["head_centre"]

    def at(x: float, y: float, z: float) -> NDArray[np.float64]:
        return np.asarray(c + s * np.array([x, y, z]))

    w = face.width
    neck = 0.0275 * person.body.stature_m * person.body.neck
    shape: Shape = [
        ellipsoid(at(0, 0.028, -0.012), s * np.array([0.074 * w, 0.087, 0.095]), 0.0, 0.02),
        ellipsoid(at(0, -0.035, 0.022), s * np.array([0.056 * (0.4 * w + 0.6 * face.jaw), 0.07, 0.068]), 0.2, 0.035),
        ellipsoid(at(0, -0.093, 0.058), s * np.array([0.021 * face.jaw, 0.016 * face.chin, 0.018]), 0.0, 0.03),
        cone(at(0, -0.07, -0.012), rest["neck"] + [0, -0.03, 0], neck, 1.12 * neck, 1.0, 0.018),
    ]
    for sign in (1.0, -1.0):
        eye = 0.031 * face.eye_spacing * sign
        shape.append(ellipsoid(at(0.046 * sign * w, -0.022, 0.052), s * np.array([0.02, 0.02, 0.018]), 0.0, 0.03))
        shape.append(
            ellipsoid(at(eye, 0.008 + face.eye_height, 0.102), s * np.array([0.021, 0.012, 0.014]), 0, 0.018, SUBTRACT)
        )
        shape.append(ellipsoid(at(eye, 0.006 + face.eye_height, 0.077), s * np.array([0.014, 0.012, 0.012]), 0, 0.004))
        ear = s * np.array([0.011, 0.032, 0.019]) * face.ear
        shape.append(ellipsoid(at(0.075 * w * sign, -0.002, -0.012), ear, 0.15, 0.006))
    tip = at(0, -0.030 * face.nose_length, 0.104 + 0.008 * face.nose_length)
    shape.append(cone(at(0, 0.014, 0.082), tip, 0.0075 * s, 0.0105 * s * face.nose_width, 1.0, 0.014))
    for sign in (1.0, -1.0):
        wing = at(0.011 * face.nose_width * sign, -0.034 * face.nose_length, 0.095)
        shape.append(ellipsoid(wing, s * np.array([0.0085, 0.0075, 0.010]), 0.0, 0.008))
    mouth = at(0, -0.060 + face.mouth_height, 0.086)
    shape.append(ellipsoid(mouth, s * np.array([0.022 * face.mouth_width, 0.0085 * face.lip, 0.009]), 0.0, 0.012))
    return shape


def hair_parts(person: Performer, skeleton: Skeleton) -> list[tuple[Shape, float]]:
    """Hair as (shape, how far it reaches below the head's centre in metres); none for a bald head."""
    s, c, w = _scale(skeleton), skeleton.rest["head_centre"], person.face.width

    def at(x: float, y: float, z: float) -> NDArray[np.float64]:
        return np.asarray(c + s * np.array([x, y, z]))

    def shell(extra: float, drop: float = 0.0) -> Float:
        radii = s * np.array([0.074 * w + extra, 0.087 + extra + drop, 0.095 + extra])
        return ellipsoid(at(0, 0.028 - 0.6 * drop, -0.014), radii, 0.0, 0.02)

    def face_cut(hairline: float, side: float, depth: float = 0.115) -> Float:
        """What leaves the face free: up to ``hairline``, back to the ears at half width ``side``."""
        top, bottom = hairline, -0.26
        half = np.array([side, (top - bottom) / 2, 0.085]) * s
        return box(at(0, (top + bottom) / 2, depth), half, 0.045, -0.12, 0.012, SUBTRACT)

    nape = plane([0, -1, 0], -float(at(0, -0.052, 0)[1]), 0.012)
    style = person.hair
    if style == "bald":
        return []
    if style == "crop":
        return [([shell(0.008), face_cut(0.070, 0.066), nape], 0.10)]
    if style == "receding":
        cut = ellipsoid(at(0, 0.10, 0.085), s * np.array([0.06, 0.075, 0.10]), 0.0, 0.012, SUBTRACT)
        return [([shell(0.006), face_cut(0.085, 0.066), cut, nape], 0.10)]
    if style == "side":
        quiff = ellipsoid(at(0.018, 0.108, 0.035), s * np.array([0.062, 0.026, 0.062]), -0.25, 0.02)
        return [([shell(0.011), quiff, face_cut(0.068, 0.064), nape], 0.10)]
    if style == "afro":
        ball = ellipsoid(at(0, 0.048, -0.025), s * np.array([0.125, 0.118, 0.125]), 0.0, 0.02)
        return [([ball, face_cut(0.066, 0.068), plane([0, -1, 0], -float(at(0, -0.06, 0)[1]), 0.03)], 0.12)]
    if style == "bob":
        skirt = cone(at(0, 0.03, -0.03), at(0, -0.085, -0.035), 0.092 * s, 0.098 * s, 0.86, 0.03)
        return [
            (
                [
                    shell(0.016),
                    skirt,
                    face_cut(0.060, 0.060, 0.108),
                    plane([0, -1, 0], -float(at(0, -0.115, 0)[1]), 0.02),
                ],
                0.16,
            )
        ]
    if style == "long":
        fall = cone(at(0, 0.02, -0.045), at(0, -0.21, -0.068), 0.088 * s, 0.082 * s, 0.62, 0.03)
        return [
            (
                [
                    shell(0.014),
                    fall,
                    face_cut(0.062, 0.060, 0.108),
                    plane([0, -1, 0], -float(at(0, -0.25, 0)[1]), 0.03),
                ],
                0.28,
            )
        ]
    if style == "ponytail":
        tail = cone(at(0, 0.06, -0.115), at(0, -0.12, -0.165), 0.026 * s, 0.030 * s, 1.0, 0.012)
        root = ellipsoid(at(0, 0.062, -0.112), s * np.array([0.028, 0.028, 0.028]), 0.0, 0.01)
        cap = [shell(0.009), face_cut(0.068, 0.064), nape]
        return [([*cap, root, tail], 0.20)]
    if style == "bun":
        bun = ellipsoid(at(0, 0.115, -0.075), s * np.array([0.043, 0.038, 0.043]), 0.0, 0.008)
        return [([shell(0.010), face_cut(0.068, 0.064), nape, bun], 0.10)]
    brim = box(at(0, 0.070, 0.118), s * np.array([0.066, 0.005, 0.062]), 0.004, 0.12, 0.006)
    cap_cut = plane([0, -1, 0], -float(at(0, 0.058, 0)[1]), 0.004)
    return [([shell(0.015), cap_cut, brim], 0.08)]
