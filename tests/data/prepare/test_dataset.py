"""A data set made from Python: the same bytes as the command's, in any place, and nothing left behind."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

import plumbline
from plumbline import GraphSettings, InputError, Range, make_dataset
from plumbline.config.prepare import PrepareConfig
from plumbline.data.prepare import dataset, limits
from plumbline.data.prepare.dataset import AllRejectedError
from plumbline.data.prepare.pool import Workers
from plumbline.data.store.reader import PackedStore
from plumbline.records import ScanSettings
from plumbline.reporting import Event, scans_per_second
from tests.helpers.preparing import BOX, BOX_FACES, SMALL, digest, prepare, write_meshes, write_off
from tests.helpers.scans import scan_settings

SCAN, GRAPH = scan_settings(samples=2, points=48), GraphSettings(k=6)


@pytest.fixture(scope="module")
def meshes(tmp_path_factory) -> Path:
    """Three closed meshes and an open one."""
    folder = write_meshes(tmp_path_factory.mktemp("dataset") / "meshes")
    write_off(folder / "open.off", BOX, BOX_FACES[:-1])
    return folder


@pytest.fixture(scope="module")
def command(meshes, tmp_path_factory) -> dict[str, str]:
    """Hashes of the files that the command writes."""
    out = tmp_path_factory.mktemp("dataset") / "command"
    prepare(meshes, "--solids", 3, "--out", out, *SMALL)
    return digest(out)


def make(meshes, out, **changed):
    return make_dataset(out, [meshes], **{"solids": 3, "scan": SCAN, "graph": GRAPH, "workers": 2} | changed)


def children() -> set[int]:
    """Processes of ours, without Python's own that watches over shared memory."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return {pid for pid in found if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()}


def state_of_the_process() -> dict[str, object]:
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)}
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "signals": signals,
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "main": sys.modules["__main__"].__spec__,
        "threads": set(threading.enumerate()),
        "children": children(),
        "pools": multiprocessing.active_children(),
    }


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc to find processes in")
def test_twice_in_a_process_gives_the_bytes_of_the_command_and_leaves_nothing(
    meshes, tmp_path, command, monkeypatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    before = state_of_the_process()
    first = make(meshes, tmp_path / "one")
    second = make(meshes, str(tmp_path / "two"), workers=1)
    assert digest(tmp_path / "one") == digest(tmp_path / "two") == command
    assert first == replace(
        second, out=tmp_path / "one", seconds=first.seconds, scans_per_second=first.scans_per_second
    )
    assert state_of_the_process() == before


def test_the_summary_says_what_is_in_it_now_and_later(meshes, tmp_path):
    for layout in ("packed", "pt"):
        out = tmp_path / layout
        made = make(meshes, out, format=layout, scan=replace(SCAN, views=Range(1, 3)))
        again = make(meshes, out, format=layout, scan=replace(SCAN, views=Range(1, 3)))
        store = plumbline.open_data(out)
        assert (made.inputs, made.objects, made.scans, made.points) == (7, 6, 12, 12 * 48)
        assert made.views == store.num_views.sum()
        assert [item.source for item in made.rejected] == ["open.off"]
        assert made.size == sum(file.stat().st_size for file in out.iterdir() if file.is_file()) > 0 or (
            layout == "pt"  # its cache lies there too by now
        )
        assert (made.finished_already, made.new_scans) == (False, 12)
        assert made.scans_per_second > 0
        assert again == replace(
            made, finished_already=True, new_scans=0, seconds=0.0, scans_per_second=0.0, size=again.size
        )


def test_in_threads_at_the_same_time(meshes, tmp_path, command):
    environment = dict(os.environ)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            make(meshes, tmp_path / str(number), workers=1)
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [digest(tmp_path / str(number)) for number in range(3)] == [command] * 3
    assert dict(os.environ) == environment


def test_under_a_running_event_loop(meshes, tmp_path, command):
    async def cell() -> None:
        make(meshes, tmp_path / "out", workers=1)

    asyncio.run(cell())
    assert digest(tmp_path / "out") == command


def test_from_a_script_without_a_guard(meshes, tmp_path, command):
    """As people write them, and as a notebook is run: it is not run again by every worker."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, plumbline\n"
        "print('once')\n"
        "scan = plumbline.ScanSettings(samples=2, points=plumbline.Range(48))\n"
        "plumbline.make_dataset(sys.argv[1], sys.argv[2], solids=3, scan=scan,\n"
        "                       graph=plumbline.GraphSettings(k=6), workers=2)\n"
    )
    done = subprocess.run(
        [sys.executable, script, tmp_path / "out", meshes], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")
    assert digest(tmp_path / "out") == command


def test_real_scans_are_counted_as_scans(tmp_path):
    points = np.random.default_rng(0).uniform(1, 2, (60, 3))
    np.save(tmp_path / "a.npy", points)
    (tmp_path / "l.csv").write_text("file,com_x,com_y,com_z\na.npy,1.5,1.5,1.5\n")
    events: list[Event] = []
    make_dataset(tmp_path / "out", labels=tmp_path / "l.csv", report=events.append)
    assert {event.text for event in events if event.kind == "progress"} == {"scan"}


def test_nothing_is_printed_and_everything_is_reported(meshes, tmp_path, capfd):
    events: list[Event] = []
    make(meshes, tmp_path / "out", report=events.append)
    assert capfd.readouterr() == ("", "")
    assert events[0].kind == "message"
    assert events[0].text.startswith("preparing 4 meshes, 3 built-in solids in ")
    counts = [event for event in events if event.kind == "progress"]
    assert [(event.text, event.total) for event in counts] == [("object", 7)] * 8
    assert [event.done for event in counts] == list(range(8))
    assert counts[0].rate == ""
    assert all(event.rate.endswith(" scans/s") for event in counts[1:])


def test_an_interrupt_keeps_what_is_done(meshes, tmp_path, command, monkeypatch):
    said: list[str] = []

    def interrupt(event: Event) -> None:
        if event.kind == "message":
            said.append(event.text)
        elif event.done == 3:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        make(meshes, out, workers=1, report=interrupt)
    parts = list((out / ".parts").glob("*.part"))
    assert len(parts) >= 3
    assert said[-1].startswith(f"stopped; {len(parts)} of 7 objects done and kept in {out / '.parts'}")
    assert multiprocessing.active_children() == []
    written: list[int] = []
    original = Workers.write

    def write(self, chunks, *rest):
        written.append(len(chunks))
        return original(self, chunks, *rest)

    monkeypatch.setattr(Workers, "write", write)
    made = make(meshes, out)
    assert written == [7 - len(parts)]
    assert made.scans == 12
    assert digest(out) == command


def test_an_error_of_the_listener_is_its_own(meshes, tmp_path):
    class Lost(Exception):
        pass

    def lose(event: Event) -> None:
        raise Lost

    with pytest.raises(Lost):
        make(meshes, tmp_path / "out", report=lose)

    def close(event: Event) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        make(meshes, tmp_path / "out", report=close)


def test_inputs_that_are_all_rejected_leave_nothing(tmp_path):
    write_off(tmp_path / "in" / "open.off", BOX, BOX_FACES[:-1])
    with pytest.raises(
        AllRejectedError, match=r"the only input was rejected \(open.off: .* open at 3"
    ) as caught:
        make_dataset(tmp_path / "out", tmp_path / "in", workers=1)
    assert [item.source for item in caught.value.rejected] == ["open.off"]
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_written_is_a_sentence(meshes, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset, "finish", full)
    with pytest.raises(InputError, match=r"No space left on device.*is kept"):
        make(meshes, tmp_path / "out")
    assert list((tmp_path / "out" / ".parts").glob("*.part"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"scan": ScanSettings(samples=0)}, "samples 0: must be at least 1"),
        ({"scan": ScanSettings(points=Range(8))}, "points 8: must be at least 16 and at most 65536"),
        ({"scan": ScanSettings(points=Range(60, 50))}, "points 60-50"),
        ({"scan": ScanSettings(views=Range(1.5))}, "views 1.5: must be a whole number"),
        ({"scan": ScanSettings(views=2)}, r"views 2: must be of type Range, such as Range\("),
        ({"scan": ScanSettings(distance=Range(1, 3))}, "distance 1-3: must be above 1"),
        ({"scan": ScanSettings(noise=Range(0, 2))}, "noise 0-2: must be at least 0 and at most 1"),
        ({"scan": ScanSettings(noise=Range(float("nan")))}, "noise nan"),
        ({"scan": ScanSettings(scale=float("inf"))}, "scale inf"),
        ({"scan": ScanSettings(grazing=0)}, "grazing 0: must be above 0 and at most 90"),
        ({"scan": ScanSettings(sampling="some")}, "sampling some: choose one of farthest, random, mixed"),
        ({"graph": GraphSettings(k=256)}, "k 256: a point has only 255 other points"),
        ({"format": "csv"}, "format csv: choose one of packed, pt"),
        ({"solids": -1}, "solids -1"),
        ({"solids": 0, "meshes": []}, "nothing to prepare: give meshes, a number of solids, or labels"),
        ({"scan": ScanSettings(density="wood")}, "density wood: choose one of uniform, parts"),
        ({"meshes": "nowhere"}, "nowhere does not exist"),
        ({"labels": "nowhere.csv"}, "nowhere.csv does not exist"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_by_name(tmp_path, changed, said):
    with pytest.raises(InputError, match=said):
        make_dataset(tmp_path / "out", **{"solids": 1} | changed)
    assert not (tmp_path / "out").exists()


def test_settings_are_those_of_the_flags_and_of_their_types():
    options = PrepareConfig.options()
    for name, kind in limits.KINDS.items():
        assert options[name].kind is kind, name
    for record in (ScanSettings, GraphSettings):
        for name, hint in get_type_hints(record).items():
            allowed = [word for part in (hint, *get_args(hint)) for word in get_args(part)]
            words = tuple(dict.fromkeys(word for word in allowed if isinstance(word, str)))
            assert limits.KINDS[name].choices == (("on", "off") if name == "clean" else words), name


def test_numbers_of_numpy_are_numbers():
    settings = {
        "samples": np.int64(1),
        "noise": Range(np.float64(0.5), np.float32(1)),
        "scale": np.float64(2),
    }
    limits.check_settings(ScanSettings(**settings), GraphSettings(k=np.int32(3)), solids=np.int64(2))
    assert str(settings["noise"]) == "0.5-1"


def test_defaults_are_those_of_the_command(tmp_path):
    make_dataset(tmp_path / "one", solids=1, scan=ScanSettings(samples=1), workers=1)
    prepare("--solids", 1, "--samples", 1, "--workers", 1, "--out", tmp_path / "two")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert len(PackedStore.open(tmp_path / "one")) == 1


@pytest.mark.parametrize(("rate", "shown"), [(1234.0, "1,234"), (9.7, "10"), (9.4, "9.4"), (0.042, "0.042")])
def test_a_slow_preparation_does_not_stand_still(rate: float, shown: str) -> None:
    assert scans_per_second(rate) == f"{shown} scans/s"
