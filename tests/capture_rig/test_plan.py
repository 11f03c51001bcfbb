"""Plans: in which order, with which exposures, and what is refused."""

import pytest

from capture_rig.plan import Plan, PlannedShot, plan_shots


def test_film_is_only_ever_added_and_the_cap_comes_first():
    plan = plan_shots((8, 1, 4), kinds=("edge", "flat"))
    layers = [shot.layers for shot in plan.shots]
    assert layers == sorted(layers)
    assert {*layers} == {0, 1, 4, 8}
    assert plan.shots[0].capped
    assert not any(shot.capped for shot in plan.shots[1:])


def test_every_filmed_scene_has_its_bare_shot_and_every_layer_count_a_screen_off_and_two_flats():
    plan = plan_shots((1, 4))
    bare = {shot.scene for shot in plan.shots if shot.layers == 0}
    for count in (0, 1, 4):
        shots = [shot for shot in plan.shots if shot.layers == count]
        assert {shot.scene for shot in shots} <= bare
        assert sum(shot.target == "screen_off" for shot in shots) == 1
        assert sum(shot.scene == "flat" for shot in shots) == 2
    assert {shot.role for shot in plan.shots if shot.scene in ("noise2", "siemens")} == {"held"}
    assert all(shot.parameters["smallest_px"] == 3 for shot in plan.shots if shot.kind == "noise")


def test_fringes_may_be_left_to_some_layer_counts():
    plan = plan_shots((1, 8), kinds=("fringe",), fringes_at=(0, 8))
    assert {shot.layers for shot in plan.shots if shot.target == "fringe"} == {0, 8}


def test_a_plan_is_read_back_as_it_was_written(tmp_path):
    plan = plan_shots((1, 4), seed=5, frames=3)
    plan.save(tmp_path / "plan.yaml")
    assert Plan.load(tmp_path / "plan.yaml") == plan


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "shots: [{name: a, target: flat, scene: a, layers: 0, exposures: 2}]",
            r"plan.yaml: .*unknown 'exposures'; known: capped",
        ),
        ("shots: [{name: a, target: flat, scene: a, layers: 65}]", r"plan.yaml: shots.0.layers"),
        ("shots: [{name: a/b, target: flat, scene: a, layers: 0}]", r"plan.yaml: shots.0.name"),
        ("shots: []", r"plan.yaml: shots"),
        ("3", r"plan.yaml: must hold shots:, got '3'"),
        ("shots: [", r"plan.yaml: not YAML"),
        (
            "shots: [{name: a, target: flat, scene: a, layers: 0}, {name: a, target: flat, scene: b, layers: 0}]",
            r"plan.yaml: shots: named twice: a",
        ),
        ("shots: [{name: a, target: flat, scene: a, kind: flatt, layers: 0}]", r"plan.yaml: .*'flatt'.*flat"),
    ],
)
def test_what_breaks_a_rule_is_named_with_its_file(tmp_path, text, message):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        Plan.load(tmp_path / "plan.yaml")


def test_unknown_targets_are_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"'hol'.*hole"):
        plan_shots((1,), kinds=("hol",))
    with pytest.raises(ValueError, match="'dark'"):
        plan_shots((1,), kinds=("dark",))
    assert PlannedShot(name="a", target="flat", scene="a", layers=0).frames == 8


def test_board_is_shown_bare_alone_and_a_photo_stays_out_of_the_fit() -> None:
    plan = plan_shots((1, 4), kinds=("flat", "charuco", "photo"))
    assert [shot.layers for shot in plan.shots if shot.target == "charuco"] == [0]
    photos = [shot for shot in plan.shots if shot.target == "photo"]
    assert [(shot.layers, shot.role) for shot in photos] == [(0, "held"), (1, "held"), (4, "held")]
