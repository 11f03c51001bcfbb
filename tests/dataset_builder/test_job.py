import numpy as np
import pytest

from dataset_builder.job import degrade_stream


class AddsFrameIndex:
    """Stands in for a film: tells from its output which index it was given for every frame."""

    def __init__(self, step):
        self.step, self.largest_chunk = step, 0

    def degrade(self, frames, first_frame=0):
        self.largest_chunk = max(self.largest_chunk, len(frames))
        indices = np.arange(first_frame, first_frame + len(frames), dtype=np.uint8)
        return np.stack(frames) + self.step * indices[:, None, None, None]


@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
def test_every_frame_keeps_its_index_however_the_clip_is_cut(chunk):
    degraders = {4: AddsFrameIndex(1), 8: AddsFrameIndex(2)}
    frames = (np.zeros((2, 3, 3), np.uint8) for _ in range(20))
    chunks = list(degrade_stream(frames, degraders, chunk))
    for layers, step in ((4, 1), (8, 2)):
        clip = np.concatenate([part[layers] for part in chunks])
        assert clip.shape == (20, 2, 3, 3)
        assert clip[:, 0, 0, 0].tolist() == [step * i for i in range(20)]
        assert degraders[layers].largest_chunk <= chunk


def test_frames_are_asked_for_no_earlier_than_needed():
    asked = []

    def source():
        for index in range(100):
            asked.append(index)
            yield np.zeros((2, 2, 3), np.uint8)

    stream = degrade_stream(source(), {1: AddsFrameIndex(0)}, chunk_frames=4)
    next(stream)
    assert asked == [0, 1, 2, 3]


def test_an_empty_clip_gives_nothing_and_a_chunk_needs_a_frame():
    assert list(degrade_stream([], {1: AddsFrameIndex(0)})) == []
    with pytest.raises(ValueError, match="chunk_frames must be 1 or more, got 0"):
        next(degrade_stream([], {}, chunk_frames=0))
