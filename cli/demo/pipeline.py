"""The demo's steps in their order: clips, film, data sets, networks, audit, page.

Each step leaves its result as JSON in ``DIR/steps``; the same command with the same settings goes on behind the last
finished step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lps_sim import Camera, FilmModel, __version__
from lps_sim.files import write_atomic

from .settings import DemoSettings

if TYPE_CHECKING:
    from rich.progress import Progress

Advance = Callable[..., None]  # (done, total, *details)


class Steps:
    """Runs named steps once: a finished step's result is read back from its file."""

    def __init__(self, settings: DemoSettings, progress: Progress) -> None:
        self._folder = settings.out / "steps"
        self._progress = progress
        self._settings = json.loads(settings.model_dump_json(exclude={"out", "video", "workers"}))
        self.seconds: dict[str, float] = {}
        kept = settings.out / "demo.json"
        if kept.exists():
            before = json.loads(kept.read_text())
            if before != self._settings:
                changed = sorted(key for key in self._settings if before.get(key) != self._settings[key])
                raise ValueError(
                    f"{settings.out}: made with other settings ({', '.join(changed)}); choose another --out"
                )
        write_atomic(kept, json.dumps(self._settings, indent=2))

    def run(self, name: str, title: str, work: Callable[[Advance], dict[str, Any]]) -> dict[str, Any]:
        """The result of ``work(advance)``, with its wall time kept beside it."""
        path = self._folder / f"{name}.json"
        if not path.exists():
            task = self._progress.add_task(title, total=None)
            started = time.monotonic()
            result = work(lambda done, total, *_: self._progress.update(task, completed=done, total=total))
            record = {"title": title, "seconds": time.monotonic() - started, "result": result}
            write_atomic(path, json.dumps(record, indent=1, default=str))
            if self._progress.tasks[task].total is None:  # a step without a count of its own
                self._progress.update(task, total=1, completed=1)
        record = json.loads(path.read_text())
        self.seconds[record["title"]] = record["seconds"]
        result = record["result"]
        return result if isinstance(result, dict) else {"value": result}


def run_demo(settings: DemoSettings, progress: Progress) -> dict[str, Any]:
    """Run every step that is not finished yet and write ``DIR/report.html``.

    A missing or unreadable opening clip is an error before any work is done.

    Returns the results as they stand in ``DIR/results.json``; ``summary`` has the rows of the page's first table.
    """
    from .page import opening_clip, write_page

    opening_clip(settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    steps = Steps(settings, progress)
    steps.run("clips", "Render action clips", partial(_render, settings))
    fit = steps.run("film", "Film calibration shots and fit", partial(_fit, settings))
    made = steps.run("degrade", f"Degrade through {settings.layers} layers", partial(_degrade, settings))
    folders = {
        "degraded": Path(str(made["directories"][str(settings.layers)])),
        "clean": Path(made["directories"]["0"]),
    }
    runs, identity = {}, {}
    for name, folder in folders.items():
        title = f"Train and test MSPNet, {name}"
        runs[name] = steps.run(f"train-{name}", title, partial(_train, settings, name, folder))
    for name, folder in folders.items():
        title = f"Identity attack, {name}"
        identity[name] = steps.run(f"identity-{name}", title, partial(_attack, settings, folder))
    results = {
        "package_version": __version__,
        "settings": json.loads(settings.model_dump_json()),
        "fit": fit,
        "folders": {name: str(folder) for name, folder in folders.items()},
        "runs": runs,
        "identity": identity,
        "seconds": steps.seconds,
    }
    results["summary"] = summary_rows(results)
    write_atomic(settings.out / "results.json", json.dumps(results, indent=1, default=str))
    page = progress.add_task("Write the report", total=1)
    write_page(settings, results)
    progress.update(page, completed=1)
    return results


def summary_rows(results: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """(measure, degraded, clean, chance) of the page's first table."""
    action = {name: run["results"]["action"] for name, run in results["runs"].items()}
    closed = {name: run["closed_set"] for name, run in results["identity"].items()}
    pairs = {name: run["verification"] for name, run in results["identity"].items()}

    def row(label: str, values: dict[str, Any], key: str, form: str) -> tuple[str, str, str, str]:
        degraded, clean = values["degraded"], values["clean"]
        return label, format(degraded[key], form), format(clean[key], form), format(degraded["chance"], form)

    return [
        row("Action top-1 (MSPNet)", action, "top1", ".1%"),
        row("Identity top-1 (attacker)", closed, "top1", ".1%"),
        row("Verification AUC (attacker)", pairs, "auc", ".3f"),
    ]


def _render(settings: DemoSettings, advance: Advance) -> dict[str, Any]:
    from dataset_builder.scenes.synthesize import SynthesizeConfig, synthesize

    summary = synthesize(
        SynthesizeConfig(
            destination=settings.out / "clips",
            performers=settings.performers,
            actions=settings.actions,
            cameras=settings.cameras,
            setups=settings.setups,
            replications=2,
            limit=settings.clips,
            size=settings.clip_size,
            fps=settings.fps,
            seconds=settings.seconds,
            workers=settings.worker_count,
            seed=settings.seed,
        ),
        advance,
    )
    if summary.failed:
        name, reason = next(iter(summary.failed.items()))
        raise ValueError(f"clips: {len(summary.failed)} could not be rendered; {name}: {reason}")
    return summary.model_dump(mode="json")


def _fit(settings: DemoSettings, advance: Advance) -> dict[str, Any]:
    """Simulated calibration shots of the true film, a fit that sees only them, and how near it came."""
    from capture_rig.targets import target
    from lps_sim.calibration.fit import fit_film
    from lps_sim.calibration.shots import ShotSet
    from lps_sim.calibration.simulate import Scene, simulate_shots

    width, height = settings.shot_size
    truth = FilmModel.load(settings.film)
    camera = Camera.from_field_of_view(width, height, 70.0)
    kinds = ("edge", "hole", "noise", "flat")
    scenes = [Scene(name=kind, target=kind, light=target(kind, width, height)) for kind in kinds]
    folder = settings.out / "calibration"
    shots = simulate_shots(truth, scenes, camera, folder, settings.fit_layers, settings.seed, advance)
    fit = fit_film(ShotSet.load(shots), family=settings.fit_family)
    fit.film.save(settings.out / "film.h5")
    return {
        "converged": fit.converged,
        "iterations": fit.iterations,
        "reduced_chi2": fit.reduced_chi2,
        "families": [asdict(score) for score in fit.scores],
        "shots": len(fit.residuals),
    }


def _degrade(settings: DemoSettings, advance: Advance) -> dict[str, Any]:
    """The degraded data set and its clean twin: same camera, size, noise and codec, with and without film."""
    from dataset_builder.config import DegradeConfig
    from dataset_builder.degrade import degrade_dataset

    summary = degrade_dataset(
        DegradeConfig(
            source=settings.out / "clips",
            destination=settings.out / "p3ar",
            film=str(settings.out / "film.h5"),
            layers=(0, settings.layers),
            size=(settings.frame_size, settings.frame_size),
            naming="ntu",
            workers=settings.worker_count,
            seed=settings.seed,
        ),
        lambda progress: advance(progress.done, progress.total),
    )
    if not summary.ok:
        raise ValueError(
            f"clips: {len(summary.failed)} failed, {len(summary.problems)} unreadable; see lps data status"
        )
    return summary.to_dict()


def _train(settings: DemoSettings, name: str, dataset: Path, advance: Advance) -> dict[str, Any]:
    from training.config import load_config
    from training.evaluate import test
    from training.loop import train

    run = settings.out / "runs" / name
    config = load_config(
        "tiny",
        [
            f"out={run}",
            f"seed={settings.seed}",
            f"data.dataset={dataset}",
            f"data.protocol={settings.protocol}",
            *settings.training,
        ],
    )
    summary = train(
        config,
        lambda state: advance(state.done, state.total) if state.phase == "train" else None,
        resume=True,
    )
    results = test(config, summary.checkpoint)
    return {
        "history": summary.history,
        "best_epoch": summary.best_epoch,
        "validation_top1": summary.validation_top1,
        "results": results,
    }


def _attack(settings: DemoSettings, dataset: Path, advance: Advance) -> dict[str, Any]:
    from training.audit.attackers import AttackConfig, identity_attack

    config = AttackConfig(seed=settings.seed)
    if settings.attack_steps:
        config = config.model_copy(update={"steps": settings.attack_steps})
    return identity_attack(dataset, config, advance)
