"""Checkpoints: weights with everything needed to use them, and the published format's names translated to ours."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lps_sim import __version__
from lps_sim.files import atomic_path

from .config import MSPNetConfig
from .model import MSPNet
from .sides import Labels

FORMAT = "1"

# CLIP's convention, which the published layers follow everywhere: 64 channels a head.
HEAD_WIDTH = 64


@dataclass(frozen=True)
class ModelCard:
    """What stands in a checkpoint beside the weights, so that it can be used without anything else.

    ``input_ids``: the class names' token ids; ``inputs``: how differences are made (frames, gap, size, signed);
    ``record``: epoch, validation score and such.
    """

    labels: Labels
    input_ids: list[list[int]]
    inputs: dict[str, Any]
    record: dict[str, Any]


def save_model(path: str | os.PathLike[str], model: MSPNet, card: ModelCard) -> None:
    """Write weights and card as one safetensors file; a reader sees the old file or the new one, never a part."""
    metadata = {
        "format": FORMAT,
        "package_version": __version__,
        "config": model.config.model_dump_json(),
        "card": json.dumps(asdict(card)),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)


def load_model(path: str | os.PathLike[str]) -> tuple[MSPNet, ModelCard]:
    """Read a checkpoint of :func:`save_model`: the network in evaluation mode, on the CPU, and its card.

    Raises
    ------
    ValueError
        When the file is not such a checkpoint or of a newer format.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(2, "no such checkpoint", os.fspath(path))
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise ValueError(f"checkpoint: {path} is not a safetensors file: {error}") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"checkpoint: {path} has format {metadata.get('format')!r}, this version reads {FORMAT!r}")
    model = MSPNet(MSPNetConfig.model_validate_json(metadata["config"]))
    model.load_state_dict(tensors)
    card = json.loads(metadata["card"])
    labels = Labels(
        actions=tuple(card["labels"]["actions"]),
        class_names=tuple(card["labels"]["class_names"]),
        heads={head: tuple(values) for head, values in card["labels"]["heads"].items()},
    )
    return model.eval(), ModelCard(labels, card["input_ids"], card["inputs"], card["record"])


def convert_reference(state_dict: Mapping[str, Any]) -> tuple[MSPNetConfig, dict[str, Tensor]]:
    """Translate a published MSPNet state dict into the configuration and state dict of :class:`training.model.MSPNet`.

    Parameters
    ----------
    state_dict : published names -> tensors or arrays; a wrapping ``{"model": ...}`` and a ``module.`` prefix go

    Returns
    -------
    The configuration read off the shapes, and a state dict that loads strictly.

    Raises
    ------
    ValueError
        When an expected entry is missing or a name is not known.
    """
    source = plain_tensors(state_dict)
    try:
        config = _config_of(source)
    except KeyError as error:
        raise ValueError(f"state_dict: {error.args[0]!r} is missing; not a published MSPNet checkpoint") from error
    result, unknown = translate_published(source)
    if unknown:
        raise ValueError(f"state_dict: names that no part of MSPNet has: {', '.join(unknown)}")
    return config, {"aggregator.offset": torch.zeros(3), "aggregator.gain": torch.ones(3), **result}


def plain_tensors(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Names -> tensors, without a wrapping ``{"model": ...}`` or ``{"state_dict": ...}`` and ``module.`` prefixes."""
    source = state_dict.get("model", state_dict.get("state_dict", state_dict))
    return {name.removeprefix("module."): torch.as_tensor(value) for name, value in source.items()}


def translate_published(source: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Published (OpenAI CLIP's) names -> ours: the translated tensors, and the names that have no counterpart."""
    result: dict[str, Tensor] = {}
    unknown = []
    for name, value in source.items():
        translated = _translate(name, value)
        if translated is None:
            unknown.append(name)
        else:
            result.update(translated)
    return result, unknown


def _config_of(source: Mapping[str, Tensor]) -> MSPNetConfig:
    width, _, patch, _ = source["visual.conv1.weight"].shape
    positions = len(source["visual.positional_embedding"]) - 1
    context, text_width = source["positional_embedding"].shape
    embed = source["text_projection"].shape[1]
    return MSPNetConfig(
        patch_size=patch,
        image_size=patch * round(positions**0.5),
        vision_width=width,
        vision_layers=_count(source, r"visual\.transformer\.resblocks\.(\d+)\."),
        vision_heads=width // HEAD_WIDTH,
        text_width=text_width,
        text_layers=_count(source, r"transformer\.resblocks\.(\d+)\."),
        text_heads=text_width // HEAD_WIDTH,
        vocab_size=len(source["token_embedding.weight"]),
        context_length=context,
        projection_dim=embed,
        num_frames=source["sft.positional_embedding"].shape[1],
        temporal_layers=_count(source, r"sft\.resblocks\.(\d+)\."),
        temporal_heads=embed // HEAD_WIDTH,
        prompt_layers=_count(source, r"prompts_generator\.decoder\.(\d+)\."),
        prompt_heads=embed // HEAD_WIDTH,
        privacy_heads={
            _head_name(match[1]): len(value)
            for name, value in source.items()
            if (match := re.fullmatch(r"(\w+)_classifier\.weight", name))
        },
        cfsa_weights=False,
    )


def _count(source: Mapping[str, Tensor], pattern: str) -> int:
    return 1 + max((int(match[1]) for name in source if (match := re.match(pattern, name))), default=-1)


def _head_name(published: str) -> str:
    return "identity" if published == "id" else published


_WHOLE = {
    "visual.conv0.weight": "aggregator.mix.weight",
    "visual.conv1.weight": "xclip.vision_model.embeddings.patch_embedding.weight",
    "visual.class_embedding": "xclip.vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "xclip.vision_model.embeddings.position_embedding.weight",
    "sft.positional_embedding": "xclip.mit.position_embedding",
    "prompts_visual_proj": "xclip.prompts_visual_projection",
    "token_embedding.weight": "xclip.text_model.embeddings.token_embedding.weight",
    "positional_embedding": "xclip.text_model.embeddings.position_embedding.weight",
    "logit_scale": "xclip.logit_scale",
}
_TRANSPOSED = {
    "visual.proj": "xclip.visual_projection.weight",
    "text_projection": "xclip.text_projection.weight",
}
_PREFIXES = (
    ("visual.ln_pre.", "xclip.vision_model.pre_layernorm."),
    ("visual.ln_post.", "xclip.vision_model.post_layernorm."),
    ("visual.transformer.resblocks.", "xclip.vision_model.encoder.layers."),
    ("transformer.resblocks.", "xclip.text_model.encoder.layers."),
    ("sft.resblocks.", "xclip.mit.encoder.layers."),
    ("ln_final.", "xclip.text_model.final_layer_norm."),
    ("prompts_visual_ln.", "xclip.prompts_visual_layernorm."),
    ("prompts_generator.norm.", "xclip.prompts_generator.layernorm."),
    ("prompts_generator.", "xclip.prompts_generator."),
)
_WITHIN_BLOCK = (
    (re.compile(r"(\.\d+)\.attn\."), r"\1.self_attn."),
    (re.compile(r"\.ln_([12])\."), r".layer_norm\1."),
    (re.compile(r"\.mlp\.c_fc\."), ".mlp.fc1."),
    (re.compile(r"\.mlp\.c_proj\."), ".mlp.fc2."),
)


def _translate(name: str, value: Tensor) -> dict[str, Tensor] | None:
    if name in _WHOLE:
        return {_WHOLE[name]: value}
    if name in _TRANSPOSED:
        return {_TRANSPOSED[name]: value.T.contiguous()}
    if match := re.fullmatch(r"(\w+)_classifier\.(weight|bias)", name):
        return {f"privacy_heads.{_head_name(match[1])}.{match[2]}": value}
    for published, ours in _PREFIXES:
        if name.startswith(published):
            target = ours + name[len(published) :]
            break
    else:
        return None
    for pattern, replacement in _WITHIN_BLOCK:
        target = pattern.sub(replacement, target)
    if match := re.fullmatch(r"(.*)\.in_proj_(weight|bias)", target):
        parts = value.chunk(3)  # stacked query, key, value
        return {f"{match[1]}.{letter}_proj.{match[2]}": part.clone() for letter, part in zip("qkv", parts)}
    return {target: value}
