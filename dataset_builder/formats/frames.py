"""One folder of JPEG files a clip, ``frames/<name>/<i>.jpg``, i from 0: the layout that the MSPNet loader reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from lps_sim.media import MediaError

from .base import ClipFacts, ClipReader, ClipWriter, write_synced


class FramesWriter(ClipWriter):
    """Writes ``frames/<name>/<i>.jpg`` in full colour resolution; ``codec`` holds ``quality``, 1..100."""

    by_frame = True

    @classmethod
    def suffix(cls) -> str:
        return ""

    @classmethod
    def output_path(cls, name: str) -> str:
        return f"frames/{name}"

    @classmethod
    def payload(cls, path: Path) -> Iterator[bytes]:
        for file in frame_files(path):
            yield file.read_bytes()

    @classmethod
    def size(cls, path: Path) -> int:
        return sum(file.stat().st_size for file in path.iterdir())

    @classmethod
    def decode(cls, path: Path) -> Iterator[np.ndarray]:
        for file in frame_files(path):
            yield decode_jpeg(file.read_bytes(), file)

    def _open(self, path: Path) -> None:
        path.mkdir()

    def _append(self, frame: np.ndarray) -> None:
        data = encode_jpeg(frame, int(self.codec.get("quality", 95)))
        (self._partial / f"{self._frames}.jpg").write_bytes(data)

    def _fill(self, path: Path, payload: Iterable[bytes]) -> None:
        path.mkdir()
        for index, data in enumerate(payload):
            write_synced(path / f"{index}.jpg", (data,))

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for file in self._partial.iterdir():
                with open(file, "rb") as stream:
                    os.fsync(stream.fileno())


class FramesReader(ClipReader):
    """Reads single JPEG files."""

    writer = FramesWriter

    def _stands(self, facts: ClipFacts) -> bool:
        return (self.root / facts.output / f"{facts.frames - 1}.jpg").is_file()

    def _read(self, name: str, indices: list[int]) -> Iterator[np.ndarray]:
        folder = self.root / FramesWriter.output_path(name)
        for index in indices:
            file = folder / f"{index}.jpg"
            yield decode_jpeg(file.read_bytes(), file)


def encode_jpeg(frame: np.ndarray, quality: int) -> bytes:
    """An (H, W, 3) uint8 RGB frame as JPEG of quality 1..100 in full colour resolution."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(frame[:, :, ::-1]), options)
    if not done:
        raise MediaError(f"a frame of shape {frame.shape} cannot be written as JPEG")
    return bytes(data)


def decode_jpeg(data: bytes, place: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB. Raises MediaError naming ``place`` when the bytes are not a whole JPEG image."""
    if not data.endswith(b"\xff\xd9"):
        raise MediaError(f"{place}: truncated JPEG")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise MediaError(f"{place}: not an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def frame_files(folder: Path) -> list[Path]:
    """The files ``0.jpg`` .. ``n-1.jpg`` in order. Raises MediaError for a gap or a file that does not belong."""
    count = len(os.listdir(folder))
    files = [folder / f"{index}.jpg" for index in range(count)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise MediaError(f"{folder}: must hold 0.jpg to {count - 1}.jpg and nothing else, {missing[0]} is missing")
    return files
