"""A trained network on clips: logits of every head, averaged over views; the test of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from lps_sim import __version__
from lps_sim.files import sha256_file, write_atomic

from .checkpoint import ModelCard, load_model
from .config import DataConfig, TrainConfig
from .data import ClipDataset, collate, frame_tensors, open_dataset
from .figures import plot_confusion, plot_reliability
from .ifns import network_input
from .model import MSPNet
from .online import OnlineFilm, online_film
from .scores import Predictions, save_predictions, score
from .sides import ClipReader, plan_data, sample_of
from .views import Views, mean_probabilities


@torch.no_grad()
def predict(
    model: MSPNet,
    batches: Iterable[dict[str, Any]],
    input_ids: torch.Tensor,
    data: DataConfig,
    device: torch.device,
    on_batch: Callable[[int], None] | None = None,
    film: OnlineFilm | None = None,
    views: Views | None = None,
) -> Predictions:
    """Run the network over batches of :func:`training.data.collate`, without augmentation.

    ``film`` and ``views`` are those that the batches were read for.
    """
    views = views or Views()
    was_training = model.training
    model.eval()
    text = model.encode_text(input_ids.to(device))
    names: list[str] = []
    logits: dict[str, list[np.ndarray]] = {}
    labels: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        inputs = frame_tensors(batch, device, film)
        differences = network_input(*inputs, ifns=model.config.ifns, signed=data.signed)
        seen: dict[str, list[np.ndarray]] = {}
        for view, weights in views.cut(differences, batch["weights"].to(device), data.size):
            out = model(view, weights=weights if model.config.cfsa_weights else None, text_features=text)
            for key, value in {"action": out.action_logits, **out.privacy_logits}.items():
                seen.setdefault(key, []).append(value.float().cpu().numpy())
        for key, found in seen.items():
            logits.setdefault(key, []).append(mean_probabilities(found))
        for key, value in batch["labels"].items():
            labels.setdefault(key, []).append(value.numpy())
        names += batch["name"]
        if on_batch:
            on_batch(len(batch["name"]))
    model.train(was_training)
    joined = {key: np.concatenate(parts) for key, parts in logits.items()}
    return Predictions(names, joined, {key: np.concatenate(parts) for key, parts in labels.items()})


def test(
    config: TrainConfig,
    checkpoint: str | Path,
    out: str | Path | None = None,  # noqa: PT028 (not a test of pytest)
    on_progress: Callable[[int, int], None] | None = None,  # noqa: PT028
    reader: ClipReader | None = None,  # noqa: PT028
    views: Views | None = None,  # noqa: PT028
) -> dict[str, Any]:
    """Test a checkpoint on the test side of a configuration's data.

    Frames, gap, size and sign are the checkpoint's; data set, split, views and on-line film are the configuration's.

    Parameters
    ----------
    out : folder for ``results.json``, ``predictions.npz``, ``confusion.png`` and ``reliability.png``; default: that of
        the run
    on_progress : called with (clips done, clips)
    views : draws and crops of a clip; default: those of ``config.data``

    Returns
    -------
    The content of ``results.json``.

    Raises
    ------
    ValueError
        When the checkpoint does not know an action of the test clips, or clips are missing.
    """
    from accelerate import Accelerator

    model, card = load_model(checkpoint)
    data = config.data.model_copy(update=card.inputs)
    views = views or Views(data.test_clips, data.test_crops)
    reader = reader or open_dataset(config.data)
    plan = plan_data(reader.names(), data, list(card.labels.heads))
    _require_known_actions(plan.test, card)
    device = Accelerator(cpu=config.device == "cpu").device
    dataset = ClipDataset(reader, plan.test, card.labels, data, views=views)
    loader = DataLoader(dataset, config.optim.batch, collate_fn=collate, num_workers=data.workers)
    film = online_film(data, views)
    done = 0

    def advance(clips: int) -> None:
        nonlocal done
        done += clips
        if on_progress:
            on_progress(done, len(dataset))

    input_ids = torch.tensor(card.input_ids)
    predictions = predict(model.to(device), loader, input_ids, data, device, advance, film, views)
    results = {
        **score(predictions, card.labels),
        "checkpoint": {"sha256": sha256_file(checkpoint), **card.record},
        "data": {"dataset": str(config.data.dataset), "protocol": config.data.protocol, **card.inputs},
        "views": {"clips": views.clips, "crops": views.crops},
        "online": film.describe() if film else None,
        "package_version": __version__,
    }
    folder = Path(out) if out is not None else config.out
    save_predictions(folder / "predictions.npz", predictions, card.labels)
    write_results(results, folder)
    return results


def write_results(results: dict[str, Any], folder: Path) -> None:
    """``results.json`` and its pictures into a folder."""
    write_atomic(folder / "results.json", json.dumps(results, indent=2))
    plot_confusion(results["action"], folder / "confusion.png")
    heads = {"action": results["action"], **results["privacy"]}
    plot_reliability(heads, folder / "reliability.png")
    for head, scores in results["privacy"].items():
        if scores["top1"] is not None:
            title = f"{head} top-1 {scores['top1']:.1%} (chance {scores['chance']:.1%})"
            plot_confusion(scores, folder / f"confusion-{head}.png", title)


def _require_known_actions(names: Sequence[str], card: ModelCard) -> None:
    unknown = sorted({sample_of(name).action for name in names} - set(card.labels.actions))
    if unknown:
        raise ValueError(f"checkpoint: it knows {len(card.labels.actions)} actions, not {unknown} of the test clips")
