"""The configuration of a training run: one frozen model, read once, written beside every result.

A YAML file may start from another with ``base: NAME``; NAME is a file or one of the presets that ship
(:func:`preset_names`). ``key=value`` pairs with dotted keys override both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError, model_validator
from typing_extensions import Self

from lps_sim.config import StrictModel, validation_message
from lps_sim.errors import UnknownNameError


class ModelOptions(StrictModel):
    """Size and parts of MSPNet; the defaults are CLIP ViT-B/16 as published."""

    patch_size: PositiveInt = 16
    vision_width: PositiveInt = 768
    vision_layers: PositiveInt = 12
    vision_heads: PositiveInt = 12
    text_width: PositiveInt = 512
    text_layers: PositiveInt = 12
    text_heads: PositiveInt = 8
    projection_dim: PositiveInt = 512
    messages: bool = Field(default=True, description="message tokens across frames (IFIT); false: frames stay alone")
    temporal: bool = Field(default=True, description="temporal transformer; false: the mean over frames")
    temporal_layers: PositiveInt = 1
    temporal_heads: PositiveInt = 8
    prompts: bool = Field(default=True, description="video-specific prompts added to the class names")
    prompt_layers: PositiveInt = 2
    prompt_heads: PositiveInt = 8
    prompt_alpha: float = 0.1
    ifns: bool = Field(default=True, description="three differences; false: the frames' three colours go in")
    cfsa_weights: bool = Field(default=True, description="weights by the neighbours' distance; without IFNS none")
    cfsa_mix: bool = Field(default=True, description="1x1 convolution of the three channels")
    residual_channels: int = Field(default=0, ge=0, description="hidden width of CFSA's block; 0: none")
    stem_channels: tuple[PositiveInt, ...] = Field(default=(), description="strided convolutions before patches")
    drop_path: float = Field(default=0.0, ge=0, lt=1, description="of the messages' attention")
    dropout: float = Field(default=0.0, ge=0, lt=1)
    logit_scale_init: float = 2.6592
    freeze_text: bool = Field(default=True, description="the text tower keeps its weights, class names are coded once")
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        for width, heads in (
            ("vision_width", "vision_heads"),
            ("text_width", "text_heads"),
            ("projection_dim", "temporal_heads"),
            ("projection_dim", "prompt_heads"),
        ):
            if getattr(self, width) % getattr(self, heads):
                raise ValueError(
                    f"{width} must be a multiple of {heads}, got {getattr(self, width)} and {getattr(self, heads)}"
                )
        if self.patch_size % 2 ** len(self.stem_channels):
            raise ValueError(
                f"patch_size must be a multiple of 2 per stem convolution, got {self.patch_size} "
                f"with {len(self.stem_channels)} convolutions"
            )
        return self


class MSPNetConfig(ModelOptions):
    """Everything needed to build the network: the options, and what data and tokenizer add to them."""

    image_size: PositiveInt = 224
    num_frames: PositiveInt = 8
    vocab_size: int = Field(default=49408, ge=3)
    context_length: PositiveInt = 77
    privacy_heads: dict[str, PositiveInt] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole_patches(self) -> Self:
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size must be a multiple of patch_size, got {self.image_size} and {self.patch_size}"
            )
        return self


class OnlineConfig(StrictModel):
    """Film that is put before clean clips while they are read; without ``film`` clips are taken as they are."""

    film: str | None = Field(default=None, description="film file or preset; none: no on-line film")
    layers: tuple[Annotated[int, Field(ge=0, le=64)], ...] = Field(
        default=(8,), min_length=1, description="layer counts, one drawn evenly for each clip and epoch"
    )
    camera: Path | None = Field(default=None, description="YAML file of Camera fields, at its own angle across a frame")
    field_of_view_deg: float = Field(default=70.0, gt=0, lt=180, description="angle across a frame without camera file")
    aspect: PositiveFloat | None = Field(
        default=None, description="width/height of what squashed clean frames show; none: their pixels are square"
    )
    noise: bool = Field(default=True, description="sensor noise and fixed pattern")
    mean_frames: int = Field(default=16, ge=0, description="frames degraded for the clip mean; 0: all")


class DataConfig(StrictModel):
    """Which clips, and how frames are drawn from them."""

    dataset: Path | None = Field(default=None, description="P3AR data set directory, or an index file of plain videos")
    protocol: str = Field(default="ntu120-xsub", description="published split, used where no name lists are given")
    train: Path | None = Field(default=None, description="text file of training names, one a line")
    test: Path | None = Field(default=None, description="text file of test names, one a line")
    validation_share: float = Field(default=0.1, gt=0, lt=1, description="share of training performers held out")
    actions: tuple[PositiveInt, ...] = Field(
        default=(), description="action numbers; empty: those of the training clips"
    )
    frames: PositiveInt = Field(default=8, description="T, sampled frames of a clip")
    gap: PositiveInt = Field(default=4, description="D, distance of predecessor and successor in frames")
    size: PositiveInt = Field(default=224, description="side of the square input, px")
    signed: bool = Field(default=False, description="signed differences instead of absolute ones")
    normalise: bool = Field(default=True, description="scale differences by their spread over the training clips")
    cache_mb: int = Field(default=0, ge=0, description="memory for decoded clips, MB; others are decoded again")
    workers: int = Field(default=4, ge=0, description="reading processes; 0 reads in the training process")
    balance: float = Field(default=0.0, ge=0, le=1, description="0: each clip once an epoch; 1: each action as often")
    test_clips: PositiveInt = Field(default=1, description="draws of frames in a test (published: 4)")
    test_crops: Literal[1, 3] = Field(default=1, description="crops in a test (published: 3)")
    online: OnlineConfig = OnlineConfig()

    @model_validator(mode="after")
    def _both_lists(self) -> Self:
        if (self.train is None) != (self.test is None):
            raise ValueError("train and test must be given together: two name lists, or none and a protocol")
        return self


class AugmentConfig(StrictModel):
    """Published augmentations, the same for all frames of a clip."""

    crop_area: tuple[float, float] = Field(default=(0.4, 1.0), description="range of the cropped share of the area")
    aspect: float = Field(default=4 / 3, ge=1, description="crops are between 1/aspect and aspect as wide as high")
    flip: float = Field(default=0.5, ge=0, le=1)
    colour_jitter: float = Field(default=0.8, ge=0, le=1, description="probability")
    brightness: float = Field(default=0.4, ge=0, lt=1)
    contrast: float = Field(default=0.4, ge=0, lt=1)
    saturation: float = Field(default=0.2, ge=0, lt=1)
    hue: float = Field(default=0.1, ge=0, le=0.5)
    greyscale: float = Field(default=0.2, ge=0, le=1)
    mixup_alpha: float = Field(default=0.8, ge=0)
    cutmix_alpha: float = Field(default=1.0, ge=0)
    mix_probability: float = Field(default=1.0, ge=0, le=1, description="share of batches that are mixed")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.crop_area
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_area must be 0 < low <= high <= 1, got {self.crop_area}")
        return self


class OptimConfig(StrictModel):
    """AdamW with the published groups; cosine to ``final_fraction`` of the rate after a linear warm-up."""

    epochs: PositiveInt = 120
    warmup_epochs: NonNegativeFloat = 5
    batch: PositiveInt = Field(default=4, description="clips a process and step of accumulation")
    accumulate: PositiveInt = Field(default=2, description="batches summed into one optimiser step")
    rate: PositiveFloat = 8e-6
    prompt_rate_factor: PositiveFloat = Field(default=10.0, description="of the message and prompt parameters")
    final_fraction: float = Field(default=0.01, ge=0, le=1)
    betas: tuple[float, float] = (0.9, 0.98)
    eps: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 1e-3
    clip_norm: NonNegativeFloat = Field(default=0.0, description="largest gradient norm; 0: not limited")
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    ema_decay: float = Field(
        default=0.0, ge=0, lt=1, description="of the weights' running average, which is then evaluated; 0: none"
    )


class LossConfig(StrictModel):
    """Cross-entropy of the action plus weighted cross-entropies of the privacy heads."""

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    privacy: dict[str, NonNegativeFloat] = Field(default={"identity": 0.1}, description="head -> weight; {}: no heads")


class TrainConfig(StrictModel):
    """One run of ``lps train``."""

    out: Path = Path("runs/mspnet")
    seed: int = 0
    device: Literal["auto", "cpu"] = "auto"
    weights: str | None = Field(default=None, description="pretrained weights: file, directory or hub name")
    tokenizer: str = Field(default="auto", description="'auto', 'words', 'clip', or a directory with CLIP's files")
    parallel: Literal["ddp", "fsdp"] = Field(default="ddp", description="several processes: copied or sharded weights")
    evaluate_every: PositiveInt = Field(default=1, description="epochs between validations")
    log_every: PositiveInt = Field(default=10, description="optimiser steps between lines of metrics")
    save_every: int = Field(default=0, ge=0, description="optimiser steps between checkpoints; 0: by time only")
    save_minutes: NonNegativeFloat = Field(default=15, description="between checkpoints in an epoch; 0: by step only")
    keep_last: PositiveInt = Field(default=2, description="newest checkpoints kept, beside the best one")
    tracking: tuple[Literal["tensorboard", "wandb"], ...] = Field(default=(), description="beside metrics.jsonl")
    data: DataConfig = DataConfig()
    model: ModelOptions = ModelOptions()
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    loss: LossConfig = LossConfig()


def preset_names() -> list[str]:
    """Names of the configurations that ship with the package."""
    return sorted(
        entry.name[:-5] for entry in resources.files("training.configs").iterdir() if entry.name.endswith(".yaml")
    )


def load_config(source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()) -> TrainConfig:
    """Read a configuration.

    Parameters
    ----------
    source : a YAML file, the name of a preset, or a mapping
    overrides : ``key=value`` with dotted keys; the value is read as YAML

    Raises
    ------
    UnknownNameError
        For a preset or key that does not exist, with the nearest one that does.
    ValueError
        For a value that breaks its rule; the message names key, rule and value.
    """
    values = _merged(dict(source) if isinstance(source, Mapping) else _read(str(source)))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ValueError(f"override must be key=value, got {override!r}")
        place = values
        *parents, leaf = key.strip().split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ValueError(f"override key {key!r}: {parent!r} is a value, not a section")
        place[leaf] = yaml.safe_load(text)
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(validation_message(error)) from error


def dump_config(config: TrainConfig, **provenance: Any) -> str:
    """YAML text of a configuration, with provenance (package version and such) as comments on top."""
    head = "".join(f"# {key}: {value}\n" for key, value in provenance.items())
    return head + str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def _read(source: str) -> dict[str, Any]:
    if source in preset_names():
        text = resources.files("training.configs").joinpath(f"{source}.yaml").read_text(encoding="utf-8")
    elif Path(source).is_file():
        text = Path(source).read_text(encoding="utf-8")
    elif Path(source).suffix in (".yaml", ".yml") or "/" in source:
        raise FileNotFoundError(2, "no such configuration file", source)
    else:
        raise UnknownNameError("config", source, preset_names())
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{source}: not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{source}: must be a mapping of keys to values, got {type(values).__name__}")
    return values


def _merged(values: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    base = values.pop("base", None)
    if base is None:
        return values
    if depth > 8:
        raise ValueError(f"base: configurations refer to each other in a circle, at {base!r}")
    return _overlaid(_merged(_read(str(base)), depth + 1), values)


def _overlaid(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), dict) and key != "privacy":
            result[key] = _overlaid(result[key], value)
        else:
            result[key] = value
    return result
