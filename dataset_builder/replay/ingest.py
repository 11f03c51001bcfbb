"""Cut one long recording into a data set of named clips: one sequential decode, resumed at the clip where it stopped.

With ``sync auto`` another decode goes before it, which reads brightness signatures alone: whether a frame was lost in a
scene that stands still shows only when something moves again, any number of frames later.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lps_sim import Camera, Degrader, __version__
from lps_sim.files import atomic_path, sha256_file
from lps_sim.media import probe

from ..clip import describe
from ..formats import writer_class
from ..index import Index, is_index_file, open_index
from ..layout import (
    DATASET_FILE,
    MANIFEST_FILE,
    claim_dataset,
    library_versions,
    locked,
    read_dataset,
    remove_clip,
    unfinished_files,
)
from ..manifest import ClipRow, Manifest, StoredClip
from .alignment import Alignment, align, by_offset
from .config import ReplayConfig
from .cuts import Cut, Signatures, cut_clips
from .map import ReplayMap
from .marked import MarkedReader, MarkedRecording, MarksFile, Rectifier
from .played import read_played
from .recording import FrameReader, Recording
from .report import write_report
from .response import Response

OnProgress = Callable[[str, int, int | None], None]
"""Called with (what is being done, done, total or None)."""

REPLAY_FOLDER = "replay"
_ALIGNMENT_FILE, _INDEX_FILE = "alignment.npz", "played.jsonl"
_FIGURES = ("offset", "net_drift", "clock_drift")
_ANY_VIEW_DEG = 70.0  # without film, noise and vignetting the field of view has no effect


@dataclass(frozen=True)
class ReplaySummary:
    """What a run did. ``cuts`` are all clips of the map; ``failed`` (name, reason) those that the data set lacks,
    of this run and earlier ones; ``problems`` (path, reason) of played clips that could not be compared."""

    directory: Path
    alignment: Alignment
    cuts: tuple[Cut, ...]
    done: int
    already_done: int
    failed: tuple[tuple[str, str], ...]
    problems: tuple[tuple[str, str], ...]
    report: dict[str, Any]
    frames: int
    seconds: float

    @property
    def ok(self) -> bool:
        """True when every clip of the map is a finished clip."""
        return not self.failed and not self.problems

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the clips (they stand in replay.json)."""
        return {
            "directory": str(self.directory),
            "clips": len(self.cuts),
            "done": self.done,
            "already_done": self.already_done,
            "failed": [{"name": name, "error": error} for name, error in self.failed],
            "problems": [{"path": path, "reason": reason} for path, reason in self.problems],
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "replay": {key: value for key, value in self.report.items() if key not in ("clips", "slips")},
        }


def ingest_replay(config: ReplayConfig, on_progress: OnProgress | None = None) -> ReplaySummary:
    """Cut a recording, or go on cutting it.

    Parameters
    ----------
    config : what to do
    on_progress : called per stage of the work

    Raises
    ------
    ValueError : the map, recording or played clips cannot be used, nothing in the recording matches the clips, the
        directory was made with other settings, or another run is at work on it
    OSError : the disk is full or read-only; what was finished stays, and the same call goes on from there

    A clip that lacks frames beyond what ``max_gap`` allows is recorded as failed with its reason; no clip is shortened.
    """
    started = time.monotonic()
    tell = on_progress or (lambda stage, done, total: None)
    replay_map = ReplayMap.load(config.map)
    marks = MarksFile.load(config.marks) if config.marks else None
    rate = Fraction(marks.fps if marks else probe(config.recording).fps).limit_denominator(1001)
    if not rate:
        raise ValueError(f"{config.recording}: tells no frame rate")
    root = config.destination
    with ExitStack() as stack:
        stack.enter_context(locked(root))
        if (root / DATASET_FILE).exists() and "recapture" not in read_dataset(root):
            raise ValueError(f"{root}: is a data set that was not cut from a recording; choose another directory")
        tell("hashing the recording", 0, None)
        folder = root / REPLAY_FOLDER
        recording: Recording | MarkedRecording
        if marks:
            recording = MarkedRecording(marks.beside(config.recording), folder, config.threads)
        else:
            recording = Recording(config.recording, folder, config.threads)
        claim_dataset(root, _settings(config, recording, replay_map))
        stack.enter_context(unfinished_files(root))
        manifest = stack.enter_context(Manifest(root / MANIFEST_FILE, writable=True))
        if isinstance(recording, MarkedRecording):
            alignment, signatures = recording.marks.alignment(replay_map.played_frames), None
        else:
            alignment, signatures = _aligned(config, recording, replay_map, manifest, tell)
        cuts = tuple(cut_clips(replay_map, alignment, config.max_gap, signatures))
        manifest.add(ClipRow(cut.clip.name, str(config.recording.resolve()), cut.clip.label) for cut in cuts)
        left = _left(config, manifest, root, cuts)
        done = frames = 0
        with recording.reader() as reader:
            rectifier = Rectifier(config.screen, marks.boxes if marks else {}) if config.screen else None
            cutter = _Cutter(config, root, rate, reader, rectifier)
            for number, cut in enumerate(left, 1):
                error = cutter.cut(cut, manifest)
                done, frames = (done, frames) if error else (done + 1, frames + cut.clip.frames)
                tell("cutting clips", number, len(left))
        failed = {row.name: row.error for row in manifest.rows("failed")}
        problems = tuple(manifest.problems())
        report = write_report(root, config, recording, replay_map, alignment, cuts, failed)
    return ReplaySummary(
        directory=root,
        alignment=alignment,
        cuts=cuts,
        done=done,
        already_done=len(cuts) - len(failed) - done,
        failed=tuple(sorted(failed.items())),
        problems=problems,
        report=report,
        frames=frames,
        seconds=time.monotonic() - started,
    )


def _settings(config: ReplayConfig, recording: Recording | MarkedRecording, replay_map: ReplayMap) -> dict[str, Any]:
    return {
        "film": None,
        "layers": config.layers,
        "camera": None,
        "size": list(config.size) if config.size else None,
        "fit": config.fit,
        "format": config.format,
        "codec": config.codec(),
        "seed": 0,
        "recapture": {
            "recording_sha256": recording.sha256,
            "map_sha256": replay_map.sha256,
            "sync": config.sync,
            "offset": config.offset if config.sync == "offset" else None,
            "max_gap": config.max_gap,
            **({"screen_sha256": sha256_file(config.screen)} if config.screen else {}),
        },
        "source": {
            "kind": "recapture",
            "path": str(config.recording.resolve()),
            "map": str(config.map.resolve()),
            "played": str(config.played.resolve()) if config.played else None,
        },
        "package_version": __version__,
        "libraries": library_versions(),
    }


def _aligned(
    config: ReplayConfig, recording: Recording, replay_map: ReplayMap, manifest: Manifest, tell: OnProgress
) -> tuple[Alignment, Signatures | None]:
    """The data set's alignment: found once, then kept, so that every clip is cut by the same one."""
    if config.sync == "offset":
        offset = int(config.offset or 0)
        # Until it was read to its end the recording is taken to be long enough; its end then shows.
        count = recording.frames if recording.frames is not None else max(replay_map.played_frames + offset, 0)
        return by_offset(count, replay_map.played_frames, offset), None
    recorded = recording.read_signatures(lambda frames: tell("reading the recording", frames, None))
    played = read_played(
        replay_map,
        _played_index(config, recording.folder),
        recording.folder,
        config.workers,
        lambda done, total, name: tell("reading the played clips", done, total),
    )
    signatures = Signatures(recorded, played.signatures, played.known)
    kept = recording.folder / _ALIGNMENT_FILE
    if kept.is_file():
        return _load_alignment(kept), signatures
    tell("aligning", 0, None)
    alignment = align(recorded, played.signatures, played.known, config.offset)
    _save_alignment(kept, alignment)
    manifest.record_problems(played.problems)
    return alignment, signatures


def _played_index(config: ReplayConfig, folder: Path) -> Index:
    """The index of the played clips; of a folder it is kept, so that files are not probed again."""
    if config.played is None:
        raise ValueError(f"{config.played}: no such file or folder")
    kept = folder / _INDEX_FILE
    index = open_index(config.played, config.naming, kept)
    if not is_index_file(config.played, config.naming):
        index.save(kept)
    return index


def _save_alignment(path: Path, alignment: Alignment) -> None:
    arrays = vars(alignment.response) if alignment.response else {}
    arrays = {**arrays, **{name: getattr(alignment, name) for name in ("shown", "exposure", *_FIGURES)}}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _load_alignment(path: Path) -> Alignment:
    with np.load(path) as kept:
        response = Response(**{name: kept[name] for name in Response.__dataclass_fields__})
        figures = {name: kept[name].item() for name in _FIGURES}
        return Alignment(kept["shown"], **figures, exposure=kept["exposure"], response=response)


def _left(config: ReplayConfig, manifest: Manifest, root: Path, cuts: tuple[Cut, ...]) -> list[Cut]:
    """The clips to be cut by this run, in playing order."""
    wanted = set(manifest.names("pending"))
    for name in wanted:
        # Left by a run that was killed between a file's last rename and its row.
        remove_clip(root, name)
    if config.retry_failed:
        wanted |= set(manifest.names("failed"))
    return [cut for cut in cuts if cut.clip.name in wanted]


class _Cutter:
    """Writes clips of one data set from one reader."""

    def __init__(
        self,
        config: ReplayConfig,
        root: Path,
        rate: Fraction,
        reader: FrameReader | MarkedReader,
        rectifier: Rectifier | None,
    ) -> None:
        self._config, self._root, self._rate, self._reader, self._rectifier = config, root, rate, reader, rectifier
        self._codec = config.codec()
        self._writer = writer_class(config.format)
        self._resizer: Degrader | None = None

    def cut(self, cut: Cut, manifest: Manifest) -> str:
        """Write one clip and its row; the reason where it cannot be made.

        Raises OSError where further clips would fail alike.
        """
        name = cut.clip.name
        try:
            stored = self._write(cut)
        except ValueError as error:
            remove_clip(self._root, name)
            manifest.record_failed(name, describe(error))
            return describe(error)
        except OSError as error:
            raise OSError(f"stopped at clip {name}: {describe(error)}; the same command goes on from there") from error
        manifest.record_done(name, stored, self._reader.sha256, 0)
        return ""

    def _write(self, cut: Cut) -> StoredClip:
        if cut.missing:
            raise ValueError(_lacking(cut))
        first = int(cut.recorded[0])
        picture = self._picture(first, cut.clip.file)
        height, width = picture.shape[:2]
        writer = self._writer(self._root, cut.clip.name, self._rate, width, height, self._codec)
        with writer:
            for index in map(int, cut.recorded):
                if index != first:
                    first, picture = index, self._picture(index, cut.clip.file)
                writer.write(picture)
        if writer.stored is None:
            raise ValueError(f"{cut.clip.name}: nothing was stored")
        return writer.stored

    def _picture(self, index: int, file: str) -> np.ndarray:
        """A recorded frame, (h, w, 3) uint8 RGB, at the data set's size; of the screen alone where it is known."""
        picture = self._reader.at(index)
        if self._rectifier is not None:
            picture = self._rectifier.rectified(picture, file)
        if self._resizer is None:
            camera = Camera.from_field_of_view(picture.shape[1], picture.shape[0], _ANY_VIEW_DEG)
            size, fit = self._config.size, self._config.fit
            self._resizer = Degrader(None, 0, camera, output_size=size, fit=fit, noise=False)
        resized: np.ndarray = self._resizer.degrade([picture])[0]
        return resized


def _lacking(cut: Cut) -> str:
    runs: list[list[int]] = []
    for place in cut.missing:
        if runs and place == runs[-1][1] + 1:
            runs[-1][1] = place
        else:
            runs.append([place, place])
    listed = ", ".join(f"{first}..{last}" if last > first else str(first) for first, last in runs[:5])
    more = ", ..." if len(runs) > 5 else ""
    return f"the recording lacks {len(cut.missing)} of {cut.clip.frames} frames: {listed}{more}"
