"""Files that are not what they should be: each gives one error that names the file and what is wrong with it."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from lps_sim.media import (
    EncoderSettings,
    MediaError,
    iter_frames,
    probe,
    read_image,
    read_video,
    write_image,
    write_video,
)

CONTAINERS = {
    "clip.mp4": EncoderSettings(),
    "clip.mkv": EncoderSettings("libx265", preset="ultrafast", crf=20),
    "clip.webm": EncoderSettings("libvpx-vp9", crf=20, pixel_format="yuv420p"),
    "clip.avi": EncoderSettings("mpeg4", crf=4, pixel_format="yuv420p"),
}


@pytest.fixture(scope="module")
def textured() -> np.ndarray:
    """30 frames 64x96 with enough detail that every frame takes some bytes."""
    pattern = np.random.default_rng(0).integers(0, 256, (80, 160, 3), dtype=np.uint8)
    return np.stack([pattern[8 : 8 + 64, k : k + 96] for k in range(30)])


def exhaust(path: Path) -> int:
    return sum(1 for _ in iter_frames(path))


@pytest.mark.parametrize("name", sorted(CONTAINERS))
@pytest.mark.parametrize("share", [0.5, 0.98])
def test_truncated_files_are_found_out(tmp_path, textured, name: str, share: float) -> None:
    path = tmp_path / name
    write_video(path, textured, 25, CONTAINERS[name])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    for read in (exhaust, read_video, lambda p: probe(p, count=True)):
        with pytest.raises(MediaError, match=rf"{name}: truncated: "):
            read(path)


def test_a_file_cut_between_two_frames_is_truncated(tmp_path, textured) -> None:
    path = tmp_path / "index_first.mp4"
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = textured.shape[1:3]
        for array in textured:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        starts = sorted(packet.pos for packet in container.demux(video=0) if packet.size)
    path.write_bytes(path.read_bytes()[: starts[20]])
    with pytest.raises(MediaError, match=r"truncated: \d+ bytes are missing"):
        exhaust(path)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi"])
def test_altered_bytes_are_damage_and_not_a_picture(tmp_path, textured, name: str) -> None:
    path = tmp_path / name
    write_video(path, textured, 25, CONTAINERS[name])
    data = np.fromfile(path, dtype=np.uint8)
    middle = len(data) // 2
    span = len(data) // 10  # a few altered bytes may decode to some picture; a tenth of the file cannot
    data[middle : middle + span] = np.random.default_rng(1).integers(0, 256, span)
    path.write_bytes(data.tobytes())
    with pytest.raises(MediaError, match=rf"{name}: damaged"):
        exhaust(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.avi", "this is not a video\n" * 50, "not a video"),
        ("text.txt", "this is not a video\n" * 50, "not a video"),
        ("subtitles.mp4", "1\n00:00:00,000 --> 00:00:01,000\nhello\n\n", "not a video"),
        ("empty.mp4", "", "not a video: the file is empty"),
    ],
)
def test_texts_are_not_videos(tmp_path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    for read in (probe, exhaust, read_video):
        with pytest.raises(MediaError, match=rf"{name}: {message}"):
            read(tmp_path / name)


def test_playlists_are_not_followed(tmp_path, textured) -> None:
    write_video(tmp_path / "other.mp4", textured, 25)
    (tmp_path / "playlist.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(MediaError, match=r"playlist.mp4: not a video: a text file or playlist"):
        probe(tmp_path / "playlist.mp4")


def test_sound_alone_and_still_images_are_not_videos(tmp_path, textured) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 44100
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match=r"sound.mp4: not a video: it holds only sound"):
        probe(tmp_path / "sound.mp4")
    for name in ("still.png", "still.jpg"):
        write_image(tmp_path / name, textured[0])
        with pytest.raises(MediaError, match="not a video: a still image"):
            probe(tmp_path / name)


@pytest.mark.parametrize(("width", "height"), [(200_000, 8), (8, 16_385), (8193, 8192)])
def test_a_header_that_claims_an_absurd_size_is_refused_undecoded(tmp_path, textured, width: int, height: int) -> None:
    path = tmp_path / "lie.avi"
    write_video(path, textured[:2], 25, EncoderSettings("ffv1", pixel_format="yuv420p"))
    data = bytearray(path.read_bytes())
    struct.pack_into("<ii", data, data.index(b"strf") + 12, width, height)  # BITMAPINFOHEADER: biWidth, biHeight
    path.write_bytes(data)
    for read in (probe, exhaust):
        with pytest.raises(MediaError, match=f"claims {width}x{height} pixels; at most 16384 a side"):
            read(path)


def test_absent_files_and_folders(tmp_path) -> None:
    for read in (probe, iter_frames, read_image):
        with pytest.raises(FileNotFoundError, match="absent"):
            read(tmp_path / "absent")
        with pytest.raises(MediaError, match="not a file"):
            read(tmp_path)


def test_broken_images_are_named(tmp_path, textured) -> None:
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("text.png", "empty.png"):
        with pytest.raises(MediaError, match=rf"{name}: not an image"):
            read_image(tmp_path / name)
    with pytest.raises(ValueError, match=r"unknown '.gif'"):
        write_image(tmp_path / "image.gif", textured[0])
    with pytest.raises(ValueError, match="got float64"):
        write_image(tmp_path / "image.png", textured[0] / 255)
    with pytest.raises(ValueError, match="shape"):
        write_image(tmp_path / "image.png", textured)


@pytest.mark.parametrize(
    ("threads", "kind", "rule"), [(-1, "FRAME", "threads must be"), (1, "SLICE", "thread_type must")]
)
def test_wrong_threads_are_refused_before_reading(bikes_path: Path, threads: int, kind: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        iter_frames(bikes_path, threads, kind)
