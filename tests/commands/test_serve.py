"""``plumbline serve`` as a program: started, asked over a socket, ended by signals, refused in a sentence."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from plumbline.cli import main
from tests.helpers.processes import DEADLINE, running
from tests.helpers.scanned import simulate, write_scan
from tests.helpers.serving import parts

HULL = ("-m", "plumbline", "serve", "--port", "0", "--model", "convex_hull")
OWN = """
import time
from pathlib import Path

def slow(scans):
    here = Path(__file__).parent
    if scans.mean.shape[0] == 1 and (here / "armed").exists():
        (here / "busy").touch()
        while not (here / "go").exists():
            time.sleep(0.01)
    return scans.mean
"""


def address(process) -> str:
    """Wait until a server says where it is."""
    line = process.stdout.readline()
    found = re.fullmatch(r"plumbline \S+ answers at (http://\S+) by \S.*; Ctrl-C ends it\n", line)
    assert found, line + process.stdout.read()
    return found[1]


def test_it_answers_over_a_socket_and_says_nothing_else(tmp_path):
    file = write_scan(tmp_path / "a.npz", simulate(0))
    with running(*HULL) as process:
        url = address(process)
        with urllib.request.urlopen(f"{url}/healthz", timeout=DEADLINE) as answer:
            assert json.load(answer)["status"] == "ready"
            assert "server" not in answer.headers
        for _ in range(3):
            assert httpx2.post(f"{url}/predict", timeout=DEADLINE, **parts(cloud=file)).status_code == 200
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=DEADLINE) as leaving:
            head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            leaving.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert httpx2.post(f"{url}/predict", timeout=DEADLINE, **parts(cloud=file)).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait(DEADLINE) == 143


def test_ctrl_c_ends_it_as_other_commands():
    with running(*HULL) as process:
        urllib.request.urlopen(f"{address(process)}/healthz", timeout=DEADLINE).close()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "interrupted\n"
        assert process.wait(DEADLINE) == 130


def test_a_request_under_way_is_answered_before_it_ends(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    file = write_scan(tmp_path / "a.npz", simulate(0))
    with running(*HULL[:-1], f"{tmp_path}/own.py:slow") as process, ThreadPoolExecutor(1) as pool:
        url = address(process)
        urllib.request.urlopen(f"{url}/healthz", timeout=DEADLINE).close()
        (tmp_path / "armed").touch()
        asked = pool.submit(httpx2.post, f"{url}/predict", timeout=DEADLINE, **parts(cloud=file))
        while not (tmp_path / "busy").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        while refused(url):
            time.sleep(0.01)
        (tmp_path / "go").touch()
        assert asked.result(DEADLINE).json()[0]["model"] == "own.py:slow"
        assert process.wait(DEADLINE) == 143


def refused(url: str) -> bool:
    """Whether new connections are still accepted."""
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_port_that_is_taken_is_refused(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert capsys.readouterr() == (
        "", f"error: --port {port} is taken by another program; choose another, or 0 for any\n"
    )  # fmt: skip


@pytest.mark.parametrize(("flags", "said"), [
    (["--host", "no such name"], "--host no such name: this name is not known; give a name or an address"),
    (["--host", "192.0.2.1"], "--host 192.0.2.1 is not an address of this machine"),
    (["--port", "65536"], "--port 65536: must be at least 0 and at most 65535"),
    (["--model", "carv"], "did you mean carve?"),
    (["--port", "0", "--checkpoint", "no.ckpt"], "checkpoint no.ckpt: there is no such file or folder"),
    (["--timeout", "0"], "--timeout 0: must be above 0"),
    (["scan.ply"], "unexpected value scan.ply"),
])  # fmt: skip
def test_what_cannot_be_served_is_refused(flags, said, capsys):
    assert main(["serve", *flags]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_model_that_fails_is_refused_at_the_start(tmp_path, capsys):
    (tmp_path / "own.py").write_text("def broken(scans):\n    return scans.nothing\n")
    assert main(["serve", "--port", "0", "--model", f"{tmp_path}/own.py:broken"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "own.py:broken fails (AttributeError" in err
    assert err.count("\n") == 1


def without(packages: tuple[str, ...], *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program where some packages are not installed."""
    code = f"import sys; sys.modules.update(dict.fromkeys({packages})); from plumbline.cli import main; "
    return subprocess.run([sys.executable, "-c", f"{code}sys.exit(main({[*words]}))"], capture_output=True,
                          text=True, timeout=DEADLINE)  # fmt: skip


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart"])
def test_a_missing_package_is_named_with_what_installs_it(package):
    done = without((package,), "serve", "--port", "0")
    said = f"error: plumbline serve needs {package}: pip install fastapi python-multipart uvicorn\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_the_help_needs_none_of_the_packages():
    done = without(("fastapi", "uvicorn", "python_multipart", "pydantic", "torch"), "serve", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--max_points N" in done.stdout
