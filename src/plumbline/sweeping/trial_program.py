"""The process of a trial: ``plumbline train``, which is told to stop when the sweep that started it is gone.

A sweep holds the other end of the standard input; the system closes it however the sweep ends.
"""

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Run ``plumbline`` with the words of this command line."""
    threading.Thread(target=_follow, args=(os.dup(0),), daemon=True).start()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.argv[0] = "plumbline"
    runpy.run_module("plumbline", run_name="__main__")


def _follow(sweep: int) -> None:
    """Wait until the sweep is gone, and stop the training as SIGTERM does, with its state saved."""
    os.read(sweep, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
