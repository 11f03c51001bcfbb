"""Which clean frame each recorded frame shows: offset and clock drift from brightness changes alone.

Frame k of the recording shows the clean frame ``round(start + speed k)``. Both films are block means over time. Their
differences in time cancel the veil and everything that stands still; correlated over all offsets (FFT), along tilted
lines (drift), and last frame by frame, where a recording that only ever shows whole frames tells its drift by the
moments at which it skips or repeats one. What such moments leave open is the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter, uniform_filter1d

Floats = NDArray[np.float64]

LAG = 2  # frames between the pictures that are subtracted: a step that H.264 keeps in dark, blurred video
LARGEST_DRIFT = 3e-3  # of a clock against the other that is searched; quartz differs by 1e-4
FEWEST_FRAMES = 24
_OUTLIER = 4.0  # standard deviations at which differences are clipped (cuts, a screen switched on)
_REACH = 3  # frames to either side of the line that the last step weighs up
_BLOCK_FRAMES, _MOST_BLOCKS = 12, 100  # stretches of time whose errors are taken as one
_RESAMPLES = 200
_WIDTHS = (0.7, 2.0)  # in blocks: how far a film may have spread the light of a block
_WINDOW = 41  # frames of the moving mean that takes off slow differences (exposure, veil, the still scene)


@dataclass(frozen=True)
class TimeMatch:
    """Recorded frame k shows clean frame ``round(start + speed k)``.

    Parameters
    ----------
    start : clean frame at recorded frame 0; -168 when 168 frames were recorded before the first
    speed : clean frames a recorded frame
    drift : speed / nominal speed - 1
    start_interval, drift_interval : 95 %, from resampled stretches of time and what whole frames leave open
    correlation : of the temporal differences at this match, 0..1
    runner_up : the correlation that the best offset elsewhere is worth at this match's overlap
    clean_index : (T,) clean frame of every recorded frame; -1 where the clip does not reach
    """

    start: float
    speed: float
    drift: float
    start_interval: tuple[float, float]
    drift_interval: tuple[float, float]
    correlation: float
    runner_up: float
    clean_index: NDArray[np.intp]

    @property
    def matched(self) -> NDArray[np.intp]:
        """Recorded frames that show a clean frame."""
        return np.flatnonzero(self.clean_index >= 0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return {
            "start_frame": self.start,
            "start_frame_interval": list(self.start_interval),
            "frames_before_the_clip": max(0.0, -self.start / self.speed),
            "speed": self.speed,
            "drift": self.drift,
            "drift_interval": list(self.drift_interval),
            "correlation": self.correlation,
            "runner_up": self.runner_up,
            "matched_frames": int(self.matched.size),
        }


def match_times(clean: NDArray[Any], filmed: NDArray[Any], speed: float = 1.0, seed: int = 0) -> TimeMatch:
    """Find offset and drift between two films of block means.

    Parameters
    ----------
    clean, filmed : (T, rows, columns) linear luminance; lengths may differ
    speed : nominal clean frames a recorded frame (frame rate of the clean material over that of the recording)
    seed : of the resampling behind the intervals

    Raises
    ------
    ValueError
        fewer than 24 frames, or nothing that moves
    """
    for name, film in (("clean", clean), ("filmed", filmed)):
        if len(film) < FEWEST_FRAMES:
            raise ValueError(f"{name} must have at least {FEWEST_FRAMES} frames to be matched in time, got {len(film)}")
    played = np.asarray(clean, dtype=float)
    if speed != 1.0:
        played = played[np.rint(speed * np.arange(int((len(clean) - 1) / speed) + 1)).astype(int)]
    x, y = _shares(played), _shares(np.asarray(filmed, dtype=float))
    dx, dy = _changes(x), _changes(y)
    whole_lag, correlation, runner_up = _best_lag(dx, dy)
    lag, slope = _best_line(dx, dy, whole_lag)
    start, rate, start_interval, rate_interval = _best_steps(x, y, played.shape[1:], lag, slope, seed)
    index = np.rint(speed * np.rint(start + rate * np.arange(len(filmed)))).astype(np.intp)
    index[(index < 0) | (index >= len(clean))] = -1
    return TimeMatch(
        start=speed * start,
        speed=speed * rate,
        drift=rate - 1,
        start_interval=(speed * start_interval[0], speed * start_interval[1]),
        drift_interval=(rate_interval[0] - 1, rate_interval[1] - 1),
        correlation=correlation,
        runner_up=runner_up,
        clean_index=index,
    )


def _shares(film: Floats) -> Floats:
    """(T, B): each block's share of its frame's light, free of exposure; a floor keeps black frames quiet."""
    flat = film.reshape(len(film), -1)
    total = flat.mean(axis=1)
    return flat / (total + 0.05 * np.quantile(total, 0.9) + 1e-6)[:, None]


def _changes(shares: Floats) -> Floats:
    """Differences over LAG frames, (T - LAG, B); outliers clipped to their scale."""
    difference = shares[LAG:] - shares[:-LAG]
    # Most frames of a recording may stand still (the screen before the clip): the scale is that of what moves.
    energy = np.sqrt((difference**2).mean(axis=1))
    moving = energy[energy > 0.1 * np.quantile(energy, 0.9)] if energy.max() > 0 else energy
    scale = float(np.median(moving)) if moving.size else 0.0
    if not scale > 1e-7:
        raise ValueError("nothing moves in the material, so it cannot be matched in time")
    factor = np.minimum(1.0, _OUTLIER * scale / np.maximum(energy, 1e-12))
    return difference * factor[:, None]


def _best_lag(dx: Floats, dy: Floats) -> tuple[int, float, float]:
    """(lag, correlation there, the next best offset's worth): recorded frame k shows played frame k + lag."""
    size = fft.next_fast_len(len(dx) + len(dy), True)
    product = fft.rfft(dx, size, axis=0) * np.conj(fft.rfft(dy, size, axis=0))
    raw = fft.irfft(product.sum(axis=1), size)
    lags = np.arange(-(len(dy) - 1), len(dx))
    numerator = raw[lags % size]
    sums = [np.concatenate([[0.0], np.cumsum((d**2).sum(axis=1))]) for d in (dx, dy)]
    first = np.maximum(0, -lags)
    last = np.minimum(len(dy), len(dx) - lags)
    energy = (sums[0][last + lags] - sums[0][first + lags]) * (sums[1][last] - sums[1][first])
    overlap = last - first
    floor = 1e-3 * sums[0][-1] * sums[1][-1]
    correlation = np.where(energy > floor, numerator / np.sqrt(np.maximum(energy, floor)), 0.0)
    enough = overlap >= max(FEWEST_FRAMES // 2, 0.2 * min(len(dx), len(dy)))
    # Log-likelihood gained by the match: correlation alone would favour short overlaps.
    gain = np.where(enough & (correlation > 0), -overlap * np.log1p(-(np.minimum(correlation, 0.999999) ** 2)), 0.0)
    best = int(gain.argmax())
    if gain[best] <= 0:
        raise ValueError("the filmed material's changes do not match the clean material's at any offset")
    elsewhere = enough & (np.abs(lags - lags[best]) > 12)
    runner_up = float(np.max(gain[elsewhere], initial=0.0))
    return int(lags[best]), float(correlation[best]), float(np.sqrt(-np.expm1(-runner_up / overlap[best])))


def _best_line(dx: Floats, dy: Floats, lag: int) -> tuple[float, float]:
    """(lag at the middle of the overlap, slope of the lag): the line of largest summed correlation."""
    reach = 3 + int(np.ceil(LARGEST_DRIFT * len(dy)))
    first, last = max(0, -lag), min(len(dy), len(dx) - lag)
    shifts = np.arange(-reach, reach + 1)
    k = np.arange(first, last)
    product = np.zeros((shifts.size, k.size))
    for row, shift in enumerate(shifts):
        at = k + lag + shift
        inside = (at >= 0) & (at < len(dx))
        product[row, inside] = (dx[at[inside]] * dy[k[inside]]).sum(axis=1)
    # Whole stretches of time, so that drifts are tried on a few sums; each holds still within a fraction of a frame.
    edges = np.unique(np.linspace(0, k.size, max(2, min(200, k.size // 12)) + 1).astype(int))
    curves = np.add.reduceat(product, edges[:-1], axis=1)
    centre = k[0] + (edges[:-1] + edges[1:]) / 2 - (first + last) / 2
    offsets = np.arange(-3, 3.01, 0.1)
    best = (-np.inf, 0.0, 0.0)
    for slope in sorted(np.linspace(-LARGEST_DRIFT, LARGEST_DRIFT, 241), key=abs):
        position = offsets[:, None] + slope * centre[None, :] + reach
        base = np.clip(np.floor(position).astype(int), 0, shifts.size - 2)
        weight = np.clip(position - base, 0, 1)
        column = np.arange(centre.size)[None, :]
        score = ((1 - weight) * curves[base, column] + weight * curves[base + 1, column]).sum(axis=1)
        # Between drifts that explain as much the smallest wins.
        top = float(score.max()) * (1 - 1e-3 * abs(slope) / LARGEST_DRIFT)
        if top > best[0]:
            best = (top, float(offsets[score.argmax()]), float(slope))
    middle = (first + last) / 2
    return lag + best[1] - best[2] * middle, best[2]


def _best_steps(
    x: Floats, y: Floats, blocks: tuple[int, ...], start: float, slope: float, seed: int
) -> tuple[float, float, tuple[float, float], tuple[float, float]]:
    """(start, rate, their intervals): least squares over recordings of whole frames around a first line."""
    k = np.arange(len(y))
    line = start + (1 + slope) * k
    # The whole window of candidates must lie inside both films, or the ends would favour what cannot be compared.
    near = np.rint(line).astype(int)
    inside = (near >= _REACH) & (near < len(x) - _REACH)
    if inside.sum() < FEWEST_FRAMES // 2:
        inside = (near >= 0) & (near < len(x))
    k, near, line = k[inside], near[inside], line[inside]
    target, (candidates, centre) = _mapped(x, y, blocks, k, near)
    error = np.stack([_squares(target, candidates[j], centre) for j in range(2 * _REACH + 1)])
    middle, half = (k[0] + k[-1]) / 2, max((k[-1] - k[0]) / 2, 1.0)
    edges = np.unique(np.linspace(0, k.size, int(np.clip(k.size // _BLOCK_FRAMES, 3, _MOST_BLOCKS)) + 1).astype(int))[
        :-1
    ]
    offsets = np.arange(-1.5, 1.501, 0.05)
    slips = np.arange(-2.0, 2.001, 0.05)  # at the ends, in frames
    slips = slips[np.abs(slope + slips / half) <= LARGEST_DRIFT + 0.05 / half]
    parts = np.empty((offsets.size, slips.size, edges.size))
    column = np.arange(k.size)
    for b, slip in enumerate(slips):
        tilted = line + slip * (k - middle) / half - near
        for a, offset in enumerate(offsets):
            step = np.clip(np.rint(tilted + offset).astype(int), -_REACH, _REACH) + _REACH
            parts[a, b] = np.add.reduceat(error[step, column], edges)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(edges.size, np.full(edges.size, 1 / edges.size), size=_RESAMPLES)
    whole = parts.sum(axis=2)
    chosen = _plateau(whole)
    steady = int(np.abs(slope + slips / half).argmin())
    level = int(whole[:, steady].argmin())
    best = np.unravel_index(whole.argmin(), whole.shape)
    if _no_worse(parts[level, steady], parts[best]):
        # No frame was surely skipped: the clocks are taken to agree, which keeps noise out of the match.
        chosen = np.zeros_like(chosen)
        chosen[:, steady] = _plateau(whole[:, steady])
    drawn = np.array([_centre(_plateau(parts @ count), offsets, slips) for count in counts])
    offset, slip = _centre(chosen, offsets, slips)
    rows, columns = np.nonzero(chosen | _plateau(whole))
    step_o, step_s = offsets[1] - offsets[0], slips[1] - slips[0]
    spread_o, spread_s = np.percentile(drawn, [2.5, 97.5], axis=0).T
    low_o, high_o = min(offsets[rows.min()], spread_o[0]) - step_o, max(offsets[rows.max()], spread_o[1]) + step_o
    low_s, high_s = min(slips[columns.min()], spread_s[0]) - step_s, max(slips[columns.max()], spread_s[1]) + step_s
    rate = 1 + slope + slip / half
    return (
        float(start + offset - slip * middle / half),
        float(rate),
        _sorted(start + low_o - high_s * middle / half, start + high_o - low_s * middle / half),
        _sorted(1 + slope + low_s / half, 1 + slope + high_s / half),
    )


def _sorted(a: float, b: float) -> tuple[float, float]:
    return (float(min(a, b)), float(max(a, b)))


def _no_worse(error: Floats, least: Floats) -> bool:
    """Whether errors by stretches of time exceed the least ones by less than twice their difference's spread."""
    excess = (error - least)[error != least]
    return bool(excess.size < 3 or excess.sum() <= 2 * np.sqrt(excess.size) * excess.std(ddof=1))


def _plateau(error: Floats) -> NDArray[np.bool_]:
    """Where the error is the least to rounding: lines that give the same whole frames."""
    return error <= error.min() * (1 + 1e-9) + 1e-15


def _centre(chosen: NDArray[np.bool_], offsets: Floats, slips: Floats) -> tuple[float, float]:
    rows, columns = np.nonzero(chosen)
    return float(offsets[rows].mean()), float(slips[columns].mean())


def _mapped(
    x: Floats, y: Floats, blocks: tuple[int, ...], k: NDArray[np.intp], near: NDArray[np.intp]
) -> tuple[Floats, tuple[Any, Floats]]:
    """Recorded blocks free of slow differences, and the played ones as the film would show them, shifted -3..3."""
    cubes = [x.reshape(-1, *blocks)]
    cubes += [gaussian_filter(cubes[0], (0, width, width), mode="nearest") for width in _WIDTHS]
    quick_y = _quick(y[k])
    at = [np.clip(near + shift, 0, len(x) - 1) for shift in range(-_REACH, _REACH + 1)]
    flats = [cube.reshape(len(x), -1) for cube in cubes]
    middle = [_quick(flat[at[_REACH]]) for flat in flats]
    gram = np.array([[float((a * b).sum()) for b in middle] for a in middle])
    side = np.array([float((a * quick_y).sum()) for a in middle])
    weights = np.linalg.solve(gram + 1e-3 * np.trace(gram) * np.eye(len(middle)), side)
    slow = [uniform_filter1d(flat[at[_REACH]], _WINDOW, axis=0, mode="nearest") for flat in flats]
    shown = [sum(w * (flat[a] - s) for w, flat, s in zip(weights, flats, slow)) for a in at]
    residual = quick_y - shown[_REACH]
    scale = np.sqrt((residual**2).mean(axis=0)) + 1e-3 * float(np.sqrt((residual**2).mean())) + 1e-12
    return quick_y, (shown, scale)


def _quick(series: Floats) -> Floats:
    return series - uniform_filter1d(series, _WINDOW, axis=0, mode="nearest")


def _squares(target: Floats, shown: Floats, scale: Floats) -> Floats:
    """(T,) robust squared differences in units of their scale."""
    ratio = (target - shown) / scale
    return (2 * (np.sqrt(1 + ratio**2) - 1)).sum(axis=1)
