"""What a training step costs beside the network it trains: the whole loop against a bare transformers.XCLIPModel.

    python -m benchmarks.train_step [--json train_step.json] [--quick] [--device cuda]

A row: steps of :func:`training.loop.train` on clips in memory (frames to the device, differences, augmentation with
mixing, forward, backward, clipping, AdamW, records; reading and collating the clips apart), and forward + backward of
an XCLIPModel of the same size on random tensors, in turns in the same process. ``ratio`` is the one over the other; 1.1
is the goal. ``of_network`` is against MSPNet's own forward and backward on random tensors, stem included: what is left
is the loop's. On a CPU times are CPU time of one thread. Random frames stand in for clips, so no figure says anything
about accuracy.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import XCLIPModel

from dataset_builder.naming import ntu_name
from training.config import MSPNetConfig, TrainConfig, load_config
from training.loop import train
from training.model import MSPNet
from training.trackers import Pace, Progress

from .results import finish, number, table

NAME = "Training step (benchmarks/train_step.py)"
FRAMES = 16
OFFLINE = ("weights=null", "tokenizer=words")  # random weights cost what trained ones do
JOBS = {
    "tiny, no stem": ["tiny", "model.stem_channels=[]", "optim.batch=16"],
    "tiny": ["tiny", "optim.batch=16"],
    "vit-b-32": [
        "vit-b-32",
        "optim.batch=2",
        "optim.accumulate=1",
        "optim.precision=fp32",
        "model.text_layers=1",
        *OFFLINE,
    ],
}
GOAL = 1.1


class RandomClips:
    """Clip reader over random frames of the configured size."""

    def __init__(self, size: int) -> None:
        self._names = [
            ntu_name(setup, 1, performer, 1, action)
            for setup in range(1, 18)
            for performer in (1, 2, 4, 5, 3, 6)
            for action in range(1, 9)
        ]
        self._frames = np.random.default_rng(0).integers(0, 256, (FRAMES, size, size, 3), dtype=np.uint8)

    def names(self) -> list[str]:
        """Enough clips that no epoch ends, and nothing is saved, while steps are measured."""
        return list(self._names)

    def absent(self, names: Iterable[str]) -> list[str]:
        """None."""
        return []

    def frame_count(self, name: str) -> int:
        """Frames of a clip."""
        return FRAMES

    def read(self, name: str, indices: Sequence[int]) -> np.ndarray:
        """(K, H, W, 3) uint8, the same for every clip."""
        return self._frames[list(indices)]

    def mean(self, name: str) -> np.ndarray:
        """(H, W, 3) float32."""
        mean: np.ndarray = self._frames.mean(axis=0, dtype=np.float32)
        return mean


class _EnoughError(Exception):
    """Ends a run after its last measured step."""


def clock(device: torch.device) -> float:
    """Seconds: of this thread on a CPU, on the wall once a GPU has caught up."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def training_step_s(config: TrainConfig, device: torch.device, steps: int) -> float:
    """Median seconds of a step, reading apart, after two that are not counted."""
    marks: list[float] = []
    waits: list[float] = []

    def note(progress: Progress) -> None:
        if progress.phase == "train":
            marks.append(clock(device))
            if len(marks) == steps + 2:
                raise _EnoughError

    measured = Pace.waited

    def waited(self: Pace, get: Callable[[], Any]) -> Any:
        asked = clock(device)
        result = measured(self, get)
        waits.append(clock(device) - asked)
        return result

    Pace.waited = waited  # type: ignore[method-assign]
    try:
        train(config, note, RandomClips(config.data.size))
    except _EnoughError:
        pass
    finally:
        Pace.waited = measured  # type: ignore[method-assign]
    spent = [after - before - wait for before, after, wait in zip(marks[1:], marks[2:], waits[2:])]
    return statistics.median(spent)


def step_s(work: Callable[[], Any], device: torch.device, steps: int) -> float:
    """Median seconds of a call, after two that are not counted."""
    times = []
    for _ in range(steps + 2):
        begin = clock(device)
        work()
        times.append(clock(device) - begin)
    return statistics.median(times[2:])


def networks(config: TrainConfig, device: torch.device) -> tuple[Callable[[], None], Callable[[], None]]:
    """Forward and backward of MSPNet, and of a bare XCLIPModel of the same size, on random tensors."""
    data, batch = config.data, config.optim.batch
    options = config.model.model_dump()
    network_config = MSPNetConfig(
        **options,
        image_size=data.size,
        num_frames=data.frames,
        vocab_size=300,
        context_length=8,
        privacy_heads={"identity": 4},
    )
    model = MSPNet(network_config).to(device)
    # As many channels and pixels as the images that the patches of MSPNet cover, so without the stem.
    plain = MSPNet(network_config.model_copy(update={"stem_channels": ()})).xclip.config
    bare = XCLIPModel(plain).to(device)
    ids = torch.tensor([[298, *range(action, action + 6), 299] for action in range(1, 9)], device=device)
    frames = torch.rand(batch, data.frames, 3, data.size, data.size, device=device)
    truth = torch.arange(batch, device=device) % len(ids)
    if config.model.freeze_text:
        for network in (model.xclip, bare):
            network.text_model.requires_grad_(False)
            network.text_projection.requires_grad_(False)
    with torch.no_grad():
        text = model.encode_text(ids) if config.model.freeze_text else None

    def own() -> None:
        model.zero_grad(set_to_none=True)
        out = model(frames, input_ids=None if text is not None else ids, text_features=text)
        functional.cross_entropy(out.action_logits, truth).backward()

    def other() -> None:
        bare.zero_grad(set_to_none=True)
        out = bare(input_ids=ids, pixel_values=frames)
        functional.cross_entropy(out.logits_per_video, truth).backward()

    return own, other


def measure(name: str, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One row."""
    device = torch.device(arguments.device)
    settings = [
        f"out={folder / name.replace(' ', '_')}",
        f"device={'cpu' if device.type == 'cpu' else 'auto'}",
        "data.protocol=ntu60-xsub",
        "data.workers=0",
        "data.cache_mb=0",
        "data.validation_share=0.3",
        "optim.epochs=100",
        "evaluate_every=100",
        "optim.clip_norm=1.0",
        "augment.mix_probability=1.0",
        "save_minutes=0",
    ]
    config = load_config(JOBS[name][0], [*JOBS[name][1:], *settings])
    steps = arguments.steps
    own, other = networks(config, device)
    bare_s, network_s = step_s(other, device, steps), step_s(own, device, steps)
    step = training_step_s(config, device, steps)
    bare_s, network_s = min(bare_s, step_s(other, device, steps)), min(network_s, step_s(own, device, steps))
    return {
        "model": name,
        "batch": config.optim.batch,
        "frames": config.data.frames,
        "size": config.data.size,
        "step_ms": 1e3 * step,
        "network_ms": 1e3 * network_s,
        "bare_ms": 1e3 * bare_s,
        "ratio": step / bare_s,
        "of_network": step / network_s,
        "clips_s": config.optim.batch / step,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=9, help="measured a row and a turn")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--quick", action="store_true", help="the smallest network only")
    arguments = parser.parse_args(argv)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(name, arguments, Path(folder)) for name in list(JOBS)[: 1 if arguments.quick else None]]
    torch.set_num_threads(threads)
    keys = ("model", "batch", "frames", "size", "step_ms", "network_ms", "bare_ms", "ratio", "of_network", "clips_s")
    heads = (
        "model",
        "B",
        "T",
        "px",
        "step, ms",
        "MSPNet, ms",
        "X-CLIP, ms",
        "step / X-CLIP",
        "step / MSPNet",
        "clips/s",
    )
    cells = [[number(row[key], 2) if isinstance(row[key], float) else row[key] for key in keys] for row in rows]
    device = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "one CPU thread"
    note = f"{device}; MSPNet and X-CLIP: forward + backward on random tensors. Goal: step / X-CLIP at most {GOAL}."
    tables = [table("A training step beside its network", heads, cells, note)]
    finish(NAME, "python -m benchmarks.train_step", rows, tables, arguments.json)


if __name__ == "__main__":
    main()
