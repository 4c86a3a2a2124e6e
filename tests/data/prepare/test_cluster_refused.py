"""A cluster that cannot be used, or would write other data, is refused in one sentence."""

import os
import platform
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest

from plumbline import GraphSettings, InputError, make_dataset
from plumbline.data.prepare import cluster as client_side
from plumbline.data.prepare import cluster_tasks, dataset
from plumbline.data.prepare.pool import Workers
from plumbline.data.prepare.samples import Written
from plumbline.data.prepare.sources import Chunk
from plumbline.reporting import Event
from tests.helpers.dask_cluster import BLIND, Cluster
from tests.helpers.preparing import BOX, write_meshes, write_off
from tests.helpers.processes import DEADLINE
from tests.helpers.refusals import refused
from tests.helpers.scans import scan_settings
from tests.helpers.trackers import until

pytest.importorskip("distributed")

SCAN, GRAPH = scan_settings(samples=1, points=48, rays=400), GraphSettings(k=6)
OTHER_VERSION = """
import importlib.metadata
original = importlib.metadata.version
importlib.metadata.version = lambda name: "1.99.0" if name == "numpy" else original(name)
"""
NO_PLUMBLINE = "import sys; sys.modules['plumbline'] = None"
IMPATIENT = "from plumbline.data.prepare import cluster_tasks; cluster_tasks._PATIENCE = 0\n"


@pytest.fixture
def make(tmp_path):
    return partial(make_dataset, tmp_path / "out", scan=SCAN, graph=GRAPH)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def cluster(scheduler):
    """A scheduler without workers; those that a test adds are removed after it."""
    yield scheduler
    assert scheduler.scheduler.poll() is None
    for name in list(scheduler.workers):
        scheduler.remove(name)


def refusal(make, *args, **flags) -> str:
    """The sentence that a call is refused with."""
    with pytest.raises(InputError) as caught:
        make(*args, **flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def parts(out: Path) -> list[Path]:
    return list(out.rglob("*.part"))


# ------------------------------------------------------------------------------------------- no such cluster


@pytest.mark.parametrize(
    "address",
    [
        "http://node1:8787",
        "node1:8786",
        "tcp://node1",
        "tcp://node1:8786/status",
        "tcp://:8786",
        "tcp://a b:1",
    ],
)
@pytest.mark.parametrize("verb", ["prepare", "benchmark"])
def test_what_is_no_address_is_refused(tmp_path, capsys, verb, address):
    said = refused(capsys, verb, "--solids", 2, "--out", tmp_path / "out", "--scheduler", address)
    assert said == (
        f"error: --scheduler {address}: write tcp://HOST:PORT, such as tcp://node1:8786, or tls://HOST:PORT\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["prepare", "benchmark"])
@pytest.mark.parametrize("what", ["nothing", "silent"])
def test_where_no_scheduler_answers_it_says_how_to_start_one(tmp_path, capsys, monkeypatch, verb, what):
    monkeypatch.setattr(client_side, "_CONNECT", 0.5)
    monkeypatch.setattr(client_side, "_BUSY", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        if what == "nothing":
            server.close()
        said = refused(capsys, verb, "--solids", 2, "--out", tmp_path / "out", "--scheduler", address)
    assert said == (
        f"error: no Dask scheduler answers at {address}: start one with dask scheduler, and give the address "
        "that it prints\n"
    )
    assert not (tmp_path / "out" / ".parts").exists()


def test_the_address_of_a_worker_is_not_that_of_a_scheduler(cluster, make, monkeypatch):
    cluster.add("one")
    worker = cluster.address_of("one")
    clients: list[str] = []  # one that is connected to a worker prints tracebacks when it ends
    monkeypatch.setattr("distributed.Client", lambda address, **_: clients.append(address))
    assert refusal(make, solids=2, scheduler=worker).startswith(f"no Dask scheduler answers at {worker}: ")
    assert clients == []


def test_a_scheduler_of_another_version_is_refused(cluster, make, monkeypatch):
    monkeypatch.setattr(client_side, "version", lambda name: "1999.1.0")
    assert refusal(make, solids=2, scheduler=cluster.address) == (
        f"the scheduler {cluster.address} has distributed {version('distributed')}, and 1999.1.0 is needed: "
        "install the same versions for the scheduler and all workers"
    )


def test_a_cluster_without_workers_is_refused(cluster, make, tmp_path):
    assert refusal(make, solids=2, scheduler=cluster.address) == (
        f"the scheduler {cluster.address} has no workers: start some with dask worker {cluster.address}"
    )
    assert not (tmp_path / "out").exists()


def test_the_number_of_processes_is_that_of_the_cluster(make, tmp_path):
    assert refusal(make, solids=2, workers=3, scheduler="tcp://node1:8786") == (
        "workers 3: leave it out with scheduler tcp://node1:8786, whose workers decide how many processes "
        "there are"
    )
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert refusal(make, solids=2, scheduler="tcp://node1:8786") == (
        "--scheduler needs distributed: pip install distributed"
    )


# ------------------------------------------------------------------------------- workers that are not like us


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (OTHER_VERSION, "the Dask worker {} on {} has numpy 1.99.0, and {} is needed, because the data would "
         "differ: install the same versions on all workers"),
        ("import plumbline; plumbline.__version__ = '0.0.1'", "has plumbline 0.0.1, and"),
        ("import platform; platform.python_version_tuple = lambda: ('3', '99', '0')", "has python 3.99, and"),
        ("from plumbline.data.prepare import cluster_tasks; cluster_tasks.Terms = lambda: None",
         "cannot check its versions ("),
        (NO_PLUMBLINE, "has no plumbline of this version: install the same versions"),
    ],
    ids=["numpy", "plumbline", "python", "another record", "no plumbline"],
)  # fmt: skip
def test_another_version_is_refused_before_any_work(cluster, make, tmp_path, code, said):
    cluster.add("good")
    cluster.add("other", code=code)
    refused = refusal(make, solids=2, scheduler=cluster.address)
    host, numpy = socket.gethostname(), cluster_tasks.versions()["numpy"]
    assert said.format(cluster.address_of("other"), host, numpy) in refused
    assert not parts(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("token*"))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of kernels of x86")
def test_a_worker_with_another_kind_of_processor_is_refused(cluster, make, tmp_path):
    cluster.add("good")
    other = "Haswell" if os.environ.get("OPENBLAS_CORETYPE") == "Nehalem" else "Nehalem"
    cluster.add("other", OPENBLAS_CORETYPE=other)
    assert refusal(make, solids=2, scheduler=cluster.address).startswith(
        f"the Dask worker {cluster.address_of('other')} on {socket.gethostname()} computes other last bits "
    )
    assert not parts(tmp_path / "out")


def test_a_worker_that_does_not_see_the_output_folder_is_refused(cluster, make, tmp_path):
    cluster.add("good")
    cluster.add("blind", code=IMPATIENT + BLIND, HIDDEN=str(tmp_path / "out"))
    assert refusal(make, solids=2, scheduler=cluster.address) == (
        f"the Dask worker {cluster.address_of('blind')} on {socket.gethostname()} does not see the output "
        f"folder {tmp_path / 'out' / '.parts'} (No such file or directory): give a folder on a file system "
        "that this machine and all workers share under the same path"
    )
    assert not parts(tmp_path / "out")


def test_another_folder_under_the_same_path_is_told_from_the_output_folder(cluster, make, monkeypatch):
    cluster.add("one")
    monkeypatch.setattr(Path, "write_text", lambda path, text, *args: path.write_bytes(b"of another folder"))
    assert f"{cluster.address_of('one')} on {socket.gethostname()} does not see the output folder" in (
        said := refusal(make, solids=2, scheduler=cluster.address)
    )
    assert "(it is another folder)" in said


def test_a_worker_that_does_not_see_the_inputs_is_refused(cluster, make, tmp_path):
    meshes = write_meshes(tmp_path / "meshes")
    cluster.add("blind", code=BLIND, HIDDEN=str(meshes))
    assert refusal(make, meshes, scheduler=cluster.address) == (
        f"the Dask worker {cluster.address_of('blind')} on {socket.gethostname()} does not see the input "
        f"{meshes / 'Möbel alt' / 'wedge.off'} (does not exist): the inputs must be on a file system that "
        "this machine and all workers share under the same path"
    )


def test_an_input_with_other_content_on_the_worker_is_refused(cluster, make, tmp_path):
    write_off(tmp_path / "meshes" / "box.off", BOX)
    cluster.add("one")

    def change(event: Event) -> None:
        if event.kind == "message":
            write_off(tmp_path / "meshes" / "box.off", 2 * BOX)

    said = refusal(make, tmp_path / "meshes", scheduler=cluster.address, report=change)
    assert "box.off (the file has other content there)" in said


def _hold(chunk: Chunk, scan, graph, dead=()) -> Written:
    Path(os.environ["HELD"]).touch()
    time.sleep(DEADLINE)
    raise AssertionError


@pytest.mark.parametrize("late", ["version", "folder", "program"])
def test_a_worker_that_joins_later_is_refused_too(cluster, make, tmp_path, monkeypatch, late):
    monkeypatch.setattr(dataset, "Workers", partial(Workers, work=_hold))
    cluster.add("good", HELD=str(tmp_path / "held"))
    code, said = {
        "version": (OTHER_VERSION, "has numpy 1.99.0"),
        "folder": (IMPATIENT + BLIND, f"does not see the output folder {tmp_path / 'out' / '.parts'}"),
        "program": (NO_PLUMBLINE, "a Dask worker has no plumbline of this version"),
    }[late]

    def add() -> None:
        until((tmp_path / "held").exists)
        cluster.add("late", code=code, HIDDEN=str(tmp_path / "out"))

    with ThreadPoolExecutor(1) as thread:
        added = thread.submit(add)
        refused = refusal(make, solids=9, scheduler=cluster.address)
        added.result()
    assert said in refused
    assert late == "program" or f"{cluster.address_of('late')} on {socket.gethostname()}" in refused


def _write_nothing(chunk: Chunk, scan, graph, dead=()) -> Written:
    return Written(0)


def test_a_part_that_does_not_appear_here_is_missed(cluster, make, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "Workers", partial(Workers, work=_write_nothing))
    monkeypatch.setattr(client_side, "_VISIBLE", 0.0)
    cluster.add("one")
    assert "which a Dask worker has written, does not appear here" in refusal(
        make, solids=2, scheduler=cluster.address
    )
