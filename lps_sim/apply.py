"""One image or video through the film, file to file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .camera import Camera
from .fast import Degrader
from .film import FilmModel, check_layers
from .media import EncoderSettings, VideoWriter, iter_pictures, probe, read_image, write_image
from .yuv import YuvFrame

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DEFAULT_FOV_DEG = 70.0
_CHUNK_FRAMES = 16


@dataclass(frozen=True)
class Applied:
    """What :func:`apply_to_file` wrote."""

    output: str
    frames: int
    width: int
    height: int
    layers: int
    film: str
    checksum: str
    geometry: dict[str, Any]
    seed: int
    camera: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return asdict(self)


def film_camera(film: FilmModel, width: int, height: int) -> Camera:
    """The camera that a film was measured with, at another size; 70 degrees across where the film names none."""
    if film.calibration_camera is not None:
        return Camera.from_dict(film.calibration_camera).resized(width, height)
    return Camera.from_field_of_view(width, height, DEFAULT_FOV_DEG)


def apply_to_file(
    film: FilmModel,
    layers: int,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    camera: Camera | None = None,
    size: tuple[int, int] | None = None,
    seed: int = 0,
    on_frames: Callable[[int, int], None] | None = None,
) -> Applied:
    """Degrade ``source`` (image or video, by suffix) into ``target``, with sensor noise and rounding.

    Parameters
    ----------
    film, layers : the stack, 1..64 layers
    source, target : both images (.png .jpg .tif) or both videos; the target is whole or absent
    camera : of the film; resized to the source's frame, so that its field of view stays. Default: the film's own
    size : (width, height) of the output, default that of the source
    seed : of the sensor noise
    on_frames : called with (frames done, frames in all) while a video is written

    Raises
    ------
    ValueError
        layers out of range, image against video, a source that cannot be decoded, a size that cannot be encoded
    """
    check_layers(layers)
    source, target = Path(source), Path(target)
    still = source.suffix.lower() in IMAGE_SUFFIXES
    if still != (target.suffix.lower() in IMAGE_SUFFIXES):
        kind = ("an image", "a video") if still else ("a video", "an image")
        raise ValueError(f"{source.name} is {kind[0]}, but {target.name} names {kind[1]}; use the same kind for both")

    def degrader(width: int, height: int) -> Degrader:
        seen = film_camera(film, width, height) if camera is None else camera.resized(width, height)
        return Degrader(film, layers, seen, output_size=size, seed=seed)

    if still:
        image = read_image(source)
        codes = np.rint(image / 257.0).astype(np.uint8) if image.dtype == np.uint16 else image
        height, width = codes.shape[:2]
        through = degrader(width, height)
        written = through.degrade(codes[None])[0]
        write_image(target, written)
        return _applied(film, layers, target, 1, written.shape, seed, through.camera)

    info = probe(source)
    through = degrader(info.width, info.height)
    out_width, out_height = size or (info.width, info.height)
    # For people to look at: 8 bits play everywhere (docs/codec.md), unlike the 10 bits of data sets.
    settings = EncoderSettings(crf=8, pixel_format="yuv420p").fitting(out_width, out_height)
    with VideoWriter(target, out_width, out_height, info.fps, settings) as writer:
        chunk: list[np.ndarray | YuvFrame] = []

        def flush() -> None:
            for frame in through.degrade(chunk, first_frame=writer.frames):
                writer.write(frame)
            chunk.clear()
            if on_frames is not None:
                on_frames(writer.frames, max(info.frames, writer.frames))

        for frame in iter_pictures(source):
            chunk.append(frame)
            if len(chunk) == _CHUNK_FRAMES:
                flush()
        if chunk:
            flush()
    return _applied(film, layers, target, writer.frames, (out_height, out_width), seed, through.camera)


def _applied(
    film: FilmModel, layers: int, target: Path, frames: int, shape: tuple[int, ...], seed: int, camera: Camera
) -> Applied:
    return Applied(
        output=str(target),
        frames=frames,
        width=shape[1],
        height=shape[0],
        layers=layers,
        film=film.name,
        checksum=film.checksum(),
        geometry=dict(vars(film.geometry)),
        seed=seed,
        camera=camera.to_dict(),
    )
