"""LensPrivacySeal: the film before the camera as a torch module, the twin of :class:`lps_sim.fast.Degrader`.

    y = code(clip(g V [T_N K_N x + v_N] + noise)),     x = linear light of the frames

The same film, geometry and sampling as the numpy engines, on batches and on any device; differentiable in the frames
and in the film's scattering parameters. ``docs/seal.md`` says how exact it is and what it costs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from .camera import Camera
from .film import FilmModel, check_layers
from .operator import check_border
from .seal_curves import eotf, inverse_eotf
from .seal_film import film_of, film_tensors, log_parameters
from .seal_optics import SealOptics, keep_precision
from .seal_plan import SealPlan
from .seeding import named_rng
from .transfer import check_eotf_name

PIXELS_AT_A_TIME = 1 << 20  # of frames on a processor
MOST_PLANS = 64  # kept at a time: layer counts x frame sizes x precisions
Layers = int | Sequence[int] | torch.Tensor


class LensPrivacySeal(nn.Module):
    """What a camera records through the film: sRGB frames in [0, 1] in, the camera's codes in [0, 1] out.

    The order of light: decode -> film -> vignetting and exposure -> sensor noise -> clip -> encode. Nothing adapts to a
    frame. All of it runs in float32 (float64 for float64 frames), whatever the frames' type and autocast say; the
    result is rounded to the frames' type once, at the end.

    Parameters
    ----------
    film : its scattering parameters become the module's parameters ``log_sigma_rad`` (3,), ``log_tau``, ``log_s_rad``
        and ``log_beta`` (K, 3), natural logarithms in float64 whatever the module is cast to
    layers : one count 0..64 for every sample (0 is no film), or the counts to draw from, evenly, for each sample
    camera : frames of another size are taken as the same camera read out at that size (``Camera.resized``)
    output_size : (width, height) by area means in linear light, None = that of the frames
    border : light from outside the view, "reflect", "mean" or "dark"; see :mod:`lps_sim.operator`
    noise : sensor noise, temporal (new in every frame) and fixed pattern (the same for one ``camera.prnu_seed`` and
        output size); an output pixel that averages k camera pixels has 1/k of their variance
    round_codes : round to the camera's codes, with the gradient of no rounding
    source_eotf : transfer function of the incoming frames
    learn_film : ask for gradients in the film's parameters

    Raises
    ------
    ValueError
        naming the argument, its value and the rule

    Notes
    -----
    Plans are made on first use for a layer count and frame size (tenths of a second; :meth:`plan` makes them ahead) and
    kept. Sampling is chosen for the film as it was then: call :meth:`replan` where learning has made it much sharper.
    """

    def __init__(
        self,
        film: FilmModel,
        layers: Layers,
        camera: Camera,
        output_size: tuple[int, int] | None = None,
        border: str = "reflect",
        noise: bool = True,
        round_codes: bool = False,
        source_eotf: str = "srgb",
        learn_film: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(film, FilmModel):
            raise ValueError(f"film must be a FilmModel (FilmModel.load takes a preset's name), got {film!r:.60}")
        if not isinstance(camera, Camera):
            raise ValueError(f"camera must be a Camera, got {camera!r:.60}")
        self.layers: int | tuple[int, ...] = _counts(layers)
        if self.layers == ():
            raise ValueError("layers must be a count or at least one count to draw from, got none")
        if output_size is not None:
            if len(tuple(output_size)) != 2 or not all(int(side) == side and side >= 1 for side in output_size):
                raise ValueError(f"output_size must be (width, height), each >= 1, got {output_size!r}")
            output_size = (int(output_size[0]), int(output_size[1]))
        self.camera, self.output_size, self.border = camera, output_size, check_border(border)
        self.noise, self.round_codes = bool(noise), bool(round_codes)
        self.source_eotf = check_eotf_name(source_eotf, "source_eotf")
        self._film = film
        for name, parameter in log_parameters(film).items():
            parameter.requires_grad = bool(learn_film)
            self.register_parameter(name, parameter)
        self._geometry: dict[str, SealPlan] = {}
        self._versions: dict[str, tuple[tuple[float, ...], ...]] = {}
        self._optics = nn.ModuleDict()

    # -- what it is made of -----------------------------------------------------------------------------------------
    @property
    def film(self) -> FilmModel:
        """The film with the module's present parameters; covariance and fit quality are those of the film given."""
        logs = {name: value.detach().cpu().numpy() for name, value in self.named_parameters(recurse=False)}
        before = {name: value.detach().numpy() for name, value in log_parameters(self._film).items()}
        if all(np.array_equal(logs[name], before[name]) for name in before):
            return self._film
        return film_of(self._film, logs)

    def plan(
        self, height: int, width: int, layers: int | None = None, dtype: torch.dtype = torch.float32
    ) -> SealOptics:
        """The planned operator for frames of one size: linear light (n, 3, H, W) -> linear sensor signal (n, 3, h, w).

        Parameters: height, width in px; layers, None for all that the module draws from (the last is returned); dtype,
        float32 or float64, that it computes in. It is made, and kept, where it does not exist yet.
        """
        counts = self.layers if layers is None else _counts(layers)
        for count in (counts,) if isinstance(counts, int) else counts:
            optics = self._planned(count, height, width, dtype)
        return optics

    def replan(self) -> None:
        """Forget all plans; the next call makes them anew for the present film."""
        self._geometry.clear()
        self._versions.clear()
        self._optics.clear()

    # -- light ------------------------------------------------------------------------------------------------------
    def forward(
        self, frames: torch.Tensor, layers: Layers | None = None, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """The frames behind the film.

        Parameters
        ----------
        frames : (B, T, 3, H, W) or (B, 3, H, W), any float type, in [0, 1]
        layers : None to do as the module was told; a count for all, or one a sample (B,)
        generator : of the layer counts and the temporal noise, None for torch's own

        Returns
        -------
        the same shape with the output's height and width, the same type and device

        Raises
        ------
        ValueError
            naming the argument, its value and the rule
        """
        _check_frames(frames)
        counts = self._counts_of(len(frames), layers, generator)
        dtype = torch.float64 if frames.dtype == torch.float64 else torch.float32
        # Halves of the mantissa lost in a transform would show as bands: no autocast in here.
        with torch.autocast(frames.device.type, enabled=False):
            if isinstance(counts, int):
                return self._record(frames, counts, dtype, generator)
            # Samples of one number of layers go together, and back to their places.
            order: list[int] = []
            parts = []
            for count in sorted(set(counts)):
                chosen = [index for index, value in enumerate(counts) if value == count]
                order += chosen
                parts.append(self._record(frames[chosen], count, dtype, generator))
            return torch.cat(parts)[[order.index(index) for index in range(len(counts))]]

    def _record(
        self, frames: torch.Tensor, layers: int, dtype: torch.dtype, generator: torch.Generator | None
    ) -> torch.Tensor:
        """What the camera makes of frames behind one number of layers."""
        height, width = frames.shape[-2:]
        optics = self._planned(layers, height, width, dtype)
        if optics.gain.device != frames.device:
            with torch.inference_mode(False):
                optics.to(frames.device)
        arrays = None
        logs = {name: value.to(frames.device) for name, value in self.named_parameters(recurse=False)}
        if layers and torch.is_grad_enabled() and any(value.requires_grad for value in logs.values()):
            geometry = self._geometry[_key(layers, height, width, dtype)]
            arrays = film_tensors(self._film, geometry.film_arrays, logs, dtype)
        flat = frames if frames.ndim == 4 else frames.flatten(0, 1)
        # A processor is fastest on pieces that it keeps in its caches; a compiler or a GPU takes the batch as it comes.
        small = frames.device.type == "cpu" and not torch.compiler.is_compiling()
        step = max(1, PIXELS_AT_A_TIME // (height * width)) if small else len(flat)
        parts = []
        for piece in flat.split(step):
            signal = optics(piece.to(dtype), functools.partial(eotf, curve=self.source_eotf), arrays)
            if self.noise:
                signal = self._with_noise(signal, (height, width), generator)
            codes = inverse_eotf(signal.clamp(0, 1), self.camera.transfer)
            if self.round_codes:
                top = self.camera.max_code
                codes = codes + (torch.round(codes.detach() * top) / top - codes.detach())
            parts.append(codes.to(frames.dtype))
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        return out if frames.ndim == 4 else out.unflatten(0, frames.shape[:2])

    def _with_noise(
        self, signal: torch.Tensor, frame_size: tuple[int, int], generator: torch.Generator | None
    ) -> torch.Tensor:
        """Photon-transfer noise of the mean of the camera's pixels in an output pixel, and their fixed pattern."""
        camera, (height, width) = self.camera, signal.shape[-2:]
        averaged = max(1.0, frame_size[0] * frame_size[1] / (height * width))
        light = signal.clamp(min=0)
        shot, read = 1 / camera.full_well_e / averaged, (camera.read_noise_e / camera.full_well_e) ** 2 / averaged
        # The floor, far below one electron, keeps the slope of the root finite in the dark.
        deviation = (shot * light + read).clamp(min=1e-16).sqrt()
        if generator is None:
            normal = torch.randn_like(signal)
        else:
            normal = torch.randn(signal.shape, generator=generator, device=generator.device, dtype=signal.dtype)
            normal = normal.to(signal.device)
        signal = signal + deviation * normal
        if camera.prnu:
            pattern = self._pattern(frame_size, (height, width)).to(signal)
            signal = signal + light * pattern * (camera.prnu / averaged**0.5)
        return signal

    def _pattern(self, frame_size: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
        """(3, h, w) normal deviates: the camera's own."""
        name = f"_pattern_{frame_size[0]}x{frame_size[1]}_{size[0]}x{size[1]}"
        if not hasattr(self, name):
            rng = named_rng(self.camera.prnu_seed, "seal fixed pattern", *frame_size, *size)
            with torch.inference_mode(False):
                pattern = torch.from_numpy(rng.standard_normal((3, *size), np.float32))
            self.register_buffer(name, pattern, persistent=False)
        return getattr(self, name)

    # -- plans and layer counts -------------------------------------------------------------------------------------
    def _planned(self, layers: int, height: int, width: int, dtype: torch.dtype) -> SealOptics:
        key = _key(layers, height, width, dtype)
        if torch.compiler.is_compiling():
            if key not in self._optics:
                raise RuntimeError(
                    f"plan {height}x{width} frames at {layers} layers before compiling: seal.plan({height}, {width})"
                )
            return cast(SealOptics, self._optics[key])
        versions = tuple(_version(value) for value in self.parameters(recurse=False))
        if self._versions.get(key) == versions:
            return cast(SealOptics, self._optics[key])
        film = self.film
        if key not in self._geometry:
            while len(self._geometry) >= MOST_PLANS:
                oldest = next(iter(self._geometry))
                del self._geometry[oldest], self._versions[oldest], self._optics[oldest]
            camera = self.camera
            if (width, height) != (camera.width, camera.height):
                camera = camera.resized(width, height)
            self._geometry[key] = SealPlan(film, layers, camera, self.border, self.output_size)
        device = cast(SealOptics, self._optics[key]).gain.device if key in self._optics else None
        # What is made under inference_mode could not be used in training later.
        with torch.inference_mode(False):
            optics = SealOptics(self._geometry[key], film, dtype)
            self._optics[key] = optics if device is None else optics.to(device)
        self._versions[key] = versions
        if self.noise and self.camera.prnu:
            size = (width, height) if self.output_size is None else self.output_size
            self._pattern((height, width), (size[1], size[0]))
        return optics

    def _counts_of(
        self, samples: int, layers: Layers | None, generator: torch.Generator | None
    ) -> int | tuple[int, ...]:
        if layers is not None:
            counts = _counts(layers)
            if not isinstance(counts, int) and len(counts) != samples:
                raise ValueError(f"layers must be one count or one a sample ({samples}), got {len(counts)}")
            return counts
        if isinstance(self.layers, int):
            return self.layers
        device = torch.device("cpu") if generator is None else generator.device
        drawn = torch.randint(len(self.layers), (samples,), generator=generator, device=device)
        return tuple(self.layers[index] for index in drawn.tolist())

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> LensPrivacySeal:
        return super()._apply(keep_precision(fn), recurse)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.replan()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(film={self._film.name!r}, layers={self.layers}, output_size={self.output_size}, "
            f"border={self.border!r}, noise={self.noise})"
        )


def _version(value: torch.Tensor) -> tuple[float, ...]:
    """What changes when a parameter does, without reading it from a device; tensors put in its place are read."""
    if isinstance(value, nn.Parameter) and not value.is_inference():
        return (id(value), value._version)
    return tuple(value.detach().flatten().tolist())


def _key(layers: int, height: int, width: int, dtype: torch.dtype) -> str:
    return f"layers{layers}_{height}x{width}_{'double' if dtype == torch.float64 else 'single'}"


def _counts(layers: Layers) -> int | tuple[int, ...]:
    """One layer count or several, checked."""
    given: Any = layers.tolist() if isinstance(layers, torch.Tensor) else layers
    if isinstance(given, (list, tuple, range, np.ndarray)):
        return tuple(check_layers(count, minimum=0) for count in given)
    return check_layers(given, minimum=0)


def _check_frames(frames: torch.Tensor) -> None:
    shape = tuple(frames.shape)
    if not frames.is_floating_point() or frames.ndim not in (4, 5) or shape[-3] != 3 or 0 in shape:
        raise ValueError(
            f"frames must be floating point (B, T, 3, H, W) or (B, 3, H, W) in [0, 1], got {frames.dtype} {shape}"
        )
