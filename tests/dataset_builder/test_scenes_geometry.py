"""Meshes, skeleton, cameras and motion of the rendered clips: closed forms and geometry."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_builder.actions import NTU_ACTIONS, NTU_MUTUAL_ACTIONS
from dataset_builder.naming import parse_name
from dataset_builder.scenes.actions import RENDERED_ACTIONS
from dataset_builder.scenes.camera import CAMERA_ANGLES_DEG, view
from dataset_builder.scenes.motion import Motion, smooth, solve
from dataset_builder.scenes.people import performer
from dataset_builder.scenes.render import SceneSettings, direct, partner
from dataset_builder.scenes.skeleton import JOINTS, build_skeleton, two_bone
from dataset_builder.scenes.surface import INTERSECT, box, build_mesh, ellipsoid, plane
from dataset_builder.splits import side

# Poses are computed in float64 and stored in float32: a few micrometres at two metres.
JOINT_M = 1e-5
# A mesh of step h inscribed in a curved surface of radius R loses about (h/R)^2/5 of its volume.
VOLUME = 0.01


def motion(number: int = 1, frames: int = 40, seed: int = 0) -> Motion:
    person = performer(0, number)
    return Motion(frames, 30.0, build_skeleton(person.body), person.style, np.random.default_rng(seed))


def test_mesh_of_an_ellipsoid_has_its_volume_and_faces_outwards():
    mesh = build_mesh([ellipsoid([0, 0, 0], [0.2, 0.3, 0.1])], [-0.25, -0.35, -0.15], [0.25, 0.35, 0.15], 0.02)
    p, f = mesh.vertices.astype(float), mesh.faces
    across = np.cross(p[f[:, 1]] - p[f[:, 0]], p[f[:, 2]] - p[f[:, 0]])
    volume = (p[f[:, 0]] * across).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi * 0.2 * 0.3 * 0.1, rel=VOLUME)
    assert ((across * mesh.normals[f[:, 0]]).sum(1) > 0).all()


def test_mesh_is_closed_so_that_every_edge_has_two_faces():
    shape = [box([0, 0, 0], [0.1, 0.1, 0.1], 0.02), plane([0, 1, 0], 0.05, 0.0, INTERSECT)]
    mesh = build_mesh(shape, [-0.15] * 3, [0.15] * 3, 0.02)
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert mesh.vertices[:, 1].max() == pytest.approx(0.05, abs=1e-3)


def test_a_shape_outside_its_grid_is_refused():
    with pytest.raises(ValueError, match="no surface within"):
        build_mesh([ellipsoid([5, 0, 0], [0.1, 0.1, 0.1])], [-0.2] * 3, [0.2] * 3, 0.02)


def test_two_bone_limb_reaches_its_target_with_its_own_lengths():
    rng = np.random.default_rng(0)
    root, pole = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    target = root + rng.normal(size=(50, 3)) * 0.25
    middle, end, hinge = two_bone(root, target, pole, 0.3, 0.25)
    assert np.linalg.norm(middle - root, axis=1) == pytest.approx(np.full(50, 0.3), abs=1e-9)
    assert np.linalg.norm(end - middle, axis=1) == pytest.approx(np.full(50, 0.25), abs=1e-9)
    distance = np.linalg.norm(target - root, axis=1)
    within = (distance > 0.07) & (distance < 0.54)
    assert within.any()
    assert np.abs(end - target)[within].max() < 1e-9
    assert np.abs((hinge * (middle - root)).sum(1)).max() < 1e-9


def test_bones_keep_their_lengths_in_every_action():
    pairs = [("shoulder_left", "elbow_left"), ("elbow_left", "wrist_left"), ("hip_right", "knee_right")]
    pairs += [("knee_right", "ankle_right"), ("hip_left", "hip_right")]
    settings = SceneSettings(frames=24)
    for action in RENDERED_ACTIONS:
        for actor in direct(parse_name(f"S001C001P003R001A{action:03d}"), settings):
            joints = actor.pose.joints
            assert np.isfinite(joints).all()
            assert np.isfinite(actor.pose.bones).all()
            for a, b in pairs:
                length = np.linalg.norm(joints[:, JOINTS.index(a)] - joints[:, JOINTS.index(b)], axis=1)
                assert np.ptp(length) < JOINT_M, (action, a, b)


def test_nobody_sinks_into_the_floor_or_floats_away():
    settings = SceneSettings(frames=40)
    for action in RENDERED_ACTIONS:
        for number in (2, 9):
            for actor in direct(parse_name(f"S001C001P{number:03d}R002A{action:03d}"), settings):
                height = actor.pose.joints[:, :, 1]
                assert height.min() > -0.12, action  # a toe that points down at take-off
                lowest = height.min(axis=1)
                assert lowest.max() < 0.45, action  # a jump
                assert np.abs(actor.pose.joints[:, :, [0, 2]]).max() < 2.6, action


def test_motion_is_smooth_from_frame_to_frame():
    # The fastest real hand movements reach about 12 m/s; a jump of a joint between two frames would be faster.
    settings = SceneSettings(frames=75)
    for action in RENDERED_ACTIONS:
        for actor in direct(parse_name(f"S002C001P005R001A{action:03d}"), settings):
            speed = np.linalg.norm(np.diff(actor.pose.joints, axis=0), axis=2) * 30.0
            assert speed.max() < 14.0, (action, speed.max())


def test_standing_still_keeps_both_feet_on_the_floor_and_the_head_at_its_height():
    quiet = motion()
    joints = solve(quiet).joints
    ankle = quiet.skeleton.rest["foot_l"][1]
    assert joints[:, JOINTS.index("ankle_left"), 1] == pytest.approx(np.full(40, ankle), abs=1e-3)
    head = joints[:, JOINTS.index("head"), 1]
    assert np.abs(head - quiet.skeleton.rest["head_centre"][1]).max() < 0.06


def test_walking_moves_the_feet_no_further_than_the_body_while_they_stand():
    walker = motion(frames=60)
    walker.walk(1.2 * np.linspace(0, 1, 60))
    ankles = solve(walker).joints[:, [JOINTS.index("ankle_left"), JOINTS.index("ankle_right")]]
    lowest = ankles[:, :, 1].argmin(axis=1)[15:45]
    speed = np.abs(np.diff(ankles[:, :, 2], axis=0))[15:45]
    standing = speed[np.arange(30), lowest] * 30.0
    assert np.median(standing) < 0.25 * 1.2 / 2.0  # metres a second, against 0.6 of the body


def test_smooth_ends_at_zero_and_one():
    assert smooth(1.0, 2.0, [0.5, 1.0, 1.5, 2.0, 3.0]).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_cameras_stand_at_0_plus_45_and_minus_45_degrees_at_one_height():
    assert CAMERA_ANGLES_DEG == {1: 0.0, 2: 45.0, 3: -45.0}
    for camera, angle in CAMERA_ANGLES_DEG.items():
        seen = view(camera, 3.0, 1.4, 640, 360)
        assert seen.position == pytest.approx([3 * np.sin(np.deg2rad(angle)), 1.4, 3 * np.cos(np.deg2rad(angle))])
        assert seen.rotation @ seen.rotation.T == pytest.approx(np.eye(3), abs=1e-12)
        assert np.linalg.det(seen.rotation) == pytest.approx(1.0)
        assert seen.project(np.array([0.0, 1.02, 0.0])) == pytest.approx([320, 180])
        above, left = seen.project(np.array([0.0, 1.5, 0.0])), seen.project(seen.rotation[0] * -0.5)
        assert above[1] < 180
        assert left[0] < 320
    with pytest.raises(ValueError, match=r"camera must be 1\.\.3, got 4"):
        view(4, 3.0, 1.4, 640, 360)


def test_three_views_of_one_clip_triangulate_to_the_same_joints():
    settings = SceneSettings(frames=6)
    joints = direct(parse_name("S001C001P003R001A023"), settings)[0].pose.joints[5].astype(float)
    views = [view(camera, 3.1, 1.5, 480, 270) for camera in (1, 2, 3)]
    rows, sides = [], []
    for seen in views:
        ray = (seen.project(joints) - [240, 135]) / seen.f_px
        for axis in (0, 1):
            row = seen.rotation[axis] - ray[:, axis, None] * seen.rotation[2]
            rows.append(row)
            sides.append(row @ seen.position)
    a, b = np.stack(rows, axis=1), np.stack(sides, axis=1)
    found = np.stack([np.linalg.lstsq(a[i], b[i], rcond=None)[0] for i in range(len(joints))])
    assert found == pytest.approx(joints, abs=1e-9)


def test_cameras_see_the_same_performance():
    settings = SceneSettings(frames=8)
    first, second = (direct(parse_name(f"S003C00{c}P004R001A058"), settings) for c in (1, 3))
    for one, other in zip(first, second):
        assert one.person.number == other.person.number
        assert np.array_equal(one.pose.joints, other.pose.joints)


def test_rendered_actions_bear_their_ntu_names_and_numbers():
    # Counted on the published list: 50 punch/slap ... 60 walking apart, 112 high-five.
    expected = {1: "drink water", 8: "sit down", 9: "stand up", 10: "clapping", 22: "cheer up", 23: "hand waving"}
    expected |= {24: "kicking something", 26: "hopping", 27: "jump up", 43: "falling down", 50: "punch/slap"}
    expected |= {55: "hugging", 58: "shaking hands", 59: "walking towards", 60: "walking apart", 80: "squat down"}
    expected |= {97: "arm circles", 98: "arm swings", 99: "run on the spot", 102: "side kick", 112: "high-five"}
    for number, name in expected.items():
        assert RENDERED_ACTIONS[number].name == name
    assert len(RENDERED_ACTIONS) >= 14
    for number, action in RENDERED_ACTIONS.items():
        assert action.number == number
        assert action.name == NTU_ACTIONS[number - 1]
        assert action.mutual == (number in NTU_MUTUAL_ACTIONS)
    assert sum(action.mutual for action in RENDERED_ACTIONS.values()) >= 3


def test_the_second_performer_is_another_one_of_the_same_side_of_the_subject_split():
    for number in range(1, 31):
        name = parse_name(f"S001C001P{number:03d}R001A050")
        other = partner(0, name)
        assert other != number
        assert side(f"S001C001P{other:03d}R001A050", "ntu120-xsub") == side(name, "ntu120-xsub")


def test_replications_vary_the_motion_and_performers_differ_in_manner():
    settings = SceneSettings(frames=30)

    def elbows(name: str) -> np.ndarray:
        actor = direct(parse_name(name), settings)[0]
        joints = actor.pose.joints - actor.pose.joints[:, :1]
        return joints[:, [JOINTS.index("elbow_left"), JOINTS.index("elbow_right")]]

    base = elbows("S001C001P003R001A022")
    assert np.abs(elbows("S001C001P003R002A022") - base).max() > 0.05
    assert np.abs(elbows("S001C001P005R001A022") - base).max() > 0.05
    assert np.array_equal(elbows("S001C001P003R001A022"), base)


def test_thirty_performers_differ_in_build_looks_and_clothes():
    cast = [performer(0, number) for number in range(1, 31)]
    looks = {(p.hair, p.beard, p.glasses, p.top, p.pattern, p.bottom, p.skin_rgb.tobytes()) for p in cast}
    assert len(looks) == 30
    statures = sorted(p.body.stature_m for p in cast)
    assert statures[-1] - statures[0] > 0.25
    clothes = np.array([np.concatenate([p.top_rgb, p.bottom_rgb, p.hair_rgb, p.skin_rgb]) for p in cast])
    apart = np.linalg.norm(clothes[:, None] - clothes[None], axis=2) + 9 * np.eye(30)
    assert apart.min() > 0.03
    assert {p.feminine for p in cast} == {True, False}
    with pytest.raises(ValueError, match=r"performer must be 1\.\.106, got 0"):
        performer(0, 0)
