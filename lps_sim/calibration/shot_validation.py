"""What makes a calibration set unusable, found when it is read: every message names the file and the cure.

Findings that a fit can live with, or that need a measurement, belong to the gate (``lps_sim.calibration.gate``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..camera import Camera
from ..transfer import eotf_table

if TYPE_CHECKING:
    from .pictures import Pictures
    from .shots import Shot

# Codes this close to full scale are taken as saturated: noise and sharpening clip before the nominal maximum.
SATURATED_SHARE = 250 / 255
# Targets that hold no scene: used for black level, veil, response curve and registration, never as a filmed picture.
NO_SCENE = ("dark", "screen_off", "wedge", "charuco")
# A shot without light: its brightest pixels (so many, to pass over hot ones) stay within the read noise's reach.
_BRIGHTEST = 20
_NOISE_SIGMAS = 6.0
_BLACK_CODE = 4 / 255
# Grey or colour is told from pixels between this share of full scale and saturation, if there are enough of them.
_DIM = 0.05
_ENOUGH = 0.001
_LISTED = 5


def check_list(shots: Sequence[Shot], pictures: Pictures, camera: Camera) -> list[str]:
    """Complaints that need no pixels: names, suffixes, missing files, scenes without a bare shot."""
    names = [shot.file for shot in shots]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return [f"shots: named twice: {', '.join(twice)}; list every file once"]
    complaints = pictures.complaints(names, camera)
    if complaints:
        return complaints
    pictured = [shot for shot in shots if shot.target not in NO_SCENE]
    bare = {shot.scene for shot in pictured if shot.layers == 0}
    for scene in dict.fromkeys(shot.scene for shot in pictured if shot.scene not in bare):
        file = next(shot.file for shot in pictured if shot.scene == scene)
        complaints.append(
            f"scene {scene} ({file}, ...): no bare shot; add one of the same scene with layers: 0, or leave it out"
        )
    return complaints


def check_pixels(
    shots: Sequence[Shot], camera: Camera, codes: Callable[[Shot], NDArray[Any]]
) -> tuple[list[str], dict[str, str]]:
    """Complaints about pictures, and the shots that say nothing though their set is sound.

    Parameters
    ----------
    shots : of the set
    camera : that took them
    codes : reads a shot; its ValueErrors (size, code range, not a picture) become complaints

    Returns
    -------
    complaints, and {file: reason} of shots saturated at every pixel beside a better one of the same scene and layers
    """
    complaints: list[str] = []
    saturated: list[Shot] = []
    grey: dict[bool, str] = {}
    for shot in shots:
        try:
            picture = codes(shot)
        except ValueError as error:
            complaints.append(str(error))
            continue
        limit = SATURATED_SHARE * camera.max_code
        if int(picture.min()) >= limit:
            saturated.append(shot)
        elif shot.target not in ("dark", "screen_off") and is_black(picture, camera):
            complaints.append(
                f"{shot.file}: black: no light in the picture; is the cap on, or the display off? Shoot it again with "
                "a longer exposure, or label it target: dark"
            )
        middle = (picture[..., 1] > _DIM * camera.max_code) & (picture[..., 1] < limit)
        if middle.mean() > _ENOUGH:
            grey.setdefault(is_grey(picture), shot.file)
    if len(grey) == 2:
        complaints.append(f"{grey[True]} is grey and {grey[False]} is colour; store every shot of a set the same way")
    usable = {(s.scene, s.layers) for s in shots if s not in saturated}
    unusable: dict[str, str] = {}
    for shot in saturated:
        if (shot.scene, shot.layers) in usable:
            unusable[shot.file] = "saturated at every pixel"
        else:
            complaints.append(
                f"{shot.file}: saturated at every pixel, and scene {shot.scene} has no other shot at {shot.layers} "
                "layers; shoot it again with a shorter exposure"
            )
    return complaints, unusable


def is_black(codes: NDArray[Any], camera: Camera) -> bool:
    """Whether even the brightest pixels hold no more than read noise."""
    flat = np.asarray(codes).max(axis=-1).ravel()
    count = min(_BRIGHTEST, flat.size)
    bright = int(np.partition(flat, flat.size - count)[flat.size - count])
    light = float(eotf_table(camera.transfer, camera.bits)[bright])
    noise = _NOISE_SIGMAS * camera.read_noise_e / camera.full_well_e
    return bright <= _BLACK_CODE * camera.max_code or light <= noise


def is_grey(codes: NDArray[Any]) -> bool:
    """Whether the three channels are one: a monochrome camera or a grey file."""
    return bool(np.array_equal(codes[..., 0], codes[..., 1]) and np.array_equal(codes[..., 1], codes[..., 2]))


def complain(place: object, complaints: Iterable[str]) -> None:
    """Raise one ValueError with every complaint, if there is any."""
    listed = list(complaints)
    if not listed:
        return
    more = f"; and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    raise ValueError(f"{place}: {'; '.join(listed[:_LISTED])}{more}")
