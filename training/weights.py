"""Pretrained weights into MSPNet: OpenAI's CLIP, Hugging Face's CLIP and X-CLIP, published MSPNet, and our own."""

from __future__ import annotations

import math
import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from .checkpoint import plain_tensors, translate_published
from .hub import weights_file
from .model import MSPNet

POSITIONS = "xclip.vision_model.embeddings.position_embedding.weight"
_VOCABULARY = "xclip.text_model.embeddings.token_embedding.weight"
# Sizes that OpenAI's archives keep beside the weights.
_CONSTANTS = ("input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True)
class LoadReport:
    """Names of the network that were filled, names that it keeps as initialised, and names of the file without use.

    ``resized``: what was interpolated to the network's size, in words.
    """

    source: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    resized: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line a group; names that differ in a layer's number only are listed once, with their count."""
        lines = [f"{self.source}: {len(self.matched)} matched", *(f"  resized: {what}" for what in self.resized)]
        for title, names in (("missing, kept as initialised", self.missing), ("unexpected, not used", self.unexpected)):
            lines.append(f"  {len(names)} {title}" + (f": {_listed(names)}" if names else ""))
        return "\n".join(lines)


def _listed(names: Iterable[str]) -> str:
    alike = Counter(re.sub(r"\.\d+\.", ".*.", name) for name in names)
    return ", ".join(name if count == 1 else f"{name} (x{count})" for name, count in alike.items())


def load_pretrained(model: MSPNet, source: str | Path) -> LoadReport:
    """Copy pretrained weights into the network.

    Positional embeddings of another grid of patches are interpolated, bicubic, as CLIP's are for larger images; any
    other difference of shape is an error.

    Parameters
    ----------
    source : a directory with ``model.safetensors`` or ``pytorch_model.bin`` (Hugging Face CLIP or X-CLIP, or ours),
        ``owner/name`` on the Hugging Face hub, or a file: ``.safetensors``, or ``.pt``/``.pth`` with a state dict of
        OpenAI CLIP's or published MSPNet's names, or OpenAI's TorchScript archive

    Raises
    ------
    ValueError
        When a tensor has another shape than the network's (all such are named), nothing matches, or the file is not
        one of these.
    """
    found, unexpected = _in_our_names(_read(weights_file("weights", source)))
    own = model.state_dict()
    resized = _fit_positions(found, own)
    wrong = [
        f"{name} is {tuple(value.shape)}, the network has {tuple(own[name].shape)}"
        for name, value in found.items()
        if name in own and value.shape != own[name].shape
    ]
    if wrong:
        cure = "; tokenizer: clip, or a directory with CLIP's files, gives CLIP's vocabulary"
        raise ValueError(
            f"weights: {source}: wrong shapes: {'; '.join(wrong)}{cure if wrong[0].startswith(_VOCABULARY) else ''}"
        )
    usable = {name: value for name, value in found.items() if name in own}
    if not usable:
        raise ValueError(f"weights: {source}: no tensor of it belongs to MSPNet")
    model.load_state_dict(usable, strict=False)
    return LoadReport(
        source=str(source),
        matched=tuple(sorted(usable)),
        missing=tuple(sorted(set(own) - set(usable))),
        unexpected=tuple(sorted([*unexpected, *(set(found) - set(usable))])),
        resized=resized,
    )


def _fit_positions(found: dict[str, Tensor], own: dict[str, Tensor]) -> tuple[str, ...]:
    """Interpolate the class-less rows of ``found``'s positional embedding to the network's grid, in place."""
    if POSITIONS not in found or found[POSITIONS].shape == own[POSITIONS].shape:
        return ()
    value, wanted = found[POSITIONS], own[POSITIONS]
    if value.ndim != 2 or value.shape[1] != wanted.shape[1]:
        return ()
    before, after = math.isqrt(len(value) - 1), math.isqrt(len(wanted) - 1)
    if before**2 != len(value) - 1:
        return ()
    grid = value[1:].float().T.reshape(1, -1, before, before)  # (1, W, y, x)
    grid = functional.interpolate(grid, size=(after, after), mode="bicubic", align_corners=False)
    found[POSITIONS] = torch.cat([value[:1].float(), grid.flatten(2)[0].T])
    return (f"{POSITIONS} from {before}x{before} patches to {after}x{after}",)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        if _is_torchscript(path):
            with warnings.catch_warnings():
                # Deprecated in torch, with no other reader of OpenAI's archives.
                warnings.simplefilter("ignore", DeprecationWarning)
                return dict(torch.jit.load(str(path), map_location="cpu").state_dict())
        return plain_tensors(torch.load(path, map_location="cpu", weights_only=True))
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, AttributeError, LookupError, EOFError) as error:
        raise ValueError(f"weights: {path} is not a plain state dict: {error}") from error


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _in_our_names(source: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    if "visual.conv1.weight" in source:
        return translate_published({name: value for name, value in source.items() if name not in _CONSTANTS})
    if any(name.startswith("xclip.") for name in source):
        return source, []
    ours = {}
    for name, value in source.items():
        if name.endswith("position_ids"):  # a constant that older files carry
            continue
        ours["xclip." + name.replace(".pre_layrnorm.", ".pre_layernorm.")] = value  # spelled so in CLIP's files
    return ours, []
