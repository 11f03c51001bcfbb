"""Targets stepped through by hand, on a screen in memory and from the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from capture_rig.display.stepper import TargetStepper
from capture_rig.screens import Codes, ScreenLostError, Shown, VirtualScreen
from capture_rig.targets import TargetSpec, screen_codes

ROOT = Path(__file__).parents[3]
SPECS = [TargetSpec("dark", "dark"), TargetSpec("flat", "flat"), TargetSpec("star", "siemens", {}, "held")]


def settled(stepper: TargetStepper, action: Callable[[], None]) -> dict[str, str]:
    """Do it, wait until the screen has confirmed, and say how every target stands."""
    action()
    end = time.monotonic() + 5
    while stepper.state()["running"]:
        assert time.monotonic() < end
        time.sleep(0.005)
    return {entry["name"]: entry["status"] for entry in stepper.state()["shots"]}


def test_start_goes_through_the_targets_in_their_order_and_begins_again() -> None:
    screen = VirtualScreen(64, 36)
    stepper = TargetStepper(screen, SPECS)
    seen = []
    for _ in range(4):
        settled(stepper, stepper.start)
        seen.append(stepper.state()["current"])
        expected = next(spec for spec in SPECS if spec.name == seen[-1])
        np.testing.assert_array_equal(screen.at(0)[..., 0], screen_codes(expected.draw(64, 36)))
    assert seen == ["dark", "flat", "star", "dark"]
    stepper.close()


def test_steps_go_through_the_list_in_both_directions_and_around_its_ends() -> None:
    screen = VirtualScreen(64, 36)
    stepper = TargetStepper(screen, SPECS)
    seen = []
    for by in (-1, 1, 1, -1):
        settled(stepper, lambda by=by: stepper.step(by))
        seen.append(stepper.state()["current"])
    assert seen == ["star", "dark", "flat", "dark"]
    stepper.close()


def test_repeat_shows_what_is_chosen_and_stop_makes_it_dark() -> None:
    screen = VirtualScreen(64, 36)
    stepper = TargetStepper(screen, SPECS)
    assert settled(stepper, lambda: stepper.repeat("star")) == {"dark": "todo", "flat": "todo", "star": "done"}
    settled(stepper, stepper.stop)
    assert stepper.state()["current"] is None
    assert screen.at(0).max() == 0
    with pytest.raises(ValueError, match="did you mean 'flat'"):
        stepper.repeat("flst")
    with pytest.raises(ValueError, match="no film is asked for"):
        stepper.confirm(4)
    stepper.close()


class _AwayScreen(VirtualScreen):
    def show(self, codes: Codes, label: str = "") -> Shown:
        time.sleep(0.2)
        raise ScreenLostError("the display page is gone")


def test_a_display_that_is_away_is_read_as_such_and_holds_nothing_up() -> None:
    stepper = TargetStepper(_AwayScreen(64, 36), SPECS)
    began = time.monotonic()
    stepper.start()
    assert time.monotonic() - began < 0.1
    with pytest.raises(ValueError, match="has not confirmed dark yet"):
        stepper.start()
    assert settled(stepper, lambda: None)["dark"] == "failed"
    assert stepper.state()["message"] == "the display page is gone"
    stepper.close()


def test_the_command_serves_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "cli.main", "rig", "serve", "--port", "0", "--size", "64x36", "--json"]

    def heed_interrupts() -> None:  # which a job in the background of a shell ignores from its start
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    ) as process:
        assert process.stdout is not None
        printed = ""
        while not printed.endswith("}\n"):
            printed += process.stdout.readline()
        urls = json.loads(printed)
        state = httpx.get(urls["operator"].replace("operator.html", "api/state")).json()
        assert state["stepping"] is True
        assert state["display"]["connected"] is False
        assert [entry["name"] for entry in state["shots"]][:3] == ["dark", "flat", "wedge"]
        assert httpx.get(urls["display"]).status_code == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=15)
    assert (process.returncode, errors) == (0, "stopped\n")


def test_without_the_extra_the_rest_works_and_the_command_names_what_to_install() -> None:
    blocked = "import sys; sys.modules.update(fastapi=None, uvicorn=None, websockets=None)\n"
    probe = f"{blocked}import capture_rig, capture_rig.screens, capture_rig.display.server\nfrom cli.main import main\n"
    probe += "sys.argv = ['lps', 'rig', 'serve', '--port', '0']\nmain()"
    result = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pip install 'lens-privacy-sealing[rig]'" in result.stderr
    assert "Traceback" not in result.stderr
