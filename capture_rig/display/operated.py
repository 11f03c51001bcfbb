"""What the operator's page asks of the run that it operates."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Preview(Protocol):
    """A small picture of what the camera sees, and what an operator has to know of it.

    Parameters
    ----------
    codes : (H, W, 3) uint8, RGB
    histogram : (3, 256) counts of the codes of each channel
    clipped_share, dark_share : share of the codes at the top and at the bottom, 0..1
    focus : a number that rises with sharpness
    at_s : ``time.monotonic()`` of the frame
    """

    @property
    def codes(self) -> NDArray[np.uint8]: ...
    @property
    def histogram(self) -> NDArray[Any]: ...
    @property
    def clipped_share(self) -> float: ...
    @property
    def dark_share(self) -> float: ...
    @property
    def focus(self) -> float: ...
    @property
    def at_s(self) -> float: ...


class Operated(Protocol):
    """A run that someone operates. Every method may be called from any thread and returns at once.

    What cannot be done now raises ValueError, and the operator reads its message.
    """

    def state(self) -> dict[str, Any]:
        """JSON-ready, all keys optional.

        ``shots``: a list of ``name``, ``scene``, ``target``, ``layers``, ``exposure``, ``role``, ``status`` (todo,
        doing, done or failed) and ``note``; ``current``: the shot being taken; ``running``; ``phase`` and
        ``message`` in words; ``waiting_for``: None or ``{"layers": N}`` while the operator must put N layers of film
        on; ``checks``: a list of ``name``, ``status`` (ok, warning or failed), ``text``, ``cure``, ``shot``;
        ``session``: path; ``camera`` and ``screen``: their facts; ``stepping``: True where start shows the next
        target by hand and stop makes the screen dark, with neither a camera nor a session.
        """

    def preview(self) -> Preview | None:
        """The newest small picture of the camera; None where there is none."""

    def start(self) -> None:
        """Take the shots that are still to do."""

    def stop(self) -> None:
        """Stop after the shot being taken; what is recorded stays."""

    def repeat(self, shot_name: str) -> None:
        """Take one shot again."""

    def confirm(self, layers: int) -> None:
        """The operator says that ``layers`` layers of film are on."""
