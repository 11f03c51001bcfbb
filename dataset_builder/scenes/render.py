"""One rendered clip: from its NTU name and the data set's seed to frames and ground truth.

Pure but for caches: the same name, seed and settings give the same pixels in any process and any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lps_sim.seeding import named_rng, named_seed
from lps_sim.transfer import inverse_eotf

from ..naming import SampleName, parse_name
from ..splits import side
from . import raster, textures
from .actions import RENDERED_ACTIONS
from .body import PROPS, Body, Part, assemble, build_body, seat_shape
from .camera import View
from .motion import Motion, Pose, solve
from .mutual import GAP_M
from .people import Performer, linear, performer
from .room import Plate, Room, build_room, render_plate
from .skeleton import BONES, Skeleton, build_skeleton
from .surface import build_mesh

Float = NDArray[np.float32]

SUPERSAMPLE = 2
_SHADOW_PX, _SHADOW_PER_M = 176, 48.0
_FLOOR_CELLS, _FLOOR_PER_M = 92, 23.0
# Radii (m) of the spheres that shade the floor, by joint of the Kinect order.
_CONTACT = {0: 0.16, 1: 0.15, 3: 0.11, 5: 0.06, 7: 0.05, 9: 0.06, 11: 0.05, 13: 0.09, 14: 0.07, 15: 0.05, 17: 0.09}
_CONTACT |= {18: 0.07, 19: 0.05, 20: 0.14, 12: 0.1, 16: 0.1}
_PROP_RGB = {"cup": "d8d4c8", "phone": "151518", "ball": "d0521e", "parcel": "a8814f"}


@dataclass(frozen=True)
class SceneSettings:
    """What all clips of a data set share: size in pixels, rate, length, seed, and a factor on all ``light``."""

    width: int = 480
    height: int = 270
    fps: float = 30.0
    frames: int = 75
    seed: int = 0
    light: float = 1.0


@dataclass(frozen=True)
class Actor:
    """A performer in a clip: who, and the solved motion."""

    person: Performer
    skeleton: Skeleton
    motion: Motion
    pose: Pose


_who = lru_cache(maxsize=256)(performer)


def _mesh_step(width: int) -> float:
    """Edge length of the meshes against the usual: their triangles shall be about as large as the samples."""
    return 1.5 if width < 400 else 1.0 if width < 1000 else 0.75


@lru_cache(maxsize=40)
def _cast(seed: int, number: int, step: float) -> tuple[Body, Float]:
    person = _who(seed, number)
    tiles = textures.performer_tiles(person, build_skeleton(person.body).head_height)
    return build_body(person, step), textures.pyramid(tiles)


@lru_cache(maxsize=8)
def _thing(kind: str, seat_kind: int = 0) -> Body:
    """A prop or a seat as a body that follows one bone."""
    if kind == "seat":
        mesh, tile = (
            build_mesh(seat_shape(seat_kind), [-0.3, -0.03, -0.3], [0.3, 1.0, 0.3], 0.017, fold_m=0.05),
            textures.SEAT,
        )
    else:
        mesh, tile = (
            build_mesh(PROPS[kind](), [-0.2, -0.15, -0.15], [0.2, 0.15, 0.15], 0.009, fold_m=0.02),
            textures.PROP,
        )
    uv = np.full((len(mesh.vertices), 2), 0.5, np.float32)
    return assemble([Part(mesh, tile, uv, ("seat" if kind == "seat" else "prop",))], None)


@lru_cache(maxsize=8)
def _room(seed: int, setup: int) -> Room:
    return build_room(seed, setup)


@lru_cache(maxsize=12)
def _plate(seed: int, setup: int, camera: int, width: int, height: int) -> Plate:
    room = _room(seed, setup)
    samples = int(np.clip(8 * 480 * 270 / (width * height), 4, 16))
    noise = named_seed(seed, "plate", setup, camera) % 2**31
    return render_plate(room, room.view(camera, width, height), samples, SUPERSAMPLE, seed=noise)


@lru_cache(maxsize=1)
def _codes() -> NDArray[np.uint8]:
    """sRGB codes over 4,096 equal steps of the square root of the light."""
    light = np.linspace(0, 1, 4096) ** 2
    return np.asarray(np.floor(inverse_eotf(light, "srgb") * 255 + 0.5), np.uint8)


def partner(seed: int, name: SampleName, performers: int = 30) -> int:
    """Number of the second performer of a mutual clip, by the name: another one of the first ``performers``.

    Both fall on the same side of the cross-subject split, so that no test performer is seen in training.
    """
    mine = side(name, "ntu120-xsub")
    others = [
        n
        for n in range(1, performers + 1)
        if n != name.performer and side(replace(name, performer=n), "ntu120-xsub") == mine
    ]
    pick = named_rng(seed, "partner", name.setup, name.performer, name.action).integers(len(others))
    return others[int(pick)]


def direct(name: SampleName, settings: SceneSettings) -> list[Actor]:
    """The performers of a clip with their motion; the same for the three cameras."""
    seed = settings.seed
    action = RENDERED_ACTIONS[name.action]
    rng = named_rng(seed, "motion", name.setup, name.performer, name.replication, name.action)
    numbers = [name.performer, partner(seed, name)] if action.mutual else [name.performer]
    motions = []
    for number in numbers:
        person = _who(seed, number)
        motions.append(Motion(settings.frames, settings.fps, build_skeleton(person.body), person.style, rng))
    # NTU's performers do an action once towards the left and once towards the right camera; here they turn less.
    turn = np.deg2rad((14.0 if name.replication == 1 else -14.0) + rng.uniform(-7, 7))
    at = rng.uniform(-0.12, 0.12, 2)
    if action.mutual:
        gap = GAP_M[name.action] * rng.uniform(0.95, 1.05)
        for motion, sign in zip(motions, (-1.0, 1.0)):
            motion.x += at[0] + sign * 0.5 * gap * np.cos(0.6 * turn)
            motion.z += at[1] - sign * 0.5 * gap * np.sin(0.6 * turn)
            motion.heading += 0.6 * turn - sign * np.pi / 2
        motions[1].p = motions[0].p
        action.animate(motions[0], motions[1], gap)
    else:
        motions[0].x += at[0]
        motions[0].z += at[1]
        motions[0].heading += turn
        action.animate(motions[0])
    people = [_who(seed, number) for number in numbers]
    return [Actor(p, m.skeleton, m, solve(m)) for p, m in zip(people, motions)]


class RenderedClip:
    """A clip ready to be rendered.

    Parameters
    ----------
    name : NTU name, with or without ``_rgb`` and a suffix.
    settings : what the data set's clips share.

    Raises
    ------
    ValueError
        When the name is not an NTU name or its action is not one of RENDERED_ACTIONS.
    """

    def __init__(self, name: str, settings: SceneSettings) -> None:
        self.name = parse_name(name, "ntu")
        self.settings = settings
        if self.name.action not in RENDERED_ACTIONS:
            known = ", ".join(map(str, RENDERED_ACTIONS))
            raise ValueError(f"action must be one of {known}, got {self.name.action}")
        seed, n = settings.seed, self.name
        self.room = _room(seed, n.setup)
        self.view: View = self.room.view(n.camera, settings.width, settings.height)
        self.plate = _plate(seed, n.setup, n.camera, settings.width, settings.height)
        self.actors = direct(n, settings)
        self._gather()

    def _gather(self) -> None:
        """All meshes of the clip as one, and the bone matrices of each frame."""
        bodies, owners, tiles, matrices = [], [], [], []
        for number, actor in enumerate(self.actors):
            body, sheet = _cast(self.settings.seed, actor.person.number, _mesh_step(self.settings.width))
            sheet = sheet.copy()
            matrices.append(actor.pose.bones)
            bodies.append(body)
            owners.append(number)
            for kind in filter(None, (actor.motion.prop, actor.motion.seat)):
                bodies.append(_thing(kind, self.room.seat_kind))
                owners.append(number)
                if kind == "seat":
                    sheet[textures.SEAT] = self.room.seat_rgb
                else:
                    sheet[textures.PROP] = linear(_PROP_RGB[kind])
            tiles.append(sheet)
        starts = np.cumsum([0] + [len(body.vertices) for body in bodies[:-1]])
        # First and last vertex of each performer's own body; props and seats come after it.
        firsts = [owners.index(number) for number in range(len(self.actors))]
        self._spans = [(int(starts[i]), int(starts[i]) + len(bodies[i].vertices)) for i in firsts]
        self._vertices = np.concatenate([b.vertices for b in bodies])
        self._normals = np.concatenate([b.normals for b in bodies])
        self._uv = np.concatenate([b.uv for b in bodies])
        self._occlusion = np.concatenate([b.occlusion for b in bodies])
        self._faces = np.concatenate([b.faces + np.int32(s) for b, s in zip(bodies, starts)])
        self._tile = np.concatenate([b.tile for b in bodies])
        self._person = np.concatenate([np.full(len(b.faces), o, np.int32) for b, o in zip(bodies, owners)])
        self._bone = np.concatenate([b.bone + np.int32(o * len(BONES)) for b, o in zip(bodies, owners)])
        self._weight = np.concatenate([b.weight for b in bodies])
        self._matrices = np.ascontiguousarray(np.concatenate(matrices, axis=1))
        self._tiles = np.ascontiguousarray(np.stack(tiles))
        h, w, s = self.settings.height, self.settings.width, SUPERSAMPLE
        count = len(self._vertices)
        self._world, self._bent = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
        self._screen, self._from_light = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
        self._depth, self._owner = np.zeros((h * s, w * s), np.float32), np.full((h * s, w * s), -1, np.int32)
        self._shadow = np.empty((_SHADOW_PX, _SHADOW_PX), np.float32)
        self._shaded = np.empty((_FLOOR_CELLS, _FLOOR_CELLS), np.float32)
        self._linear = self.plate.linear * np.float32(self.settings.light)
        self._room_light = self._linear.copy()
        self._room_codes = np.empty((h, w, 3), np.uint8)
        raster.encode(np.array([0, h, 0, w]), self._room_light, _codes(), self._room_codes)

    @cached_property
    def _lighting(self) -> tuple[Float, Float]:
        """Rows of light for the shader (7, 3), and the light's frame (3, 3): right, down, towards the light."""
        room, light = self.room, np.float32(self.settings.light)
        rows = [room.key[:3], room.key[3:] * light, room.fill[:3], room.fill[3:] * light]
        rows += [room.above * light, room.below * light, self.view.position.astype(np.float32)]
        toward = room.key[:3].astype(np.float64)
        right = np.cross([0.0, 1.0, 0.0], toward)
        right /= np.linalg.norm(right)
        return np.stack(rows).astype(np.float32), np.stack([right, -np.cross(toward, right), toward]).astype(np.float32)

    def _pose(self, frame: int) -> None:
        view, s = self.view, SUPERSAMPLE
        raster.skin(
            self._vertices, self._normals, self._bone, self._weight, self._matrices[frame], self._world, self._bent
        )
        raster.project(
            self._world, view.rotation.astype(np.float32), view.position.astype(np.float32), np.float32(view.f_px * s),
            np.float32(view.width * s / 2), np.float32(view.height * s / 2), self._screen,
        )  # fmt: skip

    def linear_frame(self, frame: int) -> Float:
        """Frame ``frame`` (from 0) in linear light: (H, W, 3) float32, valid until the next call."""
        self._render(frame)
        return self._linear

    def masks(self, frame: int) -> NDArray[np.float32]:
        """Share (P, H, W) of each pixel that shows each performer, what they hold or sit on included."""
        y0, y1, x0, x1 = (int(edge) for edge in self._render(frame))
        s = SUPERSAMPLE
        inside = (slice(y0 * s, y1 * s), slice(x0 * s, x1 * s))
        owner = self._owner[inside]
        seen = (owner >= 0) & (self._depth[inside] > self.plate.depth[inside])
        who = np.where(seen, self._person[np.maximum(owner, 0)], -1).reshape(y1 - y0, s, x1 - x0, s)
        out = np.zeros((len(self.actors), self.view.height, self.view.width), np.float32)
        for number in range(len(self.actors)):
            out[number, y0:y1, x0:x1] = (who == number).mean(axis=(1, 3))
        return out

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """All frames in order, (H, W, 3) uint8 sRGB."""
        for frame in range(self.settings.frames):
            window = self._render(frame)
            codes = self._room_codes.copy()
            raster.encode(window, self._linear, _codes(), codes)
            yield codes

    def _render(self, frame: int) -> NDArray[np.int64]:
        view, s = self.view, SUPERSAMPLE
        self._pose(frame)
        light, axes = self._lighting
        ground = np.mean([actor.pose.joints[frame, 0] for actor in self.actors], axis=0)
        toward = axes[2]
        half = np.float32(0.5 * _SHADOW_PX / _SHADOW_PER_M)
        middle = np.array([ground[0], 0.75, ground[2]], np.float32) - 0.35 * np.array(
            [toward[0], 0, toward[2]], np.float32
        )
        origin = (middle - half * axes[0] - half * axes[1]).astype(np.float32)
        self._shadow[:] = -1e3
        raster.to_light(self._world, axes, origin, np.float32(_SHADOW_PER_M), self._from_light)
        raster.draw_shadow(self._faces, self._from_light, self._shadow)
        spheres = np.array(
            [[*actor.pose.joints[frame, j], r] for actor in self.actors for j, r in _CONTACT.items()], np.float32
        )
        grid = np.array([middle[0], middle[2], _FLOOR_PER_M], np.float32)
        grid[:2] -= 0.5 * _FLOOR_CELLS / _FLOOR_PER_M
        raster.shade_floor(
            spheres, np.float32(self.room.floor_key_share), self._shadow, axes, origin, np.float32(_SHADOW_PER_M), grid,
            self._shaded,
        )  # fmt: skip
        window = self._window(grid)
        y0, y1, x0, x1 = (int(v) for v in window)
        self._linear[:] = self._room_light
        self._depth[y0 * s : y1 * s, x0 * s : x1 * s] = 0
        self._owner[y0 * s : y1 * s, x0 * s : x1 * s] = -1
        raster.draw(self._faces, self._screen, self._depth, self._owner, 0)
        levels = np.stack(
            [
                textures.level(float(view.to_camera(actor.pose.joints[frame, 0])[2]) / (view.f_px * s))
                for actor in self.actors
            ]
        )
        metre = np.float32(_SHADOW_PER_M)
        raster.shade(
            window, s, self._owner, self._depth, self.plate.depth, self._faces, self._tile, self._screen, self._world,
            self._bent, self._uv, self._occlusion, self._tiles, levels, textures.GLOSS, self._person, light, axes,
            origin, metre, self._shadow, self._room_light, self.plate.floor, self._shaded, grid, self._linear,
        )  # fmt: skip
        return window

    def _bounds(self, first: int, end: int) -> Float:
        """x0, y0, x1, y1 (pixels) of the posed vertices ``first``..``end``."""
        box = np.empty(4, np.float32)
        raster.bounds(self._screen, first, end, box)
        return box / np.float32(SUPERSAMPLE)

    def _window(self, grid: Float) -> NDArray[np.int64]:
        """Pixels (y0, y1, x0, x1) that bodies or their shadows on the floor may change."""
        side = _FLOOR_CELLS / _FLOOR_PER_M
        corners = np.array([[grid[0] + i * side, 0, grid[1] + j * side] for i in (0, 1) for j in (0, 1)])
        seen = self._bounds(0, len(self._screen)).reshape(2, 2)
        local = self.view.to_camera(corners)
        local[:, 2] = np.maximum(local[:, 2], 0.3)
        floor = self.view.f_px * local[:, :2] / local[:, 2:] + [self.view.width / 2, self.view.height / 2]
        points = np.concatenate([seen, floor])
        low, high = np.floor(points.min(0)) - 1, np.ceil(points.max(0)) + 2
        w, h = self.view.width, self.view.height
        x0, x1 = int(np.clip(low[0], 0, w)), int(np.clip(high[0], 0, w))
        y0, y1 = int(np.clip(low[1], 0, h)), int(np.clip(high[1], 0, h))
        return np.array([y0, y1, x0, x1])

    def truth(self) -> dict[str, Any]:
        """Ground truth of the clip: arrays by name, and ``attributes`` of the performers as plain values.

        ``joints_m`` (P, T, 25, 3): Kinect joints in camera coordinates (x right, y down, z forward), metres;
        ``joints_px`` (P, T, 25, 2); ``boxes_px`` (P, T, 4): x0, y0, x1, y1 of the whole body, clipped to the frame;
        ``rotation`` (3, 3), ``position_m`` (3,) and ``f_px`` of the camera: x_camera = rotation (x_world - position).
        """
        joints = np.stack([actor.pose.joints for actor in self.actors])
        local = self.view.to_camera(joints)
        boxes = np.zeros((len(self.actors), self.settings.frames, 4), np.float32)
        for frame in range(self.settings.frames):
            self._pose(frame)
            for owner, (start, end) in enumerate(self._spans):
                boxes[owner, frame] = self._bounds(start, end)
        boxes[..., 0::2] = np.clip(boxes[..., 0::2], 0, self.view.width)
        boxes[..., 1::2] = np.clip(boxes[..., 1::2], 0, self.view.height)
        return {
            "joints_m": local.astype(np.float32),
            "joints_px": self.view.project(joints).astype(np.float32),
            "boxes_px": boxes,
            "rotation": self.view.rotation,
            "position_m": self.view.position,
            "f_px": np.float64(self.view.f_px),
            "attributes": [actor.person.attributes() for actor in self.actors],
        }


def render_clip(name: str, settings: SceneSettings) -> RenderedClip:
    """The clip of an NTU name such as ``S001C002P003R001A023``; see :class:`RenderedClip`."""
    return RenderedClip(name, settings)


__all__ = ["RenderedClip", "SceneSettings", "direct", "partner", "render_clip"]
