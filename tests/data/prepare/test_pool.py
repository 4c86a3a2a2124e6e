"""Worker processes: one that dies loses one object, none outlives its data set, none changes its caller."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from plumbline.data.prepare import samples
from plumbline.data.prepare.pool import Workers
from plumbline.data.prepare.samples import write_chunk
from plumbline.data.prepare.sources import Chunk, Source
from plumbline.data.store.writer import read_part
from plumbline.records import GraphSettings
from tests.helpers.processes import DEADLINE
from tests.helpers.scans import scan_settings

SCAN, GRAPH = scan_settings(samples=1, points=48, rays=400), GraphSettings(k=6)


def _write_or_die(chunk: Chunk, scan, graph, dead=()) -> int:
    for position, source in enumerate(chunk.sources):
        if source.index == 5 and position not in dead:
            chunk.path.with_name(f".{chunk.path.name}.{os.getpid()}.tmp").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return write_chunk(chunk, scan, graph, dead)


def test_an_object_that_kills_its_process_is_the_only_one_lost(tmp_path):
    sources = [Source("solid", f"built-in solid {i}", f"solids/{i}", index=i) for i in range(12)]
    chunks = [Chunk(tmp_path / f"{i}.part", tuple(sources[i : i + 3])) for i in range(0, 12, 3)]
    with Workers(2, work=_write_or_die) as workers:
        written = dict(workers.write(chunks, SCAN, GRAPH))
    assert {chunk.path.stem: part.num_samples for chunk, part in written.items()} == {
        "0": 3,
        "3": 2,
        "6": 3,
        "9": 3,
    }
    parts = [read_part(chunk.path) for chunk in chunks]
    assert [item.source for part in parts for item in part.rejected] == ["built-in solid 5"]
    assert "died" in parts[1].rejected[0].reason
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.part", "3.part", "6.part", "9.part"]


def test_a_defect_says_which_object_it_met(tmp_path, monkeypatch):
    def fail(source, scan, graph):
        raise RuntimeError("boom")

    monkeypatch.setattr(samples, "make_samples", fail)
    with pytest.raises(RuntimeError, match="boom") as caught:
        write_chunk(
            Chunk(tmp_path / "0.part", (Source("mesh", "mug.ply", "mug", Path("a/mug.ply")),)), SCAN, GRAPH
        )
    assert caught.value.__notes__ == ["while preparing a/mug.ply"]


def _first_only(chunk: Chunk, scan, graph, dead=()) -> int:
    if chunk.sources[0].index > 0:
        time.sleep(DEADLINE)
    return 1


def test_stopping_does_not_wait_for_the_work_in_hand(tmp_path):
    chunks = [Chunk(tmp_path / f"{i}.part", (Source("solid", f"{i}", f"{i}", index=i),)) for i in range(4)]
    started = time.monotonic()
    with Workers(2, work=_first_only) as workers, closing(workers.write(chunks, SCAN, GRAPH)) as written:
        assert next(written) == (chunks[0], 1)
    assert time.monotonic() - started < DEADLINE
