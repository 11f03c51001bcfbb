"""Names of samples: what NTU RGB+D and P3AR-PKU file names say about a clip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# Field letter -> (SampleName field, largest number), in the order of the name. Numbers start at 1.
NTU_FIELDS = {
    "S": ("setup", 32),
    "C": ("camera", 3),
    "P": ("performer", 106),
    "R": ("replication", 2),
    "A": ("action", 120),
}
PKU_FIELDS = {
    "S": ("split", 2),
    "P": ("performer", 22),
    "R": ("camera", 3),
    "U": ("gender", 2),
    "V": ("hair", 5),
    "W": ("glasses", 2),
    "X": ("upper_wear", 9),
    "Y": ("lower_wear", 12),
    "A": ("action", 60),
}
NTU_RULE = "SsssCcccPpppRrrrAaaa (three digits each), with or without _rgb and a file ending"
PKU_RULE = "SsssPpppRrrrUuuuVvvvWwwwXxxxYyyyAaaa (three digits each), with or without _rgb and a file ending"
PKU_ATTRIBUTES = ("performer", "gender", "hair", "glasses", "upper_wear", "lower_wear")

_TAIL = r"(?:_rgb)?(?:\.[A-Za-z0-9]+)?"
_NTU = re.compile("".join(rf"{letter}([0-9]{{3}})" for letter in NTU_FIELDS) + _TAIL)
_PKU = re.compile("".join(rf"{letter}([0-9]{{3}})" for letter in PKU_FIELDS) + _TAIL)


@dataclass(frozen=True)
class SampleName:
    """The numbers in a sample's name, counted from 1; 0 where the data set's names have no such field.

    NTU RGB+D: setup, camera, performer, replication, action. P3AR-PKU: split (1 train, 2 test), performer, camera,
    gender, hair, glasses, upper_wear, lower_wear, action.
    """

    dataset: Literal["ntu", "p3ar-pku"]
    camera: int
    performer: int
    action: int
    setup: int = 0
    replication: int = 0
    split: int = 0
    gender: int = 0
    hair: int = 0
    glasses: int = 0
    upper_wear: int = 0
    lower_wear: int = 0

    @property
    def attributes(self) -> dict[str, int]:
        """The private attributes that the name tells, counted from 1: the performer, and for P3AR-PKU five more."""
        names = PKU_ATTRIBUTES if self.dataset == "p3ar-pku" else ("performer",)
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        return format_name(self)


def parse_name(name: str, dataset: Literal["any", "ntu", "p3ar-pku"] = "any") -> SampleName:
    """Read a sample's name, such as ``S001C002P003R001A004`` or ``S001C002P003R001A004_rgb.avi``.

    ``dataset`` limits which naming is accepted. A folder in front of the name is not part of it.

    Raises ValueError with the rule when the name is of another form or a number is out of its range.
    """
    if dataset in ("any", "ntu") and (match := _NTU.fullmatch(name)):
        return SampleName(dataset="ntu", **_numbers(name, match.groups(), NTU_FIELDS))
    if dataset in ("any", "p3ar-pku") and (match := _PKU.fullmatch(name)):
        return SampleName(dataset="p3ar-pku", **_numbers(name, match.groups(), PKU_FIELDS))
    rules = {"any": f"{NTU_RULE}, or {PKU_RULE}", "ntu": NTU_RULE, "p3ar-pku": PKU_RULE}
    kind = {"any": "an NTU or P3AR-PKU", "ntu": "an NTU", "p3ar-pku": "a P3AR-PKU"}[dataset]
    raise ValueError(f"name: {name!r} is not {kind} name; the rule is {rules[dataset]}")


def _numbers(name: str, digits: tuple[str, ...], fields: dict[str, tuple[str, int]]) -> dict[str, int]:
    numbers = {}
    for text, (letter, (field, largest)) in zip(digits, fields.items()):
        if not 1 <= int(text) <= largest:
            raise ValueError(f"name: {name!r}: {field} {letter} must be 001..{largest:03d}, got {text}")
        numbers[field] = int(text)
    return numbers


def format_name(sample: SampleName) -> str:
    """The bare sample name, without ``_rgb`` and ending: the inverse of :func:`parse_name`."""
    fields = NTU_FIELDS if sample.dataset == "ntu" else PKU_FIELDS
    return "".join(f"{letter}{getattr(sample, field):03d}" for letter, (field, _) in fields.items())


def ntu_name(setup: int, camera: int, performer: int, replication: int, action: int) -> str:
    """``SsssCcccPpppRrrrAaaa`` from its five numbers. Raises ValueError when one is out of NTU's range."""
    name = f"S{setup:03d}C{camera:03d}P{performer:03d}R{replication:03d}A{action:03d}"
    parse_name(name, "ntu")
    return name
