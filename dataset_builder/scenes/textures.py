"""Texture tiles of a performer, in linear light: face, cloth, hair, shoes, and those of props and seats.

A tile is (128, 128, 3) float32; a pyramid of box-averaged halvings keeps small figures free of shimmer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .people import Performer, linear

Float = NDArray[np.float32]
SIZE = 128
LEVELS = 5
FACE, TOP, SLEEVE, BOTTOM, SHOE, HAIR, SKIN, PROP, SEAT = range(9)
TILES = 9
# Metres that one side of a tile spans on the body, from which the pyramid's level follows.
SPAN_M = np.array([0.2, 0.7, 0.7, 1.0, 0.15, 0.4, 1.0, 0.2, 1.0])
# Strength of the highlight of each tile.
GLOSS = np.array([0.035, 0.0, 0.0, 0.0, 0.06, 0.05, 0.025, 0.05, 0.03], np.float32)


def _grid() -> tuple[Float, Float]:
    axis = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
    u, v = np.meshgrid(axis, axis)
    return u.astype(np.float32), v.astype(np.float32)


def _blend(image: Float, colour: Float | NDArray[np.float64], mask: Float | NDArray[np.float64]) -> None:
    image += np.clip(mask, 0, 1)[..., None].astype(np.float32) * (np.asarray(colour, np.float32) - image)


def _oval(
    x: Float, y: Float, cx: float, cy: float, rx: float, ry: float, soft: float = 0.25, tilt: float = 0.0
) -> Float:
    """1 inside an ellipse, falling to 0 over the share ``soft`` of its radius; metres."""
    dx, dy = x - cx, y - cy
    dx, dy = dx * np.cos(tilt) + dy * np.sin(tilt), dy * np.cos(tilt) - dx * np.sin(tilt)
    return np.asarray(np.clip((1 - np.hypot(dx / rx, dy / ry)) / soft + 0.5, 0, 1), np.float32)


def face_tile(person: Performer, head_height_m: float) -> Float:
    """The face seen from the front: 0.18 m wide, 0.27 m high about the head's centre."""
    u, v = _grid()
    scale = head_height_m / 0.115
    x, y = (u - 0.5) * 0.18 / scale, (0.5 - v) * 0.27 / scale
    face, skin = person.face, person.skin_rgb
    image = np.broadcast_to(skin, (SIZE, SIZE, 3)).astype(np.float32).copy()
    rose = skin * np.array([1.08, 0.72, 0.72], np.float32)
    noise = np.random.default_rng(person.number).random((SIZE, SIZE)).astype(np.float32)
    for sign in (1.0, -1.0):
        _blend(image, rose, 0.5 * face.blush * _oval(x, y, sign * 0.043, -0.025, 0.022, 0.018, 1.0))
    _blend(image, rose, 0.3 * _oval(x, y, 0, -0.028 * face.nose_length, 0.014, 0.012, 1.0))
    if face.freckles:
        _blend(image, skin * np.float32(0.55), (noise > 0.93) * 0.6 * _oval(x, y, 0, -0.012, 0.055, 0.025, 0.5))
    _beard(image, person, x, y, noise)
    my, mw = -0.060 + face.mouth_height, 0.0245 * face.mouth_width
    lip = skin * np.array([0.80, 0.42, 0.42], np.float32) if person.feminine else skin * np.float32(0.62)
    _blend(image, lip, _oval(x, y, 0, my + 0.0028 * face.lip, mw, 0.0052 * face.lip, 0.35))
    _blend(image, lip * np.float32(1.1), _oval(x, y, 0, my - 0.0045 * face.lip, mw * 0.82, 0.0065 * face.lip, 0.35))
    _blend(image, skin * np.float32(0.18), _oval(x, y, 0, my, mw * 0.97, 0.0016, 0.8))
    for sign in (1.0, -1.0):
        _eye(image, person, x, y, sign)
        _blend(
            image,
            skin * np.float32(0.3),
            0.8 * _oval(x, y, sign * 0.0075 * face.nose_width, -0.041 * face.nose_length, 0.0042, 0.0026, 0.6),
        )
    _glasses(image, person, x, y)
    return image


def _eye(image: Float, person: Performer, x: Float, y: Float, sign: float) -> None:
    face, skin = person.face, person.skin_rgb
    ex, ey = sign * 0.031 * face.eye_spacing, 0.006 + face.eye_height
    size, tilt = face.eye_size, sign * face.eye_tilt
    _blend(image, skin * np.float32(0.55), 0.55 * _oval(x, y, ex, ey + 0.003, 0.0185 * size, 0.012 * size, 0.8, tilt))
    _blend(image, linear("efe9e4"), _oval(x, y, ex, ey, 0.0135 * size, 0.0066 * size, 0.25, tilt))
    _blend(image, face.iris, _oval(x, y, ex, ey, 0.0062 * size, 0.0064 * size, 0.25))
    _blend(image, linear("080808"), _oval(x, y, ex, ey, 0.0031 * size, 0.0032 * size, 0.4))
    lash = _oval(x, y, ex, ey + 0.0050 * size, 0.0150 * size, 0.0030, 0.6, tilt)
    _blend(image, linear("120c0a"), lash * (1.0 if person.feminine else 0.75))
    _blend(image, linear("ffffff"), 0.8 * _oval(x, y, ex + 0.002, ey + 0.002, 0.0014, 0.0014, 0.6))
    brow = person.hair_rgb * np.float32(0.7) + skin * np.float32(0.06)
    by = ey + 0.0185 + face.brow_height
    _blend(
        image, brow, 0.95 * _oval(x, y, ex * 1.04, by, 0.0185, 0.0032 * face.brow_thickness, 0.5, sign * face.brow_tilt)
    )


def _beard(image: Float, person: Performer, x: Float, y: Float, noise: Float) -> None:
    face, colour = person.face, person.hair_rgb * np.float32(0.85)
    my = -0.060 + face.mouth_height
    jaw = np.clip((-0.030 - y - 6.0 * np.maximum(0.045 - np.abs(x), 0) ** 1.4) / 0.012, 0, 1)
    jaw *= np.clip((y + 0.118) / 0.012, 0, 1)
    lip = _oval(x, y, 0, my + 0.0135, 0.031 * face.mouth_width, 0.0068, 0.5)
    goatee = _oval(x, y, 0, my - 0.026, 0.022, 0.020, 0.5)
    grain = (0.75 + 0.5 * noise)[..., None]
    if person.beard in ("full", "stubble"):
        strength = 0.95 if person.beard == "full" else 0.38
        _blend(image, colour * grain, strength * np.maximum(np.maximum(jaw, goatee), lip))
    if person.beard in ("moustache", "goatee"):
        _blend(image, colour * grain, 0.95 * lip)
    if person.beard == "goatee":
        _blend(image, colour * grain, 0.95 * goatee)


def _glasses(image: Float, person: Performer, x: Float, y: Float) -> None:
    if person.glasses == "none":
        return
    ey = 0.004 + person.face.eye_height
    power = 2.0 if person.glasses == "round" else 5.0
    rim = np.zeros_like(x)
    for sign in (1.0, -1.0):
        ex = sign * 0.0325 * (0.5 + 0.5 * person.face.eye_spacing)
        radius = (np.abs((x - ex) / 0.0255) ** power + np.abs((y - ey) / 0.0205) ** power) ** (1 / power)
        rim = np.maximum(rim, np.clip((0.15 - np.abs(radius - 0.95)) / 0.06, 0, 1))
        _blend(image, image * np.float32(0.8) + np.float32(0.04), 0.6 * (radius < 0.9))
    bridge = np.clip((0.0022 - np.abs(y - ey - 0.004)) / 0.001, 0, 1) * (np.abs(x) < 0.010)
    temple = np.clip((0.0022 - np.abs(y - ey - 0.005)) / 0.001, 0, 1) * (np.abs(x) > 0.056)
    _blend(image, person.frame_rgb, np.maximum(rim, np.maximum(bridge, temple)))


def _cloth(person: Performer, sleeve: bool) -> Float:
    """Cloth of the upper garment: u is the half turn from front to back, v the height (0.40 statures)."""
    u, v = _grid()
    image = np.broadcast_to(person.top_rgb, (SIZE, SIZE, 3)).astype(np.float32).copy()
    accent = person.accent_rgb
    around = u * (0.22 if sleeve else 0.55)  # metres round the body, roughly
    along = v * 0.69
    if person.pattern == "hoops":
        _blend(image, accent, (np.sin(2 * np.pi * along / 0.085) > 0.1).astype(np.float32))
    elif person.pattern == "stripes":
        _blend(image, accent, (np.sin(2 * np.pi * around / 0.055) > 0.45).astype(np.float32))
    elif person.pattern == "check":
        lines = 0.55 * (np.sin(2 * np.pi * around / 0.09) > 0.2) + 0.45 * (np.sin(2 * np.pi * along / 0.09) > 0.2)
        _blend(image, accent, lines.astype(np.float32))
    elif person.pattern == "dots":
        dots = np.sin(2 * np.pi * around / 0.08) * np.sin(2 * np.pi * along / 0.08)
        _blend(image, accent, (dots > 0.4).astype(np.float32))
    elif person.pattern == "block":
        _blend(image, accent, np.ones_like(u) if sleeve else (v > 0.47).astype(np.float32))
    elif person.pattern == "print" and not sleeve:
        kind = person.number % 3
        px, py = u * 0.5, v * 0.69 - 0.24
        if kind == 0:
            mask = np.hypot(px, py) < 0.085
        elif kind == 1:
            mask = (np.abs(px) < 0.10) & (np.abs(py) < 0.055)
        else:
            mask = np.abs(px) + np.abs(py) < 0.12
        _blend(image, accent, mask.astype(np.float32))
    if person.top == "jacket" and not sleeve:
        inner = u < 0.055 * (1 + 1.2 * np.clip(0.35 - v, 0, 1) / 0.35)
        _blend(image, linear("dfdcd4"), inner.astype(np.float32))
        _blend(image, person.top_rgb * np.float32(0.4), (np.abs(u - 0.065) < 0.012) * (v > 0.3).astype(np.float32))
    if person.top == "shirt" and not sleeve:
        _blend(image, image * np.float32(0.55), 0.8 * (u < 0.012).astype(np.float32))
        buttons = (u < 0.012) & (np.sin(2 * np.pi * along / 0.085) > 0.9)
        _blend(image, linear("f4f2ec"), buttons.astype(np.float32))
    return image


def _weave(image: Float, seed: int, amount: float) -> Float:
    noise = np.random.default_rng(seed).normal(0, amount, (SIZE, SIZE, 1)).astype(np.float32)
    return np.clip(image * (1 + noise), 0.004, 0.92)


def performer_tiles(person: Performer, head_height_m: float) -> Float:
    """All tiles of a performer: (TILES, SIZE, SIZE, 3) linear reflectance."""
    u, v = _grid()
    tiles = np.empty((TILES, SIZE, SIZE, 3), np.float32)
    tiles[FACE] = face_tile(person, head_height_m)
    tiles[TOP] = _weave(_cloth(person, sleeve=False), person.number, 0.05)
    tiles[SLEEVE] = _weave(_cloth(person, sleeve=True), person.number + 1000, 0.05)
    bottom = np.broadcast_to(person.bottom_rgb, (SIZE, SIZE, 3)).astype(np.float32).copy()
    if person.bottom == "jeans":
        _blend(bottom, bottom * np.float32(1.6), 0.6 * _oval(u, v, 0.0, 0.35, 0.3, 0.25, 1.0))
    _blend(bottom, linear("2a1c12"), 0.9 * (np.abs(v - 0.075) < 0.014).astype(np.float32))
    tiles[BOTTOM] = _weave(bottom, person.number + 2000, 0.06)
    shoe = np.broadcast_to(person.shoes_rgb, (SIZE, SIZE, 3)).astype(np.float32).copy()
    _blend(shoe, linear("e9e6df") if person.number % 2 else linear("191817"), (v < 0.16).astype(np.float32))
    tiles[SHOE] = shoe
    colour = person.accent_rgb if person.hair == "cap" else person.hair_rgb
    strands = np.random.default_rng(person.number + 3000).uniform(0.65, 1.35, (1, SIZE, 1)).astype(np.float32)
    tiles[HAIR] = colour if person.hair == "cap" else colour * strands
    tiles[SKIN] = person.skin_rgb
    tiles[PROP], tiles[SEAT] = 0.5, 0.3
    return np.clip(tiles, 0.003, 0.95)


def pyramid(tiles: Float) -> Float:
    """Sheets (K, SIZE, 3/2 SIZE, 3): the tiles, and beside them their halvings by box average, one below the other."""
    sheets = np.zeros((len(tiles), SIZE, SIZE * 3 // 2, 3), np.float32)
    sheets[:, :, :SIZE] = tiles
    now, top = tiles, 0
    for _ in range(1, LEVELS):
        now = 0.25 * (now[:, ::2, ::2] + now[:, 1::2, ::2] + now[:, ::2, 1::2] + now[:, 1::2, 1::2])
        size = now.shape[1]
        sheets[:, top : top + size, SIZE : SIZE + size] = now
        top += size
    return sheets


def level(sample_m: float) -> NDArray[np.int32]:
    """The level (TILES,) of each tile whose texels are about as large as a sample of ``sample_m`` on the body."""
    texel = SPAN_M / SIZE
    return np.clip(np.floor(np.log2(sample_m / texel) + 0.3), 0, LEVELS - 1).astype(np.int32)
