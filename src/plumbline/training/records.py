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
"""The documented default of ``--wandb_project``."""


@dataclass(frozen=True)
class Plateau:
    """The schedule ``plateau``: when ``val_loss`` has not improved in ``patience`` validations, the learning
    rate is multiplied by ``factor``, but does not fall below ``min_lr``."""

    patience: int = 10
    factor: float = 0.5
    min_lr: float = 1e-6


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """One training. Each field is the flag of ``plumbline train`` of that name (``docs/flags.md``).

    No field has a default: those of the flags depend on ``--recipe``. ``plumbline.train_settings`` fills them
    in.
    """

    recipe: str
    data_dir: Path | tuple[Path, ...]
    batch_size: int
    batch_points: int
    accumulate: int
    val_split: float
    split_by: str
    split_file: Path | None
    num_workers: int
    persistent_workers: bool
    loader: str
    model: str
    hidden_dim: int
    num_layers: int
    dropout: float
    features: tuple[str, ...]
    model_args: tuple[str, ...]
    init_from: Path | None
    init_from_sha256: str | None
    freeze: str
    loss: str
    optimizer: str
    schedule: str
    warmup: float
    plateau_patience: int
    plateau_factor: float
    min_lr: float
    max_epochs: int
    max_steps: int
    val_every_n_epochs: int
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
    save_top_k: int
    log_every_n_steps: int | None
    logger: tuple[str, ...]
    use_wandb: bool
    wandb_project: str
    wandb_entity: str | None
    wandb_name: str | None
    wandb_tags: tuple[str, ...]
    overfit_batches: int
    fast_dev_run: int
    profile: bool
    debug: bool

    @property
    def plateau(self) -> Plateau:
        """The flags of ``--schedule plateau``; the patience in validations."""
        patience = self.plateau_patience // self.val_every_n_epochs
        return Plateau(patience, self.plateau_factor, self.min_lr)

    @property
    def tracks_with_wandb(self) -> bool:
        """Whether metrics go to W&B."""
        return self.use_wandb or "wandb" in self.logger

    def without_effect(self) -> list[str]:
        """One sentence for each flag that is set and changes nothing."""
        local, cosine = not self.tracks_with_wandb, self.schedule == "cosine"
        needed = {
            "wandb_project": (local and self.wandb_project != DOCUMENTED_PROJECT, "--use_wandb"),
            "wandb_entity": (local and self.wandb_entity is not None, "--use_wandb"),
            "wandb_name": (local and self.wandb_name is not None, "--use_wandb"),
            "wandb_tags": (local and bool(self.wandb_tags), "--use_wandb"),
            "allow_mismatch": (self.allow_mismatch and self.resume is None, "--resume"),
            "warmup": (
                self.warmup > 0 and not cosine and self.recipe == "documented",
                "--schedule cosine",
            ),
            "plateau_patience": (
                cosine and self.plateau_patience != Plateau.patience,
                "--schedule plateau",
            ),
            "plateau_factor": (cosine and self.plateau_factor != Plateau.factor, "--schedule plateau"),
            "min_lr": (cosine and self.min_lr != Plateau.min_lr, "--schedule plateau"),
        }
        sentences = [
            f"--{flag} has no effect without {other}" for flag, (idle, other) in needed.items() if idle
        ]
        if self.batch_points and self.batch_size != 16 and self.recipe == "documented":
            sentences.append("--batch_size has no effect with --batch_points")
        if self.split_file is not None:
            usual = {"val_split": (self.val_split, 0.1), "split_by": (self.split_by, "object")}
            changed = [flag for flag, (given, default) in usual.items() if given != default]
            sentences += [f"--{flag} has no effect with --split_file" for flag in changed]
        return sentences

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


@dataclass(frozen=True)
class TimeShare:
    """Mean times in a step of one of its parts, or of an operation.

    Attributes:
        name: of the part, or of the operation as torch's profiler calls it.
        calls: number of calls.
        seconds: time of the CPU, in seconds; of an operation without the operations within it.
        gpu_seconds: time of the GPU for work that was submitted there, in seconds; 0 without CUDA.
    """

    name: str
    calls: float
    seconds: float
    gpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class StepProfile:
    """Where the time of a training step went, with ``profile``; the profiler's own time is in it.

    Attributes:
        first, last: numbers of the steps that were recorded.
        seconds: mean time of a step.
        parts: parts of a step, in their order; they do not overlap.
        operations: operations of torch, the slowest first.
        after_epoch: seconds of the next ``"validation"`` and of the ``"checkpoint"`` after it.
        trace: file with the events of these steps, in Chrome's format; None if none was written.
    """

    first: int
    last: int
    seconds: float
    parts: tuple[TimeShare, ...]
    operations: tuple[TimeShare, ...]
    after_epoch: dict[str, float]
    trace: Path | None


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
        profile: with ``profile``, where the time of a step went; None if no step was recorded.
    """

    outcome: Outcome
    exit_code: int
    run_folder: Path
    best_checkpoint: Path | None = None
    last_checkpoint: Path | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    table: Table | None = None
    members: tuple[TrainResult, ...] = ()
    profile: StepProfile | None = None
