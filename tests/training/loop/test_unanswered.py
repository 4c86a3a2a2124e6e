"""The thread that ends a training whose other processes keep it from stopping, without other processes."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plumbline.reporting import Event, Reporter
from plumbline.training.distributed.place import Place
from plumbline.training.distributed.world import ALONE, World
from plumbline.training.loop import unanswered
from plumbline.training.loop.graceful_stop import STOPPING, GracefulStop
from plumbline.training.loop.unanswered import Unanswered
from plumbline.training.persistence import saving
from tests.helpers.processes import DEADLINE
from tests.helpers.training_fixtures import train

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def until(happened: Any) -> None:
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes with which a thread would have ended this process."""
    codes: list[int] = []
    monkeypatch.setattr(unanswered, "os", SimpleNamespace(_exit=codes.append))
    monkeypatch.setattr(unanswered, "_LOOK", 0.001)
    return codes


class Other:
    """Another process, and how often it was killed."""

    killed = 0

    def kill(self) -> None:
        self.killed += 1


def world_of(*others: Other, **place: Any) -> World:
    """What two processes would be to one of them, without a connection."""
    world = World()
    world.place, world.size, world.first = Place(size=2, **place), 2, place.get("rank", 0) == 0
    world.others = others  # type: ignore[assignment]
    return world


@pytest.fixture
def watch() -> Iterator[Any]:
    with ExitStack() as held:

        def begin(world: World, report: Reporter, deadline: float = float("inf")) -> Unanswered:
            watcher = Unanswered(
                world, report, signals=STOPPING, deadline=deadline, exit_code=lambda signum: signum or 99
            )
            held.callback(watcher.close)
            return watcher

        yield begin


@pytest.mark.parametrize("starter", ["torchrun", "srun"])
def test_a_process_that_ends_itself_at_the_deadline_does_not_report_success(ends, monkeypatch, starter):
    monkeypatch.setattr(unanswered, "_PATIENCE", 0.0)
    monkeypatch.setattr(unanswered, "_SLOWER", 0)
    said: list[Event] = []
    stop = GracefulStop(
        None,
        Reporter(said.append),
        None,
        max_time=0.0,
        world=world_of(starter=starter),  # type: ignore[arg-type]
    )
    stop.on_train_start(None, None)  # type: ignore[arg-type]
    try:
        stop._move()
        until(lambda: ends)
    finally:
        stop.teardown()
    assert ends == [1]
    assert ["do not answer" in event.text for event in said] == [True]


@pytest.mark.parametrize("listener", ["raises", "blocks"])
@pytest.mark.parametrize("others", [0, 1])
def test_a_listener_that_fails_keeps_nothing_alive(ends, watch, monkeypatch, listener, others):
    """As a terminal that is closed, or a user's own."""
    for name in ("_PATIENCE", "_SLOWER", "_GRACE"):
        monkeypatch.setattr(unanswered, name, 0)
    monkeypatch.setattr(unanswered, "_MOMENT", 0.1)
    release = threading.Event()

    def fails(_: Event) -> None:
        release.wait() if listener == "blocks" else None
        raise OSError(5, "Input/output error")

    started = [Other() for _ in range(others)]
    try:
        watch(world_of(*started), Reporter(fails), deadline=0.0).moved()
        until(lambda: ends)
    finally:
        release.set()
    assert ends == [99]
    assert [other.killed for other in started] == [1] * others


def test_the_thread_says_nothing_while_the_training_can(ends, watch, monkeypatch):
    """Events are reported in the thread that called ``plumbline.train``."""
    monkeypatch.setattr(unanswered, "_PATIENCE", 0.0)
    monkeypatch.setattr(unanswered, "_SLOWER", 0)
    said: list[Event] = []
    other = Other()
    watcher = watch(world_of(other), Reporter(said.append), deadline=0.0)
    watcher.moved()
    until(lambda: other.killed)
    watcher.close()
    until(lambda: not [one for one in threading.enumerate() if one._target == watcher._watch])
    assert (watcher.given_up, ends, said) == (99, [], [])


@pytest.mark.parametrize("work", ["the first step", "writing"])
def test_long_work_is_waited_for(ends, watch, monkeypatch, work):
    """A clock that moves one second with each look."""
    clock = iter(range(10**9))
    monkeypatch.setattr(unanswered, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    other = Other()
    world = world_of(other)
    with world.long_work() if work == "writing" else ExitStack():
        watcher = watch(world, Reporter(), deadline=0.0)
        if work == "writing":
            watcher.moved()
        until(lambda: next(clock) > 1000)
        assert other.killed == 0
    watcher.moved()
    until(lambda: other.killed)
    watcher.close()


def test_what_plumbline_has_started_leaves_the_end_to_the_first_process():
    stop = GracefulStop(None, Reporter(), None, world=world_of(rank=1))  # type: ignore[arg-type]
    stop.on_train_start(None, None)  # type: ignore[arg-type]
    found = signal.set_wakeup_fd(-1)
    stop.teardown()
    assert found == -1


def test_a_signal_to_a_process_that_was_just_forked_does_not_count(watch):
    """A terminal sends Ctrl-C to the readers too, also before they have run a line."""
    kept = {signum: signal.signal(signum, lambda *_: None) for signum in (signal.SIGUSR1, signal.SIGHUP)}
    try:
        watcher = watch(world_of(Other()), Reporter())
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGHUP)
            os._exit(0)
        os.waitpid(child, 0)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
        os.kill(os.getpid(), signal.SIGUSR1)
        until(lambda: signal.SIGUSR1 in watcher.told)
        assert watcher.told == [signal.SIGUSR1]
    finally:
        for signum, handler in kept.items():
            signal.signal(signum, handler)


def test_the_other_processes_wait_while_a_state_is_written(tiny: Path, tmp_path: Path, monkeypatch):
    busy: list[bool] = []
    original = saving.write_durably

    def writes(*arguments: Any) -> None:
        busy.append(ALONE.busy)
        original(*arguments)

    monkeypatch.setattr(saving, "write_durably", writes)
    assert train(tiny, tmp_path, checkpoint_every_n_steps=3).code == 0
    assert set(busy) == {True}
    assert not ALONE.busy
