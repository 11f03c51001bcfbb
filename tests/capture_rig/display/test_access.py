"""Who gets an answer from the rig's server, and what is out of reach: a real server, real sockets."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from capture_rig.display.access import is_loopback
from capture_rig.display.server import RigServer

from .fakes import FakeRun

TOKEN = "a-token-that-nobody-guesses"
PAGES = ("/display.html", "/operator.html", "/display.js", "/operator.js", "/rig.css")


def raw_get(url: str, path: str) -> tuple[int, bytes]:
    """GET with the path exactly as written: no client's tidying up."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    connection.putrequest("GET", path, skip_accept_encoding=True)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def base_of(server: RigServer) -> str:
    return server.display_url.removesuffix("/display.html")


@pytest.fixture(scope="module")
def open_server() -> Iterator[RigServer]:
    with RigServer(FakeRun()) as server:
        yield server


@pytest.fixture(scope="module")
def token_server() -> Iterator[RigServer]:
    with RigServer(FakeRun(), token=TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def strange_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigServer]:
    """Its folder of pages holds one page, and links that lead out of it."""
    above = tmp_path_factory.mktemp("above")
    folder = above / "static"
    folder.mkdir()
    (folder / "display.html").write_text("page")
    for outside in ("server.py", "secret.txt"):
        (above / outside).write_text("SECRET")
    (folder / "link.txt").symlink_to(above / "secret.txt")
    (folder / "folder").symlink_to(above)
    with RigServer(folder=folder) as server:
        yield server


def test_own_machine_needs_no_token_and_gets_every_page_with_its_files() -> None:
    with RigServer(FakeRun()) as server:
        assert urlsplit(server.display_url).hostname == "127.0.0.1"
        for path in PAGES:
            answer = httpx.get(base_of(server) + path)
            assert answer.status_code == 200
            assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert httpx.get(base_of(server) + "/").headers["location"] == "operator.html"


def test_a_server_for_the_network_makes_a_token_of_its_own_and_a_new_one_each_time() -> None:
    paths = []
    for _ in range(2):
        with RigServer(host="0.0.0.0") as server:
            paths.append(urlsplit(server.display_url).path)
    first, second = (path.split("/")[1] for path in paths)
    assert first != second
    assert len(first) >= 20


@pytest.mark.parametrize("path", [*PAGES, "/api/state", "/"])
def test_nothing_is_served_without_the_token_or_with_a_wrong_one(path: str, token_server: RigServer) -> None:
    base = base_of(token_server)
    assert base.endswith(f"/{TOKEN}")
    root = base.removesuffix(f"/{TOKEN}")
    assert httpx.get(base + path).status_code in (200, 307)
    for wrong in ("", f"/{TOKEN}x", f"/{TOKEN[:-1]}", "/x", "//", "/é"):
        assert httpx.get(root + wrong + path).status_code == 404


@pytest.mark.parametrize("name", ["display", "operator"])
def test_websockets_need_the_token_too(name: str, token_server: RigServer) -> None:
    address = base_of(token_server).replace("http", "ws")
    with connect(f"{address}/{name}"):
        pass
    for wrong in (f"{address.removesuffix(TOKEN)}{name}", f"{address}/{name}.js"):
        with pytest.raises(InvalidStatus, match="403"):
            connect(wrong)


@pytest.mark.parametrize("name", ["display", "operator"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
def test_a_page_of_another_site_opens_no_websocket(name: str, origin: str, open_server: RigServer) -> None:
    address = base_of(open_server).replace("http", "ws")
    with connect(f"{address}/{name}", origin=Origin(base_of(open_server))):
        pass
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"{address}/{name}", origin=Origin(origin))


def test_a_page_of_another_site_operates_nothing() -> None:
    run = FakeRun()
    with RigServer(run) as server:
        answer = httpx.post(f"{base_of(server)}/api/start", headers={"Origin": "http://evil.example"})
        assert answer.status_code == 403
        assert run.calls == []
        assert httpx.post(f"{base_of(server)}/api/start", headers={"Origin": base_of(server)}).status_code == 200
        assert run.calls == [("start",)]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1"])
def test_a_foreign_name_for_this_machine_gets_no_answer(host: str, open_server: RigServer) -> None:
    assert httpx.get(open_server.display_url, headers={"Host": host}).status_code in (400, 403)


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/static/../server.py",
        "/%2e%2e/server.py",
        "/%2e%2e%2fserver.py",
        "/..%2fserver.py",
        "/..%5cserver.py",
        "/%252e%252e/server.py",
        "/....//server.py",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/server.py",
        "/link.txt",
        "/folder/secret.txt",
        "/display.html%00.js",
        "/.",
    ],
)
def test_nothing_outside_the_folder_of_pages_is_served(path: str, strange_server: RigServer) -> None:
    assert raw_get(strange_server.display_url, "/display.html") == (200, b"page")
    status, body = raw_get(strange_server.display_url, path)
    assert status in (400, 404)
    assert b"SECRET" not in body
    assert b"root:" not in body


def test_a_display_page_that_talks_nonsense_is_cut_off_and_named() -> None:
    with RigServer() as server:
        address = base_of(server).replace("http", "ws") + "/display"
        with connect(address) as page:
            page.send('{"display": "short"}')
            with pytest.raises(ConnectionClosed):
                page.recv(timeout=5)
        hello = '{"display": "0123456789ab", "width_px": 64, "height_px": 36, "device_pixel_ratio": 1}'
        with connect(address) as page:
            page.send(hello)
            assert "welcome" in str(page.recv(timeout=5))
            page.send("[]")
            with pytest.raises(ConnectionClosed):
                page.recv(timeout=5)
        assert any("unknown" in notice for notice in server.screen.status["notices"])


def test_messages_of_what_cannot_be_done_reach_the_operator() -> None:
    run = FakeRun()
    run.refusal = "no film is asked for"
    with RigServer(run) as server:
        api = f"{base_of(server)}/api"
        answer = httpx.post(f"{api}/confirm", json={"layers": 4})
        assert (answer.status_code, answer.json()["message"]) == (409, "no film is asked for")
        assert httpx.post(f"{api}/confirm", json={"layers": 65}).status_code == 422
        server.run = None
        assert "nothing is set up" in httpx.post(f"{api}/start").json()["message"]


def test_addresses_and_tokens_that_cannot_be_used_are_refused_with_the_rule() -> None:
    with RigServer() as server, pytest.raises(OSError, match=r"cannot serve at 127\.0\.0\.1, port"):
        RigServer(port=urlsplit(server.display_url).port or 0).__enter__()
    with pytest.raises(ValueError, match="token must be at least 8"):
        RigServer(token="a/b")
    with pytest.raises(ValueError, match="does not run yet"):
        _ = RigServer().screen


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("192.0.2.7", False), ("", False)],
)
def test_only_addresses_of_this_machine_itself_do_without_a_token(host: str, own: bool) -> None:
    assert is_loopback(host) is own
