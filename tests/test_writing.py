"""Files are replaced in one step or not at all."""

import os
from pathlib import Path

import pytest

from plumbline import writing
from plumbline.writing import atomic_file, new_folder, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path, durable):
    path = tmp_path / "numbers.json"
    write_atomically(path, b"old", durable=durable)
    with atomic_file(path, durable=durable) as file:
        file.write(b"ne")
        file.flush()
        assert path.read_bytes() == b"old"
        file.write(b"w")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["numbers.json"]


@pytest.mark.parametrize("before", [None, b"old"])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, before):
    path = tmp_path / "a"
    if before is not None:
        path.write_bytes(before)

    def stop_half_way() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert names(tmp_path) == ([] if before is None else ["a"])
    assert before is None or path.read_bytes() == before


def test_content_reaches_the_disk_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        whose = Path(os.readlink(f"/proc/self/fd/{handle}"))
        steps.append("folder" if whose == tmp_path else f"content of {whose.stat().st_size} bytes")
        fsync(handle)

    def replaced(old, new) -> None:
        steps.append("name")
        replace(old, new)

    monkeypatch.setattr(writing.os, "fsync", synced)
    monkeypatch.setattr(writing.os, "replace", replaced)
    write_atomically(tmp_path / "a", b"12345")
    assert steps == ["content of 5 bytes", "name", "folder"]
    steps.clear()
    write_atomically(tmp_path / "a", b"12345", durable=False)
    assert steps == ["name"]


def test_what_a_disk_cuts_short_when_it_flushes_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (os.ftruncate(handle, 1), flush(handle))[1])
    with pytest.raises(OSError, match="read back"):
        write_atomically(path, b"new", read_back=True)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_what_a_disk_gives_back_wrongly_is_not_named(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(writing.Path, "read_bytes", lambda self: b"nex")
    with pytest.raises(OSError, match="read back"):
        write_atomically(path, b"new", read_back=True)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]
    write_atomically(path, memoryview(b"new"), read_back=True)
    assert path.read_bytes() == b"new"


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "bag"
    with new_folder(path) as made:
        assert made.name == "bag"
        made.mkdir()
        (made / "bag.db3").write_bytes(b"whole")
        assert not path.exists()
    assert names(tmp_path) == ["bag"]
    assert (path / "bag.db3").read_bytes() == b"whole"


def test_an_exception_leaves_no_folder(tmp_path):
    def stop_half_way() -> None:
        with new_folder(tmp_path / "bag") as made:
            made.mkdir()
            (made / "bag.db3").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert names(tmp_path) == []


def test_a_folder_that_came_meanwhile_is_kept(tmp_path):
    def lose_the_race() -> None:
        with new_folder(tmp_path / "bag") as made:
            made.mkdir()
            (tmp_path / "bag").mkdir()
            (tmp_path / "bag" / "theirs").write_bytes(b"theirs")

    with pytest.raises(OSError, match="not empty"):
        lose_the_race()
    assert names(tmp_path) == ["bag"]
    assert names(tmp_path / "bag") == ["theirs"]
