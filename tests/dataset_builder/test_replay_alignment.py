import numpy as np
import pytest

from dataset_builder.replay.alignment import Alignment, align, by_offset
from dataset_builder.replay.cuts import Signatures, cut_clips
from dataset_builder.replay.map import MapEntry, ReplayMap
from dataset_builder.replay.signature import CELLS, COLUMNS, FULL_SCALE, ROWS, signature
from dataset_builder.replay.simulate import Recorder, shown_frames
from lps_sim.transfer import eotf_srgb
from lps_sim.yuv import YuvFrame

CLIP = 50
# A tenth of the contrast, a veil, and the noise of a mean over 400 pixels of 0.7 codes each.
CONTRAST, VEIL, NOISE = 0.1, 0.05, 1e-4
# Frames by which a loss may be off where it lies: motion of a hundredth of a cell a frame stands out after a few.
NEAR = 15


def played_signatures(clips, seed=0, still=()):
    """(clips * CLIP, CELLS): a dark blob that wanders over a room that all clips share; ``still`` clips stand."""
    rng = np.random.default_rng(seed)
    room = rng.uniform(0.2, 0.8, (ROWS, COLUMNS))
    y, x = np.mgrid[:ROWS, :COLUMNS]
    frames = []
    for clip in range(clips):
        centre, reach = rng.uniform([2, 3], [7, 13]), rng.uniform(0.5, 2, 2) * (clip not in still)
        period, phase = rng.uniform(20, 60, 2), rng.uniform(0, 2 * np.pi, 2)
        for t in range(CLIP):
            at = centre + reach * np.sin(2 * np.pi * t / period + phase)
            blob = np.exp(-((y - at[0]) ** 2 / 4 + (x - at[1]) ** 2 / 2))
            frames.append(room * (1 - 0.8 * blob))
    return np.rint(FULL_SCALE * np.array(frames).reshape(-1, CELLS)).astype(np.uint16)


def film(played, shown, seed=1, gain=None):
    """What a recording of it shows: blended, a tenth of the contrast, veiled, noisy; a grey screen where nothing is."""
    rng = np.random.default_rng(seed)
    light = played / FULL_SCALE
    following = np.minimum(shown.frame + 1, len(light) - 1)
    pictures = (1 - shown.blend[:, None]) * light[shown.frame] + shown.blend[:, None] * light[following]
    pictures[shown.frame < 0] = 0.3
    pictures = CONTRAST * pictures + VEIL
    if gain is not None:
        pictures *= gain[:, None]
    return np.rint(FULL_SCALE * (pictures + NOISE * rng.standard_normal(pictures.shape))).astype(np.uint16)


def slips(shown):
    """{played frame: frames lost (+) or shown again (-)}."""
    steps = np.diff(shown[shown >= 0])
    return {int(frame): int(step) - 1 for frame, step in zip(shown[shown >= 0][1:], steps) if step != 1}


def by_shown(shown):
    return Alignment(shown, 0)


def clips_of(count):
    entries = (MapEntry(CLIP * k, CLIP * k + CLIP - 1, f"{k:03d}.mp4", f"{k:03d}") for k in range(count))
    return ReplayMap.of(enumerate(entries, 1))


def test_losses_and_repeats_are_found_one_by_one_near_where_they_are():
    played = played_signatures(40)
    dropped, doubled = [133, 460, 777, 1210, 1666, 1893], [333, 1040, 1530]
    shown = shown_frames(len(played), Recorder(drift=0.0), dropped, doubled)
    found = align(film(played, shown), played)
    assert found.offset == 168
    assert (found.shown[shown.frame < 0] == -1).all()
    truth, measured = slips(shown.frame), slips(found.shown)
    assert sorted(truth.values()) == sorted(measured.values())
    assert max(abs(a - b) for a, b in zip(sorted(truth), sorted(measured))) <= NEAR


def test_a_faster_recorder_s_clock_is_told_from_frames_lost():
    drift = 1e-3
    played = played_signatures(60)
    shown = shown_frames(len(played), Recorder(drift=drift, shutter=1.0), dropped=[720, 1720, 2320])
    recorded = film(played, shown)
    found = align(recorded, played)
    cuts = list(cut_clips(clips_of(60), found, 5, Signatures(recorded, played, np.ones(len(played), bool))))
    assert sum(len(cut.dropped) for cut in cuts) == 3
    # A tenth of a frame over the 3000 of the recording.
    assert found.clock_drift == pytest.approx(drift, abs=0.1 / 3000)
    assert found.net_drift == pytest.approx(drift - 3 / 3000, abs=5e-4)


def test_a_loss_in_a_clip_that_stands_still_is_counted_though_it_cannot_be_placed():
    played = played_signatures(20, still=(9, 10))
    shown = shown_frames(len(played), Recorder(drift=0.0), dropped=[CLIP * 9 + 25, CLIP * 10 + 25])
    measured = slips(align(film(played, shown), played).shown)
    assert sum(measured.values()) == 2
    assert all(CLIP * 9 - 1 <= frame <= CLIP * 11 + 1 for frame in measured)


def test_clips_that_repeat_the_one_before_stay_in_their_places():
    played = played_signatures(20)
    for clip in (5, 6, 12):
        played[CLIP * clip : CLIP * (clip + 1)] = played[CLIP * (clip - 1) : CLIP * clip]
    shown = shown_frames(len(played), Recorder(drift=0.0))
    assert np.array_equal(align(film(played, shown), played).shown, shown.frame)


def test_exposure_and_a_growing_veil_are_no_motion():
    played = played_signatures(20)
    shown = shown_frames(len(played), Recorder(drift=0.0), dropped=[420])
    gain = 1 + 0.03 * np.sin(np.arange(len(shown.frame)) / 40)
    recorded = film(played, shown, gain=gain) + np.linspace(0, 0.01 * FULL_SCALE, len(gain))[:, None]
    assert list(slips(align(recorded.astype(np.uint16), played).shown).values()) == [1]


def test_a_pause_and_a_long_gap_leave_frames_unmatched_and_the_rest_in_place():
    played = played_signatures(40)
    whole = film(played, shown_frames(len(played), Recorder(drift=0.0, lead_frames=0, tail_frames=0)))
    pause = np.full((300, CELLS), 0.3 * FULL_SCALE)
    # 300 recorded frames of something else after frame 700, and frames 1200..1449 never recorded.
    recorded = np.concatenate([whole[:700], pause, whole[700:1200], whole[1450:]]).astype(np.uint16)
    truth = np.concatenate([np.arange(700), np.full(300, -1), np.arange(700, 1200), np.arange(1450, 2000)])
    found = align(recorded, played).shown
    wrong = np.flatnonzero(found != truth)
    assert len(wrong) <= 4  # at the edges of what is missing
    cuts = list(cut_clips(clips_of(40), by_shown(found), 5))
    assert {cut.clip.name for cut in cuts if cut.missing} == {f"{k:03d}" for k in range(24, 29)}


def test_a_recording_of_something_else_is_refused():
    played, other = played_signatures(20), played_signatures(20, seed=7)
    with pytest.raises(ValueError, match="no stretch of the recording matches"):
        align(np.ascontiguousarray(other[::-1]), played)
    with pytest.raises(ValueError, match="recorded must have at least 96 frames to be aligned, got 40"):
        align(other[:40], played)


def test_neighbours_stand_in_for_short_losses_alone():
    shown = np.array([-1, 0, 1, 3, 4, 4, 5, 9, 10, 11, -1])
    replay_map = ReplayMap.of(
        enumerate((MapEntry(0, 4, "a", "a"), MapEntry(5, 9, "b", "b"), MapEntry(10, 13, "c", "c")), 1)
    )
    a, b, c = cut_clips(replay_map, by_shown(shown), 3)
    assert (a.recorded.tolist(), a.dropped, a.doubled, a.missing) == ([1, 2, 2, 3, 4], (2,), (4,), ())
    assert (b.recorded.tolist(), b.dropped, b.missing) == ([6, 6, 6, 7, 7], (1, 2, 3), ())
    # The recording ends: nothing stands in for what comes after.
    assert (c.recorded.tolist(), c.missing) == ([8, 9, -1, -1], (2, 3))
    assert list(cut_clips(replay_map, by_shown(shown), 2))[1].missing == (1, 2, 3)


def test_an_offset_alone_is_a_straight_line():
    assert by_offset(8, 5, 2).shown.tolist() == [-1, -1, 0, 1, 2, 3, 4, -1]
    assert by_offset(4, 5, -2).shown.tolist() == [2, 3, 4, -1]


def test_a_signature_is_linear_light_whatever_the_decoder_gave():
    grey = np.full((72, 128), 128, np.uint8)
    expected = FULL_SCALE * eotf_srgb(128 / 255)
    np.testing.assert_allclose(signature(np.dstack([grey] * 3)), expected, atol=1)
    half = np.full((36, 64), 128, np.uint8)
    full = YuvFrame(grey, half, half, "bt709", full_range=True)
    np.testing.assert_allclose(signature(full), expected, atol=1)
    limited = YuvFrame(np.full_like(grey, 126), half, half, "bt709")
    np.testing.assert_allclose(signature(limited), FULL_SCALE * eotf_srgb(110 / 219), atol=1)


def test_a_signature_of_a_picture_smaller_than_its_grid_is_its_light():
    np.testing.assert_array_equal(signature(np.full((3, 5, 3), 255, np.uint8)), FULL_SCALE)
