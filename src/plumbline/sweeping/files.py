"""What a sweep writes about all of its trials: a table and a picture."""

import csv
from collections.abc import Sequence
from io import StringIO

from plumbline.sweeping.plot import draw
from plumbline.sweeping.records import SweepSettings, Trial
from plumbline.writing import write_atomically

RECORD, TABLE, PICTURE = "sweep.json", "sweep.csv", "sweep.png"


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
        draw(settings.space, trials, settings.out / PICTURE)
