"""``shots.yaml``: what was filmed, through how many layers, at which exposure; and the pixels behind it.

Pixel value = encode(exposure x irradiance), with a relative, linear exposure. The input of a filmed shot is the bare
(layers 0) shot of the same scene, so that screen, lens and registration cancel.

Where no shot gives its exposure, it is taken from the pictures' EXIF data: exposure time x ISO / f-number^2, relative
to the shortest bare shot.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from ..camera import Camera
from ..config import StrictModel, validation_message
from ..files import write_atomic
from ..media.exif import read_exif_exposure
from .pictures import FolderPictures, Pictures, SessionPictures
from .session_file import camera_of_frames, camera_of_means, is_session, read_session
from .shot_validation import SATURATED_SHARE, check_list, check_pixels, complain, is_grey

__all__ = ["SATURATED_SHARE", "TARGETS", "Shot", "ShotGeometry", "ShotSet", "is_grey", "write_shots"]

Target = Literal[
    "dark",
    "screen_off",
    "flat",
    "edge",
    "hole",
    "disc",
    "noise",
    "fringe",
    "wedge",
    "siemens",
    "photo",
    "text",
    "charuco",
]
TARGETS: tuple[str, ...] = get_args(Target)
Role = Literal["fit", "held"]


class Shot(StrictModel):
    """One picture of a calibration set.

    ``scene`` names what the display showed: shots of one scene at several exposures and layer counts belong together.
    ``exposure`` is relative and linear; ``role`` ``held`` keeps a shot out of every fit.
    """

    file: str = Field(min_length=1)
    target: Target
    scene: str = Field(min_length=1)
    layers: int = Field(ge=0, le=64)
    exposure: float = Field(gt=0, allow_inf_nan=False)
    role: Role = "fit"


class ShotGeometry(StrictModel):
    """Where film and display stood, in metres from the camera."""

    film_distance_m: float = Field(default=0.0, ge=0)
    target_distance_m: float = Field(default=1.0, gt=0)
    refractive_index: float = Field(default=1.5, ge=1, le=3)


class ShotsFile(StrictModel):
    """The content of ``shots.yaml``."""

    camera: dict[str, Any]
    geometry: ShotGeometry = ShotGeometry()
    provenance: dict[str, Any] = Field(default_factory=dict)
    shots: tuple[Shot, ...] = Field(min_length=1)


@dataclass(frozen=True)
class ShotSet:
    """A calibration set on disk: camera, geometry, and shots whose pictures are in a folder or a session file.

    ``origin`` is what the file says under ``provenance:``, such as ``kind: simulated``; empty where it says nothing.

    ``unusable`` names the shots that say nothing, with the reason: a bracket's longest exposure may be saturated at
    every pixel as long as another shot of the same scene and layers is not.

    ``recorded`` is the camera of the single frames where pictures are means of several: its codes were rounded.
    """

    pictures: Pictures
    camera: Camera
    geometry: ShotGeometry
    shots: tuple[Shot, ...]
    origin: Mapping[str, Any] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict, compare=False)
    recorded: Camera | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ShotSet:
        """Read and check ``shots.yaml``, or the file of a session (:mod:`lps_sim.calibration.session_file`).

        Every picture is opened. A shot's ``exposure`` may be left out of the whole file if the pictures' EXIF data tell
        it.

        Raises
        ------
        ValueError
            not YAML, an unknown or missing key, a value out of range; a file that is named twice or missing, of another
            size or code range than the camera's, black, saturated at every pixel with no other shot of its scene and
            layers; grey and colour mixed; a scene without a bare shot; an exposure that neither the file nor EXIF tells
        FileNotFoundError
            no such file
        """
        path = Path(path)
        return cls._of_session(path) if is_session(path) else cls._of_yaml(path)

    @classmethod
    def _of_yaml(cls, path: Path) -> ShotSet:
        import yaml

        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(data, dict):
            raise ValueError(f"{path}: must hold camera:, geometry: and shots:, got {str(data)[:60]!r}")
        try:
            data = _with_exif_exposures(data, path.parent)
            content = ShotsFile(**data)
            camera = Camera.from_dict(content.camera)
        except ValidationError as error:
            raise ValueError(f"{path}: {validation_message(error)}") from error
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from error
        pictures = FolderPictures(path.parent)
        return cls(pictures, camera, content.geometry, content.shots, content.provenance)._checked(path)

    @classmethod
    def _of_session(cls, path: Path) -> ShotSet:
        content = read_session(path)
        taken = [shot for shot in content.shots if shot.planned["target"] in TARGETS]
        if not taken:
            raise ValueError(f"{path}: no shot was taken yet; of the plan are left: {', '.join(content.lacking[:5])}")
        keys = ("target", "scene", "layers", "role")
        shots = tuple(
            Shot(file=shot.name, exposure=shot.exposure, **{key: shot.planned[key] for key in keys}) for shot in taken
        )
        origin = {"kind": "simulated" if content.simulated else "session", "notes": content.notes}
        single = camera_of_frames(path, content)
        pictures = SessionPictures(path, {shot.name: shot for shot in taken})
        geometry = ShotGeometry(**content.geometry)
        try:
            return cls(pictures, camera_of_means(single, content), geometry, shots, origin, recorded=single)._checked(
                path
            )
        except ValueError as error:
            if not content.lacking:
                raise
            some = ", ".join(content.lacking[:5])
            raise ValueError(f"{error}; {len(content.lacking)} planned shots are not taken yet: {some}") from error

    def _checked(self, path: Path) -> ShotSet:
        if self.geometry.film_distance_m >= self.geometry.target_distance_m:
            raise ValueError(f"{path}: geometry: film_distance_m must be below target_distance_m")
        complain(path, check_list(self.shots, self.pictures, self.camera))
        complaints, unusable = check_pixels(self.shots, self.camera, self.codes)
        complain(path, complaints)
        self.unusable.update(unusable)
        return self

    @property
    def simulated(self) -> bool:
        """Whether the file says that the set is simulated."""
        return self.origin.get("kind") == "simulated"

    def select(
        self,
        *,
        role: str | None = None,
        target: str | None = None,
        scene: str | None = None,
        layers: int | None = None,
        filmed: bool | None = None,
    ) -> list[Shot]:
        """Shots that agree with every given field, in the order of the file; ``filmed``: layers > 0 or not."""
        wanted = {"role": role, "target": target, "scene": scene, "layers": layers}
        return [
            shot
            for shot in self.shots
            if all(value is None or getattr(shot, key) == value for key, value in wanted.items())
            and (filmed is None or (shot.layers > 0) == filmed)
        ]

    def layer_counts(self, shots: Iterable[Shot] | None = None) -> list[int]:
        """The film layer counts among the shots, sorted, without 0."""
        return sorted({shot.layers for shot in (self.shots if shots is None else shots)} - {0})

    def codes(self, shot: Shot) -> NDArray[Any]:
        """The picture's code values, (H, W, 3) uint8 or uint16, not to be written to.

        Raises ValueError naming the file when its size or code range is not the camera's.
        """
        place, image = self.pictures.place(shot.file), self.pictures.codes(shot.file)
        camera = self.camera
        if image.shape[:2] != (camera.height, camera.width):
            raise ValueError(
                f"{place}: {image.shape[1]}x{image.shape[0]} pixels, but the camera has "
                f"{camera.width}x{camera.height}; every shot must be an uncropped picture of the one camera"
            )
        if image.dtype == np.uint8 and camera.bits > 8:
            raise ValueError(
                f"{place}: an 8-bit file, but the camera has {camera.bits} bits; set bits: 8, or store 16 bits"
            )
        if int(image.max()) > camera.max_code:
            raise ValueError(
                f"{place}: code {int(image.max())}, but a camera of {camera.bits} bits ends at {camera.max_code}; "
                "set the camera's bits to those of the files"
            )
        return image

    def provenance(self, shots: Iterable[Shot]) -> list[dict[str, Any]]:
        """File, layers, role and SHA-256 of shots, for the film file."""
        return [
            {"file": shot.file, "layers": shot.layers, "role": shot.role, "sha256": self.pictures.sha256(shot.file)}
            for shot in shots
        ]


def _with_exif_exposures(data: dict[Any, Any], folder: Path) -> dict[Any, Any]:
    """The file's content with exposures from EXIF where no shot gives one, relative to the shortest bare shot."""
    shots = data.get("shots")
    if not isinstance(shots, list) or not all(isinstance(shot, dict) for shot in shots):
        return data  # the model complains
    without = [shot for shot in shots if "exposure" not in shot]
    files = [
        shot["file"] for shot in without if isinstance(shot.get("file"), str) and (folder / shot["file"]).is_file()
    ]
    if not without:
        return data
    if len(files) < len(without) or any(not Shot.model_fields.keys() >= shot.keys() for shot in shots):
        # What is wrong here (a missing file, a misspelt key) is complained about by its own name, not as an exposure.
        return {**data, "shots": [{"exposure": 1.0, **shot} for shot in shots]}
    found = {file: read_exif_exposure(folder / file) for file in files}
    unknown = [file for file, exposure in found.items() if exposure is None]
    if unknown:
        raise ValueError(
            f"{unknown[0]}: no exposure: neither in the file's list nor as ExposureTime in the picture's EXIF data; "
            "write exposure: X, relative and linear"
        )
    if len(without) < len(shots):
        raise ValueError(
            f"{files[0]}: no exposure, while other shots have one; EXIF's scale is not theirs: write it for every shot "
            "or for none"
        )
    exif = [exposure for exposure in found.values() if exposure is not None]
    for name in ("iso", "f_number"):
        lacking = [file for file, exposure in found.items() if getattr(exposure, name) is None]
        if lacking and len(lacking) < len(exif):
            raise ValueError(f"{lacking[0]}: its EXIF data lack {name}, while others have it; write exposure: X")
    values = [exposure.relative for exposure in exif]
    bare = [v for v, shot in zip(values, shots) if shot.get("layers") == 0 and shot.get("target") != "dark"]
    unit = min(bare or values)
    return {**data, "shots": [{**shot, "exposure": value / unit} for shot, value in zip(shots, values)]}


def write_shots(
    path: str | os.PathLike[str],
    camera: Camera,
    geometry: ShotGeometry,
    shots: Iterable[Shot],
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write ``shots.yaml``, one line a shot; whole or absent. ``provenance``: where the shots come from, if stated."""
    import yaml

    head: dict[str, Any] = {"camera": camera.to_dict(), "geometry": geometry.model_dump()}
    if provenance:
        head["provenance"] = dict(provenance)
    rows = [
        yaml.safe_dump(shot.model_dump(), default_flow_style=True, sort_keys=False, width=1000).strip()
        for shot in shots
    ]
    text = yaml.safe_dump(head, sort_keys=False) + "shots:\n" + "".join(f"- {row}\n" for row in rows)
    write_atomic(path, text)
