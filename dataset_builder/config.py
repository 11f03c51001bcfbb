"""What one run of ``lps data degrade`` is asked to do, and the settings that a data set keeps for good."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from lps_sim.config import StrictModel

from .storage import parse_location

FORMATS = ("mp4", "frames", "hdf5", "webdataset")
CLIPS_PER_SHARD = 256
"""At 224x224 a shard of NTU RGB+D then has 80 MB of video or 180 MB of JPEG frames."""
Place = Annotated[Path | str, BeforeValidator(parse_location)]
Pixels = Annotated[int, Field(ge=1, le=8192)]


class DegradeConfig(StrictModel):
    """One degrade run.

    Parameters
    ----------
    source : folder of videos, here or behind a URL that fsspec opens, or an index file of ``lps data index``
    destination : the data set's directory, or its URL; with several layer counts, the folder of ``layers-NN`` data sets
    film : film file or preset; may be left out when ``layers`` is (0,)
    layers : film layers, 1..64 each, and 0 for the clean twin: the same camera, size, noise and codec without film
    film_distance_m, scene_distance_m : camera to film and to scene, metres; None: as the film was calibrated. The film
        is moved there (:meth:`lps_sim.FilmModel.at`) and kept in the data set as moved
    camera : YAML file of :class:`lps_sim.Camera` fields; its width and height are fitted to each clip's, at the same
        horizontal field of view. Without it: a default camera of ``field_of_view_deg``
    field_of_view_deg : angle across a frame's width, degrees, of the default camera
    size : output (width, height) in pixels; None keeps each clip's own size
    fit : how a frame is brought to ``size``: ``squash``, ``crop`` or ``letterbox``
    format : ``mp4`` (one H.264 file a clip), ``frames`` (a folder of JPEG files a clip), ``hdf5`` (shards of single
        frames) or ``webdataset`` (tar archives of H.264 files)
    crf, gop, pixel_format : H.264 quality, frames between key frames, pixel format; None: the encoder's default
    jpeg_quality : 1..100, for ``frames`` and ``hdf5``
    hdf5_frames : ``jpeg``, or ``raw``: every frame as it is, 3 bytes a pixel
    clips_per_shard : for ``hdf5`` and ``webdataset``
    naming : how a source folder's files are named, as in :func:`dataset_builder.index.build_index`
    workers : worker processes; 0 works in this process; None takes every processor
    seed : the run's seed; a clip's noise is seeded by it and the clip's name
    retry_failed : do clips again that an earlier run failed on
    clip_timeout_s : seconds that a clip may take, then its worker is killed and the clip fails; None: 5 minutes and
        one more for every megabyte of its source. Without workers there is no limit
    shard : ``I/N``, the share of the index that this job of a job array makes, in ``DST/job-III-of-NNN``; see
        :class:`dataset_builder.shares.Share`
    ray : address of a Ray cluster whose nodes do the work, ``auto`` for the one that this machine belongs to
    scratch : folder on each machine's own disk in which clips are made before they go to ``destination``; None: the
        system's folder for temporary files with ``ray`` and for remote data sets, otherwise ``destination`` itself
    """

    source: Place
    destination: Place
    film: str | None = None
    layers: tuple[Annotated[int, Field(ge=0, le=64)], ...] = Field(min_length=1)
    film_distance_m: float | None = Field(default=None, ge=0)
    scene_distance_m: float | None = Field(default=None, gt=0)
    camera: Path | None = None
    field_of_view_deg: float = Field(default=70.0, gt=0, lt=180)
    size: tuple[Pixels, Pixels] | None = None
    fit: Literal["squash", "crop", "letterbox"] = "squash"
    format: Literal["mp4", "frames", "hdf5", "webdataset"] = "mp4"
    crf: int | None = Field(default=None, ge=0, le=51)
    gop: int = Field(default=12, ge=1, le=600)
    pixel_format: str | None = None
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    hdf5_frames: Literal["jpeg", "raw"] = "jpeg"
    clips_per_shard: int = Field(default=CLIPS_PER_SHARD, ge=1, le=1_000_000)
    naming: str = "auto"
    workers: int | None = Field(default=None, ge=0, le=1024)
    seed: int = Field(default=0, ge=0)
    retry_failed: bool = False
    clip_timeout_s: float | None = Field(default=None, gt=0)
    shard: str | None = None
    ray: str | None = None
    scratch: Path | None = None

    @field_validator("layers")
    @classmethod
    def _sorted_layers(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(layers)))

    @model_validator(mode="after")
    def _film_for_layers(self) -> DegradeConfig:
        if self.film is None and max(self.layers) > 0:
            raise ValueError(f"film must be given for layers {max(self.layers)}; only layers 0 needs none")
        if self.film is None and (self.film_distance_m is not None or self.scene_distance_m is not None):
            raise ValueError("film_distance_m and scene_distance_m need a film, got none")
        return self

    @property
    def worker_count(self) -> int:
        """Worker processes to start; 0 for none."""
        return self.workers if self.workers is not None else os.cpu_count() or 1

    def codec(self) -> dict[str, Any]:
        """Settings of the chosen format's encoder, complete, as the data set keeps them."""
        shards = {"clips_per_shard": self.clips_per_shard} if self.format in ("hdf5", "webdataset") else {}
        if self.format == "hdf5" and self.hdf5_frames == "raw":
            return {"codec": "raw", **shards}
        if self.format in ("frames", "hdf5"):
            return {"codec": "jpeg", "quality": self.jpeg_quality, "sampling": "4:4:4", **shards}
        from lps_sim.media import EncoderSettings

        default = EncoderSettings()
        video = EncoderSettings(
            crf=default.crf if self.crf is None else self.crf,
            pixel_format=self.pixel_format or default.pixel_format,
            gop=self.gop,
        )
        return {**video.to_dict(), **shards}
