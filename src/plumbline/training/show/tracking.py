"""Metric logging: always to a CSV file; with ``--use_wandb`` to W&B, or to TensorBoard if W&B cannot be used.

Tracking never delays or ends a training: whether W&B is usable is checked once, within seconds, before it
starts, and a tracker that fails later is disabled with one message.
"""

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol

from plumbline.reporting import Reporter
from plumbline.training.persistence.run_folder import METRICS, TENSORBOARD
from plumbline.training.records import TrainSettings
from plumbline.training.show.metrics_file import CsvFile, Row
from plumbline.training.show.tensorboard import TensorBoardFolder
from plumbline.training.show.wandb_run import WandbRun, abandon_wandb, plan_wandb


class Tracker(Protocol):
    """A destination for metrics."""

    def log(self, row: Row, step: int) -> None:
        """Store one row of metrics at a step."""

    def finish(self, exit_code: int) -> None:
        """Close the tracker; no more rows follow."""


class Trackers:
    """All trackers of a run. A failing one is disabled with a message; the CSV file retries its rows."""

    def __init__(self, csv_file: CsvFile | None, others: list[Tracker], report: Reporter) -> None:
        self._csv, self._others, self._report = csv_file, others, report

    def log(self, row: Row, step: int) -> None:
        """Log one row to all trackers."""
        if self._csv is not None:
            try:
                self._told(self._csv.log(row, step))
            except OSError as error:
                self._report.say(
                    f"cannot write metrics.csv ({error.strerror}); its rows are kept, and training continues"
                )
        self._each(lambda tracker: tracker.log(row, step))

    def finish(self, exit_code: int) -> None:
        """Close all trackers, within a bounded time."""
        if self._csv is not None:
            try:
                self._told(self._csv.finish(exit_code))
            except OSError as error:
                self._report.say(f"cannot write metrics.csv ({error.strerror}): its last rows are lost")
        self._each(lambda tracker: tracker.finish(exit_code))

    def _told(self, again: bool) -> None:
        if again and self._csv is not None:
            self._report.say(f"{self._csv.path} was removed or replaced: it was rewritten with all its rows")

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for tracker in list(self._others):
            try:
                act(tracker)
            except Exception as error:  # noqa: BLE001 - a failing tracker must not end the training
                self._others.remove(tracker)
                self._report.say(f"{type(tracker).__name__} failed and was disabled ({_first_line(error)})")


def open_trackers(
    settings: TrainSettings, *, config: dict[str, Any], resume_step: int | None, report: Reporter
) -> Trackers:
    """Open the CSV file and, with ``use_wandb``, W&B or its fallback; one message says which.

    Args:
        settings: settings of the training.
        config: values that W&B stores with the run.
        resume_step: see :class:`CsvFile`.
        report: receives the message that says where the metrics go.
    """
    csv_file = CsvFile(settings.checkpoint_dir / METRICS, resume_step=resume_step)
    others: list[Tracker] = []
    if not settings.use_wandb:
        report.say("metrics.csv")
        return Trackers(csv_file, others, report)
    began = time.monotonic()
    plan = plan_wandb()
    sentence = plan.sentence
    if plan.mode != "off":
        try:
            run = WandbRun(plan.mode, settings, config)
            others.append(run)
            sentence += f": {run.place}"
        except Exception as error:  # noqa: BLE001 - a failure of W&B must not end the training
            abandon_wandb(useless=True)
            sentence = f"W&B did not start after {time.monotonic() - began:.1f} s ({_first_line(error)})"
    if not others or not (plan.mode == "online" or plan.chosen):
        sentence += "; logging locally: metrics.csv"
        if find_spec("tensorboard") is not None:
            others.append(TensorBoardFolder(settings.checkpoint_dir / TENSORBOARD))
            sentence += f" and TensorBoard in {settings.checkpoint_dir / TENSORBOARD}"
    report.say(sentence)
    return Trackers(csv_file, others, report)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
