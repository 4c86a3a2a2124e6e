"""One of the other processes of a training, as the first one starts it. It says nothing unless it fails."""

import os
import pickle
import sys
import threading
from contextlib import suppress

from plumbline.errors import InputError
from plumbline.reporting import Reporter


def _end_with_the_first() -> None:
    """Wait until the first process closes the pipe, or ends."""
    while os.read(0, 1):  # not sys.stdin, which Python could not close at its end
        pass
    os._exit(1)


def main() -> int:
    """Train with the settings and in the place that the first process sends."""
    settings, place = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    from plumbline.training.run import train  # imported late: the first process waits for the pipe

    with suppress(InputError):  # the first process says so
        return train(settings, Reporter(), place=place).exit_code
    return 2


if __name__ == "__main__":
    sys.exit(main())
