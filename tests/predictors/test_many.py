"""Many scans at a time, looked at in this process or in several."""

import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from plumbline import load_cloud, load_predictor
from plumbline.errors import InputError
from plumbline.predictors.prediction import Prediction
from plumbline.records import Cloud
from tests.helpers.scanned import simulate


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for number in range(30):
        scan = simulate(number, points=100 + 20 * number)
        np.savez(folder / f"{number:02}.npz", points=scan.points, sensor=scan.sensor)
    return sorted(folder.iterdir())


def end_the_process(lock: Path) -> np.ndarray:
    """Kill the process, as a crash in a library for a file does."""
    lock.touch()
    os._exit(3)


def load_and_log(file: Path, log: Path) -> Cloud:
    """Read a scan, and leave a line."""
    with log.open("a") as lines:
        lines.write(f"{file.stem}\n")
    return load_cloud(file)


def end_after(count: int, log: Path) -> np.ndarray:
    """Kill the process once others have read this number of scans."""
    for _ in range(6000):
        if log.exists() and len(log.read_text().splitlines()) >= count:
            break
        sleep(0.01)
    os._exit(3)


def not_there() -> np.ndarray:
    raise InputError("nothing to read")


def test_several_processes_answer_as_one_does(files):
    predictor = load_predictor(accelerator="cpu", batch_size=8)
    sources = [partial(load_cloud, file) for file in files]
    sources[7:7] = [not_there, InputError("passed on"), [[1.0, 2.0], [3.0]]]
    one, two = (list(predictor.predict_many(sources, workers=workers)) for workers in (1, 2))
    assert len(one) == len(two) == 33
    for number, (here, there) in enumerate(zip(one, two, strict=True)):
        assert type(here) is type(there)
        if isinstance(here, Prediction):
            np.testing.assert_allclose(here.com, there.com, rtol=0, atol=1e-5 * here.extent)
            assert (here.num_points, here.sensor, here.notes) == (there.num_points, there.sensor, there.notes)
        else:
            assert str(here) == str(there)
            assert 7 <= number < 10
    assert [str(answer) for answer in one[7:9]] == ["nothing to read", "passed on"]
    assert str(one[9]).startswith("scan 10: points must be an array of numbers")


def test_a_scan_that_kills_its_process_costs_no_other(files, tmp_path):
    predictor = load_predictor("carve", batch_size=4)
    sources = [partial(load_cloud, file) for file in files]
    whole = list(predictor.predict_many(sources))
    sources[3] = partial(end_the_process, tmp_path / "ran")
    sources[20] = partial(end_the_process, lock=tmp_path / "ran")
    found = list(predictor.predict_many(sources, workers=2))
    assert (tmp_path / "ran").exists()
    for number, (answer, wanted) in enumerate(zip(found, whole, strict=True)):
        if number in (3, 20):
            name = tmp_path / "ran" if number == 3 else "scan 21"
            assert str(answer).startswith(f"{name}: the process that read it died")
        else:
            np.testing.assert_allclose(answer.com, wanted.com, atol=1e-9)


def test_what_is_finished_when_a_process_dies_is_kept(files, tmp_path):
    """Of six scans that were begun, five were finished."""
    log = tmp_path / "log"
    sources = [partial(load_and_log, file, log) for file in files[:12]]
    found = list(load_predictor("carve").predict_many([partial(end_after, 6, log), *sources], workers=2))
    assert [isinstance(answer, Prediction) for answer in found] == [False] + [True] * 12
    counts = Counter(log.read_text().split())
    assert [counts[file.stem] for file in files[:5]] == [1] * 5


def test_scans_are_read_a_few_batches_ahead_and_no_further(files):
    read = []

    def sources():
        for number, file in enumerate(files):
            read.append(number)
            yield partial(load_cloud, file)

    answers = load_predictor("carve", batch_size=2).predict_many(sources(), workers=1)
    assert read == []
    next(answers)
    assert len(read) <= 6
    answers.close()


def test_who_stops_listening_waits_for_one_scan_only(files, monkeypatch):
    """As Ctrl-C does: the batch that is read ahead is not finished."""
    read, reading, stopping = [], threading.Event(), threading.Event()

    class Pool(ThreadPoolExecutor):
        def __exit__(self, *error):
            stopping.set()
            return super().__exit__(*error)

    def load(number):
        read.append(number)
        if number == 5:
            reading.set()
            assert stopping.wait(100)
        return load_cloud(files[number])

    monkeypatch.setattr("plumbline.predictors.predictor.ThreadPoolExecutor", Pool)
    sources = [partial(load, number) for number in range(len(files))]
    answers = load_predictor("carve", batch_size=4).predict_many(sources)
    next(answers)
    assert reading.wait(100)
    answers.close()
    assert read == [0, 1, 2, 3, 4, 5]


def test_a_number_of_processes_below_one_is_refused():
    with pytest.raises(InputError, match="workers must be at least 1, got 0"):
        load_predictor("carve").predict_many([], workers=0)
