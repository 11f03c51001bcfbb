"""The small shared pieces: whole-or-absent files, named seeds, strict configuration, suggestions."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from lps_sim.config import StrictModel, validation_message
from lps_sim.errors import UnknownNameError, suggestion
from lps_sim.files import atomic_path, clear_unfinished, sha256_file, write_atomic
from lps_sim.seeding import named_rng, named_seed


def test_an_atomic_write_leaves_the_new_file_and_nothing_else(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.txt", "one")
    write_atomic(tmp_path / "a.txt", b"two")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "two"


def test_a_failed_write_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk gone")

    with pytest.raises(RuntimeError, match="disk gone"):
        fail_half_way()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "old"


def test_what_a_killed_writer_left_can_be_cleared_and_finished_files_stay(tmp_path: Path) -> None:
    for name in ("a.mp4", "b"):
        write_atomic(tmp_path / name, "whole")
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_text("half")
            left = temporary.with_name(temporary.name.replace(temporary.suffix, "x" + temporary.suffix))
            left.write_text("half")
    (tmp_path / ".settings").write_text("hidden, but whole")
    assert len(list(tmp_path.iterdir())) == 5
    clear_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".settings", "a.mp4", "b"]


def test_file_hash_is_the_hash_of_its_bytes_across_blocks(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f", block_bytes=1000) == hashlib.sha256(data).hexdigest()


def test_named_seeds_depend_on_every_part_and_on_their_order() -> None:
    seeds = {named_seed(0, "a", "b"), named_seed(0, "b", "a"), named_seed(1, "a", "b"), named_seed(0, "ab")}
    assert len(seeds) == 4
    assert named_seed(0, "a") == named_seed(0, "a")


def test_named_streams_repeat() -> None:
    assert (named_rng(3, "clip").random(4) == named_rng(3, "clip").random(4)).all()


class Example(StrictModel):
    layers: int = 1
    size: int = 2


def test_an_unknown_configuration_key_names_the_nearest() -> None:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({"layrs": 3})
    assert "unknown 'layrs'; did you mean 'layers'?" in validation_message(caught.value)


def test_a_configuration_cannot_change_after_construction() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().layers = 2  # type: ignore[misc]


def test_a_wrong_value_is_named_with_its_key() -> None:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({"size": "big"})
    assert validation_message(caught.value).startswith("size: ")


def test_suggestions_list_what_is_known_when_nothing_is_near() -> None:
    assert suggestion("zzz", ["rough", "matte"]) == "known: matte, rough"
    assert "did you mean 'rough'?" in str(UnknownNameError("film", "ruogh", ["rough", "matte"]))
