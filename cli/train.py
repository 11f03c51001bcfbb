"""``lps train`` and ``lps test``: MSPNet on a P3AR data set."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import VIEWS, json_option, one_line, print_json, progress_display
from .progress import LINE_INTERVAL_S, duration

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.trackers import Progress
    from training.views import Views

_PREEMPTED = 143
"""128 + SIGTERM, as shells and schedulers count."""


@click.command()
@click.option("--config", required=True, metavar="FILE", help="YAML file, or a preset: tiny, vit-b-32, vit-b-16.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, such as optim.epochs=10.")
@click.option("--resume", is_flag=True, help="Go on from the run's newest whole checkpoint, if there is one.")
@json_option
@click.pass_context
def train(ctx: click.Context, config: str, overrides: tuple[str, ...], resume: bool, as_json: bool) -> None:
    """Train MSPNet: lps train --config tiny --set data.dataset=DIR --set out=runs/first

    On several GPUs or machines: torchrun --nproc-per-node 4 -m cli.main train ... SIGTERM ends a run after a whole
    step, saved, with exit status 143.
    """
    settings = _settings(config, overrides)
    from training.loop import train as run
    from training.parallel import Preempted

    main_process = os.environ.get("RANK", "0") == "0"  # as torchrun numbers the processes
    try:
        with TrainingDisplay(quiet=not main_process) as display:
            summary = run(settings, on_progress=display, resume=resume)
    except Preempted as error:
        click.echo(str(error), err=True)
        ctx.exit(_PREEMPTED)
    if not main_process:
        return
    for note in summary.notes:
        click.echo(note, err=True)
    if as_json:
        print_json({key: str(value) if isinstance(value, Path) else value for key, value in vars(summary).items()})
        return
    click.echo(
        f"best epoch {summary.best_epoch}: action top-1 {summary.validation_top1:.1%} on validation performers; "
        f"{summary.seconds:.0f} s"
    )
    click.echo(f"checkpoint {summary.checkpoint}")


@click.command()
@click.option("--config", metavar="FILE", help="YAML file or preset; default: the checkpoint's own config.yaml.")
@click.option("--checkpoint", required=True, type=click.Path(path_type=Path), help="A .safetensors checkpoint.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key: data.dataset=DIR.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results; default: the run's.")
@click.option("--views", type=VIEWS, help="Draws of frames x crops; default: the config's. Published: 4x3.")
@json_option
def test(
    config: str | None,
    checkpoint: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    views: Views | None,
    as_json: bool,
) -> None:
    """Test a trained MSPNet on the test side of its split."""
    settings = _settings(config or str(checkpoint.parent.parent / "config.yaml"), overrides)
    from training import evaluate

    with progress_display() as display:
        task = display.add_task("testing", total=None)
        results = evaluate.test(
            settings,
            checkpoint,
            out,
            lambda done, total: display.update(task, completed=done, total=total),
            views=views,
        )
    if as_json:
        print_json(results)
        return
    click.echo(summary_table(results))
    click.echo(f"results {(out or settings.out) / 'results.json'}")


def _settings(config: str, overrides: tuple[str, ...]) -> TrainConfig:
    """The configuration; a mistake in it is wrong usage (exit status 2)."""
    from training.config import load_config

    try:
        return load_config(config, overrides)
    except (ValueError, OSError) as error:
        raise click.UsageError(one_line(error)) from error


class TrainingDisplay:
    """The progress of a run: a bar on a terminal, else a line every ``interval_s`` seconds; on stderr.

    Parameters
    ----------
    quiet : show nothing (all processes but the first)
    clock : seconds, rising
    """

    def __init__(
        self, quiet: bool = False, clock: Callable[[], float] = time.monotonic, interval_s: float = LINE_INTERVAL_S
    ) -> None:
        self.quiet, self.interval_s = quiet, interval_s
        self._bar = progress_display()
        self._bar.disable = quiet
        self._clock, self._last_line_s = clock, clock()

    def __enter__(self) -> TrainingDisplay:
        self._bar.start()
        self._task = self._bar.add_task("reading", total=None)
        return self

    def __call__(self, progress: Progress) -> None:
        if progress.phase == "resume":
            if not self.quiet:
                self._bar.console.print(f"goes on after step {progress.done} of {progress.total}", highlight=False)
            return
        if progress.phase == "note":
            if not self.quiet:
                self._bar.console.print(progress.text, highlight=False)
            return
        text = description(progress.phase, progress.detail)
        if progress.phase != "validate":
            self._bar.update(self._task, completed=progress.done, total=progress.total)
        self._bar.update(self._task, description=text)
        now = self._clock()
        if not (self.quiet or self._bar.console.is_terminal) and now - self._last_line_s >= self.interval_s:
            self._last_line_s = now
            click.echo(f"{progress.done} of {progress.total}  {text}", err=True)

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)


def description(phase: str, detail: dict[str, float]) -> str:
    """The figures of :class:`training.trackers.Progress` as one line."""
    if phase == "train":
        device = detail.get("device_memory_mb")
        memory = f"{detail['memory_mb'] / 1e3:.1f} GB" + (f" + {device / 1e3:.1f} GB on the device" if device else "")
        return (
            f"epoch {detail['epoch']:.0f}  loss {detail['loss']:.3f}  lr {detail['lr']:.1e}  "
            f"{detail['clips_s']:.3g} clips/s  waiting for data {detail['data_wait']:.0%}  {memory}  "
            f"{duration(detail['seconds_left'])} left"
        )
    if phase == "validate":
        return f"validation top-1 {detail['validation_top1']:.1%}"
    return "decoding clips"


def summary_table(results: dict[str, Any]) -> str:
    """Results of :func:`training.evaluate.test` as lines of text."""
    action = results["action"]
    low, high = action["top1_interval"]
    lines = [
        f"action    top-1 {action['top1']:6.1%} [{low:.1%}, {high:.1%}]  top-5 {action['top5']:6.1%}  "
        f"chance {action['chance']:.1%}  ({action['clips']} clips of {action['performers']} performers)"
    ]
    for head, scores in results["privacy"].items():
        if scores["top1"] is None:
            lines.append(f"{head:<9} no test clip shows a class that training knows")
        else:
            lines.append(
                f"{head:<9} top-1 {scores['top1']:6.1%}  top-5 {scores['top5']:6.1%}  chance {scores['chance']:.1%}  "
                f"({scores['clips']} clips; {scores['clips_of_unseen_classes']} of unseen classes left out)"
            )
    return "\n".join(lines)
