"""Messages that name the argument, the value and the rule, and suggest the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnknownNameError(ValueError):
    """A name that is not in a closed set (preset, protocol, key, file). The message suggests the nearest one."""

    def __init__(self, argument: str, value: str, known: Iterable[str]) -> None:
        self.argument, self.value, self.known = argument, value, sorted(known)
        super().__init__(f"{argument}: unknown {value!r}; {suggestion(value, self.known)}")


def suggestion(value: str, known: Iterable[str]) -> str:
    """``did you mean 'a'? (known: a, b, c)``: the tail of a message about an unknown name."""
    known = sorted(known)
    near = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
    listing = ", ".join(known)
    return f"did you mean {near[0]!r}? (known: {listing})" if near else f"known: {listing}"
