"""One Chromium for the browser tests; without it they are skipped, visibly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.capture_rig.browser import CHROMIUM, Chromium


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    if CHROMIUM is None:
        pytest.skip("no chromium on the path")
    with Chromium() as browser:
        yield browser
