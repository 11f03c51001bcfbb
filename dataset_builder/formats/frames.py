"""One folder of JPEG files a clip, ``frames/<name>/<i>.jpg``, i from 0: the layout that the MSPNet loader reads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from lps_sim.files import sha256_file
from lps_sim.media import MediaError

from .base import ClipReader, ClipWriter


class FramesWriter(ClipWriter):
    """Writes ``frames/<name>/<i>.jpg`` in full colour resolution; ``codec`` holds ``quality``, 1..100."""

    @classmethod
    def suffix(cls) -> str:
        return ""

    @classmethod
    def output_path(cls, name: str) -> str:
        return f"frames/{name}"

    @classmethod
    def digest(cls, path: Path) -> str:
        return frames_digest(path)

    @classmethod
    def decode(cls, path: Path) -> Iterator[np.ndarray]:
        for file in frame_files(path):
            yield read_jpeg(file)

    def _open(self, path: Path) -> None:
        path.mkdir()
        quality = int(self.codec.get("quality", 95))
        sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        self._options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]

    def _append(self, frame: np.ndarray) -> None:
        expected = (self.height, self.width, 3)
        if frame.shape != expected or frame.dtype != np.uint8:
            raise ValueError(f"frame must be uint8 of shape {expected}, got {frame.dtype} of shape {frame.shape}")
        done, data = cv2.imencode(".jpg", np.ascontiguousarray(frame[:, :, ::-1]), self._options)
        if not done:
            raise MediaError(f"{self.name}: frame {self._frames} cannot be written as JPEG")
        (self._partial / f"{self._frames}.jpg").write_bytes(data.tobytes())

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for file in self._partial.iterdir():
                with open(file, "rb") as stream:
                    os.fsync(stream.fileno())


class FramesReader(ClipReader):
    """Reads single JPEG files."""

    def _read(self, name: str, indices: list[int]) -> Iterator[np.ndarray]:
        folder = self.root / FramesWriter.output_path(name)
        for index in indices:
            yield read_jpeg(folder / f"{index}.jpg")


def read_jpeg(path: Path) -> np.ndarray:
    """One frame, (H, W, 3) uint8 RGB. Raises MediaError when the file is not a whole image."""
    data = path.read_bytes()
    if not data.endswith(b"\xff\xd9"):
        raise MediaError(f"{path}: truncated JPEG")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise MediaError(f"{path}: not an image")
    return np.ascontiguousarray(image[:, :, ::-1])


def frame_files(folder: Path) -> list[Path]:
    """The files ``0.jpg`` .. ``n-1.jpg`` in order. Raises MediaError for a gap or a file that does not belong."""
    count = len(os.listdir(folder))
    files = [folder / f"{index}.jpg" for index in range(count)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise MediaError(f"{folder}: must hold 0.jpg to {count - 1}.jpg and nothing else, {missing[0]} is missing")
    return files


def frames_digest(folder: Path) -> str:
    """SHA-256 of the frames' binary SHA-256 digests, one after another in the order of their indices."""
    digest = hashlib.sha256()
    for file in frame_files(folder):
        digest.update(bytes.fromhex(sha256_file(file)))
    return digest.hexdigest()
