"""The clock of the start-up phases."""

import json
import os
import re
import time
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from plumbline.reporting import Event, Reporter
from plumbline.training.show import facts, startup
from plumbline.training.show.startup import PHASES, Startup, StartupLines, seconds_since_start
from tests.helpers.training_fixtures import run_python


def recorded() -> Console:
    return Console(record=True, width=200, file=open("/dev/null", "w"))


def started(console: Console, *, before: float = 0.0) -> tuple[Startup, Reporter]:
    """A clock whose phases are shown on the console."""
    lines = StartupLines(console)

    def show(event: Event) -> None:
        if event.kind == "phase":
            lines.ended(event.phase, event.seconds, event.text)
        else:
            lines.remark(event.text)

    report = Reporter(show)
    return Startup(report, before=before), report


def test_every_phase_is_timed_and_the_total_is_their_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 5.0
    monkeypatch.setattr(startup, "time", SimpleNamespace(perf_counter=lambda: now))
    console = recorded()
    clock, report = started(console, before=1.5)
    for name in PHASES:
        if name == "Model Compilation":
            clock.skip(name, "not asked for")
            continue
        with clock.phase(name):
            report.say(f"[{name}] said something")
            report.say("and more")
            now += 0.25
    clock.finish()
    assert clock.total == 1.75
    clock.write(tmp_path / "startup.json", warm_up=0.25)
    content = json.loads((tmp_path / "startup.json").read_text())
    assert content["before"] == 1.5
    assert content["warm_up"] == 0.25
    assert {phase["seconds"] for phase in content["phases"] if not phase["skipped"]} == {0.25}
    assert content["phases"][5] == {"name": "Model Compilation", "seconds": 0.0, "skipped": "not asked for"}
    text = console.export_text()
    assert re.search(
        r"^1\. Directory Setup           0\.250 s   \[Directory Setup\] said something$", text, re.M
    )
    assert "\n6. Model Compilation         skipped   not asked for\n" in text
    lines = text.splitlines()
    assert lines[0] == "   Interpreter and imports   1.500 s"
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize(("width", "lines"), [(70, 3), (45, 1)], ids=["narrow", "too-narrow"])
def test_a_terminals_remarks_stay_in_their_column(width: int, lines: int) -> None:
    console = Console(record=True, width=width, force_terminal=True, file=StringIO())
    said = "the answer changes when the object is turned, and this sentence is long"
    clock, report = started(console)
    with clock.phase("Directory Setup"):
        report.say(said)
    printed = console.export_text().splitlines()[1:]
    if lines == 1:
        assert " ".join(" ".join(printed).split()).endswith(said)
        return
    assert len(printed) == lines
    assert " ".join(line[39:] for line in printed) == said
    assert {line[:39] for line in printed[1:]} == {" " * 39}


def test_phases_come_in_the_documented_order() -> None:
    clock, _ = started(recorded())
    with pytest.raises(ValueError, match="'Dataset Loading' where 'Directory Setup' comes next"):
        clock.skip("Dataset Loading", "")


def test_a_phase_that_fails_is_not_reported_as_done() -> None:
    console = recorded()
    clock, report = started(console)
    with clock.phase("Directory Setup"):
        report.say("made")

    def fail() -> None:
        report.say("half done")
        raise RuntimeError

    with pytest.raises(RuntimeError), clock.phase("Dataset Loading"):
        fail()
    before, first = console.export_text().splitlines()
    assert before.startswith("   Interpreter and imports")
    assert re.fullmatch(r"1\. Directory Setup +[\d.]+ s   made", first)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
def test_the_time_before_includes_the_interpreters_own_start() -> None:
    code = (
        "import time; time.sleep(0.5); import plumbline.console; "
        "from plumbline.training.show.startup import seconds_since_start; print(seconds_since_start())"
    )
    began = time.monotonic()
    done = run_python("-c", code)
    tick = 1 / os.sysconf("SC_CLK_TCK")  # what the system rounds the start of a process to
    assert 0.5 < float(done.stdout) < time.monotonic() - began + tick


def test_without_proc_it_counts_from_the_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(startup, "STARTED", 2.0)
    monkeypatch.setattr(startup, "time", SimpleNamespace(perf_counter=lambda: 5.0))
    assert seconds_since_start() == 3


def test_a_crowded_machine_is_said_only_where_threads_would_suffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    monkeypatch.setattr("os.getloadavg", lambda: (3.5, 0.0, 0.0))
    said = facts.crowded()
    assert said is not None
    assert "OMP_NUM_THREADS=1" in said
    monkeypatch.setattr("os.getloadavg", lambda: (1.0, 9.0, 9.0))
    assert facts.crowded() is None
    monkeypatch.setattr("os.getloadavg", lambda: (9.0, 9.0, 9.0))
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    assert facts.crowded() is None
