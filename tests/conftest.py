"""Real videos for every test: missing ones fail the test with the cure, they are never skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from lps_sim.media import sample_clip


@pytest.fixture(scope="session")
def bikes_path() -> Path:
    """A street with passers-by: 640x272, 250 frames, H.264, 25 a second."""
    return sample_clip("bikes.mp4")


@pytest.fixture(scope="session")
def carphone_path() -> Path:
    """A man in a car: 176x144."""
    return sample_clip("carphone_pristine.mp4")
