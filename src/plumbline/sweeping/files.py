"""What a sweep writes about all of its trials: a table and a picture, and copies of files they share."""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

from plumbline.sweeping.plot import draw
from plumbline.sweeping.records import SweepSettings, Trial
from plumbline.writing import write_atomically

RECORD, TABLE, PICTURE = "sweep.json", "sweep.csv", "sweep.png"


def with_copies(settings: SweepSettings) -> SweepSettings:
    """Copy the files that the flags name by ``--config``: editing them then changes no later trial.

    Returns:
        The settings, whose flags name the copies.
    """
    flags = list(settings.flags)
    for place, word in enumerate(settings.flags):
        name, equals, text = word.partition("=")
        if name != "--config":
            continue
        content = Path(text if equals else flags[place + 1]).read_bytes()
        copy = settings.out / f"config-{hashlib.sha256(content).hexdigest()[:8]}.yaml"
        if not copy.exists():
            write_atomically(copy, content)
        flags[place : place + 1 + (not equals)] = [f"--config={copy}"] + [""] * (not equals)
    return replace(settings, flags=tuple(word for word in flags if word))


def write_files(settings: SweepSettings, trials: Sequence[Trial]) -> None:
    """Write ``sweep.csv``, a row for each trial, and ``sweep.png``, if a trial has an error."""
    names = [item.name for item in settings.space.parameters]
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["trial", "state", "val_error_rel", "epochs", *names, "folder", "trouble"])
    for trial in trials:
        values = [trial.values.get(name, "") for name in names]
        error = "" if trial.error is None else repr(trial.error)
        folder = settings.folder(trial.number).name
        rows.writerow([trial.number, trial.state, error, len(trial.errors), *values, folder, trial.trouble])
    write_atomically(settings.out / TABLE, text.getvalue().encode(), durable=False)
    if any(trial.error is not None for trial in trials):
        write_atomically(settings.out / PICTURE, draw(settings.space, trials), durable=False)
