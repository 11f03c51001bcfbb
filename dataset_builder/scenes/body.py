"""A performer's body and clothes as one skinned mesh in the rest pose, built from implicit shapes.

Each part (skin, garment, hair, shoe) is its own closed mesh, so that hems and hairlines are true edges; hems overlap
what lies beneath. Texture coordinates are chosen per part; see :mod:`dataset_builder.scenes.textures` for the tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .head import hair_parts, head_shape
from .people import Performer
from .skeleton import BONE, Skeleton, build_skeleton
from .surface import SUBTRACT, UNION, Mesh, box, build_mesh, cone, ellipsoid, plane
from .textures import BOTTOM, FACE, HAIR, SHOE, SKIN, SLEEVE, TOP

Float = NDArray[np.float32]
Shape = list[Float]
SHORT_SLEEVES = ("t-shirt",)


@dataclass(frozen=True)
class Body:
    """Skinned mesh: ``vertices``/``normals`` (N, 3), ``uv`` (N, 2) in [0, 1], ``occlusion`` (N,), ``faces`` (F, 3),
    ``tile`` (F,) texture tile of each face, ``bone`` (N, 3) and ``weight`` (N, 3) summing to 1."""

    vertices: Float
    normals: Float
    uv: Float
    occlusion: Float
    faces: NDArray[np.int32]
    tile: NDArray[np.int32]
    bone: NDArray[np.int32]
    weight: Float


@dataclass(frozen=True)
class Part:
    """A mesh with its tile, texture coordinates (N, 2) and the bones that may move it."""

    mesh: Mesh
    tile: int
    uv: Float
    bones: tuple[str, ...]
    softness_m: float = 0.035


def assemble(parts: list[Part], skeleton: Skeleton | None) -> Body:
    """One body from parts; with a ``skeleton`` vertices follow their nearest bones, without they follow the first."""
    starts = np.cumsum([0] + [len(part.mesh.vertices) for part in parts[:-1]])
    bones, weights = zip(*(_weights(part, skeleton) for part in parts))
    return Body(
        np.concatenate([part.mesh.vertices for part in parts]),
        np.concatenate([part.mesh.normals for part in parts]),
        np.concatenate([part.uv for part in parts]).astype(np.float32),
        np.concatenate([part.mesh.occlusion for part in parts]),
        np.concatenate([part.mesh.faces + np.int32(start) for part, start in zip(parts, starts)]),
        np.concatenate([np.full(len(part.mesh.faces), part.tile, np.int32) for part in parts]),
        np.concatenate(bones).astype(np.int32),
        np.concatenate(weights).astype(np.float32),
    )


_NEXT = {"pelvis": "spine", "spine": "chest", "chest": "shoulders", "neck": "head", "head": "head_centre"}
for _s in "lr":
    _NEXT |= {f"clavicle_{_s}": f"upper_arm_{_s}", f"upper_arm_{_s}": f"forearm_{_s}"}
    _NEXT |= {f"forearm_{_s}": f"hand_{_s}", f"hand_{_s}": f"hand_tip_{_s}", f"thigh_{_s}": f"shin_{_s}"}
    _NEXT |= {f"shin_{_s}": f"foot_{_s}", f"foot_{_s}": f"toe_{_s}"}

# Radius (as a share of the stature) of the flesh about each bone: distances are taken to that surface, so that the
# side of the chest stays with the chest and not with the arm beside it.
_FLESH = {"pelvis": 0.085, "spine": 0.075, "chest": 0.085, "clavicle": 0.03, "upper_arm": 0.03, "thigh": 0.045}


def _weights(part: Part, skeleton: Skeleton | None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    count = len(part.mesh.vertices)
    index = np.zeros((count, 3), np.int64)
    weight = np.zeros((count, 3))
    if skeleton is None or len(part.bones) == 1:
        index[:] = BONE[part.bones[0]]
        weight[:, 0] = 1
        return index, weight
    stature = float(skeleton.rest["shoulders"][1]) / 0.80
    distance = np.empty((count, len(part.bones)))
    for column, name in enumerate(part.bones):
        a, b = skeleton.rest[name], skeleton.rest[_NEXT[name]]
        t = np.clip((part.mesh.vertices - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)[:, None]
        flesh = _FLESH.get(name.removesuffix("_l").removesuffix("_r"), 0.02) * stature
        distance[:, column] = np.maximum(np.linalg.norm(part.mesh.vertices - (a + t * (b - a)), axis=1) - flesh, 0)
    closeness = np.exp(-((distance - distance.min(1, keepdims=True)) ** 2) / (2 * part.softness_m**2))
    # Equal distances at a joint's end caps: share evenly there, and let the nearer bone win quickly away from it.
    order = np.argsort(-closeness, axis=1)[:, :3]
    chosen = np.take_along_axis(closeness, order, axis=1)
    width = order.shape[1]
    index[:, :width] = np.array([BONE[name] for name in part.bones])[order]
    weight[:, :width] = chosen / chosen.sum(1, keepdims=True)
    return index, weight


def build_body(person: Performer, step: float = 1.0) -> Body:
    """The skinned mesh of a performer (about 18,000 vertices); ``step`` scales the length of its edges."""
    skeleton = build_skeleton(person.body)
    parts = [part for make in (_top, _bottom, _limbs, _shoes) for part in make(person, skeleton, step)]
    face = build_mesh(head_shape(person, skeleton), *_about_head(skeleton, 0.16), 0.0085 * step, fold_m=0.03)
    parts.append(Part(face, FACE, _face_uv(face, skeleton), ("head", "neck", "chest"), 0.03))
    for shape, reach in hair_parts(person, skeleton):
        mesh = build_mesh(shape, *_about_head(skeleton, reach), 0.011 * step, fold_m=0.03)
        parts.append(Part(mesh, HAIR, _hair_uv(mesh, skeleton), ("head",)))
    return assemble(parts, skeleton)


def _about(
    centre: NDArray[np.float64], below: list[float], above: list[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return centre - np.array(below), centre + np.array(above)


def _about_head(skeleton: Skeleton, reach: float) -> tuple[Float, Float]:
    centre = skeleton.rest["head_centre"]
    low, high = centre - np.array([0.2, reach + 0.12, 0.24]), centre + np.array([0.2, 0.24, 0.22])
    return low.astype(np.float32), high.astype(np.float32)


def _face_uv(mesh: Mesh, skeleton: Skeleton) -> Float:
    p = mesh.vertices - skeleton.rest["head_centre"].astype(np.float32)
    u = np.clip(0.5 + p[:, 0] / 0.18, 0, 1)
    # The back of the head shows the plain edge of the face's picture.
    u = np.where(mesh.normals[:, 2] < -0.25, 0.0, u)
    return np.stack([u, np.clip(0.5 - p[:, 1] / 0.27, 0, 1)], axis=1)


def _hair_uv(mesh: Mesh, skeleton: Skeleton) -> Float:
    p = mesh.vertices - skeleton.rest["head_centre"].astype(np.float32)
    return np.stack([np.abs(np.arctan2(p[:, 0], p[:, 2])) / np.pi, np.clip(0.5 - p[:, 1] / 0.6, 0, 1)], axis=1)


def _around(points: Float, a: NDArray[np.float64], b: NDArray[np.float64]) -> Float:
    """(N, 2): half turn about the axis a-b (0 front, 1 back) and distance along it in metres."""
    axis = (b - a) / np.linalg.norm(b - a)
    along = (points - a) @ axis
    off = points - a - along[:, None] * axis
    sideways = np.cross(axis, [0.0, 0.0, 1.0])
    angle = np.abs(np.arctan2(off @ (sideways / np.linalg.norm(sideways)), off[:, 2])) / np.pi
    return np.stack([angle, along], axis=1).astype(np.float32)


def _split(mesh: Mesh, faces: NDArray[np.bool_]) -> Mesh:
    used = np.unique(mesh.faces[faces])
    number = np.zeros(len(mesh.vertices), np.int32)
    number[used] = np.arange(len(used))
    return Mesh(mesh.vertices[used], mesh.normals[used], number[mesh.faces[faces]], mesh.occlusion[used])


def _top(person: Performer, skeleton: Skeleton, step: float) -> list[Part]:
    rest, body, h = skeleton.rest, person.body, person.body.stature_m
    slim = 0.86 if person.feminine else 1.0
    chest, waist = 0.083 * h * (0.6 * body.shoulder + 0.4 * body.girth), 0.071 * h * body.girth * slim
    hips = 0.083 * h * body.hip * (0.5 + 0.5 * body.girth)
    loose = {"sweater": 0.014, "jacket": 0.016, "shirt": 0.009}.get(person.top, 0.006)
    pelvis_y, neck_y = rest["pelvis"][1], rest["neck"][1]
    trunk = neck_y - pelvis_y

    def level(share: float) -> float:
        return float(pelvis_y + share * trunk)

    shape: Shape = [
        cone([0, level(0.70), -0.01], [0, level(0.34), 0.0], chest + loose, waist + loose, 0.68),
        cone([0, level(0.34), 0.0], [0, level(-0.04), 0.0], waist + loose, 1.05 * hips + loose, 0.75, 0.05),
        cone([0, level(-0.04), 0.0], [0, level(-0.30), 0.0], 1.05 * hips + loose, 1.05 * hips + loose, 0.75, 0.03),
        ellipsoid([0, level(0.25), 0.035 * h], np.array([0.06, 0.07, 0.04]) * h * (0.55 + body.belly * 1.6), 0, 0.08),
    ]
    for sign in (1.0, -1.0):
        if body.bust > 0.3:
            size = 0.033 * h * (0.6 + 0.4 * body.bust)
            shape.append(ellipsoid([sign * 0.043 * h, level(0.66), 0.043 * h], [size, size, size * 0.95], 0, 0.035))
        side = "l" if sign > 0 else "r"
        shoulder, elbow = rest[f"upper_arm_{side}"], rest[f"forearm_{side}"]
        arm = 0.027 * h * body.limb + loose
        shape.append(
            cone(
                [0, neck_y - 0.004 * h, -0.012], shoulder - np.array([sign * 0.012, 0.0, 0.0]), 0.034 * h, arm, 1, 0.05
            )
        )
        if person.top == "vest":
            continue
        shape.append(cone(shoulder, elbow, arm * 1.12, arm * 0.98, 1.0, 0.03))
        if person.top not in SHORT_SLEEVES:
            wrist = rest[f"hand_{side}"]
            shape.append(cone(elbow, wrist, arm * 0.96, 0.018 * h * body.limb + loose, 1.0, 0.02))
    for side in "lr":
        start, end = (0.62, 0.0) if person.top in SHORT_SLEEVES else (1.0, 0.93)
        a, b = rest[f"upper_arm_{side}"], rest[f"forearm_{side}"]
        c = rest[f"hand_{side}"]
        hem = a + start * (b - a) + end * (c - b)
        axis = (b - a) / np.linalg.norm(b - a)
        if person.top != "vest":
            shape.append(cone(hem + 0.09 * axis, hem + 0.4 * axis, 0.09, 0.09, 1.0, 0.004, SUBTRACT))
        else:
            shape.append(cone(a + 0.075 * axis, a + 0.4 * axis, 0.078, 0.09, 1.0, 0.004, SUBTRACT))
    deep = 0.05 if person.feminine else 0.028
    shape.append(ellipsoid([0, neck_y + 0.018 * h, 0.012 * h], [0.041 * h, deep * h, 0.05 * h], 0, 0.004, SUBTRACT))
    hem_y = level({"jacket": -0.13, "sweater": -0.09, "vest": -0.04}.get(person.top, -0.1))
    shape.append(plane([0, -1, 0], -hem_y, 0.006))
    mesh = build_mesh(shape, [-0.75, hem_y - 0.03, -0.25], [0.75, neck_y + 0.08, 0.3], 0.0165 * step, fold_m=0.05)
    on_arm = np.zeros(len(mesh.vertices), bool)
    uv_sleeve = np.zeros((len(mesh.vertices), 2), np.float32)
    for side in "lr":
        a, b = rest[f"upper_arm_{side}"], rest[f"forearm_{side}"]
        around = _around(mesh.vertices, a, b)
        mine = (mesh.vertices[:, 0] > 0) == (side == "l")
        axis = a + np.outer(around[:, 1], (b - a) / np.linalg.norm(b - a))
        near = np.linalg.norm(mesh.vertices - axis, axis=1) < 0.05 * h * max(body.limb, 0.9)
        on_arm |= mine & near & (around[:, 1] > 0.012 * h)
        uv_sleeve[mine] = around[mine]
    uv_sleeve[:, 1] = np.clip(0.12 + uv_sleeve[:, 1] / (0.40 * h), 0, 1)
    # Half way round from front to back by breadth, so that stripes keep their width: 0 front, 0.5 side, 1 back.
    breadth = np.clip(np.abs(mesh.vertices[:, 0]) / (0.26 * h), 0, 0.5)
    angle = np.where(mesh.normals[:, 2] > 0, breadth, 1 - breadth)
    uv_top = np.stack([angle, np.clip((neck_y + 0.03 * h - mesh.vertices[:, 1]) / (0.40 * h), 0, 1)], axis=1)
    is_sleeve = on_arm[mesh.faces].sum(axis=1) > 1
    bones: tuple[str, ...] = ("pelvis", "spine", "chest", "clavicle_l", "upper_arm_l", "forearm_l")
    bones += ("clavicle_r", "upper_arm_r", "forearm_r")
    parts = []
    for faces, tile, uv in ((~is_sleeve, TOP, uv_top), (is_sleeve, SLEEVE, uv_sleeve)):
        if faces.any():
            used = np.unique(mesh.faces[faces])
            parts.append(Part(_split(mesh, faces), tile, uv[used].astype(np.float32), bones, 0.045))
    return parts


def _bottom(person: Performer, skeleton: Skeleton, step: float) -> list[Part]:
    rest, body, h = skeleton.rest, person.body, person.body.stature_m
    hips = 0.081 * h * body.hip * (0.5 + 0.5 * body.girth)
    waist_y, crotch = rest["pelvis"][1] + 0.045 * h, rest["thigh_l"][1]
    thigh = 0.046 * h * (0.45 * body.girth + 0.55 * body.limb)
    ease = {"trousers": 0.008, "jeans": 0.002, "shorts": 0.014, "skirt": 0.0}[person.bottom]
    waist = min(0.070 * h * body.girth * (0.86 if person.feminine else 1.0), 0.9 * hips)
    shape: Shape = [cone([0, waist_y, 0], [0, crotch - 0.002 * h, -0.006 * h], waist, 0.97 * hips, 0.70)]
    knee_y, ankle_y = rest["shin_l"][1], rest["foot_l"][1]
    if person.bottom == "skirt":
        hem = 0.75 * knee_y + 0.25 * crotch
        shape.append(cone([0, crotch, 0], [0, hem - 0.1, 0], hips, hips * 1.35, 0.78, 0.05))
    else:
        hem = ankle_y - 0.02 if person.bottom != "shorts" else knee_y + 0.03 * h
        for side in "lr":
            hip, knee, ankle = rest[f"thigh_{side}"], rest[f"shin_{side}"], rest[f"foot_{side}"]
            calf = 0.033 * h * body.limb
            shape.append(cone(hip, knee, thigh + ease, calf + 0.002 + ease, 1.0, 0.035))
            shape.append(cone(knee, ankle, calf + 0.002 + ease, 0.024 * h + ease, 1.0, 0.02))
    shape.append(plane([0, -1, 0], -hem, 0.004))
    mesh = build_mesh(shape, [-0.34, hem - 0.03, -0.26], [0.34, waist_y + 0.16, 0.26], 0.0165 * step, fold_m=0.05)
    angle = np.abs(np.arctan2(mesh.vertices[:, 0], mesh.vertices[:, 2])) / np.pi
    uv = np.stack([angle, np.clip((waist_y + 0.06 - mesh.vertices[:, 1]) / (0.62 * h), 0, 1)], axis=1)
    bones: tuple[str, ...] = ("pelvis", "spine", "thigh_l", "shin_l", "thigh_r", "shin_r")
    soft = 0.05
    if person.bottom == "skirt":
        bones, soft = ("pelvis", "thigh_l", "thigh_r"), 0.09
    return [Part(mesh, BOTTOM, uv.astype(np.float32), bones, soft)]


def _limbs(person: Performer, skeleton: Skeleton, step: float) -> list[Part]:
    parts = []
    rest, body, h = skeleton.rest, person.body, person.body.stature_m
    limb = body.limb
    for side, sign in (("l", 1.0), ("r", -1.0)):
        shoulder, elbow, wrist = rest[f"upper_arm_{side}"], rest[f"forearm_{side}"], rest[f"hand_{side}"]
        tip = rest[f"hand_tip_{side}"]
        shape: Shape = []
        if person.top == "vest" or person.top in SHORT_SLEEVES:
            shape.append(cone(shoulder, elbow, 0.028 * h * limb, 0.024 * h * limb))
            shape.append(cone(elbow, wrist, 0.024 * h * limb, 0.0155 * h * limb))
        else:
            shape.append(cone(0.3 * elbow + 0.7 * wrist, wrist, 0.017 * h * limb, 0.0155 * h * limb))
        shape += _hand(wrist, tip, sign, h)
        low = np.minimum(np.minimum(shoulder, wrist), tip) - 0.08
        high = np.maximum(np.maximum(shoulder, wrist), tip) + 0.08
        mesh = build_mesh(shape, low, high, 0.0115 * step, fold_m=0.03)
        uv = np.full((len(mesh.vertices), 2), 0.5, np.float32)
        names = (f"upper_arm_{side}", f"forearm_{side}", f"hand_{side}")
        parts.append(Part(mesh, SKIN, uv, names, 0.022))
        if person.bottom in ("shorts", "skirt"):
            knee, ankle = rest[f"shin_{side}"], rest[f"foot_{side}"]
            thigh = 0.5 * knee + 0.5 * rest[f"thigh_{side}"]
            calf = 0.6 * knee + 0.4 * ankle + [0, 0, -0.008 * h]
            leg = [cone(thigh, knee, 0.038 * h * limb, 0.029 * h * limb), cone(knee, calf, 0.029 * h, 0.031 * h * limb)]
            leg.append(cone(calf, ankle, 0.031 * h * limb, 0.02 * h))
            leg.append(cone(ankle, ankle - [0, 0.03, 0], 0.02 * h, 0.02 * h))
            low, high = np.minimum(ankle, thigh) - 0.11, np.maximum(ankle, thigh) + 0.11
            skin = build_mesh(leg, low, high, 0.016 * step, fold_m=0.04)
            uv = np.full((len(skin.vertices), 2), 0.5, np.float32)
            parts.append(Part(skin, SKIN, uv, (f"thigh_{side}", f"shin_{side}"), 0.035))
    return parts


def _hand(wrist: NDArray[np.float64], tip: NDArray[np.float64], sign: float, h: float) -> Shape:
    """Palm, four fingers (in two pairs) and thumb; the palm faces the thigh when the arm hangs."""
    axis = (tip - wrist) / np.linalg.norm(tip - wrist)
    length = float(np.linalg.norm(tip - wrist))
    inward = np.array([-sign * axis[1] * sign, axis[0], 0.0])
    forward = np.array([0.0, 0.0, 1.0])
    palm = wrist + 0.3 * length * axis
    shape: Shape = [
        cone(wrist, palm + 0.12 * length * axis, 0.014 * h, 0.0125 * h, 1.0, 0.012),
        cone(
            palm - 0.010 * h * forward,
            palm + 0.3 * length * axis - 0.013 * h * forward,
            0.0115 * h,
            0.010 * h,
            1,
            0.012,
        ),
        cone(
            palm + 0.010 * h * forward,
            palm + 0.3 * length * axis + 0.011 * h * forward,
            0.0115 * h,
            0.010 * h,
            1,
            0.012,
        ),
    ]
    for shift in (-0.012, 0.010):
        base = palm + 0.25 * length * axis + shift * h * forward
        shape.append(
            cone(base, tip - 0.05 * length * axis + shift * 0.9 * h * forward, 0.009 * h, 0.0065 * h, 1, 0.008)
        )
    thumb = palm - 0.1 * length * axis + 0.012 * h * forward
    shape.append(cone(thumb, thumb + 0.38 * length * axis + 0.022 * h * forward, 0.0085 * h, 0.0062 * h, 1, 0.01))
    return [row for row in shape if np.isfinite(inward).all()]


def _shoes(person: Performer, skeleton: Skeleton, step: float) -> list[Part]:
    h, rest = person.body.stature_m, skeleton.rest
    parts = []
    for side in "lr":
        ankle, toe = rest[f"foot_{side}"], rest[f"toe_{side}"]
        heel = np.array([ankle[0], 0.022 * h, -0.022 * h])
        ball = np.array([ankle[0], 0.017 * h, toe[2] - 0.02 * h])
        shape: Shape = [
            cone(heel, ball, 0.024 * h, 0.025 * h, 1.0, 0.01),
            cone(ball, [toe[0], 0.012 * h, toe[2] + 0.004 * h], 0.025 * h, 0.019 * h, 1.0, 0.015),
            cone([ankle[0], 0.030 * h, 0.0], ankle + np.array([0, 0.012 * h, 0]), 0.024 * h, 0.022 * h, 1.0, 0.015),
            plane([0, -1, 0], 0.0, 0.004),
        ]
        mesh = build_mesh(
            shape, *_about(ankle, [0.09, ankle[1] + 0.02, 0.12], [0.09, 0.09, 0.26]), 0.0125 * step, fold_m=0.02
        )
        uv = np.stack([np.full(len(mesh.vertices), 0.5), np.clip(mesh.vertices[:, 1] / 0.12, 0, 1)], axis=1)
        parts.append(Part(mesh, SHOE, uv.astype(np.float32), (f"foot_{side}",)))
    return parts


PROPS: dict[str, Callable[[], list[Float]]] = {
    "cup": lambda: [cone([0, -0.04, 0], [0, 0.05, 0], 0.036, 0.042), plane([0, 1, 0], 0.055), plane([0, -1, 0], 0.055)],
    "phone": lambda: [box([0, 0.03, 0.0], [0.037, 0.078, 0.007], 0.005)],
    "ball": lambda: [ellipsoid([0, 0, 0], [0.065, 0.065, 0.065])],
    "parcel": lambda: [box([0, 0, 0], [0.15, 0.11, 0.11], 0.008)],
}


def seat_shape(kind: int) -> list[Float]:
    """A chair (kind 0), a stool (1) or a low block (2), its centre at the origin, its front towards +z."""
    seat_y = 0.44
    if kind == 2:
        return [box([0, seat_y / 2, 0], [0.24, seat_y / 2, 0.22], 0.03)]
    shape = [box([0, seat_y - 0.02, 0], [0.22, 0.022, 0.21], 0.015, 0.0, 0.0, UNION)]
    for x in (-0.19, 0.19):
        for z in (-0.18, 0.18):
            tall = 0.92 if (z < 0 and kind == 0) else seat_y
            shape.append(box([x, tall / 2, z], [0.019, tall / 2, 0.019], 0.006))
    if kind == 0:
        shape += [box([0, 0.84, -0.18], [0.19, 0.07, 0.016], 0.01), box([0, 0.66, -0.18], [0.19, 0.03, 0.014], 0.008)]
    return shape
