"""The demo's report: what a visitor sees who has not read the code."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from dataset_builder.naming import parse_name
from dataset_builder.splits import side
from lps_sim import FilmModel
from lps_sim.media import probe, sample_clip
from lps_sim.report import Block, Page, bullets, facts, gallery, paragraph, picture, table

from . import pictures
from .settings import DemoSettings

SHOWN_ACTIONS = 4


def write_page(settings: DemoSettings, results: dict[str, Any]) -> None:
    """Write ``DIR/report.html``: one file that needs nothing else."""
    truth = FilmModel.load(settings.film)
    fitted = FilmModel.load(str(settings.out / "film.h5"))
    page = Page(
        "Lens Privacy Sealing: what is hidden, and what is still seen",
        "A few layers of laminating film in front of a camera blur who is filmed before any image exists, yet leave "
        "enough motion to recognise what they do. This page was made by `lps demo`: it fits a film model from "
        "calibration shots, puts clips behind that film, trains a network to recognise actions and another one to "
        "recognise people, and sets both against the same clips without film.".replace("`", ""),
    )
    page.section("A street behind the film", *_street(settings, truth))
    page.section("What came out", *_summary(settings, results))
    page.section("What the network sees", *_network_view(settings, results))
    page.section("The film", *_film(settings, results, truth, fitted))
    page.section("Recognising actions", *_actions(results))
    page.section("Recognising people", *_identity(results))
    page.section("How this page was made", *_making(settings, results))
    page.write(settings.out / "report.html")


def opening_clip(settings: DemoSettings) -> Path:
    """The real clip that opens the page.

    Raises MediaError when it cannot be decoded, FileNotFoundError with the cure when the street clip is not installed.
    """
    video = settings.video or sample_clip("bikes.mp4")
    probe(video)
    return video


def _street(settings: DemoSettings, film: FilmModel) -> list[Block]:
    video = opening_clip(settings)
    start = None if settings.video else pictures.STREET_START
    return [
        paragraph(
            f"A real clip ({video.name}) behind a simulated film, `{film.name}`, with the noise and rounding of an "
            "8-bit camera. The exposure is fixed: more layers pass less light, and nothing is stretched afterwards."
        ),
        gallery(*pictures.street(video, film, settings.seed, start), minimum_px=300),
        paragraph(f"Where this film's numbers come from: {film.provenance.get('text', 'not recorded')}"),
    ]


def _summary(settings: DemoSettings, results: dict[str, Any]) -> list[Block]:
    action = {name: run["results"]["action"] for name, run in results["runs"].items()}
    closed = {name: run["closed_set"] for name, run in results["identity"].items()}
    pairs = {name: run["verification"] for name, run in results["identity"].items()}

    def row(label: str, values: dict[str, Any], key: str, share: bool = True) -> list[str]:
        cells = [_with_interval(values[n][key], values[n].get(f"{key}_interval"), share) for n in ("clean", "degraded")]
        chance = values["degraded"]["chance"]
        return [label, *cells, f"{chance:.1%}" if share else f"{chance:.2f}"]

    return [
        facts(
            [
                (f"{action['degraded']['top1']:.0%}", f"actions named right behind {settings.layers} layers",
                 f"people the network never saw; {action['clean']['top1']:.0%} without film, chance "
                 f"{action['clean']['chance']:.0%}"),
                (f"{closed['degraded']['top1']:.0%}", f"people named right behind {settings.layers} layers",
                 f"by a network trained for it; {closed['clean']['top1']:.0%} without film, chance "
                 f"{closed['clean']['chance']:.0%}"),
            ]
        ),
        table(
            [
                row("Action top-1, MSPNet, unseen performers", action, "top1"),
                row("Identity top-1, attacker, closed set", closed, "top1"),
                row("Identity verification AUC, attacker, unseen performers", pairs, "auc", share=False),
            ],
            ["measure", "clean", f"{settings.layers} layers", "chance"],
            "95 % bootstrap intervals in brackets, resampled by performer. Few performers and one training run a "
            "cell: read these as an example of the method, not as a result about a real film.",
        ),
    ]  # fmt: skip


def _with_interval(value: float, interval: list[float] | None, share: bool) -> str:
    if share:
        text = f"{value:.1%}"
        return f"{text} ({100 * interval[0]:.0f}–{100 * interval[1]:.0f})" if interval else text
    text = f"{value:.3f}"
    return f"{text} ({interval[0]:.2f}–{interval[1]:.2f})" if interval else text


def _network_view(settings: DemoSettings, results: dict[str, Any]) -> list[Block]:
    clean, degraded = (Path(results["folders"][name]) for name in ("clean", "degraded"))
    names = _test_clips(settings, degraded)
    return [
        paragraph(
            "Rendered clips of performers that the network was not trained on. Left: without film. Middle: behind "
            f"{settings.layers} layers. Right: what the Inter-Frame Noise Suppressor (IFNS) makes of the middle one, "
            "the difference of each frame from the frame four before (red), from the clip's mean (green) and from "
            f"the frame four after (blue), enlarged {pictures.DIFFERENCE_GAIN} times around grey. Veil and fixed "
            "pattern cancel; motion stays."
        ),
        *(
            gallery(*row, minimum_px=150)
            for row in _in_threes(pictures.seen_by_the_network(clean, degraded, names))
        ),
    ]  # fmt: skip


def _in_threes(blocks: list[Block]) -> list[list[Block]]:
    return [blocks[place : place + 3] for place in range(0, len(blocks), 3)]


def _test_clips(settings: DemoSettings, dataset: Path) -> list[str]:
    """One test clip each of some actions, spread over the performers: first camera, first setup."""
    from dataset_builder.formats import open_reader

    tested = [name for name in open_reader(dataset).names() if side(name, settings.protocol) == "test"]
    by_action: dict[int, list[str]] = {}
    for name in tested:
        sample = parse_name(name)
        if sample.camera == 1 and sample.replication == 1:
            by_action.setdefault(sample.action or 0, []).append(name)
    actions = sorted(by_action)
    spread = actions[:: max(1, len(actions) // SHOWN_ACTIONS)][:SHOWN_ACTIONS]
    return [by_action[action][place % len(by_action[action])] for place, action in enumerate(spread)]


def _film(settings: DemoSettings, results: dict[str, Any], truth: FilmModel, fitted: FilmModel) -> list[Block]:
    from lps_sim.film_report import draw_curves, parameters

    rows = {row["name"]: row for row in parameters(fitted)}
    true_rows = {row["name"]: row for row in parameters(truth)}
    green = [
        [name, row["unit"], true_rows[name]["value"][1] if name in true_rows else None, row["value"][1]]
        for name, row in rows.items()
    ]
    layers = sorted({*settings.fit_layers, settings.layers})
    by_layer = [
        [
            count,
            truth.transmittance(count)[1],
            fitted.transmittance(count)[1],
            truth.haze(count)[1],
            fitted.haze(count)[1],
        ]
        for count in layers
    ]
    return [
        paragraph(
            f"Shots of five targets were simulated through {', '.join(map(str, settings.fit_layers))} layers of a "
            "known film; the fit saw only the shots. Both curves of each colour should lie on each other. The data "
            "set was degraded with the fitted film."
        ),
        picture(
            draw_curves(fitted, layers, reference=truth),
            "Modulation transfer function, encircled energy and point-spread function of the true film (broad) and "
            "of the fitted one (thin).",
            "Three line plots that compare the true and the fitted film at each layer count",
        ),
        table(by_layer, ["layers", "transmittance, true", "fitted", "haze, true", "fitted"], "Green channel."),
        table(green, ["parameter", "unit", "true", "fitted"], f"Per sheet, green channel; family {fitted.family}."),
    ]  # fmt: skip


def _actions(results: dict[str, Any]) -> list[Block]:
    from training.figures import confusion_figure

    runs = results["runs"]
    action = {name: run["results"]["action"] for name, run in runs.items()}
    per_class = [
        [
            name,
            f"{action['clean']['per_class'].get(name, 0):.0%}",
            f"{action['degraded']['per_class'].get(name, 0):.0%}",
        ]
        for name in action["degraded"]["classes"]
    ]
    tested = action["degraded"]
    return [
        paragraph(
            "MSPNet, the `tiny` preset, trained once on each data set; the best epoch is chosen on validation "
            f"performers carved from the training side. Tested on {tested['clips']} clips of {tested['performers']} "
            "performers that occur in neither."
        ),
        picture(
            pictures.learning_curves({name: run["history"] for name, run in runs.items()}),
            "Learning curves.",
            "Training loss and validation accuracy by epoch, for the degraded and the clean data set",
        ),
        gallery(
            *(
                picture(
                    confusion_figure(action[name], f"{name}: top-1 {action[name]['top1']:.1%}"),
                    f"Confusion matrix, {name}; per cent of each row.",
                    f"Confusion matrix of the test on {name} clips",
                )
                for name in ("degraded", "clean")
            ),
            minimum_px=420,
        ),
        table(per_class, ["action", "clean", "degraded"], "Share of each action's test clips that were named right."),
    ]


def _identity(results: dict[str, Any]) -> list[Block]:
    degraded = results["identity"]["degraded"]
    closed, pairs = degraded["closed_set"], degraded["verification"]
    return [
        paragraph(
            "How much a data set tells about who is in it depends on the question. Published cross-subject splits "
            "cannot tell: their test performers never occur in training, so a classifier of identities scores zero "
            "by construction. The protocol here:"
        ),
        bullets(
            [
                f"Closed set: the same {closed['performers']} performers in training ({closed['train_clips']} clips) "
                f"and test ({closed['test_clips']} clips), in other rooms and other repetitions of each action.",
                f"Verification: same person or not, for {pairs['pairs']} pairs of clips of {pairs['performers']} "
                "performers that the attacker never saw; 0.5 is a coin toss.",
                "The attacker is a network trained for this alone, on the very clips it is tested on the like of: "
                "once on the degraded, once on the clean ones, with the same architecture and budget. It knows its "
                "cameras: what it is shown is how each frame differs from the mean picture of its camera.",
                "Clips of two people are left out, since a clip's name tells only one of them.",
            ]
        ),
        paragraph(
            "A low number here is no proof of privacy. It bounds one small attacker; a larger one, with more data or "
            "with the film's point-spread function in hand, can only do better. Clothing counts as identity here, "
            "and the rendered performers keep their clothes, which makes the attack easier than it may be elsewhere."
        ),
    ]


def _making(settings: DemoSettings, results: dict[str, Any]) -> list[Block]:
    import torch

    steps = [[title, f"{seconds:.0f} s"] for title, seconds in results["seconds"].items()]
    total = sum(results["seconds"].values())
    return [
        table([*steps, ["all", f"{total:.0f} s"]], ["step", "wall time"]),
        bullets(
            [
                "Simulated: the people, the rooms, the calibration shots and the film. Real: the opening clip.",
                f"Package {results['package_version']}, Python {platform.python_version()}, torch "
                f"{torch.__version__}, seed {settings.seed}, {settings.worker_count} workers.",
                f"Data sets: {settings.frame_size}x{settings.frame_size} px; each has its `dataset.json` and a "
                "manifest with the hash of every clip; check them with `lps data verify`.",
                "All numbers of this page: `results.json` beside it; the networks: `runs/`; the film: `film.h5` "
                "(`lps film show film.h5`).",
            ]
        ),
    ]
