"""The end of a training: the best model beside the untrained baselines, the files, and what to do next."""

import json
from pathlib import Path

from rich.console import Console

from plumbline.console.terminal import print_line
from plumbline.console.text import command
from plumbline.data.store.reader import PackedStore
from plumbline.evaluation.plots import curves
from plumbline.evaluation.table import UNSEEN, print_table, summarise
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.inference import predict
from plumbline.records import Int
from plumbline.training.loop.trainer import Fit
from plumbline.training.persistence import run_folder as rundir


def conclude(
    console: Console,
    folder: Path,
    settings: Path,
    fit: Fit,
    store: PackedStore,
    val_idx: Int,
    *,
    batch_size: int,
) -> None:
    """Writes ``result.json`` and ``curves.png``, and says how good the best model is.

    Args:
        console: where to say it.
        folder: of the run.
        settings: flags of the command that goes on.
        fit: the training, ended, with a best checkpoint.
        store, val_idx: the graphs it was validated on.
        batch_size: graphs at once.
    """
    assert fit.checkpoints is not None
    best = Path(fit.checkpoints.best_model_path)
    best = folder / best.name if best.parent.resolve() == folder.resolve() else best
    trained = load_checkpoint(best)
    answers = predict(trained.model, store, val_idx, batch_size=batch_size, device=fit.task.device)
    table = summarise(store, val_idx, answers, model=trained.model_name, relation=UNSEEN)
    result = {
        "best_checkpoint": str(best),
        "epochs": fit.trainer.current_epoch,
        "metrics": trained.metrics,
        "table": table.to_dict(),
    }
    (folder / rundir.RESULT).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    levels = {name: table.summary(name).mean for name in table.methods[1:]}
    curves(folder / rundir.METRICS, folder / rundir.CURVES, baselines=levels)
    console.print()
    print_table(console, table)
    names = (rundir.METRICS, rundir.CURVES, rundir.RESULT, rundir.CONFIG, rundir.STARTUP, rundir.REJECTED)
    records = ", ".join(name for name in names if (folder / name).is_file())
    longer = ("--max_epochs", 2 * (fit.trainer.max_epochs or 1))
    if fit.task.schedule == "cosine":  # which is another one from its first step on
        more = "train longer  " + command("plumbline", "train", "--config", settings, *longer)
    else:
        more = "train on      " + command("plumbline", "train", "--config", settings, "--resume", *longer)
    for line in (
        "",
        f"best model    {best} (val_loss {trained.metrics['val_loss']:.4g})",
        f"last state    {folder / 'last.ckpt'}",
        f"records       {folder}/ ({records})",
        "report        " + command("plumbline", "evaluate", best),
        more,
    ):
        print_line(console, line)
