"""Errors, warnings and notes: folded on a terminal only, and never where somebody would copy."""

import io
import sys

import pytest

from plumbline.console.remarks import tell
from plumbline.console.text import folded

COMMAND = "`plumbline predict --depth a.png --intrinsics camera.json --mask mask.png`"
REMARK = f"note: /a-hyphenated/name.npz: try {COMMAND} again"


class Terminal(io.StringIO):
    """An error stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def told(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, remark: str, term: str = "dumb") -> str:
    """What stands on an error stream after the remark; 80 columns wide if it is a terminal."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        patch.setenv("COLUMNS", "80")
        patch.setenv("TERM", term)
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
            patch.delenv(name, raising=False)
        tell(remark)
    return stream.getvalue()


def test_a_terminal_folds_between_words_and_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = told(monkeypatch, Terminal(), REMARK)
    first, *others = shown.splitlines()
    assert others
    assert all(line.startswith("  ") for line in others)
    assert " ".join([first, *(line.strip() for line in others)]) == REMARK
    assert max(map(len, shown.splitlines())) <= 80
    assert COMMAND in shown
    assert told(monkeypatch, io.StringIO(), REMARK) == REMARK + "\n"


def test_what_a_terminal_obeys_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = told(monkeypatch, Terminal(), "note: \x1b]0;title\x07 `a\0b`")
    assert shown == "note: \\x1b]0;title\\x07 `a\\x00b`\n"


def test_each_line_is_folded_by_itself() -> None:
    assert folded("one two three four five six\n\nseven", 20) == [
        "one two three four",
        "five six",
        "",
        "seven",
    ]


def test_only_the_first_word_is_coloured_and_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for remark, codes in {"error: a": "1;31", "warning: a": "33", "note: a": "2", "interrupted": ""}.items():
        word, _, rest = remark.partition(" ")
        coloured = f"\x1b[{codes}m{word}\x1b[0m {rest}\n" if codes else f"{remark}\n"
        assert told(monkeypatch, Terminal(), remark, "xterm") == coloured
        assert told(monkeypatch, Terminal(), remark) == f"{remark}\n"
        assert told(monkeypatch, io.StringIO(), remark, "xterm") == f"{remark}\n"
