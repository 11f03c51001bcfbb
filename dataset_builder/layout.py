"""A data set's directory: ``dataset.json``, the film beside it, the lock, and the folder of unfinished files.

::

    DST/dataset.json     what every clip was made with; a run with other settings is refused
    DST/film.h5          the film itself (absent for the clean twin)
    DST/manifest.sqlite  one row a clip
    DST/clips/<name>.mp4 or DST/frames/<name>/<i>.jpg
    DST/means/<name>.png the clip's mean frame, 16 bits, 256 times the code value
    DST/shards/<block>.h5 or .tar
                         many clips with their means, instead of clips/, frames/ and means/
    DST/parts/           finished clips whose shard is not complete yet
    DST/.partial/        files still being written; emptied when a run starts
    DST/.lock            held by the run at work; freed by the system when its process ends

With several layer counts DST holds one such directory each, ``layers-01`` to ``layers-64`` (``layers-00`` is the
clean twin). The jobs of a job array work each in ``DST/job-III-of-NNN``, until they are merged.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lps_sim.files import held_lock, write_atomic

from .manifest import PARTS, SHARDS

DATASET_FILE = "dataset.json"
DATASET_PATTERNS = (DATASET_FILE, f"*/{DATASET_FILE}", f"job-*/layers-*/{DATASET_FILE}")
"""Where data sets may lie below a folder: in it; one a layer count or job; one a layer count of each job."""
FILM_FILE = "film.h5"
MANIFEST_FILE = "manifest.sqlite"
PARTIAL = ".partial"
LOCK_FILE = ".lock"
CONTENT = ("clips", "frames", "means", PARTS, SHARDS)
PART_SUFFIXES = (".mp4", ".h5clip")
"""Endings of parts, of WebDataset and of HDF5 shards."""
_VERSION = 1
# Facts about a run that may change between runs on one data set without changing a clip's bytes.
_FREE = ("source", "package_version", "libraries")


def layers_name(layers: int) -> str:
    """``layers-08``: the folder of one of several data sets made in one pass."""
    return f"layers-{layers:02d}"


def find_datasets(path: str | os.PathLike[str]) -> list[Path]:
    """The data set directories at ``path``: itself, or those below it: ``layers-NN``, ``job-III-of-NNN`` or both.

    Raises ValueError when there is none.
    """
    root = Path(path)
    patterns = DATASET_PATTERNS[:1] if (root / DATASET_FILE).is_file() else DATASET_PATTERNS[1:]
    found = sorted(path.parent for pattern in patterns for path in root.glob(pattern))
    if not found:
        raise ValueError(f"{root}: not a data set directory (no {DATASET_FILE} in it)")
    return found


def read_dataset(root: Path) -> dict[str, Any]:
    """The contents of ``dataset.json``. Raises ValueError when it is missing, damaged or of a newer version."""
    path = root / DATASET_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{root}: not a data set directory (no {DATASET_FILE} in it)") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: damaged ({error})") from error
    if not isinstance(data, dict) or data.get("lps_dataset") != _VERSION:
        raise ValueError(f"{path}: must hold lps_dataset {_VERSION}, the version that this program reads")
    return data


def library_versions() -> dict[str, str]:
    """Versions of what a clip's bytes depend on besides this package."""
    return {name: importlib.metadata.version(name) for name in ("av", "h5py", "numpy", "opencv-python-headless")}


def claim_dataset(root: Path, settings: dict[str, Any]) -> None:
    """Write ``dataset.json``, or check that the one there was made with the same settings.

    Raises ValueError naming every setting that differs, with both values.
    """
    path = root / DATASET_FILE
    if not path.exists():
        write_atomic(path, json.dumps({"lps_dataset": _VERSION, **settings}, indent=2) + "\n")
        return
    kept = _flat({key: value for key, value in read_dataset(root).items() if key != "lps_dataset"})
    asked = _flat(json.loads(json.dumps(settings)))
    differing = [
        f"{key}: {kept.get(key)} there, {asked.get(key)} asked"
        for key in sorted(kept.keys() | asked.keys())
        if kept.get(key) != asked.get(key) and key.partition(".")[0] not in _FREE
    ]
    if differing:
        raise ValueError(f"{root}: was made with other settings ({'; '.join(differing)}); choose another directory")


def dataset_digest(settings: dict[str, Any]) -> str:
    """SHA-256 of what decides the bytes of a data set's clips: all of ``dataset.json`` that may not change."""
    facts = {key: value for key, value in settings.items() if key not in _FREE}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the directory's lock. The system frees it when the process ends, however it ends.

    Raises ValueError when another run holds it.
    """
    with held_lock(root / LOCK_FILE, f"{root}: another run (process {{}}) is at work on it"):
        yield


@contextlib.contextmanager
def unfinished_files(root: Path) -> Iterator[None]:
    """The folder of unfinished files, for a run's time: emptied at its start and gone at its end. Hold the lock."""
    shutil.rmtree(root / PARTIAL, ignore_errors=True)
    (root / PARTIAL).mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        shutil.rmtree(root / PARTIAL, ignore_errors=True)


def mean_path(name: str) -> str:
    """Where a clip's mean frame stands, relative to the data set's directory."""
    return f"means/{name}.png"


def remove_clip(root: Path, name: str) -> None:
    """Remove a clip's own output files, whichever of them exist; shards stay."""
    for relative in (f"clips/{name}.mp4", mean_path(name), *(f"{PARTS}/{name}{end}" for end in PART_SUFFIXES)):
        (root / relative).unlink(missing_ok=True)
    frames = root / "frames" / name
    if frames.is_dir():
        shutil.rmtree(frames)


def fsync_directory(path: Path) -> None:
    """Make a rename inside ``path`` last through a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
