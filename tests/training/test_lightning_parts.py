"""A ``lightning.Trainer`` of the user's own, with our module and loaders, and with our checkpoints."""

import re
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

import plumbline
from benchmarks.plain import PlainGCN, PlainTask
from plumbline import InputError
from plumbline.training.randomness import random_states
from tests.helpers import ROOT
from tests.helpers.training_fixtures import differences, metric_rows, saved, write_tiny

SETTINGS: dict[str, Any] = {
    "batch_size": 8, "hidden_dim": 16, "num_layers": 2, "accelerator": "cpu", "lr": 3e-3, "seed": 5,
    "dropout": 0.2, "gradient_clip": 0.05,
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore")


class Losses(lightning.Callback):
    """Keeps the ``val_loss`` of each epoch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.seen.append(float(trainer.callback_metrics["val_loss"]))


def fit(data: Path, folder: Path, epochs: int, resume: Path | None = None, **changed: Any) -> list[float]:
    """Train with a trainer whose sanity check, logger and checkpoints are Lightning's defaults."""
    model, train_loader, val_loader = plumbline.lightning_parts(data_dir=data, **{**SETTINGS, **changed})
    losses = Losses()
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=[losses], default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, train_loader, val_loader, ckpt_path=None if resume is None else str(resume))
    trainer.save_checkpoint(folder / "end.ckpt")
    return losses.seen


def ours(data: Path, folder: Path, **changed: Any) -> list[float]:
    """Train with our program."""
    plumbline.train(data_dir=data, checkpoint_dir=folder, **{**SETTINGS, **changed})
    return [float(row["val_loss"]) for row in metric_rows(folder) if row["val_loss"]]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"ema": 0.9, "optimizer": "adamw"},
        {"schedule": "cosine", "warmup": 0.1, "max_epochs": 4},
        {"loader": "workers", "num_workers": 1},
        {"gradient_clip": 0.0, "loss": "displacement"},
    ],
    ids=["documented", "ema", "cosine", "workers", "displacement"],
)
def test_the_losses_and_weights_are_those_of_our_program(
    tiny: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    expected = ours(tiny, tmp_path / "ours", **{"max_epochs": 4, **changed})
    assert fit(tiny, tmp_path / "own", 4, **changed) == expected
    assert len(set(expected)) == 4
    here, there = saved(tmp_path / "own" / "end.ckpt"), saved(tmp_path / "ours" / "last.ckpt")
    for part in ("state_dict", "optimizer_states"):
        assert differences(here[part], there[part]) == []


def test_another_seed_gives_other_losses(tiny: Path, tmp_path: Path) -> None:
    assert fit(tiny, tmp_path / "own", 1, seed=6) != ours(tiny, tmp_path / "ours", max_epochs=1)


def test_a_plain_trainer_resumes_from_our_checkpoint_and_we_from_its_own(tiny: Path, tmp_path: Path) -> None:
    expected = ours(tiny, tmp_path / "whole", max_epochs=5)
    ours(tiny, tmp_path / "ours", max_epochs=2)
    assert fit(tiny, tmp_path / "own", 4, resume=tmp_path / "ours" / "last.ckpt") == expected[2:4]
    (checkpoint,) = (tmp_path / "own").rglob("epoch=*.ckpt")
    assert plumbline.load_checkpoint(checkpoint).metrics["val_loss"] == expected[3]
    last = ours(tiny, tmp_path / "again", max_epochs=5, resume=str(checkpoint))
    assert last[-1] == expected[4]


def test_metrics_reach_the_loggers_of_the_trainer(tiny: Path, tmp_path: Path) -> None:
    fit(tiny, tmp_path, 2)
    assert list(tmp_path.rglob("metrics.csv")) or list(tmp_path.rglob("events.out*"))


def test_random_numbers_of_the_caller_stay_as_they_were(tiny: Path) -> None:
    torch.manual_seed(11)
    before = random_states()
    plumbline.lightning_parts(data_dir=tiny, **SETTINGS)
    assert differences(random_states(), before) == []


def test_another_precision_than_the_networks_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'give lightning.Trainer\(precision="bf16-true"\)'):
        fit(tiny, tmp_path, 1, precision="bf16")


def test_an_ensemble_is_refused(tiny: Path) -> None:
    with pytest.raises(InputError, match="parts of each member"):
        plumbline.lightning_parts(data_dir=tiny, ensemble=2)


def test_a_plain_program_with_loaders_of_its_own_resumes(tiny: Path, tmp_path: Path) -> None:
    """The program of the document in plain PyG and Lightning takes weights, optimizer and epoch from ours."""
    ours(tiny, tmp_path / "ours", max_epochs=2)
    store = plumbline.open_data(tiny)
    graphs = [
        Data(
            x=torch.from_numpy(sample.node_features),
            edge_index=torch.from_numpy(np.asarray(sample.edge_index)).long(),
            y=torch.from_numpy(sample.target).float()[None],
        )
        for sample in map(store.sample, range(len(store)))
    ]
    network = PlainGCN(len(store.feature_names), SETTINGS["hidden_dim"], SETTINGS["num_layers"])
    trainer = lightning.Trainer(
        max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    start = saved(tmp_path / "ours" / "last.ckpt")
    loaders = (DataLoader(graphs[:40], 8, shuffle=True), DataLoader(graphs[40:], 8))
    trainer.fit(PlainTask(network), *loaders, ckpt_path=str(tmp_path / "ours" / "last.ckpt"))
    assert trainer.current_epoch == 4
    assert trainer.global_step == start["global_step"] + 2 * 5
    assert int(trainer.optimizers[0].state_dict()["state"][0]["step"]) == trainer.global_step


def test_the_documented_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of docs/train.md, for two epochs more instead of a hundred."""
    page = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python lightning\n(.*?)```", page, re.DOTALL)
    assert "max_epochs=100" in lines
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "data" / "processed_sh")
    plumbline.train(max_epochs=1, accelerator="cpu")
    known: dict[str, Any] = {}
    exec(lines.replace("max_epochs=100", "max_epochs=3"), known)
    assert known["trainer"].current_epoch == 3
