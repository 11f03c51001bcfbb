"""Who is in the clip: proportions, looks and manner of moving of each performer, drawn from the seed and the number.

Performers differ in everything that lets a viewer tell people apart: height and build, face geometry, hair, beard,
glasses, clothes, posture, tempo, handedness. Clothes stay the same for a performer over the whole data set.
Colours are linear-light RGB reflectances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lps_sim.seeding import named_rng
from lps_sim.transfer import eotf

PERFORMERS = 106
HAIR_STYLES = ("crop", "bald", "side", "bob", "long", "ponytail", "bun", "afro", "receding", "cap")
BEARDS = ("none", "stubble", "moustache", "full", "goatee")
GLASSES = ("none", "round", "square")
TOPS = ("t-shirt", "shirt", "sweater", "vest", "jacket")
PATTERNS = ("plain", "hoops", "stripes", "check", "print", "block", "dots")
BOTTOMS = ("trousers", "jeans", "shorts", "skirt")
STATURE_M = (1.52, 1.93)

_SKIN = ("f6d5c0", "eec1a2", "e0ac87", "c98d66", "a86f4a", "82502f", "5f3821", "46291a")
_HAIR = ("17120f", "2c1d15", "4b2e1c", "7a4a24", "a5722f", "d9b66f", "8c3b1c", "8f8b88", "d8d6d2")
_SHOES = ("1a1a1c", "f0efec", "5a3820", "a92a24", "24406e", "74777a")
_BOTTOM = ("23252b", "2f466b", "7a6a4f", "5b5e63", "6e2a2f", "3f5a3e", "c9bda2", "1d2c48")
_FRAME = ("141414", "5a2d16", "a01d22", "b9b9bd", "1e3d7d")


def linear(hexadecimal: str) -> NDArray[np.float32]:
    """Linear-light RGB in [0, 1] of an sRGB colour written ``rrggbb``."""
    code = np.array([int(hexadecimal[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.asarray(eotf(code, "srgb"), np.float32)


def hsv(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    """Linear-light RGB of an sRGB colour given as hue (turns), saturation and value in [0, 1]."""
    shift = (np.array([5.0, 3.0, 1.0]) + hue * 6) % 6
    code = value * (1 - saturation * np.clip(np.minimum(shift, 4 - shift), 0, 1))
    return np.asarray(eotf(code, "srgb"), np.float32)


@dataclass(frozen=True)
class Proportions:
    """Body measures: lengths in metres, the rest factors about 1."""

    stature_m: float
    leg: float
    shoulder: float
    hip: float
    girth: float
    belly: float
    bust: float
    arm: float
    head: float
    limb: float
    neck: float


@dataclass(frozen=True)
class Face:
    """Face geometry as factors about 1 (sizes) or small offsets about 0 (positions, tilts)."""

    width: float
    jaw: float
    chin: float
    eye_spacing: float
    eye_size: float
    eye_height: float
    eye_tilt: float
    iris: NDArray[np.float32]
    brow_thickness: float
    brow_tilt: float
    brow_height: float
    nose_length: float
    nose_width: float
    mouth_width: float
    lip: float
    mouth_height: float
    ear: float
    blush: float
    freckles: float


@dataclass(frozen=True)
class Style:
    """Manner of moving: factors about 1, angles in radians, ``right`` is the handedness, ``phase`` in turns."""

    amplitude: float
    tempo: float
    right: bool
    slouch_rad: float
    stance: float
    elbow: float
    sway: float
    bounce: float
    asymmetry: float
    head_tilt_rad: float
    head_pitch_rad: float
    arm_swing: float
    toe_out_rad: float
    stride: float
    phase: float


@dataclass(frozen=True)
class Performer:
    """One performer: number, measures, face, manner and clothes (``*_rgb`` are linear-light reflectances)."""

    number: int
    feminine: bool
    body: Proportions
    face: Face
    style: Style
    skin_rgb: NDArray[np.float32]
    hair: str
    hair_rgb: NDArray[np.float32]
    beard: str
    glasses: str
    frame_rgb: NDArray[np.float32]
    top: str
    pattern: str
    top_rgb: NDArray[np.float32]
    accent_rgb: NDArray[np.float32]
    bottom: str
    bottom_rgb: NDArray[np.float32]
    shoes_rgb: NDArray[np.float32]

    def attributes(self) -> dict[str, str | float | bool]:
        """The visible attributes as plain values, for the ground truth beside a clip."""
        return {
            "performer": self.number,
            "feminine": self.feminine,
            "stature_m": round(self.body.stature_m, 4),
            "hair": self.hair,
            "beard": self.beard,
            "glasses": self.glasses,
            "top": self.top,
            "pattern": self.pattern,
            "bottom": self.bottom,
            "right_handed": self.style.right,
        }


def _spread(rng: np.random.Generator, number: int, levels: int) -> int:
    """One of ``levels`` choices; any ``levels`` performers in a row get each choice once."""
    block, place = divmod(number - 1, levels)
    return int(np.random.default_rng(rng.integers(2**32) + block).permutation(levels)[place])


def _even(rng: np.random.Generator, number: int) -> float:
    """A number in [0, 1) that the golden ratio spreads evenly over consecutive performers."""
    return float((rng.random() + number * 0.6180339887498949) % 1.0)


def performer(seed: int, number: int) -> Performer:
    """Performer ``number`` (1..106) of the data set with this seed. Raises ValueError outside that range."""
    if not 1 <= number <= PERFORMERS:
        raise ValueError(f"performer must be 1..{PERFORMERS}, got {number}")
    common = named_rng(seed, "cast")  # shared draws, so that neighbours in number are spread apart
    own = named_rng(seed, "performer", number)
    feminine = _spread(common, number, 2) == 0
    rank = _even(common, number)
    centre, spread = (1.64, 0.22) if feminine else (1.77, 0.26)
    stature = float(np.clip(centre + spread * (rank - 0.5) + own.normal(0, 0.01), *STATURE_M))
    shade = _spread(common, number, len(_SKIN))
    skin = linear(_SKIN[shade]) * own.uniform(0.92, 1.06)
    hair_style = _hair_style(common, own, number, feminine)
    colours = _HAIR if shade < 4 else _HAIR[:3] + _HAIR[-2:]
    hair_rgb = linear(colours[_spread(common, number, len(_HAIR)) % len(colours)])
    top = TOPS[_spread(common, number, len(TOPS))]
    pattern = PATTERNS[_spread(common, number, len(PATTERNS))]
    hue = _even(common, number)
    top_rgb = hsv(hue, own.uniform(0.35, 0.8), own.uniform(0.35, 0.85))
    accent = (
        linear("f2f0ea")
        if own.random() < 0.45
        else hsv(hue + own.uniform(0.3, 0.7), own.uniform(0.25, 0.7), own.uniform(0.3, 0.8))
    )
    if own.random() < 0.2:
        top_rgb = linear(str(own.choice(["1c1d22", "e8e6e0", "6b6e75"])))
    bottom = BOTTOMS[_spread(common, number, len(BOTTOMS))]
    if bottom == "skirt" and not feminine:
        bottom = "trousers"
    bottom_rgb, shoes_rgb = _pick(_BOTTOM, common, number), _pick(_SHOES, common, number)
    if bottom == "jeans":
        bottom_rgb = linear("2f466b") * np.float32(own.uniform(0.5, 1.8))
    beard = BEARDS[_spread(common, number, len(BEARDS))]
    return Performer(
        number=number,
        feminine=feminine,
        body=_proportions(own, feminine, stature),
        face=_face(own, feminine),
        style=_style(own, common, number),
        skin_rgb=skin.astype(np.float32),
        hair=hair_style,
        hair_rgb=hair_rgb,
        beard="none" if feminine else beard,
        glasses=GLASSES[max(0, _spread(common, number, 4) - 1)],
        frame_rgb=linear(str(own.choice(_FRAME))),
        top=top,
        pattern=pattern,
        top_rgb=top_rgb,
        accent_rgb=accent,
        bottom=bottom,
        bottom_rgb=bottom_rgb,
        shoes_rgb=shoes_rgb,
    )


def _pick(palette: tuple[str, ...], rng: np.random.Generator, number: int) -> NDArray[np.float32]:
    return linear(palette[_spread(rng, number, len(palette))])


def _hair_style(common: np.random.Generator, own: np.random.Generator, number: int, feminine: bool) -> str:
    styles = ("bob", "long", "ponytail", "bun", "crop", "afro") if feminine else HAIR_STYLES[:3] + HAIR_STYLES[7:]
    place = (number - 1) // 2 + int(common.integers(2**16))
    return styles[place % len(styles)] if own.random() < 0.85 else str(own.choice(styles))


def _proportions(rng: np.random.Generator, feminine: bool, stature: float) -> Proportions:
    girth = float(np.clip(rng.normal(1.0, 0.13), 0.8, 1.35))
    return Proportions(
        stature_m=stature,
        leg=rng.uniform(0.955, 1.045),
        shoulder=rng.uniform(0.86, 0.98) if feminine else rng.uniform(0.98, 1.13),
        hip=rng.uniform(1.02, 1.18) if feminine else rng.uniform(0.9, 1.04),
        girth=girth,
        belly=max(0.0, rng.normal(0.25 * (girth - 0.9), 0.1)),
        bust=rng.uniform(0.5, 1.0) if feminine else rng.uniform(0.0, 0.2),
        arm=rng.uniform(0.95, 1.05),
        head=rng.uniform(0.93, 1.08),
        limb=0.55 * girth + 0.45 * rng.uniform(0.82, 1.18),
        neck=rng.uniform(0.85, 0.98) if feminine else rng.uniform(0.98, 1.15),
    )


def _face(rng: np.random.Generator, feminine: bool) -> Face:
    iris = linear(str(rng.choice(["3b2314", "5d3a1a", "2e4a63", "4f6b45", "6f7f86"])))
    return Face(
        width=rng.uniform(0.88, 1.12),
        jaw=rng.uniform(0.72, 0.95) if feminine else rng.uniform(0.86, 1.12),
        chin=rng.uniform(0.75, 1.25),
        eye_spacing=rng.uniform(0.84, 1.16),
        eye_size=rng.uniform(0.95, 1.35) if feminine else rng.uniform(0.8, 1.15),
        eye_height=rng.uniform(-0.006, 0.006),
        eye_tilt=rng.uniform(-0.2, 0.2),
        iris=iris,
        brow_thickness=rng.uniform(0.5, 1.0) if feminine else rng.uniform(0.8, 1.9),
        brow_tilt=rng.uniform(-0.25, 0.25),
        brow_height=rng.uniform(-0.004, 0.006),
        nose_length=rng.uniform(0.8, 1.25),
        nose_width=rng.uniform(0.75, 1.35),
        mouth_width=rng.uniform(0.8, 1.25),
        lip=rng.uniform(0.9, 1.6) if feminine else rng.uniform(0.6, 1.15),
        mouth_height=rng.uniform(-0.005, 0.005),
        ear=rng.uniform(0.8, 1.3),
        blush=rng.uniform(0.0, 1.0),
        freckles=float(rng.random() < 0.2),
    )


def _style(rng: np.random.Generator, common: np.random.Generator, number: int) -> Style:
    return Style(
        amplitude=rng.uniform(0.88, 1.1),
        tempo=float(np.exp((_even(common, number) - 0.5) * 0.36)),
        right=bool(rng.random() < 0.82),
        slouch_rad=rng.uniform(-0.04, 0.2),
        stance=rng.uniform(0.75, 1.5),
        elbow=rng.uniform(-0.25, 0.35),
        sway=rng.uniform(0.4, 1.6),
        bounce=rng.uniform(0.6, 1.4),
        asymmetry=rng.uniform(-0.12, 0.12),
        head_tilt_rad=rng.normal(0, 0.05),
        head_pitch_rad=rng.uniform(-0.08, 0.12),
        arm_swing=rng.uniform(0.6, 1.4),
        toe_out_rad=rng.uniform(0.0, 0.3),
        stride=rng.uniform(0.85, 1.15),
        phase=rng.random(),
    )
