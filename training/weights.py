"""Pretrained weights into MSPNet: Hugging Face CLIP and X-CLIP folders, state dicts of OpenAI CLIP and MSPNet, ours."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from .checkpoint import plain_tensors, translate_published
from .model import MSPNet


@dataclass(frozen=True)
class LoadReport:
    """Names of the network that were filled, names that kept their random start, and names of the file without use."""

    source: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.source}: {len(self.matched)} matched"]
        for title, names in (("missing, random start", self.missing), ("unexpected, not used", self.unexpected)):
            groups = sorted({".".join(name.split(".")[:3]) for name in names})
            lines.append(f"{len(names)} {title}" + (f" ({', '.join(groups)})" if groups else ""))
        return "; ".join(lines)


def load_pretrained(model: MSPNet, source: str | Path) -> LoadReport:
    """Copy pretrained weights into the network.

    Parameters
    ----------
    source : a directory with ``model.safetensors`` or ``pytorch_model.bin`` (Hugging Face CLIP or X-CLIP), or a file:
        ``.safetensors`` of ours or of Hugging Face, ``.pt``/``.pth`` with OpenAI CLIP's or published MSPNet's names

    Raises
    ------
    ValueError
        When a tensor has another shape than the network's (all such are named), nothing matches, or the file is not
        one of these.
    """
    found, unexpected = _in_our_names(_read(Path(source)))
    own = model.state_dict()
    wrong = [
        f"{name} is {tuple(value.shape)}, the network has {tuple(own[name].shape)}"
        for name, value in found.items()
        if name in own and value.shape != own[name].shape
    ]
    if wrong:
        raise ValueError(f"weights: {source}: wrong shapes: {'; '.join(wrong)}")
    usable = {name: value for name, value in found.items() if name in own}
    if not usable:
        raise ValueError(f"weights: {source}: no tensor of it belongs to MSPNet")
    model.load_state_dict(usable, strict=False)
    return LoadReport(
        source=str(source),
        matched=tuple(sorted(usable)),
        missing=tuple(sorted(set(own) - set(usable))),
        unexpected=tuple(sorted([*unexpected, *(set(found) - set(usable))])),
    )


def _read(path: Path) -> dict[str, Tensor]:
    if path.is_dir():
        names = ("model.safetensors", "pytorch_model.bin")
        path_in = next((path / name for name in names if (path / name).is_file()), None)
        if path_in is None:
            raise ValueError(f"weights: {path} holds none of {', '.join(names)}")
        path = path_in
    if not path.is_file():
        raise FileNotFoundError(2, "no such weights", str(path))
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    try:
        return plain_tensors(torch.load(path, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, AttributeError, LookupError, EOFError) as error:
        raise ValueError(f"weights: {path} is not a plain state dict: {error}") from error


def _in_our_names(source: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    if "visual.conv1.weight" in source:
        return translate_published(source)
    if any(name.startswith("xclip.") for name in source):
        return source, []
    ours = {}
    for name, value in source.items():
        if name.endswith("position_ids"):  # a constant that older files carry
            continue
        ours["xclip." + name.replace(".pre_layrnorm.", ".pre_layernorm.")] = value  # spelled so in CLIP's files
    return ours, []
