"""The final report: the best model compared with the untrained baselines, the files, the next commands."""

import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from plumbline.console.terminal import print_line
from plumbline.console.text import command
from plumbline.evaluation.plots import curves
from plumbline.evaluation.table import SEEN, UNSEEN, Table, print_table, summarise
from plumbline.own_parts import source_of
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.inference import predict
from plumbline.training.persistence.run_folder import CURVES, METRICS, REJECTED, RESULT, STARTUP, config_of
from plumbline.training.records import Outcome, TrainResult, TrainSettings
from plumbline.training.show.facts import Data
from plumbline.writing import write_atomically


def measure(
    best: Path, settings: TrainSettings, data: Data, *, end: str, epochs: int, device: torch.device
) -> tuple[dict[str, float], Table]:
    """Measure the best model on the validation graphs; writes ``result.json`` and ``curves.png``.

    Args:
        best: checkpoint of the best model.
        settings: settings of the training.
        data: data set and split of the training.
        end: how the training ended: "finished", "stopped early" or "out of time".
        epochs: number of finished epochs.
        device: where to compute.

    Returns:
        The metrics of its epoch, and the table of model and baselines.
    """
    own = settings.model if source_of(settings.model) is not None else None
    trained = load_checkpoint(best, model=own)  # before --allow_mismatch, its file may have been another
    answers = predict(
        trained.model,
        data.store,
        data.val_idx,
        batch_size=settings.batch_size,
        batch_points=settings.batch_points,
        device=device,
    )
    relation = SEEN if settings.overfit_batches else UNSEEN
    table = summarise(data.store, data.val_idx, answers, model=trained.model_name, relation=relation)
    result: dict[str, Any] = {
        "best_checkpoint": str(best),
        "outcome": end,
        "epochs": epochs,
        "metrics": trained.metrics,
        "table": table.to_dict(),
    }
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    checkpoint_dir = settings.checkpoint_dir
    write_atomically(checkpoint_dir / RESULT, text.encode(), durable=False)
    levels = {name: table.summary(name).mean for name in table.methods[1:]}
    curves(checkpoint_dir / METRICS, checkpoint_dir / CURVES, baselines=levels)
    return trained.metrics, table


def print_report(console: Console, result: TrainResult, settings: TrainSettings) -> None:
    """Print the best model's errors (none for an ensemble), the file paths, and the next commands."""
    best, checkpoint_dir = result.best_checkpoint, result.run_folder
    evaluate = "report        " + command("plumbline", "evaluate", best)
    if result.members:
        lines = ["", f"ensemble      {best}", evaluate]
    else:
        assert result.table is not None
        console.print()
        print_table(console, result.table)
        names = (METRICS, CURVES, RESULT, config_of(checkpoint_dir).name, STARTUP, REJECTED)
        records = ", ".join(name for name in names if (checkpoint_dir / name).is_file())
        lines = [
            "",
            f"best model    {best} (val_loss {result.metrics['val_loss']:.4g})",
            f"last state    {checkpoint_dir / 'last.ckpt'}",
            f"records       {checkpoint_dir}/ ({records})",
            evaluate,
            _longer(settings, result.outcome),
        ]
    for line in lines:
        print_line(console, line)


def _longer(settings: TrainSettings, outcome: Outcome) -> str:
    """The command that trains for twice the number of epochs, or waits twice as long for a better one."""
    again = ("plumbline", "train", "--config", config_of(settings.checkpoint_dir))
    if outcome == "stopped early":
        return "train longer  " + command(*again, "--resume", "--early_stopping", 2 * settings.early_stopping)
    steps = ("--max_steps", 2 * settings.max_steps) if settings.max_steps else ()
    epochs = ("--max_epochs", 2 * settings.max_epochs, *steps)
    if settings.schedule == "cosine":  # a longer cosine schedule differs from its first step on
        return "train longer  " + command(*again, *epochs)
    return "train longer  " + command(*again, "--resume", *epochs)
