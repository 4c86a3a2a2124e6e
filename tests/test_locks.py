"""Locks keep others out as long as they are held, and tell whose they are."""

import multiprocessing
import os
import threading
from math import inf
from pathlib import Path

import pytest

from plumbline import locks
from plumbline.locks import LockedError, lock, sole_owner


def hold(path: Path, held, end) -> None:
    with sole_owner(path, note=path / ".owner" if path.is_dir() else None):
        held.set()
        end.wait(60)


@pytest.fixture
def context():
    return multiprocessing.get_context("fork")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_one_process_at_a_time(tmp_path, context, what):
    path = tmp_path if what == "folder" else tmp_path / "lock"
    held, end = context.Event(), context.Event()
    other = context.Process(target=hold, args=(path, held, end))
    other.start()
    assert held.wait(60)
    note = tmp_path / ".owner"
    with pytest.raises(LockedError) as caught, sole_owner(path, note=note):
        pass
    expected = f"process {other.pid} on {os.uname().nodename}" if what == "folder" else ""
    assert caught.value.owner == expected
    threading.Timer(0.3, end.set).start()
    with sole_owner(path, patience=60, note=note) as locked:
        assert locked
        assert note.read_text() == f"process {os.getpid()} on {os.uname().nodename}"
    assert not note.exists()
    other.join()
    assert other.exitcode == 0


def test_a_killed_owner_keeps_nobody_out(tmp_path, context):
    held, end = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, held, end))
    other.start()
    assert held.wait(60)
    other.kill()
    other.join()
    with sole_owner(tmp_path) as locked:
        assert locked


def test_a_child_that_inherits_the_lock_does_not_keep_it(tmp_path, context):
    end = context.Event()
    with sole_owner(tmp_path):
        child = context.Process(target=end.wait, args=(60,))
        child.start()
    with sole_owner(tmp_path) as locked:
        assert locked
    end.set()
    child.join()


def test_a_lock_on_a_file_that_its_owner_removed_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    taken = lock

    def late(handle: int, **how) -> bool:
        path.unlink()  # by whoever held it until this moment
        return taken(handle, **how)

    monkeypatch.setattr(locks, "lock", late)
    with pytest.raises(LockedError), sole_owner(path):
        pass


def test_shared_locks_keep_out_exclusive_ones_only(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    handles = [os.open(path, os.O_RDWR) for _ in range(3)]
    assert lock(handles[0], shared=True, patience=inf)
    assert lock(handles[1], shared=True)
    with pytest.raises(BlockingIOError):
        lock(handles[2])
    for handle in handles[:2]:
        os.close(handle)
    assert lock(handles[2])
    os.close(handles[2])


@pytest.mark.parametrize("missing", ["system", "file system"])
def test_without_locks_nobody_is_kept_out(tmp_path, monkeypatch, missing):
    if missing == "system":
        monkeypatch.setattr(locks, "fcntl", None)
    else:

        def refuse(handle: int, how: int) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with sole_owner(tmp_path / "lock", note=tmp_path / "note") as one, sole_owner(tmp_path / "lock") as other:
        assert (one, other) == (False, False)
        assert not (tmp_path / "note").exists()
