"""A capture session: one HDF5 file that is whole after every shot, and goes on where it stopped.

The format is that of :mod:`lps_sim.calibration.session_file`, which reads it; here it is written. Every shot is one
change that lasts whole or not at all (:mod:`lps_sim.journal`), with a checksum. A shot that is taken again stands
beside its earlier try.
"""

from __future__ import annotations

import datetime
import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lps_sim import Camera, __version__
from lps_sim.calibration.session_file import (
    SCHEMA,
    SCHEMA_KEY,
    SHOTS,
    SessionContent,
    checksum,
    mean_codes,
    photon_transfer,
    read_frames,
    read_mean,
    read_session,
)
from lps_sim.calibration.shots import ShotGeometry
from lps_sim.files import atomic_path, held_lock
from lps_sim.journal import changing, recover

from .cameras.protocol import CameraFacts, Frame
from .plan import Plan, PlannedShot
from .screens import ScreenFacts

_COMPRESSION = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


class Session:
    """A session that is being recorded. Use :meth:`create` or :meth:`open`, both as context managers.

    One process at a time records a session; others may read it meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: SessionContent | None = None
        self._planned: tuple[PlannedShot, ...] | None = None

    @classmethod
    @contextmanager
    def create(
        cls,
        path: str | os.PathLike[str],
        plan: Plan,
        screen: ScreenFacts,
        camera: CameraFacts,
        camera_model: Camera,
        geometry: ShotGeometry | None = None,
        notes: str = "",
    ) -> Iterator[Session]:
        """A new session.

        Parameters
        ----------
        path : HDF5 file to write
        plan : shots to take
        screen, camera : what is known of them
        camera_model : f_px, and response and noise as far as they are known before the shots tell them
        geometry : where film and screen stand
        notes : free text

        Raises
        ------
        ValueError
            the file exists already, the camera's pictures are not of the model's size or code range, or another process
            records it
        """
        path = Path(path)
        if path.exists():
            raise ValueError(f"{path}: exists already; open it to go on, or choose another name")
        if (camera.width, camera.height, camera.bits) != (camera_model.width, camera_model.height, camera_model.bits):
            raise ValueError(
                f"camera_model must be of the camera's {camera.width}x{camera.height} pixels and {camera.bits} bits, "
                f"got {camera_model.width}x{camera_model.height} and {camera_model.bits}"
            )
        import h5py

        with _locked(path):
            with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
                file.attrs.update(
                    {
                        SCHEMA_KEY: SCHEMA,
                        "package_version": __version__,
                        "created": _now(),
                        "notes": notes,
                        "plan": json.dumps([shot.model_dump() for shot in plan.shots]),
                        "screen": json.dumps(screen.to_dict()),
                        "camera": json.dumps(camera.to_dict()),
                        "camera_model": json.dumps(camera_model.to_dict()),
                        "geometry": json.dumps((geometry or ShotGeometry()).model_dump()),
                    }
                )
                file.create_group(SHOTS)
            yield cls(path)

    @classmethod
    @contextmanager
    def open(cls, path: str | os.PathLike[str]) -> Iterator[Session]:
        """Go on with a session, whatever stopped it.

        Raises FileNotFoundError; ValueError for a file that is no session, or that another process records.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "no such session", str(path))
        with _locked(path):
            recover(path)
            session = cls(path)
            _ = session.content
            yield session

    @property
    def content(self) -> SessionContent:
        """What the session holds now."""
        if self._content is None:
            self._content = read_session(self.path)
        return self._content

    @property
    def planned(self) -> tuple[PlannedShot, ...]:
        """The shots of the plan, in order; a session keeps its plan."""
        if self._planned is None:
            self._planned = tuple(PlannedShot(**shot) for shot in self.content.plan)
        return self._planned

    @property
    def camera_model(self) -> Camera:
        """The camera as it was known when the session began."""
        return self.content.camera

    def add_shot(
        self, shot: PlannedShot, frames: Sequence[Frame], exposure: float, note: str = "", keep_frames: bool = True
    ) -> None:
        """Store one shot; once this returns it lasts through a power cut.

        Parameters
        ----------
        shot : of the plan; one that was taken before is taken again
        frames : as recorded, of one size
        exposure : relative and linear, as the camera took it
        note : what was odd
        keep_frames : store every frame, not their mean alone

        Raises
        ------
        ValueError
            a shot that is not in the plan, no frames, frames of another size or code range than the camera's
        OSError
            the disk is full or gone; everything that was stored before is still there
        """
        if shot.name not in {str(planned["name"]) for planned in self.content.plan}:
            raise ValueError(f"shot must be one of the plan, got {shot.name!r}")
        codes = self._checked(shot, frames)
        mean = mean_codes(codes, self.camera_model)
        with _changed(self.path) as file:
            tries = [int(group.rpartition(".")[2]) for group in file[SHOTS] if group.rpartition(".")[0] == shot.name]
            group = file[SHOTS].create_group(f"{shot.name}.{max(tries, default=0) + 1}")
            group.create_dataset("mean", data=mean, **_COMPRESSION)
            group.create_dataset("transfer", data=photon_transfer(codes, self.camera_model))
            group.create_dataset("times_s", data=np.array([frame.at_s for frame in frames]))
            group.create_dataset("numbers", data=np.array([frame.number for frame in frames], np.int64))
            if keep_frames:
                group.create_dataset("frames", data=codes, chunks=(1, *codes.shape[1:]), **_COMPRESSION)
            group.attrs.update(
                {
                    "exposure": float(exposure),
                    "frames": len(codes),
                    "taken_at": _now(),
                    "sha256": checksum((mean,)),
                    "frames_sha256": checksum(codes) if keep_frames else "",
                    "note": note,
                }
            )
        self._content = None

    def add_note(self, text: str) -> None:
        """Append a line to the session's notes."""
        with _changed(self.path) as file:
            before = str(file.attrs["notes"])
            file.attrs["notes"] = f"{before}\n{text}" if before else text
        self._content = None

    def _checked(self, shot: PlannedShot, frames: Sequence[Frame]) -> np.ndarray:
        if not frames:
            raise ValueError(f"frames of shot {shot.name} must be one or more, got none")
        camera = self.camera_model
        codes = np.stack([frame.codes for frame in frames])
        if codes.shape[1:] != (camera.height, camera.width, 3) or codes.dtype.kind != "u":
            raise ValueError(
                f"frames of shot {shot.name} must be unsigned ({camera.height}, {camera.width}, 3), got {codes.dtype} "
                f"{codes.shape[1:]}"
            )
        if int(codes.max()) > camera.max_code:
            raise ValueError(f"frames of shot {shot.name} must end at code {camera.max_code}, got {codes.max()}")
        return codes


def damaged_shots(path: str | os.PathLike[str]) -> list[str]:
    """Names of shots whose mean or frames are not what was written; reads the whole file."""
    damaged = []
    for shot in read_session(path).shots:
        try:
            read_mean(path, shot)
            read_frames(path, shot)
        except (ValueError, OSError):
            damaged.append(shot.name)
    return damaged


@contextmanager
def _changed(path: Path) -> Iterator[Any]:
    import h5py

    with changing(path) as stream, h5py.File(stream, "r+") as file:
        yield file


def _locked(path: Path) -> AbstractContextManager[None]:
    return held_lock(path.with_name(f".{path.name}.lock"), f"{path}: another process ({{}}) records it")


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
