"""MSPNet: IFNS differences -> CFSA -> X-CLIP -> action logits and privacy logits.

Composed around :class:`transformers.XCLIPModel`, whose parts are the inter-frame interaction transformer, the temporal
transformer, the text tower and the video-specific prompts. No files, clocks or global random state in here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import XCLIPConfig, XCLIPModel
from transformers.models.x_clip.modeling_x_clip import XCLIPEncoderLayer

from .config import MSPNetConfig

if TYPE_CHECKING:
    from .checkpoint import ModelCard

__all__ = ["CrossFrameAggregator", "MSPNet", "MSPNetConfig", "MSPNetOutput"]


class MSPNetOutput(NamedTuple):
    """``action_logits`` (B, K), ``privacy_logits`` {head: (B, n)}, ``video_features`` (B, E) of unit norm."""

    action_logits: Tensor
    privacy_logits: dict[str, Tensor]
    video_features: Tensor


class MultiBranchBlock(nn.Module):
    """Residual block of parallel 1x1, 3x3 and dilated 3x3 convolutions; the identity at the start of training."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, hidden, kernel, padding=dilation * (kernel // 2), dilation=dilation)
            for kernel, dilation in ((1, 1), (3, 1), (3, 2))
        )
        self.merge = nn.Conv2d(hidden, channels, 1, bias=False)
        nn.init.zeros_(self.merge.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x + self.merge(functional.gelu(torch.stack([branch(x) for branch in self.branches]).sum(dim=0)))


class PatchEmbedding(nn.Conv2d):
    """Convolution whose stride is its kernel, computed as one matrix product of patches.

    CFSA's weights need the gradient of the pixels, which a plain X-CLIP does not; convolution kernels take some ten
    times as long for it as a product does.
    """

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, W', H / P, W / P)."""
        side = self.kernel_size[0]
        patches = pixels.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # (N, C, h, P, w, P)
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (N, h, w, C P P)
        return functional.linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class CrossFrameAggregator(nn.Module):
    """CFSA: the three differences, weighted and mixed into the channels that the patch embedding sees.

    Without IFNS the three colours of the frames take the differences' place, and nothing is weighted.
    ``offset`` and ``gain`` (3,) bring the channels to zero mean and unit variance over the training set. They are
    constants of the data set, never of a frame, so that attenuation through the film stays visible.
    """

    offset: Tensor
    gain: Tensor

    def __init__(self, config: MSPNetConfig) -> None:
        super().__init__()
        self.register_buffer("offset", torch.zeros(3))
        self.register_buffer("gain", torch.ones(3))
        self.residual = MultiBranchBlock(3, config.residual_channels) if config.residual_channels else nn.Identity()
        self.mix = nn.Conv2d(3, 3, 1, bias=False) if config.cfsa_mix else nn.Identity()
        if isinstance(self.mix, nn.Conv2d):
            nn.init.dirac_(self.mix.weight)
        # Ours, not published: without pretrained weights a few strided convolutions learn from far fewer clips than a
        # bare patch embedding does.
        stages: list[nn.Module] = []
        for before, after in zip((3, *config.stem_channels), config.stem_channels):
            stages += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.GELU()]
        self.stem = nn.Sequential(*stages)

    def forward(self, differences: Tensor, weights: Tensor | None) -> Tensor:
        """(B, T, 3, H, W) differences, (B, T, 2) weights or None -> (B, T, C, h, w)."""
        batch, time = differences.shape[:2]
        x = differences.flatten(0, 1)  # (N, 3, H, W)
        scale = self.gain.expand(x.shape[0], -1)
        if weights is not None:
            of_mean = torch.ones_like(weights[..., :1])
            scale = scale * torch.cat([weights, of_mean], dim=-1).flatten(0, 1)  # (N, 3)
        if isinstance(self.residual, nn.Identity) and isinstance(self.mix, nn.Conv2d):
            # Offset, gain, weights and 1x1 mixing are one matrix a frame, so a single pass over the pixels; convolution
            # kernels take thirty times as long for three channels. In float32: half precision would round before the
            # offset is off.
            with torch.autocast(x.device.type, enabled=False):
                matrix = self.mix.weight.flatten(1) * scale[:, None, :]  # (N, 3, 3)
                shift = -(matrix @ self.offset).unsqueeze(-1)
                x = torch.baddbmm(shift, matrix, x.flatten(2)).unflatten(2, x.shape[2:])
        else:
            x = self.mix(self.residual((x - self.offset[:, None, None]) * scale[..., None, None]))
        x = self.stem(x)  # (N, C, h, w)
        return x.unflatten(0, (batch, time))


class MSPNet(nn.Module):
    """The multi-task network: action logits against class names, and one linear head per private attribute.

    Attention is ``torch.nn.functional.scaled_dot_product_attention`` wherever the installed transformers has it for
    X-CLIP. ``card`` says what the outputs mean, in a network that was read from a checkpoint.

    Source: arXiv 2605.19578, section on MSPNet; agreement with the published layers is tested on a golden case.
    """

    def __init__(self, config: MSPNetConfig) -> None:
        super().__init__()
        self.config = config
        self.card: ModelCard | None = None
        self.aggregator = CrossFrameAggregator(config)
        self.xclip = XCLIPModel(_xclip_config(config))
        self.xclip.vision_model.embeddings.patch_embedding.__class__ = PatchEmbedding  # its weights stay as they are
        _restart_as_published(self.xclip)
        _leave_out(self.xclip, config)
        if config.gradient_checkpointing:
            # The method was renamed in transformers 5; its first argument is the same.
            renamed = getattr(self.xclip, "activation_checkpointing_enable", None)
            (renamed or self.xclip.gradient_checkpointing_enable)({"use_reentrant": False})
        self.privacy_heads = nn.ModuleDict(
            {name: nn.Linear(config.projection_dim, classes) for name, classes in config.privacy_heads.items()}
        )
        self.dropout = nn.Dropout(config.dropout)

    def save_pretrained(self, folder: str | Path, card: ModelCard | None = None) -> None:
        """Write config.json, model.safetensors and README.md (:func:`training.pretrained.save_pretrained`)."""
        from .pretrained import save_pretrained

        save_pretrained(folder, self, card)

    @classmethod
    def from_pretrained(cls, source: str | Path) -> MSPNet:
        """The network of a checkpoint, folder or hub name (:func:`training.pretrained.from_pretrained`)."""
        from .pretrained import from_pretrained

        return from_pretrained(source)

    def encode_text(self, input_ids: Tensor) -> Tensor:
        """(K, L) token ids -> (K, E) class-name features; constant, so cacheable, while the text tower is frozen."""
        pooled = self.xclip.text_model(input_ids=input_ids).pooler_output
        features: Tensor = self.xclip.text_projection(pooled)
        return features

    def encode_video(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, T, C, h, w) -> (B, E) video feature, (B, P, E) patch features averaged over frames for the prompts."""
        batch, time = pixels.shape[:2]
        net = self.xclip
        tokens = net.vision_model(pixel_values=pixels.flatten(0, 1))  # last_hidden_state (B*T, 1 + P, W)
        frame = net.visual_projection(tokens.pooler_output).unflatten(0, (batch, time))  # (B, T, E)
        video = net.mit(frame).pooler_output if self.config.temporal else frame.mean(dim=1)
        if not self.config.prompts:
            return video, None
        patches = net.prompts_visual_layernorm(tokens.last_hidden_state[:, 1:]) @ net.prompts_visual_projection
        return video, patches.unflatten(0, (batch, time)).mean(dim=1)

    def forward(
        self,
        differences: Tensor,
        input_ids: Tensor | None = None,
        weights: Tensor | None = None,
        text_features: Tensor | None = None,
    ) -> MSPNetOutput:
        """One forward pass.

        Parameters
        ----------
        differences : (B, T, 3, H, W) predecessor, successor, mean, each averaged over colour; without IFNS the frames,
            red, green, blue (:func:`training.ifns.network_input` gives either)
        input_ids : (K, L) token ids of the class names, ended by the largest id
        weights : (B, T, 2) CFSA weights of predecessor and successor (:func:`training.ifns.aggregation_weights`); a
            network without IFNS or without these weights ignores them
        text_features : (K, E) result of :meth:`encode_text`, in place of ``input_ids``

        Raises
        ------
        ValueError
            When the frames do not fit the configuration, or neither ids nor features are given.
        """
        expected = (self.config.num_frames, 3, self.config.image_size, self.config.image_size)
        if differences.ndim != 5 or tuple(differences.shape[1:]) != expected:
            raise ValueError(
                f"differences must be (B, {', '.join(map(str, expected))}), got {tuple(differences.shape)}"
            )
        if text_features is None:
            if input_ids is None:
                raise ValueError("input_ids or text_features must be given, got neither")
            text_features = self.encode_text(input_ids)
        weighted = self.config.ifns and self.config.cfsa_weights
        video, patches = self.encode_video(self.aggregator(differences, weights if weighted else None))
        text = text_features.expand(video.shape[0], -1, -1)  # (B, K, E)
        if patches is not None:
            text = text + self.xclip.prompts_generator(text, patches)
        video = self.dropout(functional.normalize(video, dim=-1))
        text = functional.normalize(text, dim=-1)
        logits = self.xclip.logit_scale.exp() * torch.einsum("be,bke->bk", video, text)
        return MSPNetOutput(logits, {name: head(video) for name, head in self.privacy_heads.items()}, video)


@torch.no_grad()
def _restart_as_published(xclip: XCLIPModel) -> None:
    """Start the prompt generator and the temporal positions as X-CLIP's authors do, at a standard deviation of 0.02.

    transformers starts them at 1. The prompts then drown the class names by a factor of ten, and a network trained from
    scratch or from CLIP's weights, which have neither, stays at chance.
    """
    for module in xclip.prompts_generator.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
    nn.init.trunc_normal_(xclip.mit.position_embedding, std=0.02)


def _leave_out(xclip: XCLIPModel, config: MSPNetConfig) -> None:
    """Remove the parts that an ablation does without: parameters that get no gradient stop distributed training."""
    if not config.messages:
        # Without its message, an X-CLIP layer is a CLIP layer of the same names.
        vision = xclip.vision_model
        for index, layer in enumerate(vision.encoder.layers):
            plain = XCLIPEncoderLayer(vision.config)
            plain.load_state_dict({k: v for k, v in layer.state_dict().items() if not k.startswith("message_")})
            vision.encoder.layers[index] = plain
    if not config.temporal:
        del xclip.mit
    if not config.prompts:
        del xclip.prompts_generator, xclip.prompts_visual_layernorm, xclip.prompts_visual_projection


def _xclip_config(config: MSPNetConfig) -> XCLIPConfig:
    reduction = 2 ** len(config.stem_channels)
    vision = {
        "hidden_size": config.vision_width,
        "intermediate_size": 4 * config.vision_width,
        "num_hidden_layers": config.vision_layers,
        "num_attention_heads": config.vision_heads,
        "num_channels": config.stem_channels[-1] if config.stem_channels else 3,
        "image_size": config.image_size // reduction,
        "patch_size": config.patch_size // reduction,
        "num_frames": config.num_frames,
        "drop_path_rate": config.drop_path,
        "mit_hidden_size": config.projection_dim,
        "mit_intermediate_size": 4 * config.projection_dim,
        "mit_num_hidden_layers": config.temporal_layers,
        "mit_num_attention_heads": config.temporal_heads,
    }
    text = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.text_width,
        "intermediate_size": 4 * config.text_width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_heads,
        "max_position_embeddings": config.context_length,
        # The text model pools at the end-of-text token, the largest id.
        "eos_token_id": config.vocab_size - 1,
        "bos_token_id": config.vocab_size - 2,
        "pad_token_id": 0,
    }
    return XCLIPConfig(
        text_config=text,
        vision_config=vision,
        projection_dim=config.projection_dim,
        prompt_layers=config.prompt_layers,
        prompt_num_attention_heads=config.prompt_heads,
        prompt_alpha=config.prompt_alpha,
        logit_scale_init_value=config.logit_scale_init,
    )
