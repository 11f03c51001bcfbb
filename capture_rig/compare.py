"""How near a filmed clip is to its clean one degraded by a film model: the sim-to-real score of a fitted film.

Both are compared as luma. Exposure and room light are the recording's, not the film's: one gain and one offset in
linear light are fitted for the clip, told, and applied to the degraded frames first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, gaussian_filter, uniform_filter

from lps_sim import Camera, Degrader, FilmModel
from lps_sim.media import iter_frames, probe
from lps_sim.transfer import eotf, inverse_eotf

Floats = NDArray[np.float64]

# Lowest and highest value with which a figure agrees.
LIMITS: dict[str, tuple[float, float]] = {
    "psnr_db": (30.0, math.inf),
    "ssim": (0.90, 1.0),
    "noise_ratio": (0.5, 2.0),
    "spectrum_ratio": (0.8, 1.25),
    "silhouette_ratio": (0.9, 1.1),
}
FEWEST_SIDE_PX = 32
_LUMA = np.array([0.2126, 0.7152, 0.0722])
_PAIRS = 12  # of neighbouring frames that are compared, spread over the clip
_SSIM_SD_PX, _SSIM_SIDE_PX, _SSIM_K = 1.5, 11, (0.01, 0.03)
_SILHOUETTE = (0.05, 0.1)  # standard deviations of the band-pass's two Gaussians, of the frame's height
_NORMAL_MAD = 1.4826
_ABOVE_NOISE = 4.0  # of the degraded clip's power over its noise's, for a frequency to count
_BAND_OCTAVES = 0.5


@dataclass(frozen=True)
class Comparison:
    """What was found. Ratios are filmed over degraded.

    Parameters
    ----------
    gain, offset : of the degraded frames in linear light, fitted
    psnr_as_is_db, psnr_db : of luma codes, without and with gain and offset
    ssim : mean over the frames (Wang et al. 2004)
    noise_filmed, noise_degraded : standard deviation of luma from frame to frame, codes of 255
    noise_ratio : of the two; NaN where the degraded clip has none
    frequencies_cpp, spectrum : middle of half-octave bands, cycles a pixel, and the amplitude ratio in each
    spectrum_ratio : geometric mean of those above the noise; NaN where none is
    silhouette_filmed, silhouette_degraded : standard deviation of luma, band-passed about a tenth of the height, over
        its mean
    silhouette_ratio : of the two
    """

    frames: int
    width: int
    height: int
    layers: int
    gain: float
    offset: float
    psnr_as_is_db: float
    psnr_db: float
    ssim: float
    noise_filmed: float
    noise_degraded: float
    noise_ratio: float
    frequencies_cpp: tuple[float, ...]
    spectrum: tuple[float, ...]
    spectrum_ratio: float
    silhouette_filmed: float
    silhouette_degraded: float
    silhouette_ratio: float

    @property
    def failed(self) -> tuple[str, ...]:
        """The figures outside their limits; what could not be told is none of them."""
        return tuple(
            name
            for name, (low, high) in LIMITS.items()
            if not math.isnan(value := getattr(self, name)) and not low <= value <= high
        )

    @property
    def verdict(self) -> str:
        """``agrees``, or ``differs`` with the figures that do."""
        return f"differs: {', '.join(self.failed)}" if self.failed else "agrees"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; what could not be told is null."""
        limits = {name: [low, None if math.isinf(high) else high] for name, (low, high) in LIMITS.items()}
        figures = {name: _known(value) for name, value in asdict(self).items()}
        return {**figures, "limits": limits, "failed": list(self.failed), "verdict": self.verdict}


@dataclass(frozen=True)
class Pictures:
    """The middle frame, (H, W, 3) uint8 each: clean, degraded (gain and offset applied) and filmed."""

    clean: NDArray[np.uint8]
    degraded: NDArray[np.uint8]
    filmed: NDArray[np.uint8]


def compare_clips(
    clean: Path, filmed: Path, film: FilmModel | None, layers: int, camera: Camera, seed: int = 0
) -> tuple[Comparison, Pictures]:
    """Degrade the clean clip and compare it with the filmed one, at the filmed one's size.

    Parameters
    ----------
    clean, filmed : videos of equally many frames, the same picture at the same number; the filmed one is rectified
    film, layers : 0..64 layers
    camera : sensor and angle of a pixel of the filmed clip, at its size or another

    Raises
    ------
    ValueError
        clips of different lengths, a single frame, or sides below 32 px
    MediaError
        a file that cannot be read
    """
    counts = [probe(path, count=True).frames for path in (clean, filmed)]
    if counts[0] != counts[1] or counts[0] < 2:
        raise ValueError(
            f"both clips must have the same frames, 2 or more, got {counts[0]} clean and {counts[1]} filmed"
        )
    size = probe(filmed)
    if min(size.width, size.height) < FEWEST_SIDE_PX:
        raise ValueError(f"sides must be {FEWEST_SIDE_PX} px or more, got {size.width}x{size.height}")
    starts = np.unique(np.linspace(0, counts[0] - 2, min(_PAIRS, counts[0] - 1)).astype(int))
    wanted = sorted({int(frame) for start in starts for frame in (start, start + 1)})
    degrader = Degrader(film, layers, camera, output_size=(size.width, size.height), seed=seed)
    middle = wanted[len(wanted) // 2]
    degraded, recorded = [], []
    for number, picture, answer in _chosen(clean, filmed, wanted):
        if number == middle:
            source = picture
        degraded.append(degrader.degrade(picture[np.newaxis], first_frame=number)[0])
        recorded.append(answer)
    light = [np.stack([eotf(codes / 255.0, "srgb") @ _LUMA for codes in clip]) for clip in (degraded, recorded)]
    gain, offset = _line(light[0].ravel(), light[1].ravel())
    plain, other = (np.stack([codes @ _LUMA for codes in clip]) for clip in (degraded, recorded))
    one = np.stack([_matched(codes, gain, offset) @ _LUMA for codes in degraded])
    pairs = [(a, a + 1) for a, (first, second) in enumerate(itertools.pairwise(wanted)) if second == first + 1]
    noise_one, noise_other = (temporal_noise(frames, pairs) for frames in (one, other))
    bands, spectra = zip(*(radial_spectrum(frames) for frames in (one, other)))
    floor = noise_one**2 * _window_power(one.shape[1:])
    clear = spectra[0] > _ABOVE_NOISE * floor
    ratios = np.sqrt(spectra[1] / np.maximum(spectra[0], 1e-12))
    band_one, band_other = (silhouette_contrast(frames) for frames in (one, other))
    comparison = Comparison(
        frames=counts[0],
        width=size.width,
        height=size.height,
        layers=layers,
        gain=gain,
        offset=offset,
        psnr_as_is_db=psnr(plain, other),
        psnr_db=psnr(one, other),
        ssim=float(np.mean([ssim(a, b) for a, b in zip(one, other)])),
        noise_filmed=noise_other,
        noise_degraded=noise_one,
        noise_ratio=noise_other / noise_one if noise_one > 0 else math.nan,
        frequencies_cpp=tuple(map(float, bands[0])),
        spectrum=tuple(map(float, ratios)),
        spectrum_ratio=float(np.exp(np.log(ratios[clear]).mean())) if clear.any() else math.nan,
        silhouette_filmed=band_other,
        silhouette_degraded=band_one,
        silhouette_ratio=band_other / band_one if band_one > 0 else math.nan,
    )
    place = wanted.index(middle)
    shown = np.clip(np.rint(_matched(degraded[place], gain, offset)), 0, 255).astype(np.uint8)
    return comparison, Pictures(source, shown, recorded[place])


def _chosen(clean: Path, filmed: Path, wanted: list[int]) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
    chosen = set(wanted)
    for number, (one, other) in enumerate(zip(iter_frames(clean), iter_frames(filmed))):
        if number in chosen:
            yield number, one, other


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Least squares of y = gain x + offset; gain 1 for an x that does not vary."""
    spread = x - x.mean()
    power = float(spread @ spread)
    gain = float(spread @ (y - y.mean())) / power if power > 1e-12 * len(x) else 1.0
    return gain, float(y.mean() - gain * x.mean())


def _matched(codes: NDArray[np.uint8], gain: float, offset: float) -> Floats:
    """Codes 0..255, not rounded, after gain and offset in linear light."""
    light = np.clip(gain * eotf(codes / 255.0, "srgb") + offset, 0, 1)
    matched: Floats = 255 * inverse_eotf(light, "srgb")
    return matched


def psnr(one: Floats, other: Floats) -> float:
    """Peak signal-to-noise ratio of codes 0..255, dB; infinite for equal arrays."""
    error = float(((one - other) ** 2).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(one: Floats, other: Floats) -> float:
    """Mean structural similarity of two (H, W) pictures of codes 0..255, as published: an 11 x 11 Gaussian window of
    1.5 px, K1 = 0.01, K2 = 0.03, where the window lies inside (Wang, Bovik, Sheikh & Simoncelli 2004, eq. 13)."""
    if one.shape != other.shape or min(one.shape) < _SSIM_SIDE_PX:
        raise ValueError(f"both must have one shape of at least {_SSIM_SIDE_PX} px, got {one.shape} and {other.shape}")
    c1, c2 = ((k * 255) ** 2 for k in _SSIM_K)
    x, y = one.astype(np.float64), other.astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x, var_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return float((luminance * structure).mean())


def _windowed(values: Floats) -> Floats:
    reach = _SSIM_SIDE_PX // 2
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SSIM_SD_PX) ** 2)
    window /= window.sum()
    mean: Floats = correlate1d(correlate1d(values, window, axis=0), window, axis=1)[reach:-reach, reach:-reach]
    return mean


def temporal_noise(frames: Floats, pairs: list[tuple[int, int]]) -> float:
    """Standard deviation of what is fine and changes between neighbouring frames, by the median: motion hardly counts.

    ``frames`` (T, H, W); ``pairs`` of neighbours. The difference has its 3 x 3 mean taken off, which leaves 8/9 of
    white noise's variance.
    """
    rest = [(d := frames[b] - frames[a]) - uniform_filter(d, 3, mode="reflect") for a, b in pairs]
    return float(_NORMAL_MAD * np.median(np.abs(np.stack(rest))) / math.sqrt(2 * 8 / 9))


def radial_spectrum(frames: Floats) -> tuple[Floats, Floats]:
    """(frequencies in cycles a pixel, power): mean power of Hann-windowed frames in rings of half an octave."""
    height, width = frames.shape[1:]
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.mean([np.abs(np.fft.rfft2((frame - frame.mean()) * window)) ** 2 for frame in frames], axis=0)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    lowest = 2.0 / min(height, width)
    edges = 0.5 * 2.0 ** (-_BAND_OCTAVES * np.arange(math.floor(math.log2(0.5 / lowest) / _BAND_OCTAVES), -1, -1))
    ring = np.digitize(radius, edges)
    rings = range(1, len(edges))
    return np.sqrt(edges[1:] * edges[:-1]), np.array([power[ring == number].mean() for number in rings])


def _window_power(shape: tuple[int, ...]) -> float:
    """Power of white noise of variance 1 under the window of :func:`radial_spectrum`."""
    return float((np.hanning(shape[0]) ** 2).sum() * (np.hanning(shape[1]) ** 2).sum())


def silhouette_contrast(frames: Floats) -> float:
    """Standard deviation of luma in a band about a tenth of the height (difference of two Gaussians), over its mean."""
    height = frames.shape[1]
    near, far = (share * height for share in _SILHOUETTE)
    bands = [gaussian_filter(frame, near) - gaussian_filter(frame, far) for frame in frames]
    mean = float(frames.mean())
    return float(np.std(bands) / mean) if mean > 0 else 0.0


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_page(path: Path, comparison: Comparison, pictures: Pictures, lead: str) -> None:
    """One HTML page: the verdict, the figures with their limits, the three pictures and the spectrum's ratio."""
    from lps_sim.report import Page, gallery, new_figure, paragraph, picture, table

    figure, axes = new_figure()
    axes[0, 0].semilogx(comparison.frequencies_cpp, comparison.spectrum, marker="o")
    axes[0, 0].axhspan(*LIMITS["spectrum_ratio"], alpha=0.15)
    axes[0, 0].set(xlabel="cycles a pixel", ylabel="filmed / degraded", ylim=(0, 2), title="Amplitude by frequency")
    rows = [
        [name, getattr(comparison, name), low, None if math.isinf(high) else high, name not in comparison.failed]
        for name, (low, high) in LIMITS.items()
    ]
    shown = [
        picture(getattr(pictures, name), caption, f"The clip's middle frame, {name}.")
        for name, caption in (
            ("clean", "Clean"),
            ("degraded", "Degraded by the model, gain and offset applied"),
            ("filmed", "Filmed"),
        )
    ]
    page = Page("Simulated against filmed", lead)
    page.section(
        f"Verdict: {comparison.verdict}",
        table(rows, ("figure", "value", "at least", "at most", "agrees")),
        paragraph(f"Gain {comparison.gain:.3f} and offset {comparison.offset:.4f} in linear light were fitted first."),
    )
    page.section("Middle frame", gallery(*shown))
    page.section("Spectrum", picture(figure, "1 is agreement.", "Ratio of amplitudes over spatial frequency."))
    page.write(path)
