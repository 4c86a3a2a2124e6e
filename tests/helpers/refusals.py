"""What a command line is refused with."""

import pytest

from plumbline.cli import main


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """The one sentence that a command line is refused with; only a training prints anything before it."""
    capsys.readouterr()
    assert main([*map(str, args)]) == 2
    out, err = capsys.readouterr()
    assert out == "" or args[0] == "train"
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err
