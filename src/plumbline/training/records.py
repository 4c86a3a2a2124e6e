"""Settings and result of a training."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from plumbline.quantities import Duration, plain

if TYPE_CHECKING:
    from plumbline.evaluation.table import Table

Outcome = Literal["finished", "stopped early", "interrupted", "out of time", "already finished"]
"""How a training ended."""


DOCUMENTED_PROJECT = "equivariant-center-of-mass"


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
    persistent_workers: bool
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

    @property
    def tracks_with_wandb(self) -> bool:
        """Whether metrics go to W&B."""
        return self.use_wandb or "wandb" in self.logger

    def without_effect(self) -> list[str]:
        """One sentence for each flag that is set and changes nothing."""
        local = not self.tracks_with_wandb
        needed = {
            "wandb_project": (local and self.wandb_project != DOCUMENTED_PROJECT, "--use_wandb"),
            "wandb_entity": (local and self.wandb_entity is not None, "--use_wandb"),
            "wandb_name": (local and self.wandb_name is not None, "--use_wandb"),
            "wandb_tags": (local and bool(self.wandb_tags), "--use_wandb"),
            "allow_mismatch": (self.allow_mismatch and self.resume is None, "--resume"),
            "warmup": (
                self.warmup > 0 and self.schedule != "cosine" and self.recipe == "documented",
                "--schedule cosine",
            ),
        }
        return [f"--{flag} has no effect without {other}" for flag, (idle, other) in needed.items() if idle]

    @classmethod
    def of(cls, flags: object) -> TrainSettings:
        """Take every field from the attribute of the same name."""
        values: dict[str, Any] = {item.name: getattr(flags, item.name) for item in fields(cls)}
        lists = {name: tuple(item) for name, item in values.items() if isinstance(item, list)}
        return cls(**values | lists)

    def plain(self) -> dict[str, Any]:
        """Values for YAML and checkpoints, without ``resume``: how a training was started or resumed is not
        part of what it is."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self) if item.name != "resume"}


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
