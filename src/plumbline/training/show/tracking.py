"""Metric logging: always to a CSV file; to W&B, TensorBoard or the user's in processes of their own.

Tracking never delays or ends a training. Where metrics go in addition to the CSV file, and failures there,
are reported as soon as they are known, while the training runs.
"""

import math
import os
import secrets
import string
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plumbline.own_parts import names_a_file
from plumbline.reporting import Reporter
from plumbline.training.persistence.run_folder import METRICS, TENSORBOARD
from plumbline.training.records import TrainSettings
from plumbline.training.show.metrics_file import CsvFile, Row
from plumbline.training.show.tracker import FINISH_SECONDS, Rows, Tracker


class Trackers:
    """All trackers of a run.

    Args:
        csv_file: the local CSV file, or None. After an error it retries its rows.
        report: receives every message, in the thread of the training.
        rows: rows for the other trackers.
        others: W&B, TensorBoard, those of the user.
        kept: values from the checkpoint that training resumes from.

    Attributes:
        kept: values that the checkpoints keep for a resumed training: ``wandb_id``, the id of the run at W&B,
            and ``run_id``, that for trackers of the user.
    """

    def __init__(
        self,
        csv_file: CsvFile | None,
        report: Reporter,
        *,
        rows: Rows | None = None,
        others: Sequence[Tracker] = (),
        kept: dict[str, str] | None = None,
    ) -> None:
        self._csv, self._report, self._others = csv_file, report, others
        self._rows = rows if others else None
        self.kept = {} if kept is None else kept

    def log(self, row: Row, step: int) -> None:
        """Log one row to all trackers."""
        if self._csv is not None:
            try:
                self._told(self._csv.log(row, step))
            except OSError as error:
                self._report.say(
                    f"cannot write metrics.csv ({error.strerror}); its rows are kept, and training continues"
                )
        if self._rows is not None:
            finite = {name: value for name, value in row.items() if math.isfinite(value)}
            self._rows.add({"metrics": finite, "step": step, "time": time.time()})

    def tell(self) -> None:
        """Report the messages that the trackers have sent since the last call."""
        for tracker in self._others:
            while tracker.news:
                self._report.say(tracker.news.popleft())
                self.kept |= tracker.kept

    def finish(self, exit_code: int) -> None:
        """Close all trackers, within a bounded time."""
        if self._csv is not None:
            try:
                self._told(self._csv.finish(exit_code))
            except OSError as error:
                self._report.say(f"cannot write metrics.csv ({error.strerror}): its last rows are lost")
        if self._rows is not None:
            self._rows.add({"exit_code": exit_code}, last=True)
        for tracker in self._others:
            self.tell()
            tracker.wait(self._report)
        self.tell()

    def _told(self, again: bool) -> None:
        if again and self._csv is not None:
            self._report.say(f"{self._csv.path} was removed or replaced: it was rewritten with all its rows")


def open_trackers(
    settings: TrainSettings,
    *,
    config: dict[str, Any],
    resume_step: int | None,
    kept: dict[str, str],
    report: Reporter,
) -> Trackers:
    """Open the CSV file and start the others, without waiting for them; one message says which.

    Without W&B, a run that should have been there is also recorded by TensorBoard, if that is installed.

    Args:
        settings: settings of the training.
        config: values that trackers store with the run.
        resume_step: see :class:`CsvFile`.
        kept: what the checkpoint to resume from has kept; empty for a new run.
        report: receives the message that says where the metrics go.
    """
    folder = settings.checkpoint_dir
    csv_file = CsvFile(folder / METRICS, resume_step=resume_step)
    rows = Rows()
    events: dict[str, Any] = {"folder": str(folder / TENSORBOARD), "resume_step": resume_step}
    started: list[Tracker] = []
    instead: Tracker | None = None
    if "tensorboard" in settings.logger:
        started.append(Tracker("TensorBoard", "tensorboard", events, rows))
    if settings.tracks_with_wandb:
        if not started:
            instead = Tracker("TensorBoard", "tensorboard", events, rows, quiet=True)
        run = {
            "init": {
                "project": settings.wandb_project,
                "entity": settings.wandb_entity,
                "name": settings.wandb_name,
                "tags": list(settings.wandb_tags) or None,
                "config": config,
                "dir": str(folder.absolute()),
            },
            "resume": "wandb_id" in kept,
            "run_id": kept.setdefault("wandb_id", _new_id()),
            "seconds": FINISH_SECONDS,
            "pid": os.getpid(),
        }
        started.append(Tracker("W&B", "wandb_run", run, rows, again={"mode": "offline"}, instead=instead))
    own = {"config": config, "folder": str(folder.absolute()), "resume_step": resume_step}
    for name in filter(names_a_file, settings.logger):
        own |= {"run_id": kept.setdefault("run_id", _new_id()), "own": str(Path(name).absolute())}
        started.append(Tracker(name, "own_tracker", dict(own), rows))
    names = " and ".join(tracker.name for tracker in started)
    how = "start in processes of their own" if len(started) > 1 else "starts in a process of its own"
    report.say(f"metrics.csv; {names} {how}" if started else "metrics.csv")
    for tracker in started:
        tracker.start()
    others = [*started, instead] if instead is not None else started
    return Trackers(csv_file, report, rows=rows, others=others, kept=kept)


def _new_id() -> str:
    """An id for a run. Not from a seeded generator: the same training twice is two runs."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
