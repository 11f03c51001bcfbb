"""The base of every configuration model: frozen, validated, and an unknown key is an error that names the nearest."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from .errors import UnknownNameError


class StrictModel(BaseModel):
    """pydantic model that cannot change after construction and refuses unknown keys.

    Raises :class:`lps_sim.errors.UnknownNameError` (through pydantic's ValidationError) with the nearest known key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _suggest_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = set(cls.model_fields)
            for key in data:
                if key not in known:
                    raise UnknownNameError(f"{cls.__name__} key", str(key), known)
        return data


def validation_message(error: ValidationError) -> str:
    """One line from a pydantic error: ``train.batch: value, rule; ...``."""
    parts = []
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        # A whole section as the value says nothing that the message does not.
        got = "" if isinstance(item["input"], dict) else f", got {item['input']!r}"
        parts.append(f"{place}: {message}{got}" if place else message)
    return "; ".join(parts)
