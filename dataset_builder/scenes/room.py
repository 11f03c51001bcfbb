"""The room of a setup: walls, furniture, lamp and window, all drawn from the seed and the setup's number.

Units: metres, linear-light reflectance; radiance is scaled by a fixed exposure of the setup, so that a lit white
wall lies below 1. The room is the same for all cameras of a setup.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lps_sim.seeding import named_rng

from . import raycast
from .camera import View, view
from .people import hsv, linear

Float = NDArray[np.float32]
HALF_WIDTH_M, BACK_M, FRONT_M, CEILING_M = 3.6, -2.7, 4.9, 2.75


@dataclass(frozen=True)
class Room:
    """Geometry and light of a setup; arrays as :mod:`dataset_builder.scenes.raycast` takes them.

    ``key``/``fill`` are (direction to the light 3, its colour 3) at the performers' place, ``above``/``below`` the
    ambient light, all as outgoing light of a white diffuser that faces them.
    """

    solids: Float
    groups: Float
    walls: Float
    lights: Float
    radiance: Float
    glow: Float
    bounce: Float
    key: Float
    fill: Float
    above: Float
    below: Float
    floor_key_share: float
    camera_distance_m: float
    camera_height_m: float
    seat_kind: int
    seat_rgb: Float

    def view(self, camera: int, width: int, height: int) -> View:
        """Camera 1..3 of this setup at ``width`` x ``height`` pixels."""
        return view(camera, self.camera_distance_m, self.camera_height_m, width, height)


@dataclass(frozen=True)
class Plate:
    """The empty room in one view: ``linear`` (H, W, 3), ``depth`` (S H, S W) in 1/m, ``floor`` (H, W, 3)."""

    linear: Float
    depth: Float
    floor: Float


class _Builder:
    """Collects solids in groups, each with its bounds."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []
        self.groups: list[list[float]] = []

    def group(self, *solids: list[float]) -> None:
        first = len(self.rows)
        self.rows += solids
        rows = np.array(solids)
        reach = np.hypot(rows[:, 4], rows[:, 6])[:, None]
        plain = np.abs(rows[:, 8:9]) < 1e-6
        half = np.concatenate([reach, rows[:, 5:6], reach], axis=1)
        half = np.where(plain, rows[:, 4:7], half)
        low, high = (rows[:, 1:4] - half).min(0) - 1e-3, (rows[:, 1:4] + half).max(0) + 1e-3
        self.groups.append([*low, *high, first, len(self.rows)])


def _solid(
    centre: ArrayLike,
    half: ArrayLike,
    colour: Float,
    yaw: float = 0.0,
    kind: int = 0,
    pattern: int = raycast.PLAIN,
    scale: float = 1.0,
    second: Float | None = None,
) -> list[float]:
    other = colour if second is None else second
    return [
        kind,
        *np.asarray(centre, float),
        *np.asarray(half, float),
        np.cos(yaw),
        np.sin(yaw),
        *colour,
        pattern,
        scale,
        *other,
    ]


def _at(place: tuple[float, float], yaw: float, x: float, y: float, z: float) -> tuple[float, float, float]:
    """A place of a piece of furniture (its own x to the right, z to its front) in the room."""
    return place[0] + np.cos(yaw) * x + np.sin(yaw) * z, y, place[1] - np.sin(yaw) * x + np.cos(yaw) * z


FLOORS = ("9a7048", "b98d5b", "a98a66", "8c7a68", "c4a67c")
WOODS = ("8a5a33", "b98d5b", "5a3a22", "d6b98c", "e8e2d6")


def _table(
    build: _Builder, rng: np.random.Generator, place: tuple[float, float], yaw: float, height: float = 0.73
) -> None:
    wood = linear(str(rng.choice(WOODS)))
    w, d = rng.uniform(0.5, 0.75), rng.uniform(0.3, 0.4)
    solids = [
        _solid(_at(place, yaw, 0, height, 0), [w, 0.02, d], wood, yaw, 0, raycast.PLANKS, 0.18, wood * np.float32(0.8))
    ]
    for x in (-w + 0.05, w - 0.05):
        for z in (-d + 0.05, d - 0.05):
            solids.append(
                _solid(_at(place, yaw, x, height / 2, z), [0.025, height / 2, 0.025], wood * np.float32(0.8), yaw)
            )
    for _ in range(rng.integers(2, 5)):
        size = rng.uniform(0.03, 0.11, 3)
        spot = _at(place, yaw, rng.uniform(-0.8, 0.8) * w, height + 0.02 + size[1], rng.uniform(-0.6, 0.6) * d)
        solids.append(_solid(spot, size, hsv(rng.random(), 0.45, 0.65), yaw + rng.uniform(-0.5, 0.5)))
    build.group(*solids)


def _chair(build: _Builder, rng: np.random.Generator, place: tuple[float, float], yaw: float) -> None:
    colour = hsv(rng.random(), rng.uniform(0.1, 0.5), rng.uniform(0.25, 0.7))
    solids = [
        _solid(_at(place, yaw, 0, 0.45, 0), [0.21, 0.025, 0.21], colour, yaw),
        _solid(_at(place, yaw, 0, 0.75, -0.19), [0.20, 0.16, 0.015], colour, yaw),
    ]
    for x in (-0.18, 0.18):
        for z in (-0.18, 0.18):
            solids.append(_solid(_at(place, yaw, x, 0.22, z), [0.015, 0.22, 0.015], linear("3a3a3c"), yaw))
    build.group(*solids)


def _shelf(build: _Builder, rng: np.random.Generator, place: tuple[float, float], yaw: float) -> None:
    wood = linear(str(rng.choice(WOODS)))
    height, w = rng.uniform(1.5, 2.05), rng.uniform(0.4, 0.6)
    boards = 5
    solids = [_solid(_at(place, yaw, 0, height / 2, -0.13), [w, height / 2, 0.01], wood * np.float32(0.7), yaw)]
    for x in (-w, w):
        solids.append(_solid(_at(place, yaw, x, height / 2, 0), [0.015, height / 2, 0.14], wood, yaw))
    build.group(*solids)
    for level in range(boards + 1):
        y = 0.06 + (height - 0.08) * level / boards
        row = [_solid(_at(place, yaw, 0, y, 0), [w, 0.012, 0.14], wood, yaw)]
        x = -w + 0.05
        while level < boards and x < w - 0.06:
            thick, tall = rng.uniform(0.012, 0.03), rng.uniform(0.09, 0.135)
            if rng.random() < 0.85:
                colour = hsv(rng.random(), rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.8))
                row.append(_solid(_at(place, yaw, x, y + 0.012 + tall, 0.02), [thick, tall, 0.09], colour, yaw))
            x += 2 * thick + 0.004 + (rng.uniform(0.05, 0.15) if rng.random() < 0.15 else 0.0)
        build.group(*row)


def _sofa(build: _Builder, rng: np.random.Generator, place: tuple[float, float], yaw: float) -> None:
    colour = hsv(rng.random(), rng.uniform(0.05, 0.35), rng.uniform(0.3, 0.65))
    solids = [
        _solid(_at(place, yaw, 0, 0.22, 0.05), [0.95, 0.2, 0.4], colour, yaw),
        _solid(_at(place, yaw, 0, 0.5, -0.33), [0.95, 0.36, 0.11], colour, yaw),
    ]
    for x in (-0.88, 0.88):
        solids.append(_solid(_at(place, yaw, x, 0.34, 0.03), [0.1, 0.26, 0.42], colour * np.float32(0.9), yaw))
    for x in (-0.5, 0.45):
        cushion = hsv(rng.random(), 0.45, 0.7)
        solids.append(_solid(_at(place, yaw, x, 0.55, -0.12), [0.2, 0.17, 0.08], cushion, yaw, 1))
    build.group(*solids)


def _plant(build: _Builder, rng: np.random.Generator, place: tuple[float, float]) -> None:
    green = hsv(rng.uniform(0.25, 0.38), 0.7, 0.45)
    solids = [_solid([place[0], 0.17, place[1]], [0.15, 0.17, 0.15], linear("a5552f"), rng.uniform(0, 1))]
    for _ in range(16):
        angle, rise = rng.uniform(0, 2 * np.pi), rng.uniform(0.45, 1.25)
        out = rng.uniform(0.05, 0.30)
        centre = [place[0] + out * np.cos(angle), rise, place[1] + out * np.sin(angle)]
        shade = green * np.float32(rng.uniform(0.6, 1.3))
        solids.append(_solid(centre, [0.14, rng.uniform(0.05, 0.12), 0.045], shade, -angle, 1))
    build.group(*solids)


def _wall_pieces(build: _Builder, rng: np.random.Generator, side: float, window_behind: bool) -> None:
    """Door and pictures: thin boxes on the side wall without a window and on the back wall."""
    door = hsv(rng.random(), rng.uniform(0.0, 0.25), rng.uniform(0.45, 0.9))
    x = side * HALF_WIDTH_M
    build.group(
        _solid([x, 1.02, 0.1], [0.03, 1.02, 0.43], door),
        _solid([x, 1.05, 0.1], [0.02, 1.07, 0.49], linear("e9e6df")),
        _solid([x - side * 0.06, 1.0, 0.42], [0.03, 0.02, 0.05], linear("8a8a8a")),
    )
    pictures = []
    for wall in (1,) if window_behind else (0, 1):
        size = rng.uniform(0.22, 0.5, 2)
        y, kind = rng.uniform(1.45, 1.75), int(rng.choice([raycast.PICTURE, raycast.LANDSCAPE]))
        a, b = hsv(rng.random(), 0.4, 0.8), hsv(rng.random(), 0.5, 0.55)
        if wall == 0:
            spot, half = [rng.uniform(-2.2, 2.2), y, BACK_M + 0.01], [size[0], size[1], 0.015]
        else:
            spot, half = [side * (HALF_WIDTH_M - 0.01), y, rng.uniform(-2.0, -1.0)], [0.015, size[1], size[0]]
        rim = [half[k] + (0.03 if half[k] > 0.02 else -0.004) for k in range(3)]
        pictures += [_solid(spot, half, a, 0.0, 0, kind, 0.35, b), _solid(spot, rim, linear("2a2320"))]
    build.group(*pictures)


def _rectangle(corner: ArrayLike, edge_a: ArrayLike, edge_b: ArrayLike, normal: ArrayLike) -> list[float]:
    area = float(np.linalg.norm(np.cross(np.asarray(edge_a, float), np.asarray(edge_b, float))))
    return [
        *np.asarray(corner, float),
        *np.asarray(edge_a, float),
        *np.asarray(edge_b, float),
        *np.asarray(normal, float),
        area,
    ]


def build_room(seed: int, setup: int) -> Room:
    """The room of ``setup`` (1..32) in the data set with this seed. Raises ValueError outside that range."""
    if not 1 <= setup <= 32:
        raise ValueError(f"setup must be 1..32, got {setup}")
    rng = named_rng(seed, "room", setup)
    build = _Builder()
    side, window_behind = float(rng.choice([-1.0, 1.0])), bool(rng.random() < 0.3)
    _wall_pieces(build, rng, side, window_behind)
    corners = [(-2.75, -2.1), (2.75, -2.1), (0.0, -2.3)]
    pieces = rng.permutation(4)
    if window_behind and pieces[2] == 0:  # a tall shelf would stand before the window
        pieces = np.roll(pieces, 1)
    for place, piece in zip(corners, pieces):
        yaw = {-2.75: 0.5, 2.75: -0.5, 0.0: 0.0}[place[0]] + rng.uniform(-0.1, 0.1)
        spot = (place[0] + rng.uniform(-0.2, 0.2), place[1] + rng.uniform(-0.05, 0.1))
        if piece == 0:
            _shelf(build, rng, (spot[0], spot[1] - 0.15), 0.0 if place[0] == 0 else yaw)
        elif piece == 1:
            _table(build, rng, spot, yaw)
            _chair(build, rng, (spot[0] + 0.3 * np.sin(yaw), spot[1] + 0.55), yaw + np.pi + rng.uniform(-0.6, 0.6))
        elif piece == 2:
            _sofa(build, rng, (spot[0], spot[1] + 0.1), yaw)
        else:
            _plant(build, rng, spot)
            _chair(build, rng, (spot[0] * 0.75, spot[1] + 0.3), yaw + rng.uniform(-0.8, 0.8))
    for sign in (-1.0, 1.0):
        if rng.random() < 0.6:
            _plant(build, rng, (sign * 3.15, rng.uniform(0.9, 1.6)))
        else:
            _table(build, rng, (sign * 3.0, rng.uniform(0.6, 1.2)), sign * np.pi / 2, 0.6)
    if rng.random() < 0.5:
        near = (float(rng.choice([-1.0, 1.0])) * rng.uniform(1.45, 1.7), rng.uniform(0.35, 0.6))
        _table(build, rng, near, rng.uniform(-0.4, 0.4), 0.40)
    return _light(build, rng, side, window_behind)


def _light(build: _Builder, rng: np.random.Generator, side: float, window_behind: bool) -> Room:
    lamp_at = np.array([side * rng.uniform(0.3, 1.4), CEILING_M - 0.01, rng.uniform(1.1, 2.2)])
    w, d = rng.uniform(0.3, 0.7), rng.uniform(0.15, 0.4)
    lamp = _rectangle(lamp_at - [w, 0, d], [2 * w, 0, 0], [0, 0, 2 * d], [0, -1, 0])
    wx, wy, wz = rng.uniform(0.7, 1.1), rng.uniform(0.55, 0.75), rng.uniform(0.0, 1.6)
    x = -side * (HALF_WIDTH_M - 0.005)
    if window_behind:
        cx = rng.uniform(-1.8, 1.8)
        window = _rectangle([cx - wx, 1.55 - wy, BACK_M + 0.005], [2 * wx, 0, 0], [0, 2 * wy, 0], [0, 0, 1])
        bars = [_solid([cx + k * wx, 1.55, BACK_M], [0.03, wy, 0.04], linear("f0eee8")) for k in (-1, 0, 1)]
        bars += [_solid([cx, 1.55 + k * wy, BACK_M], [wx + 0.03, 0.03, 0.05], linear("f0eee8")) for k in (-1, 1)]
    else:
        window = _rectangle([x, 1.55 - wy, wz - wx], [0, 0, 2 * wx], [0, 2 * wy, 0], [side, 0, 0])
        bars = [_solid([x, 1.55, wz + k * wx], [0.04, wy, 0.03], linear("f0eee8")) for k in (-1, 0, 1)]
        bars += [_solid([x, 1.55 + k * wy, wz], [0.05, 0.03, wx + 0.03], linear("f0eee8")) for k in (-1, 1)]
    build.group(*bars)
    warm = np.array([1.0, rng.uniform(0.86, 0.97), rng.uniform(0.68, 0.9)])
    cool = np.array([rng.uniform(0.82, 0.97), rng.uniform(0.93, 1.0), 1.0])
    rear = _rectangle([-side * 1.2 - 0.6, CEILING_M - 0.01, -1.6], [1.2, 0, 0], [0, 0, 0.4], [0, -1, 0])
    lights = np.array([lamp, window, rear], np.float32)
    # Radiance relative to the lamp's flux: the window is larger and dimmer.
    share = rng.uniform(0.15, 0.45)
    radiance = np.stack(
        [warm * (1 - share) / lamp[12], 2.2 * cool * share / window[12], 0.6 * warm * (1 - share) / rear[12]]
    )
    walls, floor_rgb, wall_rgb = _walls(rng)
    at = np.array([0.0, 1.15, 0.0])
    beams = []
    for light, colour in zip(lights, radiance):
        centre = light[:3] + 0.5 * light[3:6] + 0.5 * light[6:9] - at
        distance = np.linalg.norm(centre)
        direction = centre / distance
        strength = max(0.0, float(-direction @ light[9:12])) * light[12] / (distance**2 * np.pi)
        beams.append((direction, colour * strength))
    direct = beams[0][1] + 0.6 * beams[1][1] + 0.5 * beams[2][1]
    # The camera's white balance takes out most of the light's colour at the performers' place, as real ones do.
    balance = (direct.mean() / direct) ** 0.85
    radiance = radiance * balance
    beams = [(direction, colour * balance) for direction, colour in beams]
    direct = direct * balance
    bounce = 0.85 * direct + 0.03 * direct.mean()
    exposure = rng.uniform(0.9, 1.08) / float((direct * 0.75 + bounce * wall_rgb).mean())
    key, fill = (np.concatenate([d, c * exposure]).astype(np.float32) for d, c in beams[:2])
    bounce = bounce * exposure
    above = bounce * (0.5 * wall_rgb + 0.4) + 0.5 * exposure * beams[2][1]
    below = bounce * (0.5 * floor_rgb + 0.3 * wall_rgb)
    on_floor = key[3:].mean() * key[1]
    rest = (fill[3:].mean() * max(fill[1], 0.1) + (bounce * wall_rgb).mean()) * 0.9
    return Room(
        solids=np.array(build.rows, np.float32),
        groups=np.array(build.groups, np.float32),
        walls=walls,
        lights=lights,
        radiance=(radiance * exposure).astype(np.float32),
        glow=np.array([0.0, 1.0, 0.0], np.float32)
        * np.float32(1.2 / max(float((radiance[1] * exposure).mean()), 1e-6)),
        bounce=bounce.astype(np.float32),
        key=key,
        fill=fill,
        above=above.astype(np.float32),
        below=below.astype(np.float32),
        floor_key_share=float(on_floor / (on_floor + rest)),
        camera_distance_m=float(rng.uniform(2.75, 3.5)),
        camera_height_m=float(rng.uniform(1.15, 1.75)),
        seat_kind=int(rng.integers(3)),
        seat_rgb=hsv(rng.random(), rng.uniform(0.2, 0.7), rng.uniform(0.3, 0.7)),
    )


def _walls(rng: np.random.Generator) -> tuple[Float, Float, Float]:
    """Rows (6, 4 + SOLID) of -x, +x, floor, ceiling, -z, +z; and the mean colours of floor and walls."""
    hue, light = rng.random(), rng.uniform(0.8, 0.94)
    wall = hsv(hue, rng.uniform(0.01, 0.07), light)
    accent = hsv(hue + rng.uniform(-0.1, 0.1), rng.uniform(0.03, 0.2), light * rng.uniform(0.82, 1.0))
    floor_kind = int(rng.choice([raycast.PLANKS, raycast.PLANKS, raycast.TILES, raycast.CARPET]))
    if floor_kind == raycast.PLANKS:
        floor, second, scale = linear(str(rng.choice(FLOORS))), np.float32(0.6), rng.uniform(0.09, 0.16)
    elif floor_kind == raycast.TILES:
        floor, second, scale = hsv(rng.random(), 0.08, rng.uniform(0.6, 0.8)), np.float32(0.6), rng.uniform(0.3, 0.6)
    else:
        floor, second, scale = hsv(rng.random(), rng.uniform(0.03, 0.2), rng.uniform(0.45, 0.65)), np.float32(0.7), 1.0
    pattern = raycast.PAPER if rng.random() < 0.25 else raycast.PLAIN
    blank = np.zeros(3, np.float32)
    places = [-HALF_WIDTH_M, HALF_WIDTH_M, 0.0, CEILING_M, BACK_M, FRONT_M]
    colours = [wall, wall, floor, linear("f2f1ec"), accent, wall]
    kinds = [raycast.PLAIN, raycast.PLAIN, floor_kind, raycast.PLAIN, pattern, raycast.PLAIN]
    rows = []
    for place, colour, kind in zip(places, colours, kinds):
        dim = second if kind == floor_kind else np.float32(0.9)
        solid = _solid(blank, blank, colour, 0.0, 0, kind, scale if kind == floor_kind else 0.24, colour * dim)
        rows.append([0.0, 0.0, 0.0, place, *solid])
    return np.array(rows, np.float32), floor * (0.5 + 0.5 * second), 0.5 * wall + 0.5 * accent


def render_plate(room: Room, seen: View, samples: int, supersample: int, light: float = 1.0, seed: int = 0) -> Plate:
    """The empty room in a view; ``light`` scales all lights, ``samples`` are the rays a pixel."""
    shape = (seen.height, seen.width)
    noisy, albedo, facing, emitted, out = (np.zeros((*shape, 3), np.float32) for _ in range(5))
    depth = np.zeros((shape[0] * supersample, shape[1] * supersample), np.float32)
    floor = np.zeros((*shape, 3), np.float32)
    raycast.render_room(
        room.solids, room.groups, room.walls, room.lights, room.radiance, room.bounce, room.glow,
        seen.rotation.astype(np.float32), seen.position.astype(np.float32), np.float32(seen.f_px),
        samples, seed, noisy, albedo, facing, emitted, depth, floor,
    )  # fmt: skip
    albedo = np.maximum(albedo, np.float32(1e-3))
    raycast.denoise(noisy / albedo, albedo, facing, depth, min(4, 2 + round(seen.width / 480)), out)
    return Plate((out + emitted) * np.float32(light), depth, floor)
