"""The time left that the live bar shows."""

from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from plumbline.models import build_model
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.show import progress
from plumbline.training.show.progress import LiveBar


@pytest.mark.parametrize(("max_steps", "left"), [(-1, "1:20"), (30, "10.0 s"), (999, "1:20")])
def test_it_counts_to_the_earlier_limit(monkeypatch: pytest.MonkeyPatch, max_steps: int, left: str) -> None:
    """Twenty of ten times ten steps took twenty seconds."""
    now = 100.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: now))
    console = Console(file=StringIO(), force_terminal=True, width=200)
    bar = LiveBar(console, graphs_per_step=1, steps_per_epoch=10)
    task = CentreOfMassTask(build_model("gcn", input_dim=3, hidden_dim=4, num_layers=2, dropout=0), lr=1)
    trainer: Any = SimpleNamespace(
        global_step=0, current_epoch=2, max_epochs=10, max_steps=max_steps, accumulate_grad_batches=1
    )
    bar.on_train_start(trainer, task)
    now, trainer.global_step = 120.0, 20
    bar.on_train_batch_end(trainer, task, None, None, 0)
    shown = bar._bar.tasks[0].fields["numbers"]
    bar.teardown(trainer, task, "fit")
    assert shown.endswith(f" {left} left")


@pytest.mark.parametrize(
    ("loss", "shown"),
    [(0.12, "0.1200"), (0.0012345, "0.001234"), (0.00083184, "8.32e-04"), (0, "0.000")],
)
def test_small_losses_keep_the_columns_of_the_epochs_in_line(loss: float, shown: str) -> None:
    assert progress._four(loss) == shown
