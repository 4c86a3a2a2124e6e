"""The benchmark called from Python: the same files as the command's, nothing printed, nothing left behind."""

import json
import multiprocessing
import os
import shutil
import threading
from dataclasses import fields
from pathlib import Path

import pytest

import plumbline
from plumbline import InputError, benchmark
from plumbline.cli import main
from plumbline.data.prepare.pool import Workers
from plumbline.evaluation.benchmark import BenchmarkResult
from plumbline.evaluation.conditions import CONDITIONS, MAIN, recorded
from plumbline.records import GraphSettings, ScanSettings
from plumbline.reporting import Event
from tests.helpers.preparing import BOX, BOX_FACES, digest, write_off

SETTINGS = {"solids": 2, "samples": 1, "workers": 1}


@pytest.fixture(autouse=True, scope="module")
def few_conditions():
    """The main conditions: all twenty differ only in numbers."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("benchmark", "benchmark_tables"):
            patch.setattr(f"plumbline.evaluation.{module}.CONDITIONS", MAIN)
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """Of the command."""
    folder = tmp_path_factory.mktemp("benchmark") / "out"
    assert main(["benchmark", "--solids", "2", "--samples", "1", "--workers", "1", "--out", str(folder)]) == 0
    return folder


def test_from_python_in_a_thread_gives_the_files_of_the_command(out, tmp_path, capfd):
    events: list[Event] = []
    results: list[BenchmarkResult] = []
    environment = dict(os.environ)
    thread = threading.Thread(
        target=lambda: results.append(benchmark(out=tmp_path / "out", report=events.append, **SETTINGS))
    )
    thread.start()
    thread.join()
    assert capfd.readouterr() == ("", "")
    assert digest(tmp_path / "out") == digest(out)
    assert results[0].to_dict() == json.loads((out / "scancom.json").read_text())
    assert dict(os.environ) == environment
    assert multiprocessing.active_children() == []
    assert {event.kind for event in events} == {"progress", "step"}
    assert {event.phase for event in events if event.kind == "progress"} == {
        f"{number} of 2  {condition.title}" for number, condition in enumerate(MAIN, 1)
    }


def test_again_makes_no_scan_even_if_the_version_has_changed(out, tmp_path, monkeypatch):
    again = shutil.copytree(out, tmp_path / "out")
    monkeypatch.setattr(plumbline, "__version__", "99.0")
    monkeypatch.setattr(Workers, "write", None)
    result = benchmark(out=again, **SETTINGS)
    assert result.to_dict()["version"] == "99.0"
    assert digest(again / "scans") == digest(out / "scans")


def test_an_interrupt_passes_through_and_keeps_the_scans(tmp_path):
    said: list[str] = []

    def interrupt(event: Event) -> None:
        if event.kind == "message":
            said.append(event.text)
        elif event.kind == "progress" and event.phase.startswith("2 of 2") and event.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark(out=tmp_path, report=interrupt, **SETTINGS)
    assert said == [
        f"stopped; the scans made so far are kept in {tmp_path / 'scans'}: "
        "run the same command again to resume"
    ]
    assert (tmp_path / "scans" / MAIN[0].name / "manifest.json").exists()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"solids": 0}, "nothing to measure on: give meshes or a number of solids"),
        ({"samples": 0}, "samples 0"),
        ({"workers": -1}, "workers -1"),
        ({"meshes": "nowhere"}, "nowhere does not exist"),
        ({"checkpoints": ["nowhere.ckpt"]}, "there is no such file"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_by_name(tmp_path, changed, said):
    with pytest.raises(InputError, match=said):
        benchmark(out=tmp_path / "out", **SETTINGS | changed)
    assert not (tmp_path / "out").exists()


def test_meshes_that_are_all_rejected_are_refused(tmp_path):
    write_off(tmp_path / "open.off", BOX, BOX_FACES[:-1])
    with pytest.raises(InputError, match="there is nothing to measure: all 1 inputs were rejected"):
        benchmark(meshes=tmp_path / "open.off", out=tmp_path / "out", workers=1)


UNUSED = {"solid_samples", "clean", "sensor_model", "sensor_share", "density"}
"""Settings that the benchmark leaves at their defaults, which change nothing."""


def test_every_setting_is_recorded():
    """Under the names that the first data sets of the benchmark had; real scans alone are cleaned."""
    other = {"rays": "num_rays", "grazing": "dropout_grazing"}
    names = {item.name for record in (ScanSettings, GraphSettings) for item in fields(record)}
    found = recorded(CONDITIONS[0], CONDITIONS[0].settings(2), GraphSettings())
    assert set(found) == {other.get(name, name) for name in names - UNUSED} | {"scancom"}
    settings, usual = CONDITIONS[0].settings(2), ScanSettings()
    assert all(getattr(settings, name) == getattr(usual, name) for name in UNUSED)
