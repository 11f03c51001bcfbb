"""Recordings as cameras: folders of pictures and video files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from capture_rig.cameras.counting import FrameCounter
from capture_rig.cameras.files import FolderCamera, VideoCamera, natural_key
from capture_rig.cameras.protocol import CameraLostError, CameraRefusedError, CameraSettings
from lps_sim.media import MediaError, read_frames, write_image, write_video


def picture(level: int) -> np.ndarray:
    return np.full((24, 32, 3), level, np.uint8)


def variable_rate_video(path: Path, times: list[int]) -> None:
    """Frames at the given times in hundredths of a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 100, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_names_sort_with_numbers_read_as_numbers() -> None:
    names = ["img10.png", "IMG2.png", "img1.png", "a.png", "7.png"]
    assert sorted(names, key=natural_key) == ["7.png", "a.png", "img1.png", "IMG2.png", "img10.png"]


def test_a_folder_gives_its_pictures_in_natural_order_as_they_are(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_image(tmp_path / f"shot{number}.png", picture(number).astype(np.uint16) * 257)
    (tmp_path / "notes.txt").write_text("not a picture")
    with FolderCamera(tmp_path, CameraSettings(fps=5)) as camera:
        frames = [camera.read() for _ in range(3)]
        with pytest.raises(CameraLostError, match="has ended"):
            camera.read()
    assert [int(frame.codes[0, 0, 0]) // 257 for frame in frames] == [1, 2, 10]
    assert [frame.at_s for frame in frames] == [0, 0.2, 0.4]
    assert [frame.number for frame in frames] == [0, 1, 2]
    assert (camera.facts.width, camera.facts.height, camera.facts.bits) == (32, 24, 16)
    assert camera.facts.details["files"] == ["shot1.png", "shot2.png", "shot10.png"]


def test_the_exif_exposure_of_pictures_is_told(tmp_path: Path) -> None:
    from PIL import Image

    for number in (1, 2):
        exif = Image.Exif()
        exif.get_ifd(0x8769).update({0x829A: 0.02, 0x8827: 200})
        Image.fromarray(picture(90)).save(tmp_path / f"{number}.jpg", exif=exif)
    camera = FolderCamera(tmp_path, CameraSettings(exposure_s=0.02, width=640))
    assert [one.time_s for one in camera.exposures if one is not None] == [0.02, 0.02]
    told = {fact.name: fact.honoured for fact in camera.facts.settings}
    assert told["exposure_s"]
    assert not told["width"]
    assert camera.facts.details["exif"][0]["iso"] == 200


def test_a_recording_keeps_its_exposure(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", picture(1))
    camera = FolderCamera(tmp_path)
    assert camera.set_exposure(1.0) == 1.0
    with pytest.raises(CameraRefusedError, match="keeps its exposure; asked for 8 times it"):
        camera.set_exposure(8.0)


def test_a_folder_without_pictures_or_with_another_size_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CameraRefusedError, match=r"no pictures \(\.png"):
        FolderCamera(tmp_path)
    write_image(tmp_path / "1.png", picture(1))
    write_image(tmp_path / "2.png", picture(1)[:20])
    camera = FolderCamera(tmp_path)
    camera.read()
    with pytest.raises(MediaError, match=r"2.png: all pictures must be uint8 \(24, 32, 3\) like the first"):
        camera.read()


def test_a_video_gives_its_frames_with_their_times(bikes_path: Path) -> None:
    with VideoCamera(bikes_path) as camera:
        frames = [camera.read() for _ in range(5)]
    assert np.array_equal(np.stack([frame.codes for frame in frames]), read_frames(bikes_path, range(5)))
    assert np.allclose([frame.at_s for frame in frames], np.arange(5) / 25)
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    with pytest.raises(CameraLostError, match="has ended"):
        camera.read()


def test_gaps_in_a_videos_times_are_gaps_in_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "gaps.mkv"
    times = [8, 12, 16, 20, 28, 32, 36, 40, 44, 56]
    variable_rate_video(path, times)
    camera = VideoCamera(path)
    frames = [camera.read() for _ in times]
    assert [frame.number for frame in frames] == [(time - 8) // 4 for time in times]
    assert np.allclose([frame.at_s for frame in frames], (np.array(times) - 8) / 100)


def test_a_whole_video_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, (picture(10 * k) for k in range(12)), 30)
    camera = VideoCamera(path, CameraSettings(fps=30, width=32))
    assert [camera.read().number for _ in range(12)] == list(range(12))
    with pytest.raises(CameraLostError, match="has ended"):
        camera.read()
    assert all(fact.honoured for fact in camera.facts.settings)


def test_a_text_file_is_no_camera(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video")
    with pytest.raises(MediaError, match="not a video"):
        VideoCamera(path)


def test_the_counter_learns_the_period_and_survives_a_wrong_first_guess() -> None:
    counter = FrameCounter(1 / 25)
    times = np.arange(40) / 30
    kept = [time for k, time in enumerate(times) if k not in (20, 21, 33)]
    numbers = [counter.count(time) for time in kept]
    assert numbers == [k for k in range(40) if k not in (20, 21, 33)]
    assert counter.period_s == pytest.approx(1 / 30)


def test_frames_without_times_are_counted_one_by_one() -> None:
    counter = FrameCounter()
    assert [counter.count(None) for _ in range(3)] == [0, 1, 2]
