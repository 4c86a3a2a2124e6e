"""Where metrics go: a CSV file always, Weights & Biases if asked for and possible, else TensorBoard too.

Tracking never delays or ends a training: what W&B can do is found out once, within seconds, before it is
started, and a tracker that fails later is dropped with one sentence.
"""

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from plumbline.reporting import Reporter
from plumbline.training.show.metrics_file import CsvFile, Row
from plumbline.training.show.tensorboard import TensorBoardFolder
from plumbline.training.show.wandb_run import WandbRun, abandon_wandb, plan_wandb


class Tracker(Protocol):
    """Somebody who keeps metrics."""

    def log(self, row: Row, step: int) -> None:
        """Keeps one row."""

    def finish(self, exit_code: int) -> None:
        """No more rows will come."""


class Trackers:
    """All trackers of a run. One that fails is dropped with a sentence; the CSV file's rows wait for room.

    Args:
        csv_file: the local record.
        others: W&B or TensorBoard.
        report: told what went wrong.
    """

    def __init__(self, csv_file: CsvFile | None, others: list[Tracker], report: Reporter) -> None:
        self._csv, self._others, self._report = csv_file, others, report

    def log(self, row: Row, step: int) -> None:
        """Hands one row to everybody."""
        if self._csv is not None:
            try:
                self._told(self._csv.log(row, step))
            except OSError as error:
                self._report.say(
                    f"cannot write metrics.csv ({error.strerror}); its rows wait, and training goes on"
                )
        self._each(lambda tracker: tracker.log(row, step))

    def finish(self, exit_code: int) -> None:
        """Closes everything, within a bounded time."""
        if self._csv is not None:
            try:
                self._told(self._csv.finish(exit_code))
            except OSError as error:
                self._report.say(f"cannot write metrics.csv ({error.strerror}): its last rows are lost")
        self._each(lambda tracker: tracker.finish(exit_code))

    def _told(self, again: bool) -> None:
        if again and self._csv is not None:
            self._report.say(
                f"{self._csv.path} was removed or replaced: it is written again, with all its rows"
            )

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for tracker in list(self._others):
            try:
                act(tracker)
            except Exception as error:  # noqa: BLE001 - a tracker's trouble is never the training's
                self._others.remove(tracker)
                self._report.say(
                    f"{type(tracker).__name__} failed and is left out now ({_first_line(error)})"
                )


def open_trackers(
    folder: Path,
    *,
    use_wandb: bool,
    wandb_project: str,
    wandb_name: str | None,
    wandb_tags: Sequence[str],
    config: dict[str, Any],
    resume_step: int | None,
    report: Reporter,
) -> Trackers:
    """Opens the CSV file and, if W&B is wanted, W&B or what stands in for it; one sentence says which.

    Args:
        folder: run folder.
        use_wandb, wandb_project, wandb_name, wandb_tags: the flags.
        config: for W&B.
        resume_step: see :class:`CsvFile`.
        report: told where the metrics go.
    """
    csv_file = CsvFile(folder / "metrics.csv", resume_step=resume_step)
    others: list[Tracker] = []
    if not use_wandb:
        report.say("metrics.csv")
        return Trackers(csv_file, others, report)
    began = time.monotonic()
    plan = plan_wandb()
    sentence = plan.sentence
    if plan.mode != "off":
        try:
            run = WandbRun(
                plan.mode,
                folder,
                wandb_project=wandb_project,
                wandb_name=wandb_name,
                wandb_tags=wandb_tags,
                config=config,
            )
            others.append(run)
            sentence += f": {run.place}"
        except Exception as error:  # noqa: BLE001 - W&B's trouble is never the training's
            abandon_wandb(useless=True)
            sentence = f"W&B did not start after {time.monotonic() - began:.1f} s ({_first_line(error)})"
    if not others or not (plan.mode == "online" or plan.chosen):
        sentence += "; logging locally: metrics.csv"
        if find_spec("tensorboard") is not None:
            others.append(TensorBoardFolder(folder / "tensorboard"))
            sentence += f" and TensorBoard in {folder / 'tensorboard'}"
    report.say(sentence)
    return Trackers(csv_file, others, report)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
