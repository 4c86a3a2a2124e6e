"""Plain training program, as a baseline: what a competent user writes with PyG and Lightning.

It is the reference for the benchmarks and the parity tests, so it uses the standard idioms and is not slow
on purpose: a list of ``Data``, PyG's ``DataLoader``, ``GCNConv``, one ``self.log`` per documented metric,
Lightning's own checkpoints, logger and progress bar.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, global_mean_pool

from benchmarks.stopwatch import Stopwatch


class PlainGCN(nn.Module):
    """The documented architecture. ``forward`` returns ``[G, 3]`` in the frame of the node features."""

    def __init__(
        self, input_dim: int, hidden_dim: int = 128, num_layers: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        widths = [input_dim] + [hidden_dim] * num_layers
        self.convs = nn.ModuleList(GCNConv(widths[i], widths[i + 1]) for i in range(num_layers))
        self.dropout = dropout
        self.head = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim // 2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim // 2, hidden_dim // 4),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim // 4, 3),
        )

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor, num_graphs: int | None = None) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = conv(x, edge_index)
            if i < len(self.convs) - 1:
                x = functional.dropout(functional.relu(x), p=self.dropout, training=self.training)
        return self.head(global_mean_pool(x, batch, num_graphs))


class PlainTask(lightning.LightningModule):
    """MAE loss, the documented metrics, Adam and the plateau schedule."""

    def __init__(self, model: nn.Module, *, lr: float = 1e-3, weight_decay: float = 1e-5) -> None:
        super().__init__()
        self.model = model
        self.lr = lr
        self.weight_decay = weight_decay

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._step(batch, "val")

    def _step(self, batch: Any, stage: str) -> Tensor:
        size = batch.num_graphs
        difference = self.model(batch.x, batch.edge_index, batch.batch, size) - batch.y
        absolute, squared = difference.abs(), difference.square()
        loss = absolute.mean()
        each_step = {"on_step": stage == "train", "on_epoch": True, "batch_size": size}
        self.log(f"{stage}_loss", loss, prog_bar=True, **each_step)
        self.log(f"{stage}_mae", loss, **each_step)
        self.log(f"{stage}_mse", squared.mean(), **each_step)
        each_epoch = {"on_step": False, "on_epoch": True, "batch_size": size}
        for axis, name in enumerate("xyz"):
            self.log(f"{stage}_mae_{name}", absolute[:, axis].mean(), **each_epoch)
            self.log(f"{stage}_mse_{name}", squared[:, axis].mean(), **each_epoch)
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=10, min_lr=1e-6)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}


def load_folder(folder: Path) -> list[Data]:
    """Read the documented ``.pt`` files as a list of ``Data``, in the order of their names."""
    samples = []
    for path in sorted(folder.glob("*.pt")):
        content = torch.load(path, weights_only=True)
        samples.append(
            Data(x=content["node_features"], edge_index=content["edge_index"], y=content["target"].view(1, 3))
        )
    return samples


def make_loader(data: list[Data], *, batch_size: int, num_workers: int, train: bool) -> DataLoader:
    """Make PyG's loader with the documented settings."""
    return DataLoader(
        data,
        batch_size=batch_size,
        shuffle=train,
        drop_last=train,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        prefetch_factor=4 if num_workers > 0 else None,
    )


def run_plain(
    task: PlainTask,
    train: list[Data],
    val: list[Data],
    *,
    epochs: int,
    num_workers: int,
    checkpoint_dir: Path,
    batch_size: int = 16,
    precision: str = "32-true",
) -> dict[str, Any]:
    """Train with the documented defaults; return the record of the :class:`Stopwatch`."""
    stopwatch = Stopwatch()
    checkpoint = ModelCheckpoint(
        dirpath=checkpoint_dir,
        filename="best-model-{epoch:02d}-{val_loss:.3f}",
        monitor="val_loss",
        mode="min",
        save_top_k=1,
        save_last=True,
        save_weights_only=False,
        save_on_train_epoch_end=False,
        auto_insert_metric_name=False,
    )
    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=[checkpoint, stopwatch],
        logger=CSVLogger(str(checkpoint_dir), name="logs"),
        gradient_clip_val=1.0,
        precision=precision,
    )
    trainer.fit(
        task,
        make_loader(train, batch_size=batch_size, num_workers=num_workers, train=True),
        make_loader(val, batch_size=batch_size, num_workers=num_workers, train=False),
    )
    return stopwatch.record()


def main() -> None:
    """Make one run for the benchmark, in a process of its own."""
    parser = argparse.ArgumentParser(description="Train the plain program on a folder of .pt files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", type=Path, required=True, help="JSON: positions of 'train' and 'val'")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the times")
    parser.add_argument("--checkpoint_dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--num_workers", type=int, required=True)
    parser.add_argument("--precision", default="32-true", help="Lightning's name")
    arguments = parser.parse_args()
    data = load_folder(arguments.folder)
    parts = json.loads(arguments.split.read_text(encoding="utf-8"))
    lightning.seed_everything(0)
    record = run_plain(
        PlainTask(PlainGCN(data[0].num_node_features)),
        [data[i] for i in parts["train"]],
        [data[i] for i in parts["val"]],
        epochs=arguments.epochs,
        num_workers=arguments.num_workers,
        checkpoint_dir=arguments.checkpoint_dir,
        precision=arguments.precision,
    )
    arguments.out.write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main()
