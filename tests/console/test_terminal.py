"""What the program prints into files, pipes and narrow terminals, whatever the environment says."""

import re
from pathlib import Path

import pytest
from rich.progress import Progress

from plumbline.console.terminal import make_console
from tests.helpers.training_fixtures import flags, in_fresh_process


@pytest.mark.usefixtures("capsys")
@pytest.mark.parametrize(
    ("columns", "width"), [(None, 120), ("50", 120), ("200", 200), ("", 120), ("wide", 120), ("-3", 120)]
)
def test_a_file_is_as_wide_as_usual_at_least(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int
) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert make_console().width == width


@pytest.mark.parametrize(("forced", "coloured"), [("1", True), ("3", True), ("0", False), ("", False)])
def test_forced_colour_is_colour_and_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], forced: str, coloured: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", forced)
    monkeypatch.setenv("TTY_COMPATIBLE", forced)
    monkeypatch.setenv("TERM", "xterm")
    console = make_console()
    assert not console.is_terminal
    console.print("word", style="red")
    with Progress(console=console) as bar:
        bar.update(bar.add_task("", total=2), completed=1)
    shown = capsys.readouterr().out
    assert ("\x1b[31mword\x1b[0m" in shown) == coloured
    assert not re.search(r"\x1b\[[\d;?]*[^\d;?m]", shown), "the cursor is moved"


def test_a_training_into_a_file_with_forced_colour_prints_a_line_per_epoch(
    tiny: Path, tmp_path: Path
) -> None:
    done = in_fresh_process(flags(tiny, tmp_path, max_epochs=2), FORCE_COLOR="1", TERM="xterm")
    assert done.returncode == 0, done.stderr
    assert len(re.findall("^epoch [12]/2 ", done.stdout, re.MULTILINE)) == 2
    assert not re.search(r"\x1b\[[\d;?]*[^\d;?m]", done.stdout), "the cursor is moved"
