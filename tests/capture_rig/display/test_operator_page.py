"""The operator's page in a real Chromium: by keyboard alone, named for a screen reader, at two widths."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from capture_rig.display.server import RigServer
from tests.capture_rig.browser import Chromium, Page

from .fakes import FakeRun, shot
from .test_display_page import wait_until

pytestmark = pytest.mark.browser

WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}
CHECK = {
    "name": "clipping",
    "status": "failed",
    "text": "3 % at white",
    "cure": "Shorten the exposure.",
    "shot": "flat_n1",
}


@pytest.fixture
def run() -> FakeRun:
    ramp = np.tile(np.arange(64, 192, dtype=np.uint8)[None, :, None], (72, 1, 3))
    return FakeRun(ramp)


@pytest.fixture
def server(run: FakeRun) -> Iterator[RigServer]:
    with RigServer(run) as server:
        yield server


@pytest.fixture
def page(server: RigServer, chromium: Chromium) -> Iterator[Page]:
    page = chromium.open(server.operator_url, *WIDTHS["desktop"])
    wait_until(lambda: count(page, "[role=option]") == 6, "the shot list")
    yield page
    page.close()


def count(page: Page, selector: str) -> int:
    return page.do(lambda p: p.locator(selector).count())


def text(page: Page, selector: str) -> str:
    return page.do(lambda p: p.inner_text(selector))


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.do(lambda p, key=key: p.keyboard.press(key))


def test_a_whole_run_is_operated_by_single_keys(run: FakeRun, page: Page) -> None:
    press(page, "s")
    wait_until(lambda: run.calls == [("start",)], "the start")
    wait_until(lambda: text(page, "#phase") == "Taking shots", "the phase")
    run.waiting = 4
    wait_until(lambda: page.do(lambda p: p.is_visible("#prompt")), "the prompt")
    assert text(page, "#prompt-title") == "Put 4 layers of film on"
    assert text(page, "#message") == "Put 4 layers of film on, then confirm."
    press(page, "c")
    wait_until(lambda: run.calls[-1] == ("confirm", 4), "the confirmation")
    wait_until(lambda: page.do(lambda p: p.is_hidden("#prompt")), "the prompt's end")
    press(page, "x")
    wait_until(lambda: run.calls[-1] == ("stop",), "the stop")
    assert page.errors == []


def test_tab_reaches_every_control_and_the_focus_is_seen(run: FakeRun, page: Page) -> None:
    run.running, run.waiting, run.checks = True, 1, [CHECK]
    wait_until(lambda: count(page, "#checks button") == 1, "the check")
    reached = []
    for _ in range(12):
        press(page, "Tab")
        focus = page.do(
            lambda p: p.evaluate(
                "() => { const e = document.activeElement, s = getComputedStyle(e);"
                " return [e.id || e.textContent, s.outlineStyle, parseFloat(s.outlineWidth)]; }"
            )
        )
        assert focus[1:] == ["solid", 3] or focus[0] == "" or "Capture rig" in focus[0], focus
        reached.append(focus[0])
    for name in ("help", "confirm", "stop", "repeat", "shots", "Repeat flat_n1"):
        assert name in reached
    assert reached.index("confirm") < reached.index("stop") < reached.index("shots")


def test_arrow_keys_choose_the_shot_that_is_repeated(run: FakeRun, page: Page) -> None:
    page.do(lambda p: p.focus("#shots"))
    press(page, "ArrowDown", "ArrowDown", "r")
    wait_until(lambda: run.calls == [("repeat", "noise1_n0")], "the repeat")
    press(page, "End", "ArrowUp")
    assert text(page, "#repeat span") == "Repeat flat_n1"
    selected = page.do(lambda p: p.locator("[role=option][aria-selected=true]").get_attribute("id"))
    assert page.do(lambda p: p.get_attribute("#shots", "aria-activedescendant")) == selected


def test_single_keys_can_be_switched_off_and_the_list_of_keys_closes_by_escape(run: FakeRun, page: Page) -> None:
    press(page, "?")
    assert page.do(lambda p: p.is_visible("#keys"))
    press(page, "s")
    page.do(lambda p: p.uncheck("#single-keys"))
    press(page, "Escape")
    assert page.do(lambda p: p.is_hidden("#keys"))
    press(page, "s")
    time.sleep(0.2)
    assert run.calls == []


def test_what_the_run_refuses_is_read_in_its_own_words(run: FakeRun, page: Page) -> None:
    run.refusal = "the camera is not open yet"
    press(page, "s")
    wait_until(lambda: text(page, "#message") == "the camera is not open yet", "the message")
    assert page.do(lambda p: p.get_attribute("#message", "aria-live")) == "polite"


def test_ticks_are_text_and_a_failed_check_has_its_cure_and_its_shot(run: FakeRun, page: Page) -> None:
    statuses = ("done", "doing", "failed", "todo")
    run.shots = [shot(f"flat{index}_n0", 0, status) for index, status in enumerate(statuses)]
    run.checks = [CHECK, {"name": "flicker", "status": "ok", "text": "", "cure": "", "shot": None}]
    wait_until(lambda: count(page, "[role=option]") == 4, "the new list")
    marks = page.do(lambda p: p.locator(".mark").all_inner_texts())
    assert marks == ["✓ done", "▶ taking", "✗ failed", "· to do"]
    assert text(page, "#count") == "1 of 4 done, 1 failed"
    assert "Failed: clipping" in text(page, "#checks")
    assert "Shorten the exposure." in text(page, "#checks")
    assert text(page, "#sound") == "Passed: flicker."
    page.do(lambda p: p.get_by_role("button", name="Repeat flat_n1").click())
    wait_until(lambda: run.calls == [("repeat", "flat_n1")], "the repeat")


def test_the_camera_is_seen_and_told_in_words(page: Page) -> None:
    wait_until(lambda: page.do(lambda p: p.is_visible("#camera")), "the picture")
    assert page.do(lambda p: p.evaluate("document.getElementById('camera').naturalWidth")) == 128
    told = page.do(lambda p: p.get_attribute("#histogram", "aria-label"))
    assert told == "Histogram of the camera's codes: middle 127, nine in ten from 70 to 185"
    assert text(page, "#clipped") == "0.00 %"


def test_a_camera_that_fails_is_named_and_the_page_lives_on(run: FakeRun, page: Page) -> None:
    def unplugged() -> Any:
        raise OSError("/dev/video0 was unplugged")

    run.preview = unplugged  # type: ignore[method-assign]
    wait_until(lambda: "/dev/video0 was unplugged" in text(page, "#no-camera"), "the message")
    press(page, "s")
    wait_until(lambda: run.calls == [("start",)], "the start")


def test_the_page_says_that_the_server_is_gone_and_finds_it_again(run: FakeRun, chromium: Chromium) -> None:
    with RigServer(run) as server:
        page = chromium.open(server.operator_url, *WIDTHS["phone"])
        wait_until(lambda: count(page, "[role=option]") == 6, "the shot list")
        port = urlsplit(server.operator_url).port or 0
    wait_until(lambda: text(page, "#phase") == "Connection lost", "the message")
    assert "What is recorded stays." in text(page, "#message")
    assert page.do(lambda p: p.is_disabled("#start"))
    with RigServer(run, port=port):
        wait_until(lambda: text(page, "#phase") == "Stopped", "the state")
        press(page, "s")
        wait_until(lambda: run.calls == [("start",)], "the start")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", list(WIDTHS))
def test_both_pages_fit_name_every_control_and_say_nothing_on_the_console(
    run: FakeRun, server: RigServer, chromium: Chromium, width: str, scheme: str
) -> None:
    run.waiting, run.checks = 4, [CHECK]
    for url, ready in ((server.operator_url, "#checks button"), (server.display_url, "h1")):
        page = chromium.open(url, *WIDTHS[width], color_scheme=scheme, screen={"width": 1920, "height": 1080})
        wait_until(lambda page=page, ready=ready: count(page, ready) == 1, "the page")
        time.sleep(0.3)
        assert page.do(lambda p: p.evaluate("document.documentElement.scrollWidth")) <= WIDTHS[width][0]
        nodes = [node for node in accessible_nodes(page) if node["role"] in CONTROLS]
        assert len(nodes) >= 1
        assert [node for node in nodes if not node["name"].strip()] == []
        assert page.errors == []
        page.close()


CONTROLS = {"button", "link", "checkbox", "listbox", "option", "image", "meter", "progressbar", "progress", "dialog"}


def accessible_nodes(page: Page) -> list[dict[str, str]]:
    """Role and name of everything that a screen reader meets, from the browser's own accessibility tree."""

    def tree(p: Any) -> list[dict[str, str]]:
        session = p.context.new_cdp_session(p)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        session.detach()
        return [
            {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")}
            for node in nodes
            if not node["ignored"] and "role" in node
        ]

    return page.do(tree)
