"""What the command groups share: parameter types, one-line errors with exit codes, progress and JSON output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from rich.progress import Progress

_LISTED = 20
_INTERRUPTED = 130


class LpsGroup(click.Group):
    """Click group whose errors are one line without a traceback.

    ValueError and OSError from a command exit with status 1; a wrong value of an argument or option with 2.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.BadParameter as error:
            if isinstance(error, click.MissingParameter):
                raise  # with the usage, which says what is missing where
            raise click.UsageError(error.format_message()) from error
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except (ValueError, OSError) as error:
            raise click.ClickException(one_line(error)) from error


def one_line(error: BaseException) -> str:
    """The message of an exception on a single line; pydantic's several complaints are joined by semicolons."""
    if "pydantic" in sys.modules:
        from pydantic import ValidationError

        if isinstance(error, ValidationError):
            from lps_sim.config import validation_message

            return validation_message(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


class SizeType(click.ParamType):
    """``WIDTHxHEIGHT`` in pixels -> (width, height)."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        width, _, height = str(value).lower().partition("x")
        if not (width.isdecimal() and height.isdecimal() and 1 <= int(width) <= 8192 and 1 <= int(height) <= 8192):
            self.fail(f"{value!r} is not WIDTHxHEIGHT with 1..8192 pixels each, such as 224x224", param, ctx)
        return int(width), int(height)


class LayersType(click.ParamType):
    """``N`` or ``N,N,...``: layer counts, 1..64 each -> sorted tuple without repeats."""

    name = "N[,N...]"

    def __init__(self, minimum: int = 1) -> None:
        self.minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            layers = sorted({int(part) for part in str(value).split(",")})
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 1,4,8", param, ctx)
        for count in layers:
            if not self.minimum <= count <= 64:
                self.fail(f"layers must be {self.minimum}..64, got {count}", param, ctx)
        return tuple(layers)


class LoadedType(click.ParamType):
    """Text -> the object that :meth:`load` makes of it; what it raises is a wrong value of the parameter."""

    def load(self, value: str) -> Any:
        """The object; ValueError or OSError when there is none."""
        raise NotImplementedError

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.load(value)
        except (ValueError, OSError) as error:
            self.fail(one_line(error), param, ctx)


class FilmType(LoadedType):
    """A film file or the name of a preset -> :class:`lps_sim.FilmModel`."""

    name = "FILM"

    def load(self, value: str) -> Any:
        from lps_sim import FilmModel

        return FilmModel.load(value)


class CameraType(LoadedType):
    """A YAML file of a camera's fields -> :class:`lps_sim.Camera`."""

    name = "CAMERA.yaml"

    def load(self, value: str) -> Any:
        from lps_sim import Camera

        return Camera.from_yaml(value)


class LocationType(click.ParamType):
    """A folder or file of this machine -> Path; a URL such as ``s3://bucket/folder`` -> text."""

    name = "PATH|URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from dataset_builder.storage import parse_location

        return parse_location(value)


class ViewsType(LoadedType):
    """``CLIPSxCROPS``, how a test looks at a clip -> :class:`training.views.Views`."""

    name = "CLIPSxCROPS"

    def load(self, value: str) -> Any:
        from training.views import Views

        return Views.parse(value)


LOCATION = LocationType()
SIZE = SizeType()
LAYERS = LayersType()
LAYERS_FROM_ZERO = LayersType(minimum=0)
FILM = FilmType()
CAMERA = CameraType()
VIEWS = ViewsType()


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``: the machine-readable result on stdout; everything else goes to stderr."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")(command)


def print_json(result: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(result, indent=2, default=str))


def list_failures(title: str, items: list[str], more: str) -> None:
    """The failures on stderr, one line each; past the first few, where to see the rest."""
    if items:
        click.echo(f"{title}: {len(items)}", err=True)
        for item in items[:_LISTED]:
            click.echo(f"  {item}", err=True)
        if len(items) > _LISTED:
            click.echo(f"  and {len(items) - _LISTED} more: {more}", err=True)


def stopped(ctx: click.Context) -> NoReturn:
    """The end of a command that Ctrl-C stopped between two clips."""
    click.echo("stopped; the same command goes on from here", err=True)
    ctx.exit(_INTERRUPTED)


def progress_display() -> Progress:
    """The progress bars of commands of several steps: on stderr, with count and time left (clips: :mod:`cli.progress`).

    A task that an error ends before its first step leaves no bar, so that the error stands alone.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    class Display(Progress):
        def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
            for task in self.tasks if kind is not None else []:
                if not task.completed:
                    self.remove_task(task.id)
            self.console.quiet = not self.tasks  # nothing to draw: not even the empty line that ends the bars
            super().__exit__(kind, error, trace)

    return Display(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=False,
    )
