"""A trained network as a folder that others can use: config.json, model.safetensors and a model card, README.md.

``model.safetensors`` alone is complete, a checkpoint of :mod:`training.checkpoint`; ``config.json`` repeats what stands
in it for people and for the Hugging Face hub, and is not read back.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from lps_sim import __version__
from lps_sim.files import sha256_file, write_atomic

from .checkpoint import FORMAT, ModelCard, load_model, save_model
from .config import load_config
from .hub import WEIGHT_FILES, weights_file
from .model import MSPNet


@dataclass(frozen=True)
class RunFacts:
    """What a run's files tell about a checkpoint; empty where they do not.

    ``film``: name, checksum and layers of the film that the clips went through; ``data``: data set and protocol;
    ``results``: the content of ``results.json``; ``notes``: why something is missing.
    """

    film: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def run_facts(checkpoint: str | Path) -> RunFacts:
    """Film, data and results of the run that a checkpoint lies in (``RUN/checkpoints/NAME.safetensors``).

    Results count only when they are those of this very file, by its SHA-256. What cannot be found is told in ``notes``.
    """
    if not Path(checkpoint).is_file():
        return RunFacts(notes=("the checkpoint is not a file of a run, so film, data and results are not known",))
    run = Path(checkpoint).resolve().parent.parent
    notes = []
    film: dict[str, Any] = {}
    data: dict[str, Any] = {}
    if (run / "config.yaml").is_file():
        config = load_config(run / "config.yaml").data
        data = {"dataset": config.dataset.name if config.dataset else None, "protocol": config.protocol}
        if config.train is not None and config.test is not None:
            data["protocol"] = f"name lists {config.train.name} and {config.test.name}"
        film, note = _film_of(config.dataset)
        notes += [note] if note else []
    else:
        notes.append("no config.yaml beside the checkpoint, so data and film are not known")
    results: dict[str, Any] = {}
    if (run / "results.json").is_file():
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        if results.get("checkpoint", {}).get("sha256") != sha256_file(checkpoint):
            results = {}
            notes.append("results.json is of another checkpoint, so no test results are given")
    else:
        notes.append("not tested yet: lps test writes the results")
    return RunFacts(film, data, results, tuple(notes))


def _film_of(dataset: Path | None) -> tuple[dict[str, Any], str]:
    """Film of a data set's ``dataset.json``, and why there is none to tell."""
    if dataset is None or not (dataset / "dataset.json").is_file():
        return {}, "the data set is not in its place, so its film is not known"
    made = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    film = made.get("film") or {}
    return {"name": film.get("name"), "checksum": film.get("checksum"), "layers": made.get("layers")}, ""


def save_pretrained(
    folder: str | Path, model: MSPNet, card: ModelCard | None = None, facts: RunFacts | None = None
) -> None:
    """Write ``config.json``, ``model.safetensors`` and the model card ``README.md``.

    Parameters
    ----------
    card : what the outputs mean; default: ``model.card``
    facts : film, data and results for the model card; default: none of them known

    Raises
    ------
    ValueError
        When neither a card is given nor the network carries one.
    """
    card = card or model.card
    if card is None:
        raise ValueError("card must be given for a network that was not read from a checkpoint, got none")
    folder = Path(folder)
    save_model(folder / WEIGHT_FILES[0], model, card)
    described = {
        "model_type": "mspnet",
        "format": FORMAT,
        "package_version": __version__,
        "network": model.config.model_dump(mode="json"),
        **asdict(card),
    }
    write_atomic(folder / "config.json", json.dumps(described, indent=2) + "\n")
    write_atomic(folder / "README.md", model_card_text(model, card, facts or RunFacts()))


def from_pretrained(source: str | Path) -> MSPNet:
    """The network of a checkpoint file, a folder of :func:`save_pretrained`, or a hub name; it carries its ``card``.

    Raises ValueError when there is no such network; the hub's cached copy comes first.
    """
    model, card = load_model(weights_file("checkpoint", source, WEIGHT_FILES[:1]))
    model.card = card
    return model


def model_card_text(model: MSPNet, card: ModelCard, facts: RunFacts) -> str:
    """The model card in Markdown, with the metadata block that the Hugging Face hub reads."""
    from jinja2 import Environment, StrictUndefined

    template = resources.files("training").joinpath("model_card.md.j2").read_text(encoding="utf-8")
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(template).render(
        version=__version__,
        network=model.config,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        labels=card.labels,
        inputs=card.inputs,
        record={name: value for name, value in card.record.items() if isinstance(value, (int, float))},
        film=facts.film,
        data=facts.data,
        action=facts.results.get("action"),
        privacy=facts.results.get("privacy") or {},
        notes=facts.notes,
    )
