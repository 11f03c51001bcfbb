"""A source folder as bad as they come: every kind of file that a long run must survive, and the reason it is listed."""

from __future__ import annotations

import io
import itertools
import os
import struct
import tarfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from lps_sim.media import EncoderSettings, iter_frames, write_video

FRAMES = 9
UNEVEN_MS = (0, 59, 118, 210, 235, 294, 420, 470, 512)
"""Presentation times of the clip of variable rate: 17 a second on average."""
H273_PQ, H273_BT2020 = 16, 9


class Hostile(NamedTuple):
    """What there is to find.

    ``usable``: clip name -> its frames; ``damaged``: clip name -> part of the reason that decoding it finds;
    ``refused``: path -> part of the reason why the index refuses it.
    """

    root: Path
    usable: dict[str, int]
    damaged: dict[str, str]
    refused: dict[str, str]


def hostile_folder(root: Path, real_video: Path) -> Hostile:
    """Build the folder below ``root`` out of the first frames of a real video."""
    frames = list(itertools.islice(iter_frames(real_video), FRAMES))
    root.mkdir(parents=True)
    usable = {
        "good": _plain(root / "good.mp4", frames),
        "-rf * $(reboot) [0] %d #1; 'ü' 走路 🚶": _plain(root / "-rf * $(reboot) [0] %d #1; 'ü' 走路 🚶.mp4", frames),
        "one pixel": _plain(root / "one pixel.avi", [f[:1, :1] for f in frames], "ffv1", "yuv444p"),
        "odd": _plain(root / "odd.avi", [f[:73, :51] for f in frames], "ffv1", "yuv444p"),
        "uneven": variable_rate(root / "uneven.mkv", frames),
    }
    refused = {
        "empty.avi": "empty file",
        "text.avi": "not a video",
        "cut.mp4": "truncated",
        "sound.mp4": "only sound",
        "hdr.mkv": "HDR (pq)",
        "wide.avi": "claims 200000x1080 pixels",
        "pipe.mp4": "not a regular file",
        "nowhere.mp4": "cannot be read",
        "loop": "a link to a folder that is already in the tree",
        "new\\nline.mp4": "line break",
        "bytes-\\xff.mp4": "not UTF-8",
    }
    (root / "empty.avi").touch()
    (root / "text.avi").write_text("this is not a video\n" * 50)
    _plain(root / "truncated.avi", frames, "mpeg4", "yuv420p")
    cut_in_half(root / "truncated.avi")
    _plain(root / "cut.mp4", frames)
    cut_in_half(root / "cut.mp4")
    sound_only(root / "sound.mp4")
    hdr(root / "hdr.mkv")
    _plain(root / "wide.avi", frames, "ffv1", "yuv420p")
    claim_avi_size(root / "wide.avi", 200_000, 1080)
    os.mkfifo(root / "pipe.mp4")
    (root / "nowhere.mp4").symlink_to(root / "absent.mp4")
    (root / "loop").symlink_to(root)
    (root / "new\nline.mp4").write_bytes((root / "good.mp4").read_bytes())
    Path(os.fsdecode(os.fsencode(root) + b"/bytes-\xff.mp4")).write_bytes((root / "good.mp4").read_bytes())
    (root / ".hidden.mp4").write_text("left alone")
    (root / "notes.txt").write_text("left alone")
    if os.geteuid() != 0:  # root reads everything
        _plain(root / "locked.mp4", frames)
        (root / "locked.mp4").chmod(0)
        refused["locked.mp4"] = "Permission denied"
    return Hostile(root, usable, {"truncated": "truncated"}, refused)


def _plain(path: Path, frames: Sequence[np.ndarray], codec: str = "libx264", pixels: str = "yuv420p") -> int:
    return write_video(path, frames, 25, EncoderSettings(codec=codec, pixel_format=pixels, crf=10))


def variable_rate(path: Path, frames: Sequence[np.ndarray]) -> int:
    """Frames shown at :data:`UNEVEN_MS`; returns their number."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=17)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        for at_ms, frame in zip(UNEVEN_MS, frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = at_ms, Fraction(1, 1000)
            for packet in stream.encode(picture):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return len(frames)


def hdr(path: Path, size: int = 32) -> None:
    """A grey clip of 10 bits, tagged BT.2020 and PQ (ITU-R BT.2100)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p10le"
        stream.codec_context.color_primaries = stream.codec_context.colorspace = H273_BT2020
        stream.codec_context.color_trc = H273_PQ
        frame = av.VideoFrame(size, size, "yuv420p10le")
        for plane in frame.planes:
            plane.update(np.full(plane.buffer_size // 2, 500, np.uint16).tobytes())
        frame.color_primaries = frame.colorspace = H273_BT2020
        frame.color_trc = H273_PQ
        frame.pts = 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def sound_only(path: Path) -> None:
    """A tenth of a second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), format="fltp", layout="mono")
        sound.sample_rate, sound.pts = 44_100, 0
        for packet in [*stream.encode(sound), *stream.encode(None)]:
            container.mux(packet)


def cut_in_half(path: Path) -> None:
    """Leave the first half of a file's bytes."""
    os.truncate(path, path.stat().st_size // 2)


def claim_avi_size(path: Path, width: int, height: int) -> None:
    """Overwrite the picture size in an AVI's headers, as the stream format's BITMAPINFOHEADER tells it."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<II", data, data.index(b"avih") + 8 + 32, width, height)
    struct.pack_into("<ii", data, data.index(b"strf") + 8 + 4, width, height)
    path.write_bytes(data)


def csv_with_path_tricks(path: Path, video: str) -> dict[str, str]:
    """Write a CSV whose rows try to name clips outside a data set; reason by the path in its row."""
    rows = {
        f"../{video}": "plain path parts",
        f"/tmp/{video}": "plain path parts",
        f"a/../../{video}": "plain path parts",
        f"..\\{video}": "plain path parts",
        "absent.mp4": "cannot be read",
        "/dev/zero.mp4": "plain path parts",
    }
    path.write_text("\n".join(["path", video, *rows]) + "\n", encoding="utf-8")
    return rows


def tar_with_path_tricks(path: Path) -> list[str]:
    """Write a tar whose members try to leave the folder they are unpacked in; their names."""
    names = ["../above.jpg", "/tmp/absolute.jpg", "a/../../above.jpg", "good.jpg"]
    with tarfile.open(path, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"data"))
        for name, kind, target in (("link.jpg", tarfile.SYMTYPE, "/etc/passwd"), ("device", tarfile.CHRTYPE, "")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
            names.append(name)
    return names
