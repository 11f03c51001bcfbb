"""The inference path as one file without this package: differences in, action logits out; torch.export or ONNX.

The class names' features are computed once and baked in, so text tower and tokenizer stay behind, and so do the privacy
heads, which serve training. Nothing is written that does not reproduce the network it came from.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lps_sim.files import atomic_path

from .checkpoint import ModelCard
from .model import MSPNet

EXPORT_TOLERANCE = 1e-4
"""Largest difference to the eager network's logits, as a share of the largest logit: float32 in another order."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_CHECKED_BATCHES = (1, 3)
"""Other batch sizes than the traced one, so that a batch size baked in by mistake is seen."""


class InferencePath(nn.Module):
    """MSPNet in evaluation mode with its class names' features inside: (B, T, 3, H, W), (B, T, 2) -> (B, K) logits.

    The weights (B, T, 2) are an argument only of networks that use them.
    """

    text_features: Tensor

    def __init__(self, model: MSPNet, input_ids: Tensor) -> None:
        super().__init__()
        with torch.no_grad():
            self.register_buffer("text_features", model.eval().encode_text(input_ids))
        self.model = copy.deepcopy(model)
        del self.model.xclip.text_model, self.model.xclip.text_projection
        self.model.privacy_heads = nn.ModuleDict()

    def forward(self, differences: Tensor, weights: Tensor | None = None) -> Tensor:
        """Action logits."""
        logits: Tensor = self.model(differences, weights=weights, text_features=self.text_features).action_logits
        return logits


def export(path: str | Path, model: MSPNet, card: ModelCard, kind: str = "torch") -> float:
    """Write the inference path and return its largest difference to the eager network, as a share of the largest logit.

    Parameters
    ----------
    kind : ``torch``: a ``torch.export`` program (``torch.export.load``), the card as its extra file ``card.json``;
        ``onnx``: an ONNX file, the card in its metadata. Both take any number of clips B; the file ends in ``.pt2`` or
        ``.onnx``

    Raises
    ------
    ValueError
        When the file's ending is another, the packages for ONNX are missing, or the exported network differs by more
        than :data:`EXPORT_TOLERANCE`; no file is written then.
    """
    writers = {"torch": (".pt2", _write_torch), "onnx": (".onnx", _write_onnx)}
    if kind not in writers:
        raise ValueError(f"kind must be torch or onnx, got {kind!r}")
    suffix, writer = writers[kind]
    if Path(path).suffix != suffix:
        raise ValueError(f"path must end in {suffix} for {kind}, got {Path(path).name!r}")
    absent = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if kind == "onnx" and absent:
        raise ValueError(
            f"onnx needs {', '.join(absent)}, not installed; pip install 'lens-privacy-sealing[onnx]' gives them"
        )
    eager = InferencePath(model, torch.tensor(card.input_ids)).eval()
    described = json.dumps({"labels": asdict(card.labels), "inputs": card.inputs, "record": card.record})
    with atomic_path(path) as temporary:
        exported = writer(temporary, eager, described)
        found = max(_difference(eager, exported, _example(eager, batch)) for batch in _CHECKED_BATCHES)
        if not found <= EXPORT_TOLERANCE:
            raise ValueError(f"export: logits differ from the network's by {found:.1e}, allowed {EXPORT_TOLERANCE:g}")
    return found


def _example(path: InferencePath, batch: int) -> tuple[Tensor, ...]:
    """Inputs of the network's size, spread as normalised differences are."""
    config = path.model.config
    generator = torch.Generator().manual_seed(batch)
    shape = (batch, config.num_frames, 3, config.image_size, config.image_size)
    scale = path.model.aggregator.gain[:, None, None]
    differences = path.model.aggregator.offset[:, None, None] + torch.randn(shape, generator=generator) / scale
    if not (config.ifns and config.cfsa_weights):
        return (differences,)
    share = torch.rand(*shape[:2], 1, generator=generator)
    return differences, torch.cat([share, 1 - share], dim=-1)


def _difference(eager: InferencePath, exported: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> float:
    with torch.no_grad():
        expected, found = eager(*inputs), exported(*inputs)
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1)).item()


def _traced(eager: InferencePath) -> torch.export.ExportedProgram:
    inputs = _example(eager, 2)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(eager, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs), strict=False)


def _write_torch(path: Path, eager: InferencePath, card: str) -> Callable[..., Tensor]:
    torch.export.save(_traced(eager), path, extra_files={"card.json": card})
    module: Callable[..., Tensor] = torch.export.load(path).module()
    return module


def _write_onnx(path: Path, eager: InferencePath, card: str) -> Callable[..., Tensor]:
    import onnx
    import onnxruntime

    names = ("differences", "weights")[: len(_example(eager, 1))]
    with warnings.catch_warnings():
        # the exporter's own dependencies announce changes of theirs
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            _traced(eager), dynamo=True, input_names=names, output_names=["action_logits"], verbose=False
        )
    program.save(path)
    described = onnx.load(path)
    described.metadata_props.add(key="card", value=card)
    onnx.save(described, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> Tensor:
        fed = {name: value.numpy() for name, value in zip(names, inputs)}
        return torch.from_numpy(session.run(None, fed)[0])

    return run
