"""Concurrent requests: answered together, limited in number and time. A gate makes it deterministic."""

import asyncio
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from plumbline import load_cloud, load_predictor
from plumbline.predictors.looking import look_at
from plumbline.serve.batching import Batcher
from tests.helpers.scanned import simulate, write_scan
from tests.helpers.serving import Gate, parts, serving

PATIENCE = 100


@pytest.fixture
def files(tmp_path):
    return [
        write_scan(tmp_path / f"{number}.npz", simulate(number, points=200 + number)) for number in range(9)
    ]


@pytest.fixture
def threads():
    with ThreadPoolExecutor(9) as pool:
        yield pool


def until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def held(client, monkeypatch) -> Gate:
    """The model of a client behind a gate."""
    batcher = client.app.state.service.batcher
    gate = Gate(batcher._answers)
    monkeypatch.setattr(batcher, "_answers", gate)
    return gate


def ask_behind(gate: Gate, client, files, threads) -> list:
    """Ask for one scan, then, while the model is busy with it, for the others; then release the model."""
    asked = [threads.submit(client.post, "/predict", **parts(cloud=files[0]))]
    assert gate.held.wait(PATIENCE)
    asked += [threads.submit(client.post, "/predict", **parts(cloud=file)) for file in files[1:]]
    until(lambda: client.app.state.service.batcher.waiting == len(files) - 1)
    gate.open()
    return asked


def test_scans_that_arrive_while_the_model_is_busy_are_answered_together(files, threads, monkeypatch):
    with serving(load_predictor()) as client:
        alone = [client.post("/predict", **parts(cloud=file)).json() for file in files]
        gate = held(client, monkeypatch)
        asked = ask_behind(gate, client, files, threads)
        together = [one.result(PATIENCE).json() for one in asked]
    assert gate.sizes == [1, 8]
    for (one,), (other,) in zip(alone, together, strict=True):
        assert one.keys() == other.keys()
        assert one["file"] == other["file"]
        np.testing.assert_allclose(one["com"], other["com"], rtol=0, atol=1e-5 * one["radius_90"])


def test_a_batch_has_at_most_batch_size_scans(files, threads, monkeypatch):
    with serving(load_predictor("convex_hull"), batch_size=3) as client:
        gate = held(client, monkeypatch)
        asked = ask_behind(gate, client, files, threads)
        assert [one.result(PATIENCE).status_code for one in asked] == [200] * 9
    assert gate.sizes == [1, 3, 3, 2]


def test_a_scan_that_the_model_fails_at_takes_no_other_with_it(files, threads, monkeypatch):
    with serving(load_predictor("convex_hull")) as client:
        batcher = client.app.state.service.batcher
        answers = batcher._answers

        def failing(batch):
            if any(one.name == "4.npz" for one in batch):
                raise ZeroDivisionError
            return answers(batch)

        monkeypatch.setattr(batcher, "_answers", failing)
        gate = held(client, monkeypatch)
        asked = [threads.submit(client.post, "/predict", **parts(cloud=files[0]))]
        assert gate.held.wait(PATIENCE)
        asked += [threads.submit(client.post, "/predict", **parts(cloud=file)) for file in files[1:]]
        until(lambda: batcher.waiting == 8)
        gate.open()
        status = [one.result(PATIENCE).status_code for one in asked]
    assert status == [500 if file.name == "4.npz" else 200 for file in files]


def test_a_request_that_fails_takes_its_other_scans_back(files):
    predictor = load_predictor("convex_hull")
    how = predictor.how(None, None, None, 1, True, False)
    scans = [look_at(load_cloud(file), None, how, predictor.form) for file in files[:3]]
    given = []

    def failing(batch):
        given.extend(one.name for one in batch)
        raise ZeroDivisionError

    async def ask() -> int:
        batcher = Batcher(failing, 1)
        with pytest.raises(ZeroDivisionError):
            await batcher.ask(scans)
        waiting = batcher.waiting
        await asyncio.to_thread(batcher.close)
        return waiting

    assert asyncio.run(ask()) == 0
    assert scans[2].name not in given


def test_a_model_that_is_too_slow_is_not_waited_for(files, monkeypatch):
    with serving(load_predictor("convex_hull"), seconds=2) as client:
        gate = held(client, monkeypatch)
        answer = client.post("/predict", **parts(cloud=files[0]))
        assert (answer.status_code, answer.json()) == (
            503, {"error": "no answer within 2 seconds (--timeout); send fewer points"}
        )  # fmt: skip
        view = client.post("/view", **parts(cloud=files[0]))
        assert (view.status_code, "no answer within 2 seconds" in view.text) == (503, True)
        assert client.app.state.service.batcher.waiting == 0, "what is not waited for is not computed"
        gate.open()
        until(lambda: client.post("/predict", **parts(cloud=files[0])).status_code == 200)
    assert gate.sizes[0] == 1


def test_a_thread_that_is_too_slow_keeps_its_place_until_it_ends(files, monkeypatch, tmp_path):
    """And the files are gone when it ends: the folder is its own."""
    folder = tmp_path / "held"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    started, go = threading.Event(), threading.Event()
    from plumbline.serve import scans

    read = scans.read_file

    def slow(*given, **more):
        started.set()
        assert go.wait(PATIENCE)
        return read(*given, **more)

    with serving(load_predictor("convex_hull"), seconds=2, requests=1) as client:
        monkeypatch.setattr(scans, "read_file", slow)
        assert client.post("/predict", **parts(cloud=files[0])).status_code == 503
        assert started.is_set()
        assert len([*folder.iterdir()]) == 1, "the test can tell"
        busy = client.post("/predict", **parts(cloud=files[0]))
        assert (busy.status_code, busy.headers["retry-after"], busy.json()) == (
            503, "1", {"error": "the server answers 1 requests at a time; try again in a second"}
        )  # fmt: skip
        go.set()
        until(lambda: client.post("/predict", **parts(cloud=files[0])).status_code == 200)
    assert [*folder.iterdir()] == []


def test_more_requests_than_places_are_told_to_come_again(files, threads, monkeypatch):
    with serving(load_predictor("convex_hull"), requests=3) as client:
        gate = held(client, monkeypatch)
        asked = [threads.submit(client.post, "/predict", **parts(cloud=file)) for file in files[:3]]
        until(lambda: sum(gate.sizes) + client.app.state.service.batcher.waiting == 3)
        assert client.post("/predict", **parts(cloud=files[3])).status_code == 503
        assert client.get("/healthz").status_code == 200, "it takes no place"
        gate.open()
        assert [one.result(PATIENCE).status_code for one in asked] == [200] * 3
        assert client.post("/predict", **parts(cloud=files[3])).status_code == 200
