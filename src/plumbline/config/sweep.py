"""The flags of ``plumbline sweep``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, Option, debug_option, option
from plumbline.config.space import read_sweep
from plumbline.config.train import TrainConfig
from plumbline.errors import InputError
from plumbline.kinds import folder, switch, text, whole


@dataclass(frozen=True, kw_only=True)
class SweepConfig(Flags):
    """Find good flags for a training, by many trainings with other values."""

    space: list[str] = option(
        [],
        "flags of train to vary, each with a list (hidden_dim=64,128) or a range (dropout=0-0.3); ranges "
        "above 0 that span a factor of 10, such as lr=1e-4-1e-2, are on a logarithmic scale, unless :log or "
        ":linear after the range says otherwise; at the end, after --, the flags of train that all trials "
        "share",
        text,
        positional=True,
        metavar="NAME=VALUES",
    )
    out: Path | None = option(
        None,
        "folder of the sweep (required); the same command again resumes it, and several at the same time, "
        "also on other machines that share the folder, share its trials",
        folder,
        group="sweep",
    )
    trials: int = option(
        30, "trainings in all; lists end earlier, with every combination once", whole(at_least=1)
    )
    workers: int = option(
        1, "trainings at the same time; cores, and GPUs if there are several, are divided", whole(at_least=1)
    )
    prune: bool = option(
        True,
        "stop trainings early whose best val_error_rel is worse than the median of the others at that epoch",
        switch,
    )
    seed: int = option(
        0, "random seed of the values that are tried; the trainings have --seed of train", whole(at_least=0)
    )
    debug: bool = debug_option()

    @classmethod
    def unknown(cls, name: str, options: Mapping[str, Option]) -> str:
        """The error sentence for an unknown flag; it says where flags of train belong."""
        if name in TrainConfig.options():
            return (
                f"--{name} is a flag of train: write {name}=VALUES to vary it, or give it at the end, after "
                "--, for all trials"
            )
        return super().unknown(name, options)

    def check(self) -> None:
        """Refuse a space or shared flags that train would refuse. Raises InputError."""
        read_sweep(self.space)
        if self.out is None:
            raise InputError("--out is missing: name the folder of the sweep")
