"""The display page in a real Chromium: its pixels, its confirmations, and what becomes of a run when it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest

from capture_rig.display.server import RigServer
from capture_rig.screens import Codes, ScreenLostError
from capture_rig.targets import noise, screen_codes
from tests.capture_rig.browser import Chromium, Page, ScreenshotScreen

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 320, 180
SIZE = (HEIGHT, WIDTH, 3)
FRAMES, FPS = 40, 25.0


@pytest.fixture
def server() -> Iterator[RigServer]:
    with RigServer(timeout_s=5) as server:
        yield server


@pytest.fixture
def page(server: RigServer, chromium: Chromium) -> Iterator[Page]:
    page = chromium.open(server.display_url, WIDTH, HEIGHT)
    server.screen.wait(10)
    yield page
    page.close()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 8.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about within {seconds:g} s"
        time.sleep(0.02)


def greys(count: int = FRAMES) -> Iterator[Codes]:
    for number in range(count):
        yield np.full(SIZE, (5 * number) % 200 + 20, np.uint8)


@pytest.mark.parametrize("ratio", [1, 2])
def test_every_code_of_a_noise_picture_is_on_the_screen_bit_for_bit(
    server: RigServer, chromium: Chromium, ratio: int
) -> None:
    screen = ScreenshotScreen(server, chromium, WIDTH * ratio, HEIGHT * ratio, ratio)
    facts = screen.facts
    assert (facts.width_px, facts.height_px, facts.device_pixel_ratio) == (WIDTH * ratio, HEIGHT * ratio, ratio)
    assert server.screen.status["one_to_one"] is True
    colours = np.random.default_rng(1).integers(0, 256, (HEIGHT * ratio, WIDTH * ratio, 3), dtype=np.uint8)
    grey = screen_codes(noise(WIDTH * ratio, HEIGHT * ratio))
    for number, codes in enumerate((colours, grey)):
        assert screen.show(codes, "noise").number == number
        np.testing.assert_array_equal(screen.at(0.0), codes if codes.ndim == 3 else np.repeat(codes[..., None], 3, 2))
    assert screen.page.errors == []
    screen.close()


def test_a_smaller_picture_stands_in_the_middle_and_a_larger_one_is_refused_with_the_cure(chromium: Chromium) -> None:
    with RigServer(size=(200, 100)) as server:
        page = chromium.open(server.display_url, WIDTH, HEIGHT)
        codes = np.random.default_rng(2).integers(1, 256, (100, 200, 3), dtype=np.uint8)
        server.screen.show(codes)
        seen = page.screenshot()
        np.testing.assert_array_equal(seen[40:140, 60:260], codes)
        assert np.count_nonzero(seen) == codes.size
        page.do(lambda p: p.set_viewport_size({"width": 150, "height": 90}))
        wait_until(lambda: server.screen.status["width_px"] == 150, "the new size")
        with pytest.raises(ScreenLostError, match="cannot show 200x100 pixel for pixel: 150x90 screen pixels"):
            server.screen.show(codes)
        page.close()


def test_forty_pictures_are_all_confirmed_in_their_order_at_their_rate(server: RigServer, page: Page) -> None:
    began = time.monotonic()
    playback = server.screen.play(greys(), FPS)
    shown = []
    while not playback.finished:
        shown.append(playback.report()["shown"])
        time.sleep(0.01)
    seconds = time.monotonic() - began
    report = playback.report()
    assert shown == sorted(shown)
    assert (report["shown"], report["broken"], report["stopped"]) == (FRAMES, None, False)
    assert len(report["late"]) <= report["missed_refreshes"]
    assert seconds >= FRAMES / FPS - 0.1
    assert page.screenshot().max() == 0
    assert page.errors == []


def test_pictures_are_drawn_only_so_far_ahead_as_the_page_keeps(server: RigServer, page: Page) -> None:
    drawn = 0

    def endless() -> Iterator[Codes]:
        nonlocal drawn
        while True:
            drawn += 1
            yield np.full(SIZE, 90, np.uint8)

    playback = server.screen.play(endless(), FPS)
    time.sleep(0.5)
    shown = playback.report()["shown"]
    assert shown < drawn <= shown + 100
    assert page.screenshot().min() == 90
    playback.stop()
    wait_until(lambda: playback.finished, "the stop")
    assert playback.report()["stopped"] is True
    wait_until(lambda: page.screenshot().max() == 0, "darkness")


def test_late_pictures_are_counted_and_listed(server: RigServer, page: Page) -> None:
    def halting() -> Iterator[Codes]:
        for number, codes in enumerate(greys(30)):
            if number == 28:
                time.sleep(1.5)
            yield codes

    playback = server.screen.play(halting(), FPS)
    wait_until(lambda: playback.finished, "the end")
    report = playback.report()
    assert report["shown"] == 30
    assert 28 in report["late"]
    assert [pause["number"] for pause in report["pauses"]][-1] == 28
    assert report["missed_refreshes"] >= 10


def test_a_source_that_fails_is_heard_of_and_a_wrong_size_too(server: RigServer, page: Page) -> None:
    def broken() -> Iterator[Codes]:
        yield from greys(30)
        raise OSError("the disk is gone")

    playback = server.screen.play(broken(), FPS)
    with pytest.raises(OSError, match="the disk is gone"):
        wait_until(lambda: playback.finished, "the failure")
    with pytest.raises(ValueError, match="must be uint8"):
        server.screen.play(iter([np.zeros((4, 4, 3), np.uint8)]), FPS)
    with pytest.raises(ValueError, match="fps must be above 0"):
        server.screen.play(greys(), 0)
    assert server.screen.show(np.zeros(SIZE, np.uint8)).number == 0


def test_a_reload_in_the_middle_breaks_a_run_off_and_the_page_joins_again(server: RigServer, page: Page) -> None:
    playback = server.screen.play(greys(200), FPS)
    page.do(lambda p: p.reload())
    with pytest.raises(ScreenLostError, match=r"after \d+ pictures of a run; the run is broken off"):
        wait_until(lambda: playback.finished, "the break")
    report = playback.report()
    assert 0 < report["shown"] < 200
    assert "broken off" in report["broken"]
    server.screen.wait(5)
    codes = np.full(SIZE, 123, np.uint8)
    server.screen.show(codes)
    np.testing.assert_array_equal(page.screenshot(), codes)


def test_a_still_picture_comes_back_after_a_reload(server: RigServer, page: Page) -> None:
    codes = np.full(SIZE, 77, np.uint8)
    server.screen.show(codes)
    page.do(lambda p: p.reload())
    wait_until(lambda: bool((page.screenshot() == codes).all()), "the picture")


def test_a_second_display_is_turned_away_and_named(server: RigServer, page: Page, chromium: Chromium) -> None:
    codes = np.full(SIZE, 50, np.uint8)
    server.screen.show(codes)
    second = chromium.open(server.display_url, 200, 400)
    wait_until(lambda: second.do(lambda p: p.inner_text("h1")) == "Turned away", "the refusal")
    assert "Another display page is connected" in second.do(lambda p: p.inner_text("#advice"))
    assert any("a second display at 127.0.0.1" in notice for notice in server.screen.status["notices"])
    assert server.screen.show(codes).number == 1
    page.do(lambda p: p.goto("about:blank"))
    wait_until(lambda: not server.screen.status["connected"], "the first one's end")
    second.do(lambda p: p.get_by_role("button", name="Try again").click())
    assert server.screen.wait(5).width_px == 200
    second.close()


def test_the_page_finds_a_server_that_was_started_anew(chromium: Chromium) -> None:
    with RigServer() as server:
        page = chromium.open(server.display_url, WIDTH, HEIGHT)
        server.screen.wait(10)
        port = urlsplit(server.display_url).port or 0
        gone = server.screen
    with pytest.raises(ScreenLostError, match="closed"):
        gone.show(np.zeros(SIZE, np.uint8))
    wait_until(lambda: page.do(lambda p: p.inner_text("h1")) == "Connection lost", "the message")
    with RigServer(port=port) as server:
        server.screen.wait(10)
        codes = np.full(SIZE, 200, np.uint8)
        server.screen.show(codes)
        np.testing.assert_array_equal(page.screenshot(), codes)
    page.close()


def test_a_server_closed_in_the_middle_of_a_run_breaks_it_off(chromium: Chromium) -> None:
    with RigServer() as server:
        page = chromium.open(server.display_url, WIDTH, HEIGHT)
        playback = server.screen.play(greys(200), FPS)
    with pytest.raises(ScreenLostError, match=r"in the middle of a run|broken off"):
        wait_until(lambda: playback.finished, "the break")
    playback.stop()
    page.close()


def test_without_a_page_nothing_hangs_and_the_message_says_what_to_open() -> None:
    with RigServer(size=(WIDTH, HEIGHT), timeout_s=0.2) as server:
        for ask in (lambda: server.screen.show(np.zeros(SIZE, np.uint8)), lambda: server.screen.play(greys(), FPS)):
            with pytest.raises(ScreenLostError, match=server.display_url):
                ask()
    with RigServer(timeout_s=0.2) as server, pytest.raises(ScreenLostError, match="no display page is open"):
        _ = server.screen.facts


def test_the_picture_due_at_a_time_of_a_run_is_on_the_page(server: RigServer, chromium: Chromium) -> None:
    screen = ScreenshotScreen(server, chromium, WIDTH, HEIGHT)
    run = screen.play(greys(5), FPS)
    for time_s, grey in ((0.0, 20), (0.041, 25), (0.05, 25), (0.17, 40), (0.21, 0)):
        assert np.unique(screen.at(time_s)).tolist() == [grey]
    assert run.finished
    screen.close()
