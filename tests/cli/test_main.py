"""The command line as a user meets it: help, unknown names, exit statuses, no tracebacks."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from cli.common import LAYERS, SIZE, LpsGroup, one_line
from cli.main import COMMANDS, main


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_exists_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_an_unknown_command_is_wrong_usage_and_suggests_the_nearest() -> None:
    result = CliRunner().invoke(main, ["dmo"])
    assert result.exit_code == 2
    assert "did you mean 'demo'?" in result.output


@pytest.mark.parametrize(("text", "size"), [("224x224", (224, 224)), ("640X360", (640, 360))])
def test_sizes_are_width_by_height(text: str, size: tuple[int, int]) -> None:
    assert SIZE.convert(text, None, None) == size


@pytest.mark.parametrize("text", ["224", "0x5", "axb", "-4x4", "9000x2", "2x"])
def test_a_wrong_size_is_wrong_usage(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not WIDTHxHEIGHT"):
        SIZE.convert(text, None, None)


def test_layer_lists_are_sorted_and_unique() -> None:
    assert LAYERS.convert("8,1,8", None, None) == (1, 8)


@pytest.mark.parametrize("text", ["0", "-1", "65"])
def test_layer_counts_outside_the_law_are_wrong_usage(text: str) -> None:
    with pytest.raises(click.BadParameter, match=rf"layers must be 1..64, got {text}"):
        LAYERS.convert(text, None, None)


def test_a_library_error_becomes_one_line_and_status_1() -> None:
    @click.group(cls=LpsGroup)
    def group() -> None: ...

    @group.command()
    def broken() -> None:
        raise ValueError("frames must be >= 1,\n got 0")

    result = CliRunner().invoke(group, ["broken"])
    assert result.exit_code == 1
    assert result.output == "Error: frames must be >= 1, got 0\n"


def test_a_missing_file_is_named_with_its_reason() -> None:
    assert (
        one_line(FileNotFoundError(2, "No such file or directory", "film.h5")) == "film.h5: No such file or directory"
    )
