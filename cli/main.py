"""``lps``: the root of the command line. Each group's module is imported when one of its commands is asked for."""

from __future__ import annotations

import importlib

import click

from .common import LpsGroup

# name -> (module, attribute, one-line help): the help stands here so that `lps --help` imports nothing else.
COMMANDS = {
    "demo": ("cli.demo", "demo", "The whole pipeline on built-in scenes, ending in one report.html."),
    "doctor": ("cli.doctor", "doctor", "Check versions, codecs, devices and disk; say the cure of what is missing."),
    "film": ("cli.film", "film", "Fit, show, predict and apply film models."),
    "data": ("cli.data", "data", "Index, split, degrade and verify data sets; render labelled clips."),
    "train": ("cli.train", "train", "Train MSPNet."),
    "test": ("cli.train", "test", "Test a trained MSPNet checkpoint."),
    "predict": ("cli.predict", "predict", "The top actions of any video, with a film before it when asked."),
    "fuse": ("cli.predict", "fuse", "Fuse the saved predictions of several tests."),
    "export": ("cli.export", "export", "Write a trained network for use elsewhere: torch.export, ONNX, model folder."),
    "audit": ("cli.audit", "audit", "Measure what degraded clips still give away."),
    "rig": ("cli.rig", "rig", "Targets for filming a real screen through a real film."),
}


class LazyGroup(LpsGroup):
    """Root group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from lps_sim.errors import suggestion

            ctx.fail(f"no command {args[0]!r}; {suggestion(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lens-privacy-sealing", prog_name="lps")
def main() -> None:
    """Lens Privacy Sealing: film models, degraded data sets, MSPNet training and privacy audits.

    Exit status: 0 all done; 1 something failed, and what failed is listed; 2 wrong usage.
    """


if __name__ == "__main__":  # python -m cli.main, as torchrun starts it
    main(prog_name="lps")
