"""The capture loop: every planned shot shown, metered, filmed and stored, one after another.

    draw -> show (confirmed) -> wait until it has settled -> meter once a scene and layer count -> frames -> session

What goes wrong stops the loop with a sentence that says what to do; what was stored stays, and :meth:`start` goes on
with the first shot that is not. The camera is asked for frames that began after the screen's confirmation, so that no
shot holds what was shown before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lps_sim.calibration.session_file import StoredShot

from .cameras.protocol import CameraLostError, CameraRefusedError, CameraSource, Frame
from .check import SessionCheck, check_session, finished_layers
from .metering import metered
from .plan import PlannedShot
from .preview import CameraPreview, preview_of
from .screens import Screen, ScreenLostError
from .session import Session
from .targets import screen_codes, target

_FLICKER = 0.01  # of the mean level, from frame to frame
_PREVIEW_WAIT_S = 0.5


@dataclass(frozen=True)
class Waiting:
    """What the loop waits for: so many layers of film before the lens, and the cap on or off."""

    layers: int
    capped: bool

    @property
    def text(self) -> str:
        """The request in words."""
        if self.capped:
            return "put the lens cap on, then continue"
        film = "no film" if self.layers == 0 else f"{self.layers} layer{'s' * (self.layers > 1)} of film"
        return f"lens cap off, {film} before the camera, then continue"


class _Stopped(Exception):
    """The operator asked to stop."""


class CaptureRun:
    """The shots of a session, taken one after another; what a display server operates.

    Parameters
    ----------
    session : opened for recording
    screen : shows the targets
    camera : films them; a simulated one puts film and cap on by itself
    reopen : opens the camera again once it was lost; without it, the one that was given must come back by itself
    settle_s : from the screen's confirmation to the first frame that counts, and after every change of exposure
    keep_frames : store every frame, not only means

    Raises ValueError for a camera that is a recording.
    """

    def __init__(
        self,
        session: Session,
        screen: Screen,
        camera: CameraSource,
        settle_s: float = 0.3,
        keep_frames: bool = True,
        reopen: Callable[[], CameraSource] | None = None,
    ) -> None:
        if camera.facts.backend == "files":
            raise ValueError(f"camera must be live, got the recording {camera.facts.name}: it cannot see what is shown")
        self._session, self._screen, self._camera = session, screen, camera
        self._settle_s, self._keep_frames = settle_s, keep_frames
        self._reopen, self._lost = reopen, False
        self._simulated = camera.facts.simulated
        self._lock, self._changed = threading.RLock(), threading.Condition()
        self._camera_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._waiting: Waiting | None = None
        self._placed: Waiting | None = None
        self._current: str | None = None
        self._phase, self._message = "idle", "ready"
        self._failed: dict[str, str] = {}
        self._refused: set[str] = set()
        self._again: list[str] = []
        self._bases: dict[tuple[str, int, bool], float] = {}
        self._latest: Frame | None = None
        self._checks: list[SessionCheck] = []
        self._drawn: tuple[Any, np.ndarray] | None = None
        self._on_shot: Callable[[int], None] = lambda done: None

    # What an operator does; every call returns at once.

    def start(self) -> None:
        """Take every shot that is not taken yet, and those asked for again. Raises ValueError while it is running."""
        with self._lock:
            if self.running:
                raise ValueError("the capture is running already")
            self._stopping = False
            self._thread = threading.Thread(target=self._work, args=(self._wait,), name="capture", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop after the frame being read; the shot at work is taken anew later."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def repeat(self, name: str) -> None:
        """Take a shot again, next. Raises ValueError for a shot that is not planned."""
        if name not in {shot.name for shot in self._session.planned}:
            raise ValueError(f"shot must be one of the plan, got {name!r}")
        with self._lock:
            if name not in self._again:
                self._again.append(name)

    def confirm(self, layers: int) -> None:
        """The film asked for is in its place. Raises ValueError when nothing, or another count, is waited for."""
        with self._changed:
            if self._waiting is None:
                raise ValueError("nothing is waited for")
            if layers != self._waiting.layers:
                raise ValueError(f"layers must be {self._waiting.layers}, which are waited for, got {layers}")
            self._placed, self._waiting = self._waiting, None
            self._changed.notify_all()

    @property
    def running(self) -> bool:
        """Whether shots are being taken, or film is waited for."""
        return self._thread is not None and self._thread.is_alive()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until the loop has ended."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def run_all(
        self, on_wait: Callable[[Waiting], None] | None = None, on_shot: Callable[[int], None] | None = None
    ) -> bool:
        """Take every shot in the calling thread.

        Parameters
        ----------
        on_wait : returns once film and cap are as asked; a simulated camera needs none
        on_shot : called with the number of shots taken, after each

        Returns whether the session is complete; :meth:`state` says why not.
        """
        self._on_shot = on_shot or (lambda done: None)

        def wait(wanted: Waiting) -> None:
            if on_wait is None:
                raise ValueError(f"a camera that is not simulated needs somebody to change the film: {wanted.text}")
            on_wait(wanted)

        self._stopping = False
        self._work(wait)
        return not self._session.content.lacking

    # What it tells.

    def state(self) -> dict[str, Any]:
        """JSON-ready: shots with their status, what is going on, what is waited for, checks, facts."""
        with self._lock:
            taken = {stored.name: stored for stored in self._session.content.shots}
            shots = [self._shot_state(shot, taken.get(shot.name)) for shot in self._session.planned]
            return {
                "shots": shots,
                "done": sum(shot["status"] == "done" for shot in shots),
                "current": self._current,
                "running": self.running,
                "phase": self._phase,
                "message": self._message,
                "waiting_for": None
                if self._waiting is None
                else {"layers": self._waiting.layers, "capped": self._waiting.capped, "text": self._waiting.text},
                "checks": [found.to_dict() for found in self._checks],
                "session": str(self._session.path),
                "camera": self._camera.facts.to_dict(),
                "screen": self._screen.facts.to_dict(),
                "simulated": self._simulated,
            }

    def preview(self) -> CameraPreview | None:
        """The camera's picture: of the shot at work, else a new one; None while there is none."""
        if not self.running and self._camera_lock.acquire(blocking=False):
            try:
                self._latest = self._camera.read(_PREVIEW_WAIT_S)
            except CameraLostError as error:
                self._lost, self._latest = True, None
                if self._phase == "idle":
                    self._say("idle", f"no picture from the camera: {error}")
            finally:
                self._camera_lock.release()
        latest = self._latest
        return None if latest is None else preview_of(latest, self._camera.facts)

    def _shot_state(self, shot: PlannedShot, taken: StoredShot | None) -> dict[str, Any]:
        status = "done" if taken else "failed" if shot.name in self._failed else "todo"
        if shot.name == self._current:
            status = "doing"
        elif shot.name in self._again:
            status = "todo"
        note = self._failed.get(shot.name) or (taken.note if taken else "")
        return {
            "name": shot.name,
            "scene": shot.scene,
            "target": shot.target,
            "layers": shot.layers,
            "exposure": taken.exposure if taken else None,
            "role": shot.role,
            "status": status,
            "note": note,
        }

    def _say(self, phase: str, message: str) -> None:
        with self._lock:
            self._phase, self._message = phase, message

    # The loop.

    def _work(self, wait: Callable[[Waiting], None]) -> None:
        try:
            with self._camera_lock:
                self._find_camera()
                self._refused.clear()
                while (shot := self._next()) is not None:
                    self._take(shot, wait)
            if self._refused:
                some = ", ".join(sorted(self._refused)[:5])
                what = f"all shots but {len(self._refused)} are taken; exposures out of the camera's range: {some}"
                self._say("paused", f"{what}. Go on without them, or begin a session with more light or gain")
            else:
                self._say("done", "every shot is taken; lps rig check says whether they are good")
        except _Stopped:
            self._say("stopped", "stopped; start goes on with the first shot that is not taken")
        except (CameraLostError, CameraRefusedError) as error:
            self._lost = True
            self._fail(f"camera: {error}; plug it in or free it, then start again. Nothing stored is lost")
        except ScreenLostError as error:
            self._fail(f"screen: {error}; open the display page again, then start again. Nothing stored is lost")
        except OSError as error:
            what = error.strerror or " ".join(str(error).split())
            self._fail(f"the session cannot be written: {what}; make room, then start again. Nothing stored is lost")
        except ValueError as error:
            self._fail(str(error))
        except Exception as error:
            self._fail(f"stopped by a fault of the program, {type(error).__name__}: {error}. Nothing stored is lost")
            raise
        finally:
            with self._lock:
                self._current, self._waiting = None, None

    def _find_camera(self) -> None:
        if self._lost and self._reopen is not None:
            self._camera.close()
            self._camera = self._reopen()
        self._lost = False

    def _fail(self, message: str) -> None:
        with self._lock:
            if self._current:
                self._failed[self._current] = message
        self._say("paused", message)

    def _next(self) -> PlannedShot | None:
        with self._lock:
            if self._stopping:
                raise _Stopped
            shots = {shot.name: shot for shot in self._session.planned}
            wanted = (*self._again, *self._session.content.lacking)
            return next((shots[name] for name in wanted if name not in self._refused), None)

    def _take(self, shot: PlannedShot, wait: Callable[[Waiting], None]) -> None:
        self._place(Waiting(shot.layers, shot.capped), wait)
        with self._lock:
            self._current = shot.name
        self._say("showing", f"{shot.name}: showing {shot.scene}")
        shown = self._screen.show(self._picture(shot), shot.scene)
        after = shown.at_s + self._settle_s
        base = self._base(shot, after)
        try:
            exposure, after = self._exposed(base * shot.factor, after)
        except CameraRefusedError as error:
            # The others of its bracket are worth taking all the same.
            with self._lock:
                self._failed[shot.name], self._current = f"left out: {error}", None
                self._refused.add(shot.name)
            return
        self._say("filming", f"{shot.name}: {shot.frames} frames at exposure {exposure:.4g}")
        frames = self._frames(shot.frames, after)
        note = self._oddities(frames)
        self._session.add_shot(shot, frames, exposure, note, self._keep_frames)
        with self._lock:
            self._failed.pop(shot.name, None)
            if shot.name in self._again:
                self._again.remove(shot.name)
            self._current = None
        self._on_shot(len(self._session.content.shots))
        self._check_layer(shot.layers)

    def _place(self, wanted: Waiting, wait: Callable[[Waiting], None]) -> None:
        if self._placed == wanted:
            return
        if self._simulated:
            self._camera.layers, self._camera.capped = wanted.layers, wanted.capped  # type: ignore[attr-defined]
        else:
            self._say("waiting", wanted.text)
            wait(wanted)
        self._placed = wanted

    def _wait(self, wanted: Waiting) -> None:
        with self._changed:
            self._waiting = wanted
            while self._waiting is not None and not self._stopping:
                self._changed.wait()
            self._waiting = None
            if self._stopping:
                raise _Stopped

    def _picture(self, shot: PlannedShot) -> np.ndarray:
        """Screen codes of a shot's target; the last one is kept, since brackets follow each other."""
        facts = self._screen.facts
        key = (shot.kind, tuple(sorted(shot.parameters.items())), facts.width_px, facts.height_px, facts.eotf)
        if self._drawn is None or self._drawn[0] != key:
            kind = shot.kind or "dark"
            light = target(kind, facts.width_px, facts.height_px, **(shot.parameters if shot.kind else {}))
            self._drawn = key, screen_codes(light, facts.eotf)
        return self._drawn[1]

    def _base(self, shot: PlannedShot, after: float) -> float:
        """The exposure that a shot's factor counts from: metered once a scene and layer count, then kept."""
        key = (shot.scene, shot.layers, shot.capped)
        if key not in self._bases:
            known = self._stored_base(shot)
            self._bases[key] = known if known is not None else self._metered(shot, after)
        return self._bases[key]

    def _stored_base(self, shot: PlannedShot) -> float | None:
        plan = {planned.name: planned for planned in self._session.planned}
        for stored in self._session.content.shots:
            planned = plan[stored.name]
            if (planned.scene, planned.layers, planned.capped) == (shot.scene, shot.layers, shot.capped):
                return stored.exposure / planned.factor
        return None

    def _metered(self, shot: PlannedShot, after: float) -> float:
        if shot.capped or shot.kind is None:
            # Nothing to meter: as long as the shots around it would be.
            known = [base for (_, layers, capped), base in self._bases.items() if layers == shot.layers and not capped]
            return max(known, default=1.0)
        self._say("metering", f"{shot.name}: finding the exposure")
        exposure, after = self._exposed(1.0, after)

        def taken(wanted: float) -> tuple[float, np.ndarray]:
            nonlocal exposure, after
            if wanted != exposure:
                exposure, after = self._exposed(wanted, after)
            return exposure, self._frames(1, after)[0].codes

        return metered(taken, exposure, self._session.camera_model)

    def _exposed(self, exposure: float, after: float) -> tuple[float, float]:
        """The exposure that the camera took, and the time from which frames have it."""
        taken = self._camera.set_exposure(float(f"{exposure:.6g}"))
        return taken, max(after, self._now() + self._settle_s)

    def _now(self) -> float:
        """Time on the camera's clock: a simulated one has its own, in which nothing needs to settle."""
        return -np.inf if self._simulated else time.monotonic()

    def _frames(self, count: int, after: float) -> list[Frame]:
        frames: list[Frame] = []
        while len(frames) < count:
            if self._stopping:
                raise _Stopped
            frame = self._camera.read()
            if self._simulated or frame.at_s >= after:
                frames.append(frame)
                self._latest = frame
        return frames

    def _oddities(self, frames: list[Frame]) -> str:
        notes = []
        levels = np.array([frame.codes.mean() for frame in frames])
        if levels.mean() > 1 and np.ptp(levels) > _FLICKER * levels.mean():
            notes.append(f"level wanders by {100 * np.ptp(levels) / levels.mean():.2g} % between frames")
        lost = frames[-1].number - frames[0].number + 1 - len(frames)
        if lost > 0:
            notes.append(f"{lost} frames lost between them")
        return "; ".join(notes)

    def _check_layer(self, layers: int) -> None:
        """The gate on the whole set, each time a layer count is complete."""
        if layers == 0 or layers not in finished_layers(self._session.content):
            return
        self._say("checking", f"checking the shots through {layers} layers")
        try:
            self._checks = check_session(self._session.path)
        except ValueError as error:
            self._say("checking", f"the shots cannot be checked yet: {error}")
