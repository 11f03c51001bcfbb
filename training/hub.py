"""Names of the Hugging Face hub: told from paths, and turned into files of its cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""Where a folder or repository keeps its weights, the first that is there."""
_NAME = re.compile(r"\w[\w.-]*/[\w.-]+")
_FILE_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


class HubUnreachableError(ValueError):
    """A hub name that is not in the cache, and that the hub did not answer for."""


def is_hub_name(source: str | Path) -> bool:
    """Whether ``source`` reads as ``owner/name`` on the hub: no such path here, and no ending of a weights file."""
    text = str(source)
    return bool(_NAME.fullmatch(text)) and not Path(text).exists() and not text.endswith(_FILE_SUFFIXES)


def weights_file(argument: str, source: str | Path, names: Sequence[str] = WEIGHT_FILES) -> Path:
    """The weights file that a source stands for.

    Parameters
    ----------
    argument : what the source is called in messages
    source : a file, a directory, or ``owner/name`` on the Hugging Face hub, whose cached copy comes first
    names : file names to look for in a directory or repository

    Raises
    ------
    ValueError
        When the directory or repository holds none of the names.
    HubUnreachableError
        When a hub name is not in the cache and the hub cannot be reached or does not know it.
    FileNotFoundError
        When there is neither file nor directory.
    """
    path = Path(source)
    if path.is_dir():
        found = next((path / name for name in names if (path / name).is_file()), None)
        if found is None:
            raise ValueError(f"{argument}: {path} holds none of {', '.join(names)}")
        return found
    if is_hub_name(source):
        return _from_hub(argument, str(source), names)
    if not path.is_file():
        raise FileNotFoundError(2, f"no such {argument}", str(path))
    return path


def cached_file(name: str, names: Sequence[str]) -> Path | None:
    """The first of ``names`` in the local copy of a hub repository; None where there is none. Asks no network."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(name, file) for file in names)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _from_hub(argument: str, name: str, names: Sequence[str]) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if (cached := cached_file(name, names)) is not None:
        return cached
    for file in names:
        try:
            return Path(hf_hub_download(name, file))
        except OSError as error:  # no network, no such repository, or no permission
            raise HubUnreachableError(
                f"{argument}: {name!r} is neither a path nor in the Hugging Face cache, and the hub gave nothing "
                f"({type(error).__name__}); fetch it once with a network, or give a file or directory"
            ) from error
        except EntryNotFoundError:
            continue
    raise ValueError(f"{argument}: {name!r} on the Hugging Face hub holds none of {', '.join(names)}")
