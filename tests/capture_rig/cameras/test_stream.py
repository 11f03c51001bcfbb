"""Streams: a real HTTP server of MJPEG in a thread, which goes on, ends, stalls or says no."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from capture_rig.cameras.opening import open_camera
from capture_rig.cameras.protocol import CameraLostError, CameraRefusedError, CameraSettings
from capture_rig.cameras.stream import StreamCamera

Serve = Callable[..., str]


def read_many(camera: StreamCamera, count: int, timeout_s: float = 4.0) -> None:
    for _ in range(count):
        camera.read(timeout_s)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """An MJPEG server: address of a stream of grey pictures 0, 10, 20, ..., at 50 a second."""
    servers = []
    over = threading.Event()

    def start(pictures: int = 10**6, then: str = "end", status: int = 200) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    for number in range(pictures if status == 200 else 0):
                        grey = np.full((48, 64, 3), 10 * (number % 25), np.uint8)
                        data = cv2.imencode(".jpg", grey)[1].tobytes()
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                        self.wfile.write(head.encode() + data + b"\r\n")
                        if over.wait(0.02):
                            return
                    if then == "stall":
                        over.wait(20)
                except (BrokenPipeError, ConnectionResetError):
                    return

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/video.mjpg"

    yield start
    over.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def test_frames_of_a_stream_come_in_order_with_the_time_of_their_arrival(serve: Serve) -> None:
    before = time.monotonic()
    with StreamCamera(serve(), kept=50) as camera:
        frames = [camera.read() for _ in range(10)]
    levels = np.array([frame.codes.mean() for frame in frames])
    assert np.abs(np.diff(levels) - 10).max() < 2
    assert np.all(np.diff([frame.number for frame in frames]) == 1)
    assert before < frames[0].at_s <= frames[-1].at_s <= time.monotonic()
    assert (camera.facts.width, camera.facts.height, camera.facts.backend) == (64, 48, "stream")
    assert camera.facts.details["codec"] == "mjpeg"


def test_a_slow_reader_gets_the_newest_frame_and_a_gap_in_the_numbers(serve: Serve) -> None:
    with StreamCamera(serve()) as camera:
        first = camera.read()
        time.sleep(0.5)
        late = camera.read()
    assert late.number - first.number > 5
    assert late.at_s - first.at_s > 0.3


def test_a_server_that_stops_in_the_middle_is_a_lost_camera(serve: Serve) -> None:
    with (
        StreamCamera(serve(pictures=20), kept=50) as camera,
        pytest.raises(CameraLostError, match=r"the stream (has ended|broke off)"),
    ):
        read_many(camera, 40)


def test_a_server_that_goes_silent_is_given_up_after_the_read_timeout(serve: Serve) -> None:
    url = serve(pictures=20, then="stall")
    with StreamCamera(url, kept=50, read_timeout_s=0.6) as camera:
        started = time.monotonic()
        with pytest.raises(CameraLostError, match="the stream broke off"):
            read_many(camera, 40)
        assert time.monotonic() - started < 3


def test_a_read_ends_at_its_own_timeout(serve: Serve) -> None:
    url = serve(pictures=20, then="stall")
    with (
        StreamCamera(url, kept=50, read_timeout_s=1.5) as camera,
        pytest.raises(CameraLostError, match=r"within 0.3 s"),
    ):
        read_many(camera, 40, 0.3)


def test_what_cannot_be_opened_is_refused_with_the_reason(serve: Serve) -> None:
    with pytest.raises(CameraRefusedError, match=r"127.0.0.1:\d+/video.mjpg: cannot be opened: .*404"):
        StreamCamera(serve(status=404))
    with pytest.raises(CameraRefusedError, match="cannot be opened: Connection refused"):
        StreamCamera("http://127.0.0.1:9/", open_timeout_s=2)


def test_passwords_stay_out_of_messages_and_facts() -> None:
    with pytest.raises(CameraRefusedError) as refused:
        StreamCamera("rtsp://me:secret@127.0.0.1:9/live", open_timeout_s=2)
    assert "secret" not in str(refused.value)
    assert "rtsp://127.0.0.1:9/live" in str(refused.value)


def test_a_stream_cannot_be_exposed_from_here_and_says_what_it_is(serve: Serve) -> None:
    with open_camera(serve(), CameraSettings(width=1920, exposure_s=0.01)) as camera:
        assert camera.set_exposure(1.0) == 1.0
        with pytest.raises(CameraRefusedError, match="cannot be set from here"):
            camera.set_exposure(2.0)
        told = {fact.name: (fact.got, fact.honoured) for fact in camera.facts.settings}
    assert told["width"] == (64, False)
    assert told["exposure_s"] == (None, False)
