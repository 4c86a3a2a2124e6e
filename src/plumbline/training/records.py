"""Settings and result of a training."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from plumbline.quantities import Duration

if TYPE_CHECKING:
    from plumbline.evaluation.table import Table

Outcome = Literal["finished", "stopped early", "interrupted", "out of time", "already finished"]
"""How a training ended."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """One training. Each field is the flag of ``plumbline train`` of that name (``docs/flags.md``).

    No field has a default: those of the flags depend on ``--recipe``. ``plumbline.train_settings`` fills them
    in.
    """

    recipe: str
    data_dir: Path
    batch_size: int
    val_split: float
    split_by: str
    num_workers: int
    loader: str
    model: str
    hidden_dim: int
    num_layers: int
    dropout: float
    features: tuple[str, ...]
    model_args: tuple[str, ...]
    loss: str
    optimizer: str
    schedule: str
    warmup: float
    max_epochs: int
    lr: float
    weight_decay: float
    gradient_clip: float
    early_stopping: int
    ema: float
    skip_nonfinite: bool
    max_time: Duration | None
    seed: int
    ensemble: int
    member: int
    precision: str
    accelerator: str
    devices: int
    num_nodes: int
    strategy: str
    stall_timeout: float
    deterministic: bool
    use_compile: bool
    checkpoint_dir: Path
    resume: str | None
    allow_mismatch: bool
    checkpoint_every_n_steps: int
    logger: tuple[str, ...]
    use_wandb: bool
    wandb_project: str
    wandb_entity: str | None
    wandb_name: str | None
    wandb_tags: tuple[str, ...]
    fast_dev_run: int
    debug: bool

    @classmethod
    def of(cls, flags: object) -> TrainSettings:
        """Take every field from the attribute of the same name."""
        values: dict[str, Any] = {item.name: getattr(flags, item.name) for item in fields(cls)}
        lists = {name: tuple(item) for name, item in values.items() if isinstance(item, list)}
        return cls(**values | lists)

    def plain(self) -> dict[str, Any]:
        """Values for YAML and checkpoints, without ``resume``: how a training was started or resumed is not
        part of what it is."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "resume"}
        return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path | Duration) else value


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The outcome of a training and the files it wrote.

    Attributes:
        outcome: ``"interrupted"`` by a signal, ``"out of time"`` after ``max_time``, ``"stopped early"`` by
            ``early_stopping``; ``"already finished"`` if the checkpoint to resume from has all its epochs.
        exit_code: of the command: 0; 129, 130 or 143 after a signal; 1 if the last state could not be saved.
        run_folder: folder of checkpoints and records.
        best_checkpoint, last_checkpoint: None if not written.
        metrics: metrics of the best checkpoint's epoch, by their names in ``metrics.csv``.
        table: the best model compared with the untrained baselines on the validation graphs, as in
            ``result.json``; None after an interruption and for an ensemble; ``metrics`` is then empty.
        members: results of the members of an ensemble.
    """

    outcome: Outcome
    exit_code: int
    run_folder: Path
    best_checkpoint: Path | None = None
    last_checkpoint: Path | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    table: Table | None = None
    members: tuple[TrainResult, ...] = ()
