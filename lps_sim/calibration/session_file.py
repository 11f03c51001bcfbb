"""The session file of a capture, and what a fit sees of it. HDF5; ``capture_rig.session`` writes it.

    attributes of /          lps_session (schema), package_version, created, notes; and as JSON: plan, screen, camera,
                             camera_model, geometry
    /shots/NAME.TRY          one shot; a repeated one has a higher TRY, and the last one counts
        mean                 (H, W, C) uint16 codes of the mean over the frames; 65535: saturated in some frame
        transfer             (B, 3) photon transfer: pixels, mean signal, variance from frame to frame
        frames               (K, H, W, C) as recorded, where frames are kept
        times_s, numbers     (K,) of every frame
        attributes           exposure, frames, taken_at, sha256 (of mean), frames_sha256, note

**Means of frames.** Frames are decoded to linear light, averaged, and coded again by the camera's own curve with 16
bits: that camera is the session's, and a search for a wrong curve finds it as in single pictures. The variance of a
mean of K frames is v / K, which is that of a camera with K times the full well and sqrt(K) times the read noise:
(s / (K W) + (sqrt(K) r / (K W))^2) = (s / W + (r / W)^2) / K. Full well and read noise are measured from the frames
themselves, as the line variance = s / W + (r / W)^2 through the photon transfer of all shots (EMVA 1288), so that
rounding to 8 bits, dithered by the noise, is in them. With a single frame a shot they are those of the camera model.
Light below black is lost in every frame before the mean, as it is in a single one; and where noise is too small to
dither the rounding, a mean is as coarse as one frame: the set keeps the camera of single frames for both
(``ShotSet.recorded``).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..camera import Camera
from ..journal import reading
from .shot_validation import SATURATED_SHARE

SCHEMA = 1
SCHEMA_KEY = "lps_session"
SHOTS = "shots"
FULL_SCALE = 65535
TRANSFER_BINS = 32
_LEAST_PIXELS = 200  # of a bin that the photon transfer rests on
_TRUSTED = (0.02, 0.9)  # of full scale: below, black is clipped; above, some frames saturate


@dataclass(frozen=True)
class StoredShot:
    """One taken shot of a session: the name of its plan, and what became of it."""

    name: str
    group: str
    planned: Mapping[str, Any]
    exposure: float
    frames: int
    sha256: str
    taken_at: str
    note: str


@dataclass(frozen=True)
class SessionContent:
    """Everything of a session but its pictures. ``shots`` are the latest tries, in the order of the plan."""

    plan: tuple[Mapping[str, Any], ...]
    shots: tuple[StoredShot, ...]
    camera: Camera
    geometry: Mapping[str, Any]
    screen: Mapping[str, Any]
    camera_facts: Mapping[str, Any]
    notes: str
    created: str

    @property
    def lacking(self) -> list[str]:
        """Names of planned shots that were not taken yet."""
        taken = {shot.name for shot in self.shots}
        return [str(planned["name"]) for planned in self.plan if planned["name"] not in taken]

    @property
    def simulated(self) -> bool:
        """Whether a simulated camera took the shots."""
        return bool(self.camera_facts.get("simulated"))


def is_session(path: str | os.PathLike[str]) -> bool:
    """Whether a file is HDF5, as sessions are; shots.yaml is not."""
    import h5py

    return bool(h5py.is_hdf5(os.fspath(path)))


def read_session(path: str | os.PathLike[str]) -> SessionContent:
    """What a session holds.

    Raises ValueError for a file that is no session or of a newer schema.
    """
    import h5py

    try:
        with reading(path) as stream, h5py.File(stream, "r") as file:
            if SCHEMA_KEY not in file.attrs:
                raise ValueError(f"{path}: is no session file: it has no attribute {SCHEMA_KEY}")
            schema = int(file.attrs[SCHEMA_KEY])
            if schema > SCHEMA:
                raise ValueError(
                    f"{path}: written by a newer program (schema {schema}, this one reads {SCHEMA}); update the package"
                )
            plan = tuple(json.loads(file.attrs["plan"]))
            return SessionContent(
                plan=plan,
                shots=_latest(file, plan),
                camera=Camera.from_dict(json.loads(file.attrs["camera_model"])),
                geometry=json.loads(file.attrs["geometry"]),
                screen=json.loads(file.attrs["screen"]),
                camera_facts=json.loads(file.attrs["camera"]),
                notes=str(file.attrs["notes"]),
                created=str(file.attrs["created"]),
            )
    except OSError as error:
        if not Path(path).is_file():
            raise
        raise ValueError(f"{path}: cannot be read as a session: {' '.join(str(error).split())}") from error


def _latest(file: Any, plan: tuple[Mapping[str, Any], ...]) -> tuple[StoredShot, ...]:
    tries: dict[str, tuple[int, str]] = {}
    for group in file[SHOTS]:
        name, _, number = group.rpartition(".")
        tries[name] = max(tries.get(name, (0, "")), (int(number), group))
    found = []
    for planned in plan:
        if planned["name"] in tries:
            group = tries[planned["name"]][1]
            facts = file[SHOTS][group].attrs
            found.append(
                StoredShot(
                    name=str(planned["name"]),
                    group=group,
                    planned=planned,
                    exposure=float(facts["exposure"]),
                    frames=int(facts["frames"]),
                    sha256=str(facts["sha256"]),
                    taken_at=str(facts["taken_at"]),
                    note=str(facts["note"]),
                )
            )
    return tuple(found)


def read_mean(path: str | os.PathLike[str], shot: StoredShot) -> NDArray[np.uint16]:
    """(H, W, C) uint16 codes of a shot. Raises ValueError when its checksum is not the one written with it."""
    import h5py

    with reading(path) as stream, h5py.File(stream, "r") as file:
        group = file[SHOTS][shot.group]
        mean: NDArray[np.uint16] = group["mean"][()]
    if checksum((mean,)) != shot.sha256:
        raise ValueError(f"{path}: shot {shot.name} is damaged: its checksum is another; repeat it")
    return mean


def read_light(path: str | os.PathLike[str], shot: StoredShot, camera: Camera) -> NDArray[np.float32]:
    """(H, W) mean linear light of a shot over its exposure and the channels; ``camera`` of single frames."""
    light: NDArray[np.float32] = replace(camera, bits=16).decode(read_mean(path, shot)).mean(axis=-1) / shot.exposure
    return light


def read_frames(path: str | os.PathLike[str], shot: StoredShot) -> NDArray[Any]:
    """(K, H, W, C) frames of a shot as recorded, (0,) where none were kept; ValueError for another checksum."""
    import h5py

    with reading(path) as stream, h5py.File(stream, "r") as file:
        group = file[SHOTS][shot.group]
        if "frames" not in group:
            return np.zeros(0, np.uint8)
        frames: NDArray[Any] = group["frames"][()]
        if checksum(frames) != group.attrs["frames_sha256"]:
            raise ValueError(f"{path}: frames of shot {shot.name} are damaged: their checksum is another; repeat it")
    return frames


def read_times(path: str | os.PathLike[str], shot: StoredShot) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(K,) times in seconds and (K,) running numbers of a shot's frames."""
    import h5py

    with reading(path) as stream, h5py.File(stream, "r") as file:
        group = file[SHOTS][shot.group]
        return group["times_s"][()], group["numbers"][()]


def checksum(pictures: Iterable[NDArray[Any]]) -> str:
    """SHA-256 of the bytes of pictures, one after another."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(np.ascontiguousarray(picture).tobytes())
    return digest.hexdigest()


def mean_codes(frames: NDArray[Any], camera: Camera) -> NDArray[np.uint16]:
    """16-bit codes of the mean light of frames (K, H, W, C); pixels saturated in any frame are at full scale."""
    saturated = (frames >= SATURATED_SHARE * camera.max_code).any(axis=0)
    total = np.zeros(frames.shape[1:], np.float64)
    for frame in frames:
        total += camera.decode(frame)
    codes = replace(camera, bits=16).encode(total / len(frames))
    return np.where(saturated, np.uint16(FULL_SCALE), codes)


def photon_transfer(frames: NDArray[Any], camera: Camera) -> NDArray[np.float64]:
    """(TRANSFER_BINS, 3) pixels, mean signal and variance from frame to frame, by signal; zeros for a single frame.

    The level of the whole frame may wander (a lamp, a screen's refresh): each frame is scaled to the mean level first.
    """
    table = np.zeros((TRANSFER_BINS, 3))
    if len(frames) < 2:
        return table
    light = np.stack([camera.decode(frame).astype(np.float64) for frame in frames])
    levels = light.mean(axis=tuple(range(1, light.ndim)))
    if levels.min() > 0:
        light *= (levels.mean() / levels).reshape(-1, *[1] * (light.ndim - 1))
    mean, variance = light.mean(axis=0), light.var(axis=0, ddof=1)
    usable = (mean > _TRUSTED[0]) & (mean < _TRUSTED[1]) & (frames < SATURATED_SHARE * camera.max_code).all(axis=0)
    place = np.minimum((mean[usable] * TRANSFER_BINS).astype(int), TRANSFER_BINS - 1)
    count = np.bincount(place, minlength=TRANSFER_BINS)
    for column, values in ((1, mean), (2, variance)):
        sums = np.bincount(place, values[usable], TRANSFER_BINS)
        table[:, column] = np.divide(sums, count, out=np.zeros(TRANSFER_BINS), where=count > 0)
    table[:, 0] = count
    return table


def measured_noise(tables: list[NDArray[np.float64]], camera: Camera) -> Camera:
    """The camera with full well and read noise by the photon transfer of all shots; as it is where they tell none.

    Least squares of variance = s / W + (r / W)^2, weighted by the precision of a variance, 2 v^2 / pixels.
    """
    rows = [row for table in tables for row in table if row[0] >= _LEAST_PIXELS and row[2] > 0]
    if len(rows) < 2:
        return camera
    count, signal, variance = np.array(rows).T
    weight = np.sqrt(count) / variance
    design = np.stack([signal, np.ones_like(signal)], axis=1)
    (slope, offset), *_ = np.linalg.lstsq(design * weight[:, None], variance * weight, rcond=None)
    if offset < 0:  # no read noise can be told from zero
        slope, offset = float((signal * variance * weight**2).sum() / (signal**2 * weight**2).sum()), 0.0
    if slope <= 0:
        return camera
    well = 1 / float(slope)
    return replace(camera, full_well_e=well, read_noise_e=well * float(np.sqrt(offset)))


def camera_of_frames(path: str | os.PathLike[str], content: SessionContent) -> Camera:
    """The camera of single frames, with its noise as measured from all shots."""
    import h5py

    with reading(path) as stream, h5py.File(stream, "r") as file:
        return measured_noise([file[SHOTS][shot.group]["transfer"][()] for shot in content.shots], content.camera)


def camera_of_means(single: Camera, content: SessionContent) -> Camera:
    """The camera whose pictures the means of a session are: 16 bits, with the noise of a mean.

    Shots of different numbers of frames count as of the fewest.
    """
    frames = min((shot.frames for shot in content.shots), default=1)
    return replace(
        single,
        bits=16,
        exposure=1.0,
        full_well_e=single.full_well_e * frames,
        read_noise_e=single.read_noise_e * frames**0.5,
    )
