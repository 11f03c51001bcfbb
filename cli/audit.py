"""``lps audit``: what clips still give away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .common import LpsGroup, json_option, print_json, progress_display


@click.group(cls=LpsGroup)
def audit() -> None:
    """Measure what degraded clips still give away."""


@audit.command()
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--clean", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Undegraded twin.")
@click.option("--steps", type=click.IntRange(min=10), default=None, help="Training steps of the attacker.")
@click.option("--size", type=click.IntRange(min=16), default=None, help="Side of the attacker's input, px.")
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def identity(dataset: Path, clean: Path | None, steps: int | None, size: int | None, seed: int, as_json: bool) -> None:
    """Train an attacker to recognise the people in DATASET, and score it by the fair protocol.

    Closed set: the same people in training and test, clips disjoint by setup and replication. Verification: same or
    different person, on people that the attacker was never trained on.
    """
    from training.audit.attackers import AttackConfig, identity_attack

    chosen = {"steps": steps, "size": size, "seed": seed}
    config = AttackConfig.model_validate({key: value for key, value in chosen.items() if value is not None})
    results: dict[str, Any] = {}
    with progress_display() as display:
        for side, folder in (("clean", clean), ("degraded", dataset)):
            if folder is None:
                continue
            task = display.add_task(f"attacker on {folder.name}", total=None)

            def show(done: int, total: int, task: Any = task) -> None:
                display.update(task, completed=done, total=total)

            results[side] = identity_attack(folder, config, show)
    if as_json:
        print_json(results)
        return
    for side, result in results.items():
        closed, pairs = result["closed_set"], result["verification"]
        click.echo(
            f"{side:<9} identity top-1 {closed['top1']:6.1%} [{_interval(closed['top1_interval'])}], "
            f"chance {closed['chance']:.1%} ({closed['performers']} people); "
            f"verification AUC {pairs['auc']:.3f} [{pairs['auc_interval'][0]:.3f}, {pairs['auc_interval'][1]:.3f}], "
            f"chance 0.5 ({pairs['performers']} unseen people)"
        )


def _interval(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.1%}, {bounds[1]:.1%}"
