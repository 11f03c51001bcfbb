import itertools

import numpy as np
import pytest

from lps_sim.media import (
    EncoderSettings,
    MediaError,
    iter_frames,
    iter_timed_frames,
    iter_timed_pictures,
    write_video,
)


@pytest.mark.parametrize("settings", [EncoderSettings(gop=12), EncoderSettings("mpeg4", crf=3, pixel_format="yuv420p")])
def test_reading_on_from_a_known_frame_gives_the_same_frames_as_reading_all(tmp_path, settings):
    path = tmp_path / "clip.mkv"
    rng = np.random.default_rng(0)
    write_video(
        path,
        np.kron(rng.integers(0, 255, (60, 9, 16, 3), dtype=np.uint8), np.ones((1, 8, 8, 1), np.uint8)),
        30,
        settings,
    )
    whole = [(tick, as_rgb(picture)) for tick, picture in iter_timed_pictures(path)]
    assert len(whole) == 60
    for index in (1, 11, 12, 37, 59):
        for tick in (whole[index][0], None):  # sought, and decoded from the start
            rest = list(iter_timed_pictures(path, index=index, tick=tick))
            assert [time for time, _ in rest] == [time for time, _ in whole[index:]]
            np.testing.assert_array_equal(as_rgb(rest[0][1]), whole[index][1])
    with pytest.raises(MediaError, match="frame 5 must stand at tick"):
        next(iter_timed_pictures(path, index=5, tick=whole[5][0] + 1))


def as_rgb(picture):
    return picture if isinstance(picture, np.ndarray) else picture.rgb()


def test_timed_frames_are_the_frames_with_their_seconds(bikes_path):
    timed = list(itertools.islice(iter_timed_frames(bikes_path), 4))
    assert np.allclose([time_s for time_s, _ in timed], np.arange(4) / 25)
    for (_, frame), expected in zip(timed, iter_frames(bikes_path)):
        assert np.array_equal(frame, expected)
