"""Clients that send nothing, or a byte at a time, on real sockets: they keep nobody else out."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx2
import pytest

from tests.commands.test_serve import HULL, OWN, address
from tests.helpers.processes import DEADLINE, running
from tests.helpers.scanned import simulate, write_scan
from tests.helpers.serving import parts

PLACES, CONNECTIONS = 2, 16
HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n"
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with two places for requests that waits a day for each."""
    with running(*HULL, "--max_requests", str(PLACES), "--timeout", "86400") as process:
        yield address(process)


@pytest.fixture
def connect(url):
    """Opens connections, which are closed when the test ends."""
    host, port = url.removeprefix("http://").split(":")
    with ExitStack() as held:
        yield lambda: held.enter_context(socket.create_connection((host, int(port)), timeout=DEADLINE))


@pytest.fixture
def ask(url, tmp_path):
    file = write_scan(tmp_path / "a.npz", simulate(0))
    return lambda: httpx2.post(f"{url}/predict", timeout=DEADLINE, **parts(cloud=file))


def test_bodies_that_do_not_come_give_their_places_to_others(connect, ask):
    slow = [connect() for _ in range(PLACES)]
    for client in slow:
        client.sendall(HEAD + b"\r\n{")
    end = time.monotonic() + DEADLINE
    answer = ask()
    while answer.status_code == 503 and time.monotonic() < end:  # as the answer says: try again
        assert answer.headers["retry-after"] == "1"
        time.sleep(0.2)
        answer = ask()
    assert answer.status_code == 200
    said = [client.recv(1000) for client in slow[:1]]  # one place was enough
    assert b" 503 " in said[0].partition(b"\r\n")[0]
    assert b"try again in a second" in said[0]


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"\r\n{"], ids=["nothing", "half a head", "half a body"])
def test_silent_connections_beyond_a_number_are_closed(connect, ask, sent):
    silent = []
    for _ in range(2 * CONNECTIONS):
        silent.append(connect())
        silent[-1].sendall(sent)
    end = time.monotonic() + DEADLINE
    while ask().status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.2)
    for client in silent[: CONNECTIONS + 1]:  # the oldest; that of the request took a place, too
        wait_until_closed(client)


def wait_until_closed(client: socket.socket) -> None:
    """Read what there is; times out if the connection stays."""
    with suppress(ConnectionResetError):
        while client.recv(1000):
            pass


def test_a_connection_whose_request_is_answered_stays(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    file = write_scan(tmp_path / "a.npz", simulate(0))
    model = (*HULL[:-1], f"{tmp_path}/own.py:slow", "--max_requests", str(PLACES))
    with running(*model) as process, ThreadPoolExecutor(1) as pool, ExitStack() as held:
        url = address(process)
        (tmp_path / "armed").touch()
        asked = pool.submit(httpx2.post, f"{url}/predict", timeout=DEADLINE, **parts(cloud=file))
        while not (tmp_path / "busy").exists():
            time.sleep(0.01)
        host, port = url.removeprefix("http://").split(":")
        place = (host, int(port))
        silent = [held.enter_context(socket.create_connection(place, DEADLINE)) for _ in range(CONNECTIONS)]
        wait_until_closed(silent[0])
        (tmp_path / "go").touch()
        assert asked.result(DEADLINE).status_code == 200
