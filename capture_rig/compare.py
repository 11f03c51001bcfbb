"""The sim-to-real score: a clean clip behind the fitted film, compared with what was filmed through the real one.

Both clips show the same frames of the same part of the screen, as ``lps data ingest-replay`` cuts and rectifies them.
One gain is fitted for the whole clip; nothing else is. A second simulation with other noise says how alike two clips
of the very same film can be, so that noise does not count as a difference.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lps_sim import Camera, Degrader, FilmModel
from lps_sim.apply import film_camera
from lps_sim.film import check_layers
from lps_sim.transfer import inverse_eotf

from .similarity import (
    FEWEST_SIDE_PX,
    band_contrast,
    mean_square,
    psnr,
    radial_edges,
    radial_sums,
    spectrum,
    ssim,
)

Codes = NDArray[np.uint8]
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # Rec. ITU-R BT.709

PSNR_MARGIN_DB, PSNR_ENOUGH_DB = 3.0, 35.0
SSIM_SHARE = 0.95
NOISE_RATIO = 1.25
TRANSFER_MARGIN = 0.1
CONTRAST_RATIO = 1.1
THRESHOLDS = {
    "psnr": f"at most {PSNR_MARGIN_DB:g} dB below that of two simulations, or {PSNR_ENOUGH_DB:g} dB",
    "ssim": f"at least {SSIM_SHARE:g} of that of two simulations",
    "temporal noise": f"within a factor of {NOISE_RATIO:g}",
    "transfer": f"within {TRANSFER_MARGIN:g} of 1 at every frequency where the picture stands above the noise",
    "contrast at silhouette scale": f"within a factor of {CONTRAST_RATIO:g}",
}
_CLIPPED = 250  # codes from here on say nothing of the gain
_GAIN_FRAMES = 32
_STILL_CODES, _FEWEST_STILL = 0.5, 0.01  # change a frame; share of the clip
_ABOVE_NOISE = 10.0  # in power


@dataclass(frozen=True)
class Band:
    """One band of radial frequency: its middle in cycles a picture height; ``transfer`` the filmed clip's amplitude
    where it agrees with the noise-free simulation, over the simulation's; ``amplitude`` that of all it holds, noise
    too, over the simulation's with noise; ``clear`` whether the picture stands above the noise there."""

    frequency: float
    transfer: float
    amplitude: float
    clear: bool


@dataclass(frozen=True)
class Comparison:
    """What was found. ``*_expected``: the same figure of two simulations that differ in noise alone.

    Parameters
    ----------
    frames : compared
    size : (width, height) px
    layers, gain : of film; factor in linear light that brings the simulation to the filmed clip, not judged
    psnr_db, ssim : of codes, mean over the frames
    noise_codes, noise_simulated_codes : standard deviation from frame to frame where nothing moves; None where less
        than a hundredth of the clip is still
    bands : from coarse to fine
    contrast, contrast_simulated : at a tenth of the height
    differences : what lies beyond its threshold, by how much; none: the film is a good model
    """

    frames: int
    size: tuple[int, int]
    layers: int
    gain: float
    psnr_db: float
    psnr_expected_db: float
    ssim: float
    ssim_expected: float
    noise_codes: float | None
    noise_simulated_codes: float | None
    bands: tuple[Band, ...]
    contrast: float
    contrast_simulated: float
    differences: tuple[str, ...] = ()

    @property
    def close(self) -> bool:
        """Whether every figure lies within its threshold."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the thresholds."""
        verdict = "close" if self.close else "differs"
        fields = {**asdict(self), "psnr_expected_db": _finite(self.psnr_expected_db), "psnr_db": _finite(self.psnr_db)}
        return {"verdict": verdict, **fields, "thresholds": THRESHOLDS}


@dataclass(frozen=True)
class Sample:
    """The middle frame, three times: (h, w, 3) uint8."""

    clean: Codes
    filmed: Codes
    simulated: Codes


def compare_clips(
    clean: str | os.PathLike[str],
    filmed: str | os.PathLike[str],
    film: FilmModel,
    layers: int,
    camera: Camera | None = None,
    fov_deg: float | None = None,
    border: str = "dark",
    seed: int = 0,
    on_frame: Callable[[int], None] | None = None,
) -> tuple[Comparison, Sample]:
    """Compare a filmed clip with its simulation; both are read twice, frame by frame.

    Parameters
    ----------
    clean, filmed : videos of as many frames; the clean one is brought to the filmed one's size first
    film, layers : the fitted film, and how many layers stood before the camera, 0..64
    camera : sensor and lens; default: the film's own
    fov_deg : angle across the clip's width as the camera saw it; default: the camera's whole view
    border : light from outside the clip: "dark" where the screen around it is black
    seed : of the simulated noise
    on_frame : called with the number of frames done

    Raises
    ------
    ValueError
        clips of different length or too small, layers out of range
    MediaError
        a file that is no video, or a damaged one
    """
    from lps_sim.media import iter_frames, probe

    check_layers(layers, minimum=0)
    info = probe(filmed)
    size = (info.width, info.height)
    if min(size) < FEWEST_SIDE_PX:
        raise ValueError(f"filmed must be at least {FEWEST_SIDE_PX} px a side, got {size[0]}x{size[1]}")
    camera = clip_camera(film, size, camera, fov_deg)

    def pairs() -> Iterator[tuple[Codes, Codes]]:
        resizer = Degrader(None, 0, Camera(*size, f_px=size[0]), output_size=size, noise=False)
        for clean_frame, filmed_frame in itertools.zip_longest(iter_frames(clean), iter_frames(filmed)):
            if clean_frame is None or filmed_frame is None:
                shorter = "clean" if clean_frame is None else "filmed"
                raise ValueError(f"clean and filmed must have as many frames, and {shorter} ends before the other")
            yield resizer.degrade([clean_frame])[0], filmed_frame

    gain = _fit_gain(pairs(), Degrader(film, layers, camera, border=border, noise=False), max(info.frames, 1))
    camera = camera.with_exposure(camera.exposure * gain)
    tally = _Tally([Degrader(film, layers, camera, seed=seed + k, border=border) for k in range(2)])
    for number, (clean_frame, filmed_frame) in enumerate(pairs()):
        tally.add(number, clean_frame, filmed_frame)
        if number <= info.frames // 2:
            middle = Sample(clean_frame, filmed_frame, tally.simulated)
        if on_frame:
            on_frame(number + 1)
    found = tally.result(size, layers, gain)
    return replace(found, differences=_differences(found)), middle


def clip_camera(film: FilmModel, size: tuple[int, int], camera: Camera | None, fov_deg: float | None) -> Camera:
    """The camera as if its frame were the clip: ``size`` px, ``fov_deg`` across (default: its own view)."""
    base = (camera or film_camera(film, *size)).resized(*size)
    if fov_deg is None:
        return base
    return replace(base, f_px=Camera.from_field_of_view(*size, fov_deg).f_px)


def _fit_gain(pairs: Iterator[tuple[Codes, Codes]], degrader: Degrader, frames: int) -> float:
    """Least squares in linear light over frames spread through the clip."""
    products = squares = 0.0
    for number, (clean, filmed) in enumerate(pairs):
        if number % math.ceil(frames / _GAIN_FRAMES):
            continue
        signal = degrader.signal(clean).astype(np.float64)
        known = filmed < _CLIPPED
        products += float((signal * degrader.camera.decode(filmed))[known].sum())
        squares += float((signal**2)[known].sum())
    if not products > 0:
        raise ValueError("clean and filmed must hold light that no pixel clips; nothing to fit a gain to")
    return products / squares


class _Tally:
    """Sums over the frames of a clip."""

    def __init__(self, degraders: list[Degrader]) -> None:
        self._degraders, self._camera = degraders, degraders[0].camera
        self.simulated: Codes = np.zeros((1, 1, 3), np.uint8)
        self._scores: list[tuple[float, ...]] = []
        self._powers: NDArray[np.floating[Any]] | float = 0.0
        self._before: tuple[NDArray[np.float32], Codes, Codes] | None = None
        self._still, self._pixels, self._noise = 0, 0, np.zeros(2)

    def add(self, number: int, clean: Codes, filmed: Codes) -> None:
        signal = self._degraders[0].signal(clean)
        self.simulated, other = (one.degrade([clean], number)[0] for one in self._degraders)
        grey = [(picture @ LUMA) for picture in (self.simulated, other, filmed)]
        light = [self._camera.decode(picture) @ LUMA for picture in (self.simulated, filmed)]
        self._scores.append(
            (
                mean_square(filmed, self.simulated),
                mean_square(other, self.simulated),
                ssim(grey[2], grey[0]),
                ssim(grey[1], grey[0]),
                band_contrast(light[1]),
                band_contrast(light[0]),
            )
        )
        simulated_f, filmed_f, ideal_f = (spectrum(picture) for picture in (*light, signal @ LUMA))
        parts = (
            (filmed_f * ideal_f.conj()).real,
            np.abs(ideal_f) ** 2,
            np.abs(filmed_f) ** 2,
            np.abs(simulated_f) ** 2,
            np.abs(simulated_f - ideal_f) ** 2,
        )
        self._powers = self._powers + np.array([radial_sums(part, signal.shape[1]) for part in parts])
        self._add_noise(signal, filmed)

    def _add_noise(self, signal: NDArray[np.float32], filmed: Codes) -> None:
        ideal = self._camera_codes(signal)
        if self._before is not None:
            moved = ideal - self._before[0]
            still = np.abs(moved) < _STILL_CODES
            for place, (now, before) in enumerate(((filmed, self._before[1]), (self.simulated, self._before[2]))):
                self._noise[place] += float(((now.astype(np.float32) - before - moved)[still] ** 2).sum() / 2)
            self._still += int(still.sum())
            self._pixels += still.size
        self._before = ideal, filmed, self.simulated

    def _camera_codes(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Codes before rounding."""
        codes = inverse_eotf(np.clip(signal, 0, 1).astype(np.float64), self._camera.transfer) * self._camera.max_code
        exact: NDArray[np.float32] = codes.astype(np.float32)
        return exact

    def result(self, size: tuple[int, int], layers: int, gain: float) -> Comparison:
        scores = np.array(self._scores).mean(axis=0)
        agree, ideal, filmed, simulated, noise = np.asarray(self._powers)
        edges = radial_edges(size[1], size[0])
        middles = np.sqrt(edges[1:] * edges[:-1])
        with np.errstate(divide="ignore", invalid="ignore"):
            transfer, amplitude = np.nan_to_num(agree / ideal), np.nan_to_num(np.sqrt(filmed / simulated))
        bands = zip(middles, transfer, amplitude, ideal > _ABOVE_NOISE * noise)
        enough = self._still > _FEWEST_STILL * self._pixels and self._still > 0
        deviations = np.sqrt(self._noise / self._still) if enough else None
        return Comparison(
            frames=len(self._scores),
            size=size,
            layers=layers,
            gain=gain,
            psnr_db=psnr(scores[0]),
            psnr_expected_db=psnr(scores[1]),
            ssim=float(scores[2]),
            ssim_expected=float(scores[3]),
            noise_codes=None if deviations is None else float(deviations[0]),
            noise_simulated_codes=None if deviations is None else float(deviations[1]),
            bands=tuple(Band(float(f), float(t), float(a), bool(c)) for f, t, a, c in bands),
            contrast=float(scores[4]),
            contrast_simulated=float(scores[5]),
        )


def _differences(found: Comparison) -> tuple[str, ...]:
    said = []
    if found.psnr_db < min(found.psnr_expected_db - PSNR_MARGIN_DB, PSNR_ENOUGH_DB):
        said.append(f"PSNR {found.psnr_db:.1f} dB, where two simulations have {found.psnr_expected_db:.1f} dB")
    if found.ssim < SSIM_SHARE * found.ssim_expected:
        said.append(f"SSIM {found.ssim:.3f}, where two simulations have {found.ssim_expected:.3f}")
    if found.noise_codes is not None and found.noise_simulated_codes is not None:
        ratio = found.noise_codes / max(found.noise_simulated_codes, 1e-9)
        if not 1 / NOISE_RATIO <= ratio <= NOISE_RATIO:
            cause = "; video compression and straightening take noise away" if ratio < 1 else ""
            said.append(f"temporal noise {ratio:.2f} times the simulated one ({found.noise_codes:.2f} codes{cause})")
    worst = max((band for band in found.bands if band.clear), key=lambda band: abs(band.transfer - 1), default=None)
    if worst is not None and abs(worst.transfer - 1) > TRANSFER_MARGIN:
        sharper = "sharper" if worst.transfer > 1 else "more blurred"
        said.append(f"{sharper} than simulated: {worst.transfer:.2f} at {worst.frequency:.1f} cycles a picture height")
    ratio = found.contrast / max(found.contrast_simulated, 1e-9)
    if not 1 / CONTRAST_RATIO <= ratio <= CONTRAST_RATIO:
        said.append(f"contrast at silhouette scale {ratio:.2f} times the simulated one")
    return tuple(said)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def draw_comparison(found: Comparison, sample: Sample, path: str | os.PathLike[str]) -> None:
    """Write a picture: the middle frame clean, filmed, simulated, their difference, and the ratios by frequency."""
    from lps_sim.files import atomic_path
    from lps_sim.report import new_figure

    figure, axes = new_figure(2, 3)
    difference = sample.filmed.astype(np.int16) - sample.simulated
    panels = {
        "clean": sample.clean,
        "filmed": sample.filmed,
        f"simulated, {found.layers} layers": sample.simulated,
        "filmed less simulated, 8 times, grey is none": np.clip(128 + 8 * difference, 0, 255).astype(np.uint8),
    }
    for axis, (title, picture) in zip(axes.ravel(), panels.items()):
        axis.imshow(picture)
        axis.set_title(title)
        axis.set_axis_off()
    axis = axes[1, 1]
    frequency = [band.frequency for band in found.bands]
    axis.semilogx(frequency, [band.amplitude for band in found.bands], ":", label="all, with noise")
    clear = [band for band in found.bands if band.clear]
    axis.semilogx([band.frequency for band in clear], [band.transfer for band in clear], "o-", label="picture")
    axis.axhspan(1 - TRANSFER_MARGIN, 1 + TRANSFER_MARGIN, alpha=0.15)
    axis.set(xlabel="cycles a picture height", ylabel="filmed / simulated", title="spectrum", ylim=(0, 2))
    ticks = [2, 5, 10, 20, 50, 100, 200, 500]
    axis.set_xticks([tick for tick in ticks if tick <= max(frequency)], minor=False)
    axis.set_xticks([], minor=True)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.legend()
    axes[1, 2].set_axis_off()
    axes[1, 2].text(0, 1, "\n".join(summary_lines(found)), va="top", fontsize="small", wrap=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})


def summary_lines(found: Comparison) -> list[str]:
    """The figures and the verdict, a line each."""
    noise = "temporal noise: too little of the clip is still"
    if found.noise_codes is not None:
        noise = f"temporal noise {found.noise_codes:.2f} codes, simulated {found.noise_simulated_codes:.2f}"
    clear = [band.transfer for band in found.bands if band.clear]
    transfer = "transfer ratio: the picture stands nowhere above the noise"
    if clear:
        transfer = f"transfer ratio {min(clear):.2f} to {max(clear):.2f} in {len(clear)} of {len(found.bands)} bands"
    verdict = ["the film is a good model of it"] if found.close else [f"differs: {text}" for text in found.differences]
    return [
        f"{found.frames} frames of {found.size[0]}x{found.size[1]}, {found.layers} layers, gain {found.gain:.3f}",
        f"PSNR {found.psnr_db:.2f} dB, two simulations {found.psnr_expected_db:.2f} dB",
        f"SSIM {found.ssim:.4f}, two simulations {found.ssim_expected:.4f}",
        noise,
        transfer,
        f"contrast at silhouette scale {found.contrast:.4f}, simulated {found.contrast_simulated:.4f}",
        *verdict,
    ]
