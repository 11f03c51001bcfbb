"""Images and video in and out: the one door for pixels. Arrays are RGB code values (not linear light), ``[y, x]``."""

from __future__ import annotations

from .colour import MediaError
from .decode import (
    VideoInfo,
    iter_frames,
    iter_pictures,
    iter_timed_frames,
    iter_timed_pictures,
    probe,
    read_frames,
    read_video,
)
from .encode import EncoderSettings, VideoWriter, write_video
from .images import read_image, write_image
from .samples import sample_clip

__all__ = [
    "EncoderSettings",
    "MediaError",
    "VideoInfo",
    "VideoWriter",
    "iter_frames",
    "iter_pictures",
    "iter_timed_frames",
    "iter_timed_pictures",
    "probe",
    "read_frames",
    "read_image",
    "read_video",
    "sample_clip",
    "write_image",
    "write_video",
]
