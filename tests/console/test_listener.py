"""What is reported is shown: sentences as lines, counts as a bar on a terminal and as lines elsewhere."""

import io
from math import inf

import pytest
from rich.console import Console

from plumbline.console import progress
from plumbline.console.listener import ConsoleListener
from plumbline.console.progress import count_bar
from plumbline.reporting import Reporter


class Clock:
    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def console(terminal: bool, term: str = "xterm") -> Console:
    kind = {"force_terminal": True, "legacy_windows": False} if terminal else {"force_terminal": False}
    return Console(file=io.StringIO(), width=100, color_system=None, _environ={"TERM": term}, **kind)


def text(shown: Console) -> str:
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_redraw_gets_lines(clock, term):
    shown = console(True, term)
    with ConsoleListener(shown) as listener:
        report = Reporter(listener)
        report.step("epoch 1/2")
        for done in (0, 1, 2):
            report.progress("scan", done, 2)
            clock.now += 20
    assert text(shown).splitlines() == ["epoch 1/2", "  1 of 2 scans, 20 s left", "  2 of 2 scans, 0 s left"]
    with count_bar(shown, "file", "reading files") as bar:
        assert bar is None


def test_a_terminal_that_can_gets_no_line_per_epoch():
    shown = console(True)
    with ConsoleListener(shown) as listener:
        Reporter(listener).step("epoch 1/2")
    assert text(shown) == ""


def test_lines_now_and_then(clock):
    shown = console(False)
    with ConsoleListener(shown) as listener:
        report = Reporter(listener)
        report.say("begins [bold]")
        report.progress("object", 2, 12)
        for done in range(3, 13):
            clock.now += 4
            report.progress("object", done, 12, "5 scans/s")
        clock.now += 1000
        report.progress("file", 1, 1200)
        clock.now += 100
        report.progress("file", 2, 1200)
    assert text(shown).splitlines() == [
        "begins [bold]",
        "  5 of 12 objects, 5 scans/s, 28 s left",
        "  8 of 12 objects, 5 scans/s, 16 s left",
        "  11 of 12 objects, 5 scans/s, 4 s left",
        "  2 of 1,200 files, 33:16:40 left",
    ]


def test_one_object_is_not_plural_and_an_unknown_number_is_not_said(clock):
    shown = console(False)
    with ConsoleListener(shown, every=0.0) as listener:
        for unit, done, total in (("object", 0, 1), ("row", 1, 0), ("file", 0, 1200), ("row", 7, 0)):
            Reporter(listener).progress(unit, done, total)
    assert text(shown).splitlines() == ["  0 of 1 object", "  1 row", "  0 of 1,200 files", "  7 rows"]


@pytest.mark.parametrize("terminal", [False, True])
def test_details_only_with_debug_and_steps_only_without_a_bar(terminal):
    for debug in (False, True):
        shown = console(terminal)
        with ConsoleListener(shown, debug=debug, every=inf) as listener:
            report = Reporter(listener)
            report.say("a message")
            report.detail("a detail")
            report.step("a step")
            if not terminal:
                report.progress("object", 1, 2)
        lines = ["a message", *(["a detail"] if debug else []), *([] if terminal else ["a step"])]
        assert text(shown).splitlines() == lines


def test_a_bar_on_a_terminal_goes_when_the_work_ends(clock):
    shown = console(True)
    with ConsoleListener(shown) as listener:
        report = Reporter(listener)
        report.progress("object", 0, 12)
        with report.phase("3 of 20  [1 view]"):
            report.progress("object", 0, 12)
            clock.now += 2
            report.progress("object", 4, 12, "7 scans/s")
    written = text(shown)
    assert "0 of 12 objects" in written
    assert "3 of 20  [1 view]" in written
    assert "4 of 12 objects, 7 scans/s, 4 s left" in written
    assert written.endswith("\x1b[?25h\r\x1b[1A\x1b[2K"), "the last bar is taken away, and the cursor is back"


def test_a_bar_names_what_it_counts_and_is_shown_on_a_terminal_only(clock):
    with count_bar(console(False), "message", "predicting") as none:
        assert none is None
    shown = console(True)
    with count_bar(shown, "message", "predicting") as advance:
        assert advance is not None
        assert text(shown) == ""
        advance(1, 3)
    assert "predicting" in text(shown)
    log = console(False)
    with count_bar(log, "file", "reading files", lines=True) as advance:
        assert advance is not None
        for done in range(1, 4):
            advance(done, 50_000)
            clock.now += 6
    assert text(log) == "  3 of 50,000 files, 83:19:42 left\n"
    assert "1 of 3 messages" in text(shown)


def test_sentences_fold_on_a_terminal_only_and_commands_do_not():
    words = "  warning: a.npz: " + 12 * "several words " + "at the end"
    command = "resume with: plumbline train --config runs/a/config.yaml --data_dir data/one --resume"
    shown, log = console(True), console(False)
    shown.width = log.width = 60
    for one in (shown, log):
        with ConsoleListener(one) as listener:
            Reporter(listener).say(words)
            Reporter(listener).say(command)
    assert text(log).splitlines() == [words, command]
    first, *more, start, last = text(shown).splitlines()
    assert max(map(len, (first, *more))) <= 60
    assert all(line.startswith("    several") or line.startswith("    words") for line in more)
    assert " ".join([first, *(line.strip() for line in more)]) == words
    assert [start, last.strip()] == ["resume with:", command.removeprefix("resume with: ")]
