"""What tests start ends with them, whatever becomes of them."""

import os
import signal
from subprocess import Popen

import pytest

from tests.helpers import processes
from tests.helpers.processes import DEADLINE, running

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

SLEEPING = ("-c", f"import time; print('up', flush=True); time.sleep({10 * DEADLINE})")


def test_a_process_ends_with_the_test_that_fails() -> None:
    started: list[Popen[str]] = []

    def failing() -> None:
        with running(*SLEEPING) as process:
            started.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert started[0].returncode == -signal.SIGKILL


def test_a_process_ends_at_the_deadline_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"alarm({DEADLINE})" in processes._GUARDED
    monkeypatch.setattr(processes, "_GUARDED", processes._GUARDED.replace(str(DEADLINE), "1"))
    with running(*SLEEPING) as process:
        assert process.wait(DEADLINE) == -signal.SIGALRM
