"""The gate's view of registration: how far the filmed picture lies beside the bare one, and how well that is known.

    Y(q) = H(|q|) X(q) exp(-2 pi i q d) + N(q)

A film blurs symmetrically, so that the phase between the bare and the filmed picture is the shift d alone, whatever the
blur H. d is the weighted least-squares fit to that phase (Gauss-Newton from the best of two starts), with H and the
residual power measured in rings of |q|; its covariance follows from the residual, which holds noise and misfit alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter
from scipy.signal.windows import tukey

Floats = NDArray[np.float64]

_SMOOTH = 1 / 16  # of the width: veil, vignetting and halo are smoother than this
_TAPER = 0.1  # of the frame, so that its border is no edge
_RINGS = 40
_HIGHEST_CPP = 0.3  # lens and pixels leave little beyond
_SEARCH_PX = 12
_STEPS = 8
_PRECISE_PX = 1.0  # an axis that is known less well (along an edge, under a wide blur) is not judged
# A taper couples neighbouring frequencies: so many fewer are independent.
_COUPLING = 2.0
# On the plane of the sensor a kernel that is round in angle leans outward by about tan(theta)/cos^2(theta) sigma^2 / f;
# over a scene that is not centred, a third of its value at half the view remains.
_LEAN = 0.35


@dataclass(frozen=True)
class Shift:
    """shift_px : (2,) y, x of the filmed picture against the bare one; information : (2, 2), the inverse covariance in
    1/px^2; lean_px : how far a wide kernel alone can push the estimate."""

    shift_px: Floats
    information: Floats
    lean_px: float

    def certain_px(self) -> float:
        """The largest part of the shift beyond two standard deviations and the lean, along any axis that is known to
        a pixel; at least 0."""
        values, axes = np.linalg.eigh(self.information)
        sd = 1 / np.sqrt(np.maximum(values, 1e-12))
        known = 2 * sd + self.lean_px < _PRECISE_PX
        along = np.abs(axes.T @ self.shift_px)
        return float(np.where(known, along - 2 * sd - self.lean_px, 0.0).clip(0).max())

    def precision_px(self) -> float:
        """Two standard deviations plus lean along the best-known axis."""
        return float(2 / np.sqrt(max(float(np.linalg.eigvalsh(self.information).max()), 1e-12)) + self.lean_px)


class Registration:
    """The shift of filmed pictures against one bare picture, (H, W) linear light of one scene."""

    def __init__(self, bare: Floats, f_px: float) -> None:
        height, width = self.shape = bare.shape
        self.f_px = f_px
        self.taper = np.outer(tukey(height, 2 * _TAPER), tukey(width, 2 * _TAPER))
        q_y, q_x = np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij")
        q = np.hypot(q_y, q_x)
        self.inside = (q < _HIGHEST_CPP) & (q > 0)
        self.q_y, self.q_x = q_y[self.inside], q_x[self.inside]
        self.ring = (q[self.inside] / _HIGHEST_CPP * _RINGS).astype(int)
        self.count = np.maximum(np.bincount(self.ring, minlength=_RINGS), 1)
        self.x = self._spectrum(bare)
        self.power_x = self._rings(np.abs(self.x) ** 2)

    def shift_of(self, filmed: Floats) -> Shift:
        """Shift of the filmed picture, same shape: the likelier of two searches, from no shift and from the largest
        correlation of the pictures."""
        y = self._spectrum(filmed)
        cross, power_y = y * np.conj(self.x), self._rings(np.abs(y) ** 2)
        starts = [np.zeros(2), self._correlation_peak(cross)]
        found = [self._search(cross, power_y, start) for start in starts]
        return max(found, key=lambda pair: pair[0])[1]

    def _spectrum(self, picture: Floats) -> NDArray[np.complex128]:
        sigma = _SMOOTH * self.shape[1]
        smooth = gaussian_filter(picture, sigma, truncate=2.5)
        return rfft2((picture - smooth) * self.taper)[self.inside]

    def _rings(self, values: Floats) -> Floats:
        return np.bincount(self.ring, values, _RINGS) / self.count

    def _correlation_peak(self, cross: NDArray[np.complex128]) -> Floats:
        height, width = self.shape
        spectrum = np.zeros(self.inside.shape, complex)
        spectrum[self.inside] = cross
        reach = min(_SEARCH_PX, height // 4, width // 4)
        near = np.roll(irfft2(spectrum, s=self.shape), (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
        return np.array(np.unravel_index(np.argmax(near), near.shape), float) - reach

    def _search(self, cross: NDArray[np.complex128], power_y: Floats, start: Floats) -> tuple[float, Shift]:
        """(log likelihood, shift) by Gauss-Newton on the phase."""
        shift, q_y, q_x, power = start, self.q_y, self.q_x, np.abs(self.x) ** 2
        for _ in range(_STEPS):
            turned = cross * np.exp(2j * np.pi * (q_y * shift[0] + q_x * shift[1]))
            s_xy = np.maximum(self._rings(turned.real), 0)
            transfer = s_xy / np.maximum(self.power_x, 1e-30)
            rest = np.maximum(power_y - transfer * s_xy, 1e-6 * power_y + 1e-30)
            gain = (transfer / rest)[self.ring] * 2 / _COUPLING
            weight = gain * transfer[self.ring] * power * (2 * np.pi) ** 2
            mixed = (weight * q_y * q_x).sum()
            information = np.array([[(weight * q_y**2).sum(), mixed], [mixed, (weight * q_x**2).sum()]])
            force = -2 * np.pi * np.array([(gain * turned.imag * q_y).sum(), (gain * turned.imag * q_x).sum()])
            step = np.linalg.pinv(information, rcond=1e-6, hermitian=True) @ force
            shift = shift + np.clip(step, -1, 1)
        likelihood = float((self.count * np.log(np.maximum(power_y, 1e-30) / rest)).sum())
        return likelihood, Shift(shift, information, _LEAN * _blur_px(transfer) ** 2 / self.f_px)


def combine(shifts: list[Shift]) -> Shift:
    """The one shift behind several scenes; where they scatter more than they claim, the information falls."""
    total = sum((one.information for one in shifts), np.zeros((2, 2)))
    mean = np.linalg.pinv(total, rcond=1e-6, hermitian=True) @ sum(
        (one.information @ one.shift_px for one in shifts), np.zeros(2)
    )
    excess = sum(float((one.shift_px - mean) @ one.information @ (one.shift_px - mean)) for one in shifts)
    free = max(2 * (len(shifts) - 1), 1)
    return Shift(mean, total / max(1.0, excess / free), float(np.mean([one.lean_px for one in shifts])))


def _blur_px(transfer: Floats) -> float:
    """Standard deviation of a Gaussian that falls to 0.6 where the transfer does; 0 where it does not fall so far."""
    centre = (np.arange(transfer.size) + 0.5) * _HIGHEST_CPP / _RINGS
    low = np.flatnonzero(transfer < 0.6 * transfer[0])
    if not low.size:
        return 0.0
    return float(np.sqrt(-np.log(0.6) / 2) / np.pi / centre[low[0]])
