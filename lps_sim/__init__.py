"""The film: physics, fit and application. Importing this package loads numpy and scipy only.

Public names are loaded on first use (PEP 562), so that ``import lps_sim`` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .camera import Camera
    from .fast import Degrader
    from .film import FilmModel
    from .operator import apply_film
    from .seal import LensPrivacySeal

_HOME = {
    "FilmModel": "film",
    "Camera": "camera",
    "apply_film": "operator",
    "Degrader": "fast",
    "LensPrivacySeal": "seal",  # loads torch
}

__all__ = ["Camera", "Degrader", "FilmModel", "LensPrivacySeal", "__version__", "apply_film"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
