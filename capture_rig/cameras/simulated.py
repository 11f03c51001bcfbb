"""A camera that sees a screen through a film model: perspective, film, lens, sensor noise, its own clock, lost frames.

Frame k opens its shutter at the screen's time ``(k + phase) / fps (1 + clock_drift)``: a camera whose clock runs slow
by 0.05 % has ``clock_drift = 5e-4``. The light of an open shutter is the time-weighted mean of the pictures that the
screen showed meanwhile. Everything random is drawn from the seed and the frame's number, never from the order of calls.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lps_sim import Camera, FilmModel
from lps_sim.errors import UnknownNameError
from lps_sim.film import check_layers
from lps_sim.operator import ENGINES, FilmKey, check_border
from lps_sim.seeding import named_rng
from lps_sim.transfer import check_eotf_name, inverse_eotf

from .counting import as_recorded
from .pose import ScreenPose
from .protocol import CameraFacts, CameraLostError, CameraRefusedError, CameraSettings, Frame, SettingFact
from .simulated_optics import OpticalSetting, SimulatedOptics

View = Callable[[float], NDArray[np.uint8]]
SEEN, DROPPED, DOUBLED = "seen", "dropped", "doubled"

_SHUTTER_SAMPLES = 4  # pictures a shutter mixes where the screen's own rate is unknown
_TABLE_SIZE = 1 << 16  # steps of 0.05 code at black, where sRGB is steepest


class FrameTruth(NamedTuple):
    """What really became of one frame of the sensor.

    Parameters
    ----------
    number : the sensor's own count, from 0 in every run
    serial : the number that the delivered frame carries; None of a dropped one
    screen_s : the screen's time when the shutter opened
    fate : seen, dropped, or doubled (the frame before once more)
    exposure : relative to the session's base, with its wander
    """

    number: int
    serial: int | None
    screen_s: float
    fate: str
    exposure: float


class SimulatedCamera:
    """A :class:`capture_rig.cameras.protocol.CameraSource` whose truth is known.

    Parameters
    ----------
    view : the screen's codes, (h, w, 3) uint8, at a time in seconds that never goes back within a run; such as
        :meth:`capture_rig.screens.VirtualScreen.at`. A picture that a browser shows now may ignore the time
    camera : sensor, vignetting and the angle of every pixel; its exposure is the session's base (relative exposure 1)
    film, layers : the film; layers 0..64 may be set between shots: the hand that adds film
    pose : where the screen stands; None: one to one where screen and camera have one size, else as large as fits
    lens_blur_px : standard deviation of a Gaussian lens blur behind the film, camera px
    fps : frames a second by the camera's own clock
    phase : of the first frame in the frame period, 0..1
    clock_drift : by how much the camera's second is longer than the screen's
    shutter : share of the frame period that the shutter is open, 0..1; 0 looks at one instant, once a frame
    screen_fps : rate at which the screen changes pictures, at multiples of its period; None: the open shutter is
        sampled at four times
    drop_rate, double_rate : share of the frames that are lost, or replaced by the one before
    silent_drops : True: lost frames leave no gap in the delivered numbers, as in most files
    exposure_wander : standard deviation of the frames' relative exposure
    noise : False leaves out shot noise, read noise and fixed pattern
    engine : "exact" (stills; Poisson shot noise) or "fast" (video; Gaussian shot noise); may be set between shots
    border : light from outside the frame, see :mod:`lps_sim.operator`
    eotf, black_glow : the screen's transfer curve, and the share of its white that black pixels emit
    room_light : light that the room adds everywhere, in screen whites
    seed : of everything random
    settings : what was asked of the camera, to be told in its facts; it is as the other arguments say

    Attributes that may be set between shots: ``layers``, ``pose``, ``engine``, ``capped`` (cap on: no light at all),
    ``unplugged`` (reads fail). ``truth`` lists a :class:`FrameTruth` of every frame of the run.

    Raises ValueError naming the argument, its value and the rule.
    """

    def __init__(
        self,
        view: View,
        camera: Camera,
        film: FilmModel | None = None,
        layers: int = 0,
        pose: ScreenPose | None = None,
        lens_blur_px: float = 0.0,
        fps: float = 25.0,
        phase: float = 0.0,
        clock_drift: float = 0.0,
        shutter: float = 0.0,
        screen_fps: float | None = None,
        drop_rate: float = 0.0,
        double_rate: float = 0.0,
        silent_drops: bool = False,
        exposure_wander: float = 0.0,
        noise: bool = True,
        engine: str = "exact",
        border: str = "dark",
        eotf: str = "srgb",
        black_glow: float = 0.0,
        room_light: float = 0.0,
        seed: int = 0,
        settings: CameraSettings | None = None,
    ) -> None:
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be above 0, got {fps:g}")
        if screen_fps is not None and not screen_fps > 0:
            raise ValueError(f"screen_fps must be above 0, got {screen_fps:g}")
        if not -0.5 < clock_drift < 0.5:
            raise ValueError(f"clock_drift must be between -0.5 and 0.5, got {clock_drift:g}")
        shares = {"phase": phase, "shutter": shutter, "drop_rate": drop_rate, "double_rate": double_rate}
        for name, value in {**shares, "black_glow": black_glow}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be 0..1, got {value:g}")
        if drop_rate + double_rate >= 1:
            raise ValueError(f"drop_rate + double_rate must be below 1, got {drop_rate + double_rate:g}")
        for name, value in {"room_light": room_light, "exposure_wander": exposure_wander}.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be >= 0, got {value:g}")
        if not 0 <= lens_blur_px < min(camera.width, camera.height):
            raise ValueError(f"lens_blur_px must be >= 0 and below the frame's sides, got {lens_blur_px:g}")
        self.view, self.camera, self.film, self.layers, self.pose, self.engine = (
            view,
            camera,
            film,
            layers,
            pose,
            engine,
        )
        self.lens_blur_px, self.fps, self.phase, self.clock_drift = lens_blur_px, fps, phase, clock_drift
        self.shutter, self.screen_fps, self.exposure_wander, self.noise = shutter, screen_fps, exposure_wander, noise
        self.drop_rate, self.double_rate, self.silent_drops = drop_rate, double_rate, silent_drops
        self.border, self.eotf = check_border(border), check_eotf_name(eotf)
        self.black_glow, self.room_light, self.seed = black_glow, room_light, seed
        self._asked = settings or CameraSettings()
        self.capped = self.unplugged = False
        self.truth: list[FrameTruth] = []
        self._optics, self._sensor = SimulatedOptics(camera), _FastSensor(camera)
        self._exposure, self._open = 1.0, True
        self._film_key = None if film is None else FilmKey.of(film)
        self._run, self._number, self._serial = 0, 0, 0
        self._last: NDArray[Any] | None = None
        self._setting()

    @property
    def facts(self) -> CameraFacts:
        """Size, rate, exposure, and in ``details`` the whole truth, JSON-ready."""
        film = None if self.film is None else {"name": self.film.name, "checksum": self.film.checksum()}
        details = {
            "text": "Simulated, not photographed: a screen seen through a film model.",
            "film": film,
            "layers": self.layers,
            "pose": None if self.pose is None else self.pose.to_dict(),
            "camera": self.camera.to_dict(),
        }
        names = (
            *("lens_blur_px", "phase", "clock_drift", "shutter", "screen_fps", "drop_rate", "double_rate"),
            *("silent_drops", "exposure_wander", "noise", "engine", "border", "black_glow", "room_light", "seed"),
        )
        details |= {name: getattr(self, name) for name in names} | {"screen_eotf": self.eotf}
        exposure = SettingFact("exposure", self._exposure, self._exposure, True, "relative to the session's base")
        known = {"width": self.camera.width, "height": self.camera.height, "fps": self.fps}
        return CameraFacts(
            name="simulated camera",
            backend="simulated",
            width=self.camera.width,
            height=self.camera.height,
            fps=self.fps,
            bits=self.camera.bits,
            eotf=self.camera.eotf,
            settings=(exposure, *as_recorded(self._asked, "a simulated camera", **known)),
            simulated=True,
            details=details,
        )

    def set_exposure(self, exposure: float) -> float:
        """Every relative exposure above 0 is taken; others raise CameraRefusedError."""
        if not (math.isfinite(exposure) and exposure > 0):
            raise CameraRefusedError(f"exposure must be above 0, got {exposure:g}")
        self._exposure = float(exposure)
        return self._exposure

    def restart(self) -> None:
        """Begin a new run: the next frame is number 0 at ``phase / fps``, ``truth`` is empty, the noise is another."""
        self._run, self._number, self._serial, self._last = self._run + 1, 0, 0, None
        self.truth = []

    def read(self, timeout_s: float = 2.0) -> Frame:
        """The next frame that is not lost, without waiting; raises CameraLostError once it is closed or unplugged."""
        while True:
            if not self._open or self.unplugged:
                raise CameraLostError(f"the simulated camera is {'unplugged' if self._open else 'closed'}")
            number, self._number = self._number, self._number + 1
            start_s = (number + self.phase) / self.fps * (1 + self.clock_drift)
            fate = self._fate(number)
            exposure = self._exposure
            if self.exposure_wander:
                exposure *= math.exp(self.exposure_wander * self._rng("exposure", number).standard_normal())
            if fate == DROPPED:
                self.truth.append(FrameTruth(number, None, start_s, fate, exposure))
                continue
            if fate == SEEN or self._last is None:
                fate, self._last = SEEN, self._expose(number, start_s, exposure)
            serial = self._serial if self.silent_drops else number
            self._serial += 1
            self.truth.append(FrameTruth(number, serial, start_s, fate, exposure))
            return Frame(self._last.copy(), start_s, serial)

    def irradiance(self, start_s: float) -> NDArray[Any]:
        """(H, W, 3) light that a frame gathers whose shutter opens at ``start_s``; 1 = the screen's white."""
        if self.capped:
            return np.zeros((self.camera.height, self.camera.width, 3), np.float32)
        setting = self._setting()
        parts = [(self._optics.light(self.view(time_s), setting), share) for time_s, share in self._moments(start_s)]
        if all(light is parts[0][0] for light, _ in parts):
            return parts[0][0]
        return sum(light * light.dtype.type(share) for light, share in parts)

    def close(self) -> None:
        """Later reads fail."""
        self._open = False

    def __enter__(self) -> SimulatedCamera:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _expose(self, number: int, start_s: float, exposure: float) -> NDArray[Any]:
        light, camera = self.irradiance(start_s), self.camera.with_exposure(self.camera.exposure * exposure)
        if self.engine == "fast" and self.camera.bits <= 8:
            return self._sensor.sense(light, exposure, self._rng("noise", number) if self.noise else None)
        light = light.astype(np.float64)
        return camera.sense(light, self._rng("noise", number)) if self.noise else camera.encode(camera.signal(light))

    def _moments(self, start_s: float) -> list[tuple[float, float]]:
        """(time, share) of the looks that an open shutter is made of."""
        open_s = self.shutter / self.fps * (1 + self.clock_drift)
        if not open_s:
            return [(start_s, 1.0)]
        if self.screen_fps is None:
            step_s = open_s / _SHUTTER_SAMPLES
            return [(start_s + (k + 0.5) * step_s, 1 / _SHUTTER_SAMPLES) for k in range(_SHUTTER_SAMPLES)]
        first = math.floor(start_s * self.screen_fps) + 1
        changes = [k / self.screen_fps for k in range(first, math.ceil((start_s + open_s) * self.screen_fps))]
        edges = [start_s, *changes, start_s + open_s]
        # Looked at in the middle, where rounding cannot put a look on the wrong side of a change.
        return [((a + b) / 2, (b - a) / open_s) for a, b in itertools.pairwise(edges) if b - a > 1e-9 * open_s]

    def _fate(self, number: int) -> str:
        if not (self.drop_rate or self.double_rate):
            return SEEN
        chance = self._rng("fate", number).random()
        return DROPPED if chance < self.drop_rate else DOUBLED if chance < self.drop_rate + self.double_rate else SEEN

    def _rng(self, purpose: str, number: int) -> np.random.Generator:
        return named_rng(self.seed, "simulated camera", purpose, self._run, number)

    def _setting(self) -> OpticalSetting:
        """The optics as they stand now; raises ValueError for an attribute that was set wrong."""
        check_layers(self.layers, minimum=0)
        if self.film is None and self.layers:
            raise ValueError(f"film must be given where layers > 0, got None with {self.layers} layers")
        if self.engine not in ENGINES:
            raise UnknownNameError("engine", str(self.engine), ENGINES)
        return OpticalSetting(
            film=self._film_key,
            layers=self.layers,
            engine=self.engine,
            border=self.border,
            pose=self.pose,
            lens_blur_px=self.lens_blur_px,
            eotf=self.eotf,
            black_glow=self.black_glow,
            room_light=self.room_light,
        )


class _FastSensor:
    """:meth:`lps_sim.Camera.sense` of a camera of up to 8 bits in float32: Gaussian shot noise and a table of codes."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self._gain: NDArray[np.float32] | None = None

    def sense(self, light: NDArray[Any], exposure: float, rng: np.random.Generator | None) -> NDArray[np.uint8]:
        camera = self.camera
        if self._gain is None:
            self._gain = (camera.exposure * camera.vignetting_map()[..., None]).astype(np.float32)
            self._pattern = 1 + np.float32(camera.prnu) * camera.prnu_pattern((camera.height, camera.width, 3))
            table = inverse_eotf(np.linspace(0, 1, _TABLE_SIZE), camera.transfer)
            self._codes = np.rint(table * camera.max_code).astype(np.uint8)
        signal = light * (self._gain * np.float32(exposure))
        np.maximum(signal, 0, out=signal)
        if rng is not None:
            signal *= self._pattern
            deviation = signal * np.float32(1 / camera.full_well_e)
            deviation += np.float32((camera.read_noise_e / camera.full_well_e) ** 2)
            np.sqrt(deviation, out=deviation)
            deviation *= rng.standard_normal(signal.shape, dtype=np.float32)
            signal += deviation
        signal *= np.float32(_TABLE_SIZE - 1)
        signal += np.float32(0.5)
        np.clip(signal, 0, _TABLE_SIZE - 1, out=signal)
        return self._codes[signal.astype(np.uint16)]
