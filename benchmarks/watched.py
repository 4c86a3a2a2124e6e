"""Run an unmodified training script and measure the time of its epochs with ``benchmarks.stopwatch``.

``python -m benchmarks.watched OUT.json SCRIPT [ARGUMENT ...]`` adds the stopwatch to the ``Trainer`` that the
script creates, and writes its record to OUT.json.
"""

import functools
import json
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import plumbline.training.lightning_import  # noqa: F401  # first: it changes how Lightning is imported, which is measured

import lightning  # isort: skip

from benchmarks.stopwatch import Stopwatch


def watch(script: str, arguments: list[str]) -> Stopwatch:
    """Run a script as ``__main__`` with a stopwatch in every ``lightning.Trainer`` that it creates."""
    stopwatch = Stopwatch()
    original = lightning.Trainer.__init__

    @functools.wraps(original)
    def with_stopwatch(self: Any, *positional: Any, **keywords: Any) -> None:
        given = keywords.get("callbacks") or []
        keywords["callbacks"] = [*(given if isinstance(given, list) else [given]), stopwatch]
        original(self, *positional, **keywords)

    sys.argv = [script, *arguments]
    with patch.object(lightning.Trainer, "__init__", with_stopwatch):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stop:
            if stop.code:
                raise
    return stopwatch


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(watch(sys.argv[2], sys.argv[3:]).record()), encoding="utf-8")
