"""Clean or filmed material of a pair: a video or a folder of images, read as a stream of linear luminance.

Nothing holds a clip at full size: a first pass keeps block means of every frame, a second one a few shrunken frames.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..media import MediaError, iter_frames, probe, read_image
from ..resampling import area_matrix
from ..transfer import eotf_table

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # of linear RGB, ITU-R BT.709
BLOCKS = (12, 20)  # rows, columns of block means: each some 3.5 degrees of a 70-degree view
CLIPPED = 0.98  # of the largest code: light above it is not known
_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True)
class Material:
    """A video, or a folder of images in the order of their numbers.

    path : of the video or folder
    width, height : of a frame, px
    fps : frames a second; None for images
    images : the files of a folder, empty for a video
    """

    path: Path
    width: int
    height: int
    fps: float | None
    images: tuple[Path, ...] = ()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Material:
        """Look at the material without reading it.

        Raises
        ------
        FileNotFoundError
            no such file or folder
        MediaError
            not a video, or a folder without images (PNG, JPEG, TIFF)
        """
        path = Path(path)
        if path.is_dir():
            images = sorted((p for p in path.iterdir() if p.suffix.lower() in _IMAGES), key=_natural)
            if not images:
                raise MediaError(f"{path}: the folder holds no images ({', '.join(_IMAGES)})")
            height, width = read_image(images[0]).shape[:2]
            return cls(path, width, height, None, tuple(images))
        info = probe(path)
        return cls(path, info.width, info.height, float(info.fps) if info.fps else None)

    def codes(self) -> Iterator[np.ndarray]:
        """The frames one by one, (H, W, 3) RGB code values.

        Raises MediaError for an image of another size than the first.
        """
        if not self.images:
            yield from iter_frames(self.path)
            return
        for image in self.images:
            frame = read_image(image)
            if frame.shape[:2] != (self.height, self.width):
                raise MediaError(
                    f"{image}: is {frame.shape[1]}x{frame.shape[0]}, but the first image of its folder is "
                    f"{self.width}x{self.height}"
                )
            yield frame

    def block_means(self, eotf: str, on_frame: Callable[[int], None] | None = None) -> Floats32:
        """Linear luminance averaged over :data:`BLOCKS` equal blocks, of every frame: (T, rows, columns)."""
        shrink = Shrink(self, BLOCKS)
        means = []
        for index, frame in enumerate(self.codes()):
            means.append(shrink(luminance(frame, eotf)))
            if on_frame is not None:
                on_frame(index + 1)
        return np.stack(means)

    def pick(
        self, indices: Sequence[int] | NDArray[np.intp], size: tuple[int, int], eotf: str
    ) -> tuple[Floats32, Floats32]:
        """Chosen frames, shrunken: linear luminance (K, rows, columns) and the share of clipped pixels, same shape.

        Parameters
        ----------
        indices : (K,) frame numbers from 0, in any order, repeats allowed
        size : (rows, columns) of the result
        eotf : transfer function of the codes
        """
        shrink, wanted = Shrink(self, size), set(map(int, indices))
        found: dict[int, tuple[Floats32, Floats32]] = {}
        for index, frame in enumerate(self.codes()):
            if index in wanted:
                top = CLIPPED * np.iinfo(frame.dtype).max
                clipped = (frame >= top).any(axis=2).astype(np.float32)
                found[index] = shrink(luminance(frame, eotf)), shrink(np.asarray(clipped))
                if len(found) == len(wanted):
                    break
        missing = sorted(wanted - set(found))
        if missing:
            raise IndexError(f"{self.path}: no frame {missing[0]}")
        chosen = [found[int(index)] for index in indices]
        return np.stack([light for light, _ in chosen]), np.stack([clipped for _, clipped in chosen])


class Shrink:
    """Area means of a material's frames in ``size`` (rows, columns) equal cells."""

    def __init__(self, material: Material, size: tuple[int, int]) -> None:
        self._rows = area_matrix(material.height, 0, material.height, size[0]).astype(np.float32)
        self._columns = area_matrix(material.width, 0, material.width, size[1]).astype(np.float32).T

    def __call__(self, picture: Floats32) -> Floats32:
        return (self._rows @ picture) @ self._columns


def luminance(codes: np.ndarray, eotf: str) -> Floats32:
    """Linear luminance (H, W) of RGB codes (H, W, 3), uint8 or uint16: decoded first, then summed over colour."""
    light: Floats32 = np.asarray(eotf_table(eotf, 8 * codes.dtype.itemsize)[codes] @ LUMINANCE)
    return light


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """Sort key by which frame10 follows frame9."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", path.name)]
