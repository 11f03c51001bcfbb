"""What one run of ``lps data ingest-replay`` is asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from lps_sim.config import StrictModel

from ..config import DegradeConfig, Pixels


class ReplayConfig(StrictModel):
    """One recording to be cut.

    Parameters
    ----------
    recording : video of all clips, played one after another; with ``marks`` the folder of its segments, or one of them
    map : lines ``START END NAME``, see :mod:`dataset_builder.replay.map`
    destination : the data set's directory
    sync : ``offset``: recorded frame = played frame + ``offset`` throughout; ``auto``: found and followed; ``marks``:
        as ``marks`` says
    offset : recorded frame that shows played frame 0; with ``auto`` where to search first (None: anywhere)
    played : folder or index file of the played clips, for ``auto``
    marks : file that says what every recorded frame shows, see :mod:`dataset_builder.replay.marked`
    screen : file of a :class:`lps_sim.screen_view.ScreenView`: clips are cut out of the screen, upright; None: frames
        stay whole
    naming : how the files of a ``played`` folder are named, as in :func:`dataset_builder.index.build_index`
    layers : film layers before the camera, 0..64, a fact that is kept; 0: none, or not said
    max_gap : played frames lost in one go that their neighbours stand in for; a clip that lacks more is a failure
    size : output (width, height) in pixels; None keeps the recording's
    fit : how a frame is brought to ``size``: ``squash``, ``crop`` or ``letterbox``
    format, crf, gop, pixel_format, jpeg_quality : as in :class:`dataset_builder.config.DegradeConfig`
    workers : processes that read the played clips
    threads : decoder threads for the recording; 0 takes every core
    retry_failed : do clips again that an earlier run failed on
    """

    recording: Path
    map: Path
    destination: Path
    sync: Literal["offset", "auto", "marks"] = "offset"
    offset: int | None = None
    played: Path | None = None
    marks: Path | None = None
    screen: Path | None = None
    naming: str = "auto"
    layers: int = Field(default=0, ge=0, le=64)
    max_gap: int = Field(default=5, ge=0, le=1000)
    size: tuple[Pixels, Pixels] | None = None
    fit: Literal["squash", "crop", "letterbox"] = "squash"
    format: Literal["mp4", "frames"] = "mp4"
    crf: int | None = Field(default=None, ge=0, le=51)
    gop: int = Field(default=12, ge=1, le=600)
    pixel_format: str | None = None
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    workers: int = Field(default=0, ge=0, le=1024)
    threads: int = Field(default=0, ge=0, le=256)
    retry_failed: bool = False

    @model_validator(mode="after")
    def _enough_to_sync(self) -> ReplayConfig:
        if self.sync == "offset" and self.offset is None:
            raise ValueError("offset must be given with sync offset, got none")
        if self.sync == "auto" and self.played is None:
            raise ValueError("played must be given with sync auto: the clips to compare the recording with")
        if (self.sync == "marks") != (self.marks is not None):
            raise ValueError(
                f"marks must be given with sync marks, and with no other, got {self.marks} with {self.sync}"
            )
        if self.played is not None and self.destination.resolve().is_relative_to(self.played.resolve()):
            raise ValueError(f"destination must not lie inside played {self.played}, got {self.destination}")
        return self

    def codec(self) -> dict[str, Any]:
        """Settings of the chosen format's encoder, complete, as the data set keeps them."""
        return DegradeConfig(
            source=self.recording,
            destination=self.destination,
            layers=(0,),
            format=self.format,
            crf=self.crf,
            gop=self.gop,
            pixel_format=self.pixel_format,
            jpeg_quality=self.jpeg_quality,
        ).codec()
