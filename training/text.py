"""Class names as token ids: CLIP's tokenizer from its files, or an offline one made of the class names themselves."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .hub import HubUnreachableError, cached_file, is_hub_name, weights_file

CLIP_NAMES = (
    "openai/clip-vit-base-patch16",
    "openai/clip-vit-base-patch32",
    "openai/clip-vit-large-patch14",
    "microsoft/xclip-base-patch16",
    "microsoft/xclip-base-patch32",
)
"""Hub names whose cached copies hold CLIP's tokenizer; it is the same in all."""

_FILES = ("tokenizer.json", "vocab.json")
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


def tokenize_classes(
    class_names: Sequence[str], tokenizer: str = "words", weights: str | Path | None = None
) -> TokenizedClasses:
    """Token ids of the class names.

    Parameters
    ----------
    class_names : K names
    tokenizer : ``words`` for :class:`WordTokenizer`; ``clip`` for CLIP's, from the files beside ``weights`` or in the
        Hugging Face cache; ``auto``: as ``clip`` where weights are given and such files are found, else ``words``; or a
        directory or hub name that holds CLIP's ``vocab.json`` and ``merges.txt``, or ``tokenizer.json``
    weights : what the network starts from; a directory or hub name may hold the tokenizer too. Nothing else is fetched

    Raises
    ------
    ValueError
        When there are no class names, or no tokenizer is where it should be; HubUnreachableError when only the hub
        could tell.
    """
    if not class_names:
        raise ValueError("class_names must name at least one class, got none")
    folder = None
    if tokenizer == "clip" or (tokenizer == "auto" and weights is not None):
        folder = _clip_folder(weights)
        if tokenizer == "clip" and folder is None:
            raise ValueError(
                "tokenizer: no CLIP tokenizer files (vocab.json, merges.txt) beside the weights or in the Hugging Face "
                "cache; give their directory"
            )
    elif tokenizer not in ("auto", "words"):
        if not (Path(tokenizer).is_dir() or is_hub_name(tokenizer)):
            raise ValueError(
                f"tokenizer must be 'auto', 'words', 'clip' or a directory with CLIP's files, got {tokenizer!r}"
            )
        folder = _tokenizer_folder(tokenizer)
    if folder is not None:
        return _clip_ids(class_names, folder)
    words = WordTokenizer(class_names)
    return TokenizedClasses(_padded([words.encode(name) for name in class_names]), words.vocab_size)


def _clip_folder(weights: str | Path | None) -> Path | None:
    """Where CLIP's tokenizer is: beside the weights, else in the cache, else on the hub beside the weights."""
    if weights is not None and Path(weights).is_dir():
        with contextlib.suppress(ValueError):  # weights without a tokenizer
            return _tokenizer_folder(weights)
    cached = (cached_file(name, _FILES) for name in CLIP_NAMES)
    if (path := next((path for path in cached if path is not None), None)) is not None:
        return path.parent
    if weights is None or not is_hub_name(weights):
        return None
    try:
        return _tokenizer_folder(weights)
    except HubUnreachableError:
        raise
    except ValueError:  # weights without a tokenizer
        return None


def _tokenizer_folder(source: str | Path) -> Path:
    """The folder of a source's tokenizer files; those of a hub name are fetched. Raises ValueError without any."""
    file = weights_file("tokenizer", source, _FILES)
    if file.name == "vocab.json":
        weights_file("tokenizer", source, ("merges.txt",))
    return file.parent


def _clip_ids(class_names: Sequence[str], folder: Path) -> TokenizedClasses:
    from transformers import CLIPTokenizer

    clip = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    ids = _padded([clip(name)["input_ids"] for name in class_names])
    if not bool((ids.argmax(dim=1) == (ids == len(clip) - 1).int().argmax(dim=1)).all()):
        raise ValueError(f"tokenizer: {folder}: the end-of-text token must be the largest id")
    return TokenizedClasses(ids, len(clip))


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows])
