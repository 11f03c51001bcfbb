"""What a fitted film predicts for its own shots, beside what was measured: pictures, residuals, edge spread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..camera import Camera
from ..film import FilmModel
from ..operator import apply_film
from ..scattering import Scattering
from .columns import MODEL_FLOOR
from .observations import Observations, decimate

Floats = NDArray[np.float64]

_WIDTH = 320  # of the pictures to compare: wider ones are area-averaged by a common divisor of their sides
_ESF_BINS = 80
_ESF_CROWDING = 3.0  # bins are narrower at the edge: sinh spacing
_LEAST_BIN_PX = 0.5
_STRAIGHT = 0.1  # ratio of the gradient tensor's eigenvalues: above, there is no single straight edge


@dataclass(frozen=True)
class PredictedScene:
    """One filmed scene at one layer count and channel, measured and predicted.

    Parameters
    ----------
    scene, target, layers, files : as filmed
    bare, measured, predicted : (h, w) linear light, area-averaged; predicted = g_N K_N bare
    variance : (h, w) of measured, infinite where it holds a saturated pixel
    pitch_px : camera pixels a pixel of these pictures
    """

    scene: str
    target: str
    layers: int
    files: tuple[str, ...]
    bare: Floats
    measured: Floats
    predicted: Floats
    variance: Floats
    pitch_px: int

    @property
    def residual(self) -> Floats:
        """(h, w) measured - predicted in units of noise and the 0.2 % floor; NaN where saturated."""
        scale = np.sqrt(self.variance + (MODEL_FLOOR * self.measured) ** 2)
        return np.where(np.isfinite(scale), (self.measured - self.predicted) / scale, np.nan)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready summary: names, residuals as rms and shares, relative rms; no pictures."""
        residual, light = self.residual, self.measured
        known = np.isfinite(residual)
        off = (self.measured - self.predicted)[known]
        return {
            "scene": self.scene,
            "target": self.target,
            "layers": self.layers,
            "files": list(self.files),
            "pixels": int(known.sum()),
            "saturated_share": float(1 - known.mean()),
            "rms_in_noise": float(np.sqrt((residual[known] ** 2).mean())) if known.any() else None,
            "share_beyond_3": float((np.abs(residual[known]) > 3).mean()) if known.any() else None,
            "relative_rms": float(np.sqrt((off**2).mean() / (light[known] ** 2).mean())) if known.any() else None,
        }


def pictures_behind(
    film: FilmModel, layers: int, pictures: Sequence[Floats], camera: Camera, channel: int
) -> list[Floats]:
    """K_N x of many pictures of one channel: transmittance 1, no veil, all dark outside the frame.

    Parameters
    ----------
    film, layers, camera : as of :func:`lps_sim.operator.apply_film`
    pictures : (H, W) each, linear light or any part of it (a blur is linear)
    channel : 0..2 of the film
    """

    def alone(values: Floats) -> Floats:
        return np.full(3, values[channel])

    # All channels are made that one, so that three pictures pass the operator at a time.
    plain = replace(
        film,
        sigma_rad=alone(film.sigma_rad),
        components=tuple(Scattering(c.kind, alone(c.tau), alone(c.s_rad), alone(c.beta)) for c in film.components),
        veil_table={},
    )
    passed = plain.transmittance(layers)
    behind: list[Floats] = []
    for start in range(0, len(pictures), 3):
        part = list(pictures[start : start + 3])
        light = np.stack(part + [part[-1]] * (3 - len(part)), axis=-1)
        filmed = apply_film(light, plain, layers, camera, border="dark")
        behind += [filmed[..., k] / passed[k] for k in range(len(part))]
    return behind


def film_channel(channel: int, channels: int) -> int:
    """The film's channel for one of a set's: a grey set's only one is the film's green."""
    return 1 if channels == 1 else channel


def predict_scenes(
    film: FilmModel, gains: Mapping[int, Sequence[float]], seen: Observations, camera: Camera, channel: int
) -> Iterator[PredictedScene]:
    """Every filmed scene beside its prediction, layer count by layer count.

    Parameters
    ----------
    film : its scattering and geometry; light comes from the gains, the veil is off in ``seen``
    gains : layers -> (C,) fitted gain; scenes of other layer counts are left out
    seen : of :func:`lps_sim.calibration.observations.observe`
    camera : of the shots
    channel : 0..C-1
    """
    factor = next(
        (d for d in range(-(-camera.width // _WIDTH), 33) if camera.width % d == 0 and camera.height % d == 0), 1
    )
    small = camera.resized(camera.width // factor, camera.height // factor)
    for layers in sorted({entry.layers for entry in seen.scenes} & set(gains)):
        entries = [entry for entry in seen.scenes if entry.layers == layers]
        bare = [decimate(entry.x[..., channel], factor) for entry in entries]
        which = film_channel(channel, entries[0].x.shape[-1])
        for entry, x, filmed in zip(entries, bare, pictures_behind(film, layers, bare, small, which)):
            yield PredictedScene(
                scene=entry.scene,
                target=entry.target,
                layers=layers,
                files=entry.files,
                bare=x,
                measured=decimate(entry.y[..., channel], factor),
                predicted=float(gains[layers][channel]) * filmed,
                variance=decimate(entry.y_variance[..., channel], factor) / factor**2,
                pitch_px=factor,
            )


@dataclass(frozen=True)
class EdgeSpread:
    """Edge spread function across a slanted edge (ISO 12233), from dark to bright.

    angle_deg : (B,) across the edge, 0 on it; bare, measured, sd, predicted : (B,) mean light of a bin, in units of
    the bare bright side times the layer count's gain (the bare one without the gain); sd of measured by noise
    """

    scene: str
    layers: int
    angle_deg: Floats
    bare: Floats
    measured: Floats
    sd: Floats
    predicted: Floats

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(self).items()}


def edge_spread(shot: PredictedScene, gain: float, f_px: float) -> EdgeSpread | None:
    """The edge's spread in a scene, or None where its bare picture holds no single straight edge.

    Pixels of a strip across the middle of the edge are binned by their distance from it; the edge is found in the bare
    picture, from the gradient's second moments.

    Parameters
    ----------
    shot : the scene; gain : g_N of its layer count; f_px : focal length in camera pixels
    """
    found = _straight_edge(shot.bare)
    if found is None:
        return None
    centre, normal = found
    height, width = shot.bare.shape
    y, x = np.mgrid[0:height, 0:width]
    across = (y - centre[0]) * normal[0] + (x - centre[1]) * normal[1]
    along = (x - centre[1]) * normal[0] - (y - centre[0]) * normal[1]
    known = (np.abs(along) < min(height, width) / 4) & np.isfinite(shot.variance)
    reach = 0.4 * (height if abs(normal[0]) > abs(normal[1]) else width)
    steps = np.linspace(-1, 1, _ESF_BINS + 1) * _ESF_CROWDING
    edges = reach * np.sinh(steps) / np.sinh(_ESF_CROWDING)
    kept = [edges[0]]
    for edge in edges[1:]:
        if edge - kept[-1] >= _LEAST_BIN_PX:
            kept.append(edge)
    place = np.digitize(across, kept) - 1
    known &= (place >= 0) & (place < len(kept) - 1)
    place = place[known]
    count = np.bincount(place, minlength=len(kept) - 1)
    filled = count > 0

    def mean(values: Floats) -> Floats:
        return np.asarray(np.bincount(place, values[known], minlength=count.size)[filled] / count[filled])

    bare = mean(shot.bare)
    white = float(np.quantile(bare, 0.9))
    unit = white * gain
    return EdgeSpread(
        scene=shot.scene,
        layers=shot.layers,
        angle_deg=np.degrees(mean(across) * shot.pitch_px / f_px),
        bare=bare / white,
        measured=mean(shot.measured) / unit,
        sd=np.sqrt(mean(np.where(known, shot.variance, 0.0)) / count[filled]) / unit,
        predicted=mean(shot.predicted) / unit,
    )


def _straight_edge(picture: Floats) -> tuple[Floats, Floats] | None:
    """(centre, unit normal towards the bright side), (y, x) each, of the edge in the middle half of a picture."""
    height, width = picture.shape
    slopes = [gaussian_filter(picture, 1.5, order=order) for order in ((1, 0), (0, 1))]
    top, left = height // 4, width // 4
    gradient = np.stack([slope[top : height - top, left : width - left] for slope in slopes])
    y, x = np.mgrid[top : height - top, left : width - left]
    weight = (gradient**2).sum(axis=0)
    for _ in range(3):
        total = weight.sum()
        if not total > 0:
            return None
        tensor = np.einsum("iyx,jyx,yx->ij", gradient, gradient, weight / np.maximum((gradient**2).sum(axis=0), 1e-30))
        values, vectors = np.linalg.eigh(tensor)
        normal = vectors[:, 1] * np.sign((gradient * weight).sum(axis=(1, 2)) @ vectors[:, 1] or 1.0)
        centre = np.array([(y * weight).sum(), (x * weight).sum()]) / total
        # What lies off the line (the screen's rim, dust) is taken out before the next look.
        distance = (y - centre[0]) * normal[0] + (x - centre[1]) * normal[1]
        weight = weight * (np.abs(distance) < max(height, width) / 16)
    return None if values[0] > _STRAIGHT * values[1] else (centre, normal)
