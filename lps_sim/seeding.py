"""Random streams that depend on names, never on the order of work or the number of workers."""

from __future__ import annotations

import hashlib

import numpy as np


def named_seed(seed: int, *names: str | int) -> int:
    """A 64-bit seed from a run's seed and any names (clip, purpose): equal on every machine and Python version."""
    key = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def named_rng(seed: int, *names: str | int) -> np.random.Generator:
    """numpy Generator (Philox, counter-based) seeded by :func:`named_seed`."""
    return np.random.Generator(np.random.Philox(named_seed(seed, *names)))
