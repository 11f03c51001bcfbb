"""What a data set says of itself, without its clips: dataset.json, film and manifest, here or fetched from a URL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lps_sim.files import atomic_path

from .layout import DATASET_FILE, DATASET_PATTERNS, FILM_FILE, MANIFEST_FILE, find_datasets
from .storage import Location, Remote, below, scratch_folder


def fetch_records(remote: Remote, root: Path) -> None:
    """Bring ``root`` to the state of a remote data set's records, whatever stood there before."""
    root.mkdir(parents=True, exist_ok=True)
    for file in (DATASET_FILE, FILM_FILE, MANIFEST_FILE, f"{MANIFEST_FILE}-wal", f"{MANIFEST_FILE}-shm"):
        (root / file).unlink(missing_ok=True)
    for file in (DATASET_FILE, FILM_FILE, MANIFEST_FILE):
        if remote.exists(file):
            with atomic_path(root / file) as temporary:
                remote.get(file, temporary)


@contextlib.contextmanager
def local_records(location: Location) -> Iterator[list[tuple[Location, Path]]]:
    """The data sets at a location as :func:`dataset_builder.layout.find_datasets` finds them, each with a local folder
    that holds its records: itself, or a copy of a remote one's for the block's time.

    Raises ValueError when there is none.
    """
    if isinstance(location, Path):
        yield [(root, root) for root in find_datasets(location)]
        return
    remote = Remote(location)
    with scratch_folder(None) as folder:
        for path in [path for pattern in DATASET_PATTERNS for path in remote.match(pattern)]:
            relative = path.removeprefix(remote.path("")).strip("/").removesuffix(DATASET_FILE).strip("/")
            fetch_records(Remote(f"{location}/{relative}".rstrip("/")), folder / relative)
        roots = find_datasets(folder) if any(folder.iterdir()) else []
        if not roots:
            raise ValueError(f"{location}: not a data set directory (no {DATASET_FILE} in it)")
        yield [(below(location, root.relative_to(folder).as_posix()), root) for root in roots]
