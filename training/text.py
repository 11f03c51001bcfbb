"""Class names as token ids: an offline tokenizer made of the class names themselves, or CLIP's from its files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

PAD = 0
_BYTES = 256
_WORD = re.compile(r"[a-z0-9]+|[^a-z0-9\s]")


class TokenizedClasses(NamedTuple):
    """``input_ids`` (K, L) int64, ended by the largest id ``vocab_size - 1`` and padded."""

    input_ids: Tensor
    vocab_size: int


class WordTokenizer:
    """Word-level vocabulary of the class names; a word outside it is spelled in UTF-8 bytes.

    Ids: 0 padding, 1-256 bytes, then the sorted words, begin of text, and end of text as the largest id. The same
    class names give the same ids, so nothing but the names needs to be stored.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        words = sorted({word for name in class_names for word in _WORD.findall(name.lower())})
        self.ids = {word: 1 + _BYTES + position for position, word in enumerate(words)}
        self.begin = 1 + _BYTES + len(words)
        self.end = self.begin + 1
        self.vocab_size = self.end + 1

    def encode(self, text: str) -> list[int]:
        """Begin of text, the words' ids, end of text."""
        ids = [self.begin]
        for word in _WORD.findall(text.lower()):
            ids += [self.ids[word]] if word in self.ids else [1 + byte for byte in word.encode()]
        return [*ids, self.end]


def tokenize_classes(class_names: Sequence[str], tokenizer: str = "words") -> TokenizedClasses:
    """Token ids of the class names.

    Parameters
    ----------
    class_names : K names
    tokenizer : ``words`` for :class:`WordTokenizer`, or a directory that holds CLIP's ``vocab.json`` and ``merges.txt``
        or ``tokenizer.json``; nothing is downloaded

    Raises
    ------
    ValueError
        When the directory does not hold a tokenizer.
    """
    if not class_names:
        raise ValueError("class_names must name at least one class, got none")
    if tokenizer == "words":
        words = WordTokenizer(class_names)
        return TokenizedClasses(_padded([words.encode(name) for name in class_names]), words.vocab_size)
    if not Path(tokenizer).is_dir():
        raise ValueError(f"tokenizer must be 'words' or a directory with CLIP's tokenizer files, got {tokenizer!r}")
    return _clip_ids(class_names, tokenizer)


def _clip_ids(class_names: Sequence[str], directory: str | os.PathLike[str]) -> TokenizedClasses:
    from transformers import CLIPTokenizer

    try:
        clip = CLIPTokenizer.from_pretrained(directory, local_files_only=True)
    except (OSError, TypeError) as error:
        raise ValueError(f"tokenizer: {directory}: no CLIP tokenizer files (vocab.json, merges.txt)") from error
    ids = _padded([clip(name)["input_ids"] for name in class_names])
    if not bool((ids.argmax(dim=1) == (ids == len(clip) - 1).int().argmax(dim=1)).all()):
        raise ValueError(f"tokenizer: {directory}: the end-of-text token must be the largest id")
    return TokenizedClasses(ids, len(clip))


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows])
