"""A cluster of Dask gives the bytes of the local pool, whatever becomes of its workers."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from plumbline import GraphSettings, make_dataset
from plumbline.cli import main
from plumbline.data.prepare import cluster as client_side
from plumbline.data.prepare import dataset, pool
from plumbline.data.prepare.pool import Workers
from plumbline.data.prepare.samples import Written, write_chunk
from plumbline.data.prepare.sources import Chunk, Source
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import read_part
from plumbline.errors import InputError
from plumbline.evaluation.conditions import MAIN
from plumbline.reporting import Event
from tests.helpers.dask_cluster import Cluster
from tests.helpers.preparing import BOX, BOX_FACES, SMALL, digest, prepare, write_meshes, write_off
from tests.helpers.processes import DEADLINE, running
from tests.helpers.scans import scan_settings
from tests.helpers.trackers import until

pytest.importorskip("distributed")

SCAN, GRAPH = scan_settings(samples=1, points=48, rays=400), GraphSettings(k=6)
FLAGS = SMALL[:-2]  # without --workers
KEEP_NONE = "from plumbline.data.prepare import cluster_tasks; cluster_tasks._KEPT = 0.1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two workers with nannies, whose processes are daemonic; one has two threads; a scheduler without us."""
    without = "import sys; sys.modules['plumbline'] = None"
    with Cluster(tmp_path_factory.mktemp("cluster"), code=without) as started:
        started.add("one", nanny=True)
        started.add("two", nanny=True, threads=2)
        yield started


def write_inputs(folder: Path) -> None:
    """Closed meshes, an open one, a file that is no mesh, and two real scans with labels."""
    write_meshes(folder / "meshes")
    write_off(folder / "meshes" / "open.off", BOX, BOX_FACES[:-1])
    (folder / "meshes" / "broken.ply").write_text("ply\nthis is no mesh\n")
    points = np.random.default_rng(0).normal(size=(300, 3)) * [0.1, 0.2, 0.3] + [0, 0, 2]
    np.save(folder / "view.npy", points)
    np.save(folder / "few.npy", points[:5])
    (folder / "labels.csv").write_text("file,com_x,com_y,com_z\nview.npy,0,0,2\nfew.npy,0,0,2\n")


@pytest.mark.parametrize("layout", ["packed", "pt"])
def test_a_cluster_writes_the_bytes_of_the_pool(cluster, tmp_path, monkeypatch, capsys, layout):
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)  # where the workers are not
    flags = ["meshes", "--solids", 9, "--labels", "labels.csv", "--format", layout]
    prepare(*flags, *SMALL, "--out", "local")
    capsys.readouterr()
    prepare(*flags, *FLAGS, "--out", "remote", "--scheduler", cluster.address)
    assert f"in remote with the Dask cluster {cluster.address} (3 processes)\n" in capsys.readouterr().out
    assert digest(tmp_path / "remote") == digest(tmp_path / "local")
    if layout == "packed":
        rejected = {item.source for item in PackedStore.open(tmp_path / "remote").rejected}
        assert rejected == {"open.off", "broken.ply", "few.npy"}


def test_the_scans_of_a_benchmark_are_made_on_a_cluster(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("plumbline.evaluation.benchmark.CONDITIONS", MAIN)
    monkeypatch.setattr("plumbline.evaluation.benchmark_tables.CONDITIONS", MAIN)
    for out, flags in {"local": ["--workers", 1], "remote": ["--scheduler", cluster.address]}.items():
        if out == "remote":
            monkeypatch.setattr(pool, "ProcessPool", None)  # no process of this machine's does the work
        words = ["benchmark", "--solids", 3, "--samples", 1, "--out", tmp_path / out, *flags]
        assert main([*map(str, words)]) == 0
    assert digest(tmp_path / "remote") == digest(tmp_path / "local")


# ------------------------------------------------------------------------------- workers that die or are slow


def _held_until_killed(chunk: Chunk, scan, graph, dead=()) -> Written:
    """The doomed worker holds its first chunk until it is killed; the slow one starts after that."""
    place = Path(os.environ["PLACE"])
    if os.environ["ROLE"] == "doomed":
        (place / chunk.path.name).touch()
        time.sleep(DEADLINE)
    until((place / "killed").exists)
    return write_chunk(chunk, scan, graph, dead)


def test_a_busy_scheduler_is_waited_for(tmp_path, monkeypatch):
    """It is suspended right after its first answer, for longer than an address without a scheduler gets."""
    ask = client_side._scheduler_version

    async def answered(address: str) -> str:
        found = await ask(address)
        monkeypatch.setattr(client_side, "_CONNECT", 0.2)
        cluster.scheduler.send_signal(signal.SIGSTOP)
        threading.Timer(2, cluster.scheduler.send_signal, [signal.SIGCONT]).start()
        return found

    monkeypatch.setattr(client_side, "_scheduler_version", answered)
    with Cluster(tmp_path / "dask") as cluster:
        cluster.add("one")
        with Workers(scheduler=cluster.address) as workers:
            assert workers.title(1) == f"the Dask cluster {cluster.address} (1 process)"


def test_of_two_workers_one_is_killed_midway_and_one_is_slow(tmp_path, monkeypatch):
    make_dataset(tmp_path / "local", solids=9, scan=SCAN, graph=GRAPH, workers=2)
    monkeypatch.setattr(dataset, "Workers", partial(Workers, work=_held_until_killed))
    (place := tmp_path / "place").mkdir()
    with Cluster(tmp_path / "dask") as cluster, ThreadPoolExecutor(1) as thread:
        for name in ("doomed", "slow"):
            cluster.add(name, PLACE=str(place), ROLE=name)

        def kill() -> list[str]:
            until(lambda: any(place.iterdir()))
            held = [path.name for path in place.iterdir()]
            cluster.kill("doomed")
            (place / "killed").touch()
            return held

        held = thread.submit(kill)
        made = make_dataset(tmp_path / "remote", solids=9, scan=SCAN, graph=GRAPH, scheduler=cluster.address)
        assert len(held.result()) == 1
    assert made.scans == 9
    assert digest(tmp_path / "remote") == digest(tmp_path / "local")


def _write_or_die(chunk: Chunk, scan, graph, dead=()) -> Written:
    for position, source in enumerate(chunk.sources):
        if source.index == 5 and position not in dead:
            chunk.path.with_name(f".{chunk.path.name}.{os.getpid()}-0.tmp").touch()
            os.kill(os.getppid() if os.environ.get("KILLS") == "worker" else os.getpid(), signal.SIGKILL)
            time.sleep(DEADLINE)
    return write_chunk(chunk, scan, graph, dead)


@pytest.mark.parametrize("kills", ["process", "worker"])
def test_an_object_that_kills_what_prepares_it_is_the_only_one_lost(tmp_path, monkeypatch, kills):
    sources = [Source("solid", f"built-in solid {i}", f"solids/{i}", index=i) for i in range(6)]
    chunks = {}
    for where in ("local", "remote"):
        (folder := tmp_path / where).mkdir()
        chunks[where] = [Chunk(folder / f"{i}.part", tuple(sources[i : i + 3])) for i in (0, 3)]
    write_chunk(chunks["local"][0], SCAN, GRAPH)
    write_chunk(chunks["local"][1], SCAN, GRAPH, [2])
    with Cluster(tmp_path / "dask", DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as cluster:
        for name in ("one", "two"):
            cluster.add(name, nanny=kills == "worker", KILLS=kills)
        with Workers(scheduler=cluster.address, work=_write_or_die) as workers:
            monkeypatch.setattr(client_side, "_connect", None)  # a busy scheduler may miss a new deadline
            written = {chunk.path.stem: part for chunk, part in workers.write(chunks["remote"], SCAN, GRAPH)}
        assert {name: part.num_samples for name, part in written.items()} == {"0": 3, "3": 2}
        assert kills == "worker" or all(worker.poll() is None for worker in cluster.workers.values())
    assert digest(tmp_path / "remote") == digest(tmp_path / "local")
    assert sorted(path.name for path in (tmp_path / "remote").iterdir()) == ["0.part", "3.part"]
    (rejected,) = read_part(tmp_path / "remote" / "3.part").rejected
    assert rejected.source == "built-in solid 5"
    assert "died" in rejected.reason


# ------------------------------------------------------------------------------------------ stopped and lost


def test_after_a_lost_scheduler_the_finished_parts_are_kept(tmp_path):
    make_dataset(tmp_path / "local", solids=20, scan=SCAN, graph=GRAPH, workers=2)
    lost: list[int] = []
    with Cluster(tmp_path / "dask") as cluster:
        cluster.add("one")

        def lose(event: Event) -> None:
            if event.kind == "progress" and event.done and not lost:
                lost.append(event.done)
                cluster.scheduler.kill()

        def make(scheduler: str):
            return make_dataset(
                tmp_path / "out", solids=20, scan=SCAN, graph=GRAPH, scheduler=scheduler, report=lose
            )

        with pytest.raises(InputError) as caught:
            make(cluster.address)
    again = "run the same command again to resume"
    assert str(caught.value) == f"the scheduler {cluster.address} was lost; finished work is kept: {again}"
    assert not list((tmp_path / "out" / ".parts").glob("token*"))
    kept = len(list((tmp_path / "out" / ".parts").glob("*.part")))
    assert kept >= 1
    with Cluster(tmp_path / "again") as another:
        another.add("one")
        made = make(another.address)
    assert made.new_scans == 20 - kept
    assert digest(tmp_path / "out") == digest(tmp_path / "local")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two workers without nannies, which keep no idle processes."""
    with Cluster(tmp_path_factory.mktemp("pair")) as started:
        for name in ("one", "two"):
            started.add(name, code=KEEP_NONE)
        yield started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_work_on_the_cluster(pair, tmp_path, number):
    endless = ["--solids", 2, "--samples", 10**7, "--points", 48, "--k", 6]
    flags = ["--out", tmp_path / "out", "--scheduler", pair.address]
    with running("-m", "plumbline", "prepare", *map(str, endless + flags)) as process:
        until(lambda: all(pair.children(name) for name in pair.workers))
        process.send_signal(number)
        said = process.communicate(timeout=DEADLINE)[0]
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert ("stopped; 0 of 2 objects done and kept" in said) == (number == signal.SIGINT)
    until(lambda: not any(pair.children(name) for name in pair.workers))
    assert all(worker.poll() is None for worker in pair.workers.values())
    make_dataset(tmp_path / "after", solids=2, scan=SCAN, graph=GRAPH, scheduler=pair.address)
    until(lambda: not any(pair.children(name) for name in pair.workers))


def test_idle_processes_do_not_stay_on_the_cluster(pair, tmp_path):
    make_dataset(tmp_path / "out", solids=2, scan=SCAN, graph=GRAPH, scheduler=pair.address)
    until(lambda: not any(pair.children(name) for name in pair.workers))
    assert all(worker.poll() is None for worker in pair.workers.values())


def test_without_workers_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(client_side, "_DESERTED", 0.0)
    monkeypatch.setattr(client_side, "_LOOK", 0.0)
    monkeypatch.setattr(pool, "_LOOK", 0.1)
    with Cluster(tmp_path / "dask") as cluster:
        cluster.add("one")
        with pytest.raises(InputError, match=r"has no workers left; finished work is kept"):
            make_dataset(
                tmp_path / "out", solids=20, scan=SCAN, graph=GRAPH, scheduler=cluster.address,
                report=lambda event: cluster.kill("one") if event.kind == "progress" and event.done else None,
            )  # fmt: skip
