"""Pictures and ground truth of the rendered clips."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_builder.scenes import render
from dataset_builder.scenes.actions import RENDERED_ACTIONS
from dataset_builder.scenes.render import SceneSettings, render_clip
from dataset_builder.scenes.room import Plate, build_room, render_plate

TINY = SceneSettings(width=96, height=54, frames=12)
# Light doubles exactly but for float32 rounding and the codes' absence in linear light.
LINEAR = 1e-5


def frames(name: str, settings: SceneSettings = TINY) -> np.ndarray:
    return np.stack(list(render_clip(name, settings).frames()))


def test_every_action_renders_in_every_view_with_people_in_the_picture():
    for index, action in enumerate(RENDERED_ACTIONS):
        name = f"S00{1 + index % 2}C00{1 + index % 3}P{1 + index % 30:03d}R00{1 + index % 2}A{action:03d}"
        clip = render_clip(name, SceneSettings(width=64, height=36, frames=3))
        for frame in range(3):
            light = clip.linear_frame(frame)
            assert np.isfinite(light).all(), name
            assert light.min() >= 0, name
            assert clip.masks(frame).sum(axis=(1, 2)).min() > 15, name  # pixels of each performer


def test_the_same_name_gives_the_same_pixels_in_any_order():
    first = frames("S001C002P006R001A058")
    frames("S001C001P003R001A008")
    assert np.array_equal(frames("S001C002P006R001A058"), first)


def test_seed_and_every_field_of_the_name_change_the_picture():
    base = frames("S001C001P003R001A022")
    for name in (
        "S002C001P003R001A022",
        "S001C002P003R001A022",
        "S001C001P005R001A022",
        "S001C001P003R002A022",
        "S001C001P003R001A023",
    ):
        assert np.abs(frames(name).astype(int) - base).mean() > 0.5, name
    other = SceneSettings(width=96, height=54, frames=12, seed=1)
    assert np.abs(frames("S001C001P003R001A022", other).astype(int) - base).mean() > 0.5


def test_pictures_are_linear_in_light():
    plain = render_clip("S001C001P003R001A010", TINY)
    double = render_clip("S001C001P003R001A010", SceneSettings(width=96, height=54, frames=12, light=2.0))
    one, two = plain.linear_frame(6).astype(float), double.linear_frame(6).astype(float)
    assert two == pytest.approx(2 * one, rel=LINEAR)
    assert 0.03 < one.mean() < 0.6


def test_codes_are_the_srgb_encoding_of_the_linear_picture():
    from lps_sim.transfer import inverse_eotf

    clip = render_clip("S001C001P003R001A010", TINY)
    code = next(clip.frames())
    expected = inverse_eotf(np.clip(clip.linear_frame(0), 0, 1), "srgb") * 255
    # 4,096 steps of the square root: at most half a code and half a step apart.
    assert np.abs(code - expected).max() < 0.65


def test_a_performer_stands_where_the_ground_truth_says():
    for name in ("S001C001P003R001A023", "S001C002P008R002A080", "S002C003P004R001A055"):
        clip = render_clip(name, SceneSettings(width=160, height=90, frames=8))
        truth = clip.truth()
        for frame in (0, 5):
            for mask, box in zip(clip.masks(frame), truth["boxes_px"][:, frame]):
                rows, columns = np.nonzero(mask)
                assert columns.min() >= np.floor(box[0])
                assert columns.max() <= np.ceil(box[2])
                assert rows.min() >= np.floor(box[1])
                assert rows.max() <= np.ceil(box[3])
                assert mask.sum() > 0.15 * (box[2] - box[0]) * (box[3] - box[1]) * (1 if len(clip.actors) == 1 else 0.3)


def test_joints_lie_in_the_box_and_agree_between_metres_and_pixels():
    clip = render_clip("S001C003P007R001A097", TINY)
    truth = clip.truth()
    local = truth["joints_m"].astype(float)
    projected = truth["f_px"] * local[..., :2] / local[..., 2:] + [48, 27]
    assert projected == pytest.approx(truth["joints_px"], abs=1e-3)
    x, y = truth["joints_px"][..., 0], truth["joints_px"][..., 1]
    box = truth["boxes_px"]
    inside = (x >= box[..., :1] - 1) & (x <= box[..., 2:3] + 1) & (y >= box[..., 1:2] - 1) & (y <= box[..., 3:] + 1)
    visible = (y > 0) & (y < 54) & (x > 0) & (x < 96)
    assert inside[visible].all()
    world = local[0, 0] @ truth["rotation"] + truth["position_m"]
    assert world == pytest.approx(clip.actors[0].pose.joints[0], abs=1e-5)


def test_a_body_takes_light_from_the_floor_and_nothing_from_the_walls():
    clip = render_clip("S001C001P003R001A023", SceneSettings(width=160, height=90, frames=2))
    light = clip.linear_frame(0).copy()
    free = clip.masks(0).sum(axis=0) == 0
    change = (light - clip.plate.linear).mean(axis=2)
    floor = clip.plate.floor[..., 2] > 0
    assert np.abs(change[free & ~floor]).max() < 1e-6
    assert change[free & floor].max() < 1e-6
    assert change[free & floor].min() < -0.02 * clip.plate.linear[floor].mean()


def test_setups_vary_room_light_and_distance_but_not_the_brightness_of_people():
    rooms = [build_room(0, setup) for setup in range(1, 9)]
    assert np.ptp([room.camera_distance_m for room in rooms]) > 0.2
    assert np.ptp([room.key[0] for room in rooms]) > 0.2
    walls = np.array([room.walls[4, 13:16] for room in rooms])
    assert np.ptp(walls, axis=0).max() > 0.1
    on_people = [float((room.key[3:] + room.above).mean()) for room in rooms]
    assert max(on_people) / min(on_people) < 2.0
    with pytest.raises(ValueError, match=r"setup must be 1\.\.32, got 33"):
        build_room(0, 33)


def test_the_room_has_no_fireflies_and_stays_below_white_but_for_the_window():
    room = build_room(0, 2)
    plate = render_plate(room, room.view(1, 96, 54), 8, 2)
    assert np.isfinite(plate.linear).all()
    assert (plate.linear < 1.0).mean() > 0.85
    assert plate.depth.shape == (108, 192)
    assert plate.depth.min() > 1 / 12.0  # nothing is further away than the room is long


def test_full_high_definition_renders_one_frame(monkeypatch: pytest.MonkeyPatch):
    # An empty grey room eight metres deep: rays for two million pixels would take seconds.
    shape = (1080, 1920)
    wall = np.full((*shape, 3), 0.2, np.float32)
    deep = np.full((2 * shape[0], 2 * shape[1]), 0.125, np.float32)
    monkeypatch.setattr(render, "_plate", lambda *a: Plate(wall, deep, -np.ones((*shape, 3), np.float32)))
    clip = render_clip("S001C001P003R001A058", SceneSettings(width=1920, height=1080, frames=1))
    frame = next(clip.frames())
    assert frame.shape == (1080, 1920, 3)
    for mask, box in zip(clip.masks(0), clip.truth()["boxes_px"][:, 0]):
        rows, columns = np.nonzero(mask)
        assert [columns.min(), rows.min(), columns.max(), rows.max()] == pytest.approx(box, abs=1.5)
        assert frame[mask > 0.99].std() > 10
    assert (frame[clip.masks(0).sum(axis=0) == 0] == frame[0, 0]).all()


def test_names_that_are_not_rendered_are_refused():
    with pytest.raises(ValueError, match="action must be one of"):
        render_clip("S001C001P003R001A002", TINY)
    with pytest.raises(ValueError, match="not an NTU name"):
        render_clip("street.mp4", TINY)
