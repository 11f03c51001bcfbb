"""How a camera sees a flat screen: display pixels to camera pixels and back, and the screen put straight.

Pixel centres are at whole numbers, from (0, 0). With h a homography, c = ((w - 1) / 2, (h - 1) / 2) the centre of the
camera's picture and u = (h(p) - c) / f_px, a display pixel p lands at

    c + f_px u (1 + k1 |u|^2 + k2 |u|^4)

the radial lens model of Zhang (2000), as OpenCV has it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import write_atomic
from .transfer import eotf_table, inverse_eotf

Floats = NDArray[Any]
Region = tuple[int, int, int, int]
"""(left, top, width, height) of a part of the display, px."""

SCHEMA = 1
_NEWTON_STEPS = 20
_NEWTON_DONE = 1e-13  # focal lengths
_MOST_SAMPLES = 8  # of a camera's picture along one output pixel: finer ones say nothing more
_ENCODE_STEPS = 1 << 14


@dataclass(frozen=True)
class ScreenView:
    """A registered screen.

    Parameters
    ----------
    homography : (3, 3) as rows; display px (x, y, 1) to undistorted camera px
    display_size, camera_size : (width, height) in px
    f_px : focal length in camera px, the unit of the distortion
    k1, k2 : radial distortion; 0 is none
    residual_px : rms distance, camera px, of the marks from where this view has them; None where it was not measured
    sd_px : rms of the residuals' means over tiles of the picture, camera px: what noise does not explain; None where it
        was not measured
    provenance : JSON-ready: from what it was found

    Raises ValueError naming the rule.
    """

    homography: tuple[tuple[float, ...], ...]
    display_size: tuple[int, int]
    camera_size: tuple[int, int]
    f_px: float
    k1: float = 0.0
    k2: float = 0.0
    residual_px: float | None = None
    sd_px: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        matrix = np.asarray(self.homography, dtype=float)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
            raise ValueError(f"homography must be 3 x 3, finite and invertible, got {matrix.tolist()}")
        object.__setattr__(self, "homography", tuple(tuple(row) for row in matrix.tolist()))
        for name in ("display_size", "camera_size"):
            size = tuple(int(side) for side in getattr(self, name))
            if len(size) != 2 or min(size) < 1:
                raise ValueError(f"{name} must be (width, height) in px, got {getattr(self, name)}")
            object.__setattr__(self, name, size)
        if not (math.isfinite(self.f_px) and self.f_px > 0):
            raise ValueError(f"f_px must be above 0, got {self.f_px}")
        if not (math.isfinite(self.k1) and math.isfinite(self.k2)):
            raise ValueError(f"k1 and k2 must be finite, got {self.k1} and {self.k2}")

    @property
    def matrix(self) -> Floats:
        """The homography as an array, (3, 3)."""
        return np.array(self.homography)

    def to_camera(self, points: Floats) -> Floats:
        """Camera px of display px, (..., 2); NaN behind the camera."""
        centre = centre_of(self.camera_size)
        offset = (projected(self.matrix, points) - centre) / self.f_px
        return centre + self.f_px * distorted(offset, self.k1, self.k2)

    def to_display(self, points: Floats) -> Floats:
        """Display px of camera px, (..., 2); NaN where the line of sight misses the screen's plane."""
        centre = centre_of(self.camera_size)
        offset = (np.asarray(points, dtype=float) - centre) / self.f_px
        return projected(np.linalg.inv(self.matrix), centre + self.f_px * undistorted(offset, self.k1, self.k2))

    def rectifier(
        self, size: tuple[int, int] | None = None, region: Region | None = None, eotf: str | None = "srgb"
    ) -> Callable[[Floats], Floats]:
        """A function from the camera's pictures to the screen's, for many pictures of one camera.

        Parameters
        ----------
        size : (width, height) of the result; default: that of the region
        region : part of the display; default: all of it
        eotf : curve of uint8 pictures, which are averaged in linear light; floating-point ones are taken as linear

        Returns
        -------
        (H, W[, 3]) uint8 or floating-point -> the same type at ``size``; what the camera does not see is black

        Raises ValueError for a region outside the display or a picture of another size than the camera's.
        """
        import cv2

        left, top, width, height = region or (0, 0, *self.display_size)
        inside = (
            left >= 0 and top >= 0 and left + width <= self.display_size[0] and top + height <= self.display_size[1]
        )
        if min(width, height) < 1 or not inside:
            raise ValueError(
                f"region must lie in the display of {self.display_size} px, got {(left, top, width, height)}"
            )
        out = (width, height) if size is None else size
        samples = self._samples(out, (left, top, width, height))
        x = left - 0.5 + (np.arange(out[0] * samples) + 0.5) * width / (out[0] * samples)
        y = top - 0.5 + (np.arange(out[1] * samples) + 0.5) * height / (out[1] * samples)
        places = self.to_camera(np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)).astype(np.float32)
        maps = np.where(np.isfinite(places), places, np.float32(-10))
        decode = None if eotf is None else eotf_table(eotf, 8).astype(np.float32)
        encode = None if eotf is None else _encoder(eotf)

        def rectify(picture: Floats) -> Floats:
            if picture.shape[:2] != self.camera_size[::-1]:
                raise ValueError(f"picture must be {self.camera_size[::-1]} as the camera's, got {picture.shape[:2]}")
            coded = picture.dtype == np.uint8 and decode is not None
            light = decode[picture] if coded and decode is not None else picture
            light = light if light.dtype in (np.float32, np.float64, np.uint8) else light.astype(np.float32)
            found = cv2.remap(light, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            if samples > 1:
                found = cv2.resize(found, out, interpolation=cv2.INTER_AREA)
            return encode(found) if coded and encode is not None else found.astype(picture.dtype)

        return rectify

    def rectify(
        self,
        picture: Floats,
        size: tuple[int, int] | None = None,
        region: Region | None = None,
        eotf: str | None = "srgb",
    ) -> Floats:
        """The screen's picture out of one of the camera's; parameters as of :meth:`rectifier`."""
        return self.rectifier(size, region, eotf)(picture)

    def _samples(self, out: tuple[int, int], region: Region) -> int:
        """How finely an output pixel is sampled, so that no camera pixel in it is passed over."""
        left, top, width, height = region
        corners = np.array(
            [[left, top], [left + width, top], [left, top + height], [left + width, top + height]], float
        )
        seen = self.to_camera(np.vstack([corners, [[left + width / 2, top + height / 2]]]))
        step = np.array([width / out[0], height / out[1]])
        moved = [self.to_camera(np.vstack([corners, corners.mean(axis=0)]) + step * axis) for axis in np.eye(2)]
        longest = np.nanmax([np.hypot(*(end - seen).T) for end in moved])
        return int(min(max(math.ceil(float(longest) - 0.05), 1), _MOST_SAMPLES))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON; whole or absent."""
        write_atomic(path, json.dumps({"lps_screen_view": SCHEMA, **asdict(self)}, indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ScreenView:
        """Read what :meth:`save` wrote. Raises ValueError for a file that is none, or of a newer schema."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not JSON: {error}") from error
        schema = content.pop("lps_screen_view", None) if isinstance(content, dict) else None
        if not isinstance(schema, int):
            raise ValueError(f"{path}: is no registered screen: it has no lps_screen_view")
        if schema > SCHEMA:
            raise ValueError(f"{path}: written by a newer program (schema {schema}, this one reads {SCHEMA})")
        try:
            return cls(**content)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error


def centre_of(size: tuple[int, int]) -> Floats:
    """(2,) centre of a picture of (width, height) px."""
    return np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])


def projected(matrix: Floats, points: Floats) -> Floats:
    """(..., 2) points through a homography; NaN where the third coordinate is not above 0."""
    points = np.asarray(points, dtype=float)
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    # The sign of a homography is free: the side where the origin lands is the visible one.
    depth = mapped[..., 2:] * np.sign(matrix[2, 2] or 1.0)
    visible = np.where(depth > 0, depth, np.nan)
    return mapped[..., :2] * np.sign(matrix[2, 2] or 1.0) / visible


def distorted(offset: Floats, k1: float, k2: float) -> Floats:
    """(..., 2) offsets from the centre in focal lengths -> where the lens puts them."""
    squared = (offset**2).sum(axis=-1, keepdims=True)
    return offset * (1 + k1 * squared + k2 * squared**2)


def undistorted(offset: Floats, k1: float, k2: float) -> Floats:
    """The inverse of :func:`distorted`, by Newton's method on the radius."""
    if not (k1 or k2):
        return offset
    wanted = np.sqrt((offset**2).sum(axis=-1, keepdims=True))
    radius = wanted.copy()
    for _ in range(_NEWTON_STEPS):
        squared = radius**2
        slope = 1 + 3 * k1 * squared + 5 * k2 * squared**2
        step = (radius * (1 + k1 * squared + k2 * squared**2) - wanted) / np.maximum(slope, 0.1)
        radius -= step
        if np.nanmax(np.abs(step), initial=0.0) < _NEWTON_DONE:
            break
    return offset * np.divide(radius, wanted, out=np.ones_like(wanted), where=wanted > 0)


def _encoder(eotf: str) -> Callable[[Floats], NDArray[np.uint8]]:
    steps = np.arange(_ENCODE_STEPS) / (_ENCODE_STEPS - 1)
    table = np.clip(np.rint(inverse_eotf(steps, eotf) * 255), 0, 255).astype(np.uint8)

    def encode(light: Floats) -> NDArray[np.uint8]:
        return table[(np.clip(light, 0, 1) * (_ENCODE_STEPS - 1) + 0.5).astype(np.int32)]

    return encode
