"""``shots.yaml``: what was filmed, through how many layers, at which exposure; and the pixels behind it.

Pixel value = encode(exposure x irradiance), with a relative, linear exposure. The input of a filmed shot is the bare
(layers 0) shot of the same scene, so that screen, lens and registration cancel.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from ..camera import Camera
from ..config import StrictModel, validation_message
from ..files import sha256_file, write_atomic
from ..media import read_image

Target = Literal[
    "dark", "screen_off", "flat", "edge", "hole", "disc", "noise", "fringe", "wedge", "siemens", "photo", "text"
]
TARGETS: tuple[str, ...] = get_args(Target)
Role = Literal["fit", "held"]

# Codes this close to full scale are taken as saturated: noise and sharpening clip before the nominal maximum.
SATURATED_SHARE = 250 / 255


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
    """A calibration set on disk: camera, geometry, and shots whose files lie in ``folder``.

    ``origin`` is what the file says under ``provenance:``, such as ``kind: simulated``; empty where it says nothing.
    """

    folder: Path
    camera: Camera
    geometry: ShotGeometry
    shots: tuple[Shot, ...]
    origin: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ShotSet:
        """Read and check ``shots.yaml``.

        Raises
        ------
        ValueError
            not YAML, an unknown or missing key, a value out of range, a file that is named twice or missing
        FileNotFoundError
            no such ``shots.yaml``
        """
        import yaml

        path = Path(path)
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(data, dict):
            raise ValueError(f"{path}: must hold camera:, geometry: and shots:, got {str(data)[:60]!r}")
        try:
            content = ShotsFile(**data)
            camera = Camera.from_dict(content.camera)
        except ValidationError as error:
            raise ValueError(f"{path}: {validation_message(error)}") from error
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from error
        if content.geometry.film_distance_m >= content.geometry.target_distance_m:
            raise ValueError(f"{path}: geometry: film_distance_m must be below target_distance_m")
        names = [shot.file for shot in content.shots]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{path}: shots: named twice: {', '.join(twice)}")
        missing = [name for name in names if not (path.parent / name).is_file()]
        if missing:
            raise ValueError(f"{path}: {len(missing)} of {len(names)} files missing: {', '.join(missing[:5])}")
        return cls(path.parent, camera, content.geometry, content.shots, content.provenance)

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
        """The picture's code values, (H, W, 3) uint8 or uint16.

        Raises ValueError naming the file when its size or code range is not the camera's.
        """
        path = self.folder / shot.file
        image = read_image(path)
        camera = self.camera
        if image.shape[:2] != (camera.height, camera.width):
            raise ValueError(
                f"{path}: {image.shape[1]}x{image.shape[0]} pixels, but the camera has {camera.width}x{camera.height}"
            )
        if int(image.max()) > camera.max_code:
            raise ValueError(
                f"{path}: code {int(image.max())}, but a camera of {camera.bits} bits ends at {camera.max_code}"
            )
        return image

    def provenance(self, shots: Iterable[Shot]) -> list[dict[str, Any]]:
        """File, layers, role and SHA-256 of shots, for the film file."""
        return [
            {"file": shot.file, "layers": shot.layers, "role": shot.role, "sha256": _sha256(self.folder / shot.file)}
            for shot in shots
        ]


@lru_cache(maxsize=4096)
def _sha256(path: Path) -> str:
    return sha256_file(path)


def is_grey(codes: NDArray[Any]) -> bool:
    """Whether the three channels are one: a monochrome camera or a grey file."""
    return bool(np.array_equal(codes[..., 0], codes[..., 1]) and np.array_equal(codes[..., 1], codes[..., 2]))


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
