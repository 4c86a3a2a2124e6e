"""The flags: one frozen dataclass per verb, one field per flag, nothing else.

A field's name is the flag, the YAML key and, below the commands, the keyword argument. Its metadata
holds the help text and the allowed range. Config objects stop at the commands; everything below takes
plain keywords. ``validate`` refuses a value outside its range with a sentence that names the flag.
"""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from plumbline.errors import InputError


def option(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    metavar: str = "",
    positional: bool = False,
    bare: str = "",
    group: str = "",
) -> Any:
    """A dataclass field that is a flag. ``bare`` is what the flag means when no value follows it."""
    metadata = {
        "help": help,
        "at_least": at_least,
        "at_most": at_most,
        "above": above,
        "below": below,
        "choices": choices,
        "metavar": metavar,
        "positional": positional,
        "bare": bare,
        "group": group,
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def _debug() -> Any:
    return option(False, "say more, and show a traceback when something fails", group="output")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a model on a data set."""

    data_dir: Path = option(
        Path("data/processed_sh"), "data set: a prepared folder or a folder of .pt samples", group="data"
    )
    batch_size: int = option(16, "graphs per training step", at_least=1, group="data")
    val_split: float = option(0.1, "share of the objects kept for validation", above=0, below=1, group="data")
    num_workers: int = option(4, "reader processes for --loader workers", at_least=0, group="data")
    loader: str = option(
        "auto",
        "where batches are built: in this process from memory, in worker processes, or as fits",
        choices=("auto", "resident", "workers"),
        group="data",
    )
    model: str = option("gcn", "which network", choices=("gcn",), group="model")
    hidden_dim: int = option(128, "width of the hidden layers", at_least=4, group="model")
    num_layers: int = option(4, "graph convolutions, first and last included", at_least=2, group="model")
    dropout: float = option(
        0.1, "share of hidden units dropped in training", at_least=0, below=1, group="model"
    )
    max_epochs: int = option(100, "epochs at most", at_least=1, group="training")
    lr: float = option(1e-3, "learning rate of Adam", above=0, group="training")
    weight_decay: float = option(1e-5, "L2 penalty on the weights", at_least=0, group="training")
    gradient_clip: float = option(
        1.0, "largest norm of the gradient; 0 turns it off", at_least=0, group="training"
    )
    early_stopping: int = option(
        0, "stop after this many epochs without a better val_loss; 0 never", at_least=0, group="training"
    )
    ema: float = option(
        0.0,
        "decay of the averaged weights that are validated and saved; 0 off",
        at_least=0,
        below=1,
        group="training",
    )
    max_time: str | None = option(
        None,
        "stop after DD:HH:MM:SS, with the last checkpoint written",
        metavar="DD:HH:MM:SS",
        group="training",
    )
    seed: int = option(
        0, "seed of weights, order and dropout", at_least=0, at_most=2**32 - 1, group="training"
    )
    precision: str = option(
        "32",
        "numbers in the network: 32, true half (16, bf16), mixed (16-mixed, bf16-mixed), or 64",
        choices=("32", "16", "bf16", "16-mixed", "bf16-mixed", "64"),
        group="machine",
    )
    accelerator: str = option(
        "auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"), group="machine"
    )
    devices: int = option(1, "devices per node", at_least=1, group="machine")
    num_nodes: int = option(1, "nodes", at_least=1, group="machine")
    strategy: str = option("auto", "how devices share the work", choices=("auto", "ddp"), group="machine")
    deterministic: bool = option(False, "only deterministic kernels, also on CUDA", group="machine")
    use_compile: bool = option(False, "compile the network with torch.compile", group="machine")
    checkpoint_dir: Path = option(
        Path("checkpoints"), "folder of checkpoints and of the run's records", group="output"
    )
    resume: str | None = option(
        None,
        "go on from this checkpoint; without a path, from the last one in --checkpoint_dir",
        bare="last",
        metavar="PATH",
        group="output",
    )
    use_wandb: bool = option(False, "log to Weights & Biases", group="output")
    wandb_project: str = option("equivariant-center-of-mass", "its project", group="output")
    wandb_name: str | None = option(None, "its name of the run; made up if not given", group="output")
    wandb_tags: list[str] = option([], "its tags", metavar="TAG", group="output")
    fast_dev_run: int = option(
        0,
        "try N batches of each loop and stop; nothing is saved or tracked",
        at_least=0,
        metavar="N",
        group="output",
    )
    debug: bool = option(
        False,
        "say more: data set, architecture, loaders, first epoch, first batches, tracebacks",
        group="output",
    )


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Make a data set of labelled graphs from meshes, built-in solids or real scans."""

    paths: list[Path] = option(
        [], "mesh files, or folders that are searched for them", positional=True, metavar="PATH"
    )
    out: Path | None = option(
        None, "folder of the data set (required)", metavar="DIR", group="input and output"
    )
    solids: int = option(
        0,
        "built-in solids to add, each with an exactly known centre of mass",
        at_least=0,
        group="input and output",
    )
    labels: Path | None = option(
        None,
        "real scans: a CSV with file, com_x, com_y, com_z and, if known, object_name, sensor_x, sensor_y, "
        "sensor_z, bounding_radius",
        metavar="CSV",
        group="input and output",
    )
    format: str = option(
        "packed",
        "packed: one memory-mapped store; pt: the documented folder of .pt files",
        choices=("packed", "pt"),
        group="input and output",
    )
    target: str = option(
        "solid",
        "centre of mass of the solid (closed meshes only) or of its surface",
        choices=("solid", "shell"),
        group="truth",
    )
    scale: float = option(1.0, "metres per unit of the mesh files", above=0, group="truth")
    samples: int = option(10, "scans per object", at_least=1, group="scan")
    views: str = option(
        "1", "views merged in a scan: a number or a range such as 1-3", metavar="V", group="scan"
    )
    points: int = option(256, "points per scan", at_least=16, at_most=65536, group="scan")
    sampling: str = option(
        "farthest", "how points are chosen from the hits", choices=("farthest", "random"), group="scan"
    )
    pattern: str = option(
        "grid", "rays of a camera or of a rotating LiDAR", choices=("grid", "lidar"), group="scan"
    )
    rays: int = option(
        1600, "rays per view over the field of view", at_least=64, at_most=4_000_000, group="scan"
    )
    distance: str = option(
        "2-3",
        "distance of the sensor, in radii of the object: a number or a range",
        metavar="D",
        group="scan",
    )
    noise: float = option(
        0.01,
        "range noise (1 sigma), as a fraction of the object's radius",
        at_least=0,
        at_most=1,
        group="scan",
    )
    grazing: float = option(
        80.0,
        "angle of incidence in degrees beyond which returns get lost; 90 keeps all",
        above=0,
        at_most=90,
        group="scan",
    )
    pose_error: float = option(
        0.0,
        "error of each view's pose (1 sigma): degrees, and as many hundredths of the radius",
        at_least=0,
        at_most=45,
        group="scan",
    )
    rotate: bool = option(True, "turn every object at random before each scan", group="scan")
    k: int = option(16, "neighbours per point", at_least=1, at_most=1024, group="graph")
    edge_attr: str = option(
        "sh",
        "edge attributes: spherical harmonics, displacement vectors or none",
        choices=("sh", "displacement", "none"),
        group="graph",
    )
    sh_degree: int = option(
        2, "highest degree of the spherical harmonics", at_least=0, at_most=8, group="graph"
    )
    normalise: str = option(
        "unit",
        "stored frame: unit (mean of the points at 0, rms distance 1), centre (mean at 0), none (as scanned)",
        choices=("unit", "centre", "none"),
        group="graph",
    )
    seed: int = option(
        0, "seed of solids, poses, noise and sampling", at_least=0, at_most=2**32 - 1, group="run"
    )
    workers: int = option(0, "processes; 0 takes one per core", at_least=0, group="run")
    debug: bool = _debug()


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Validate a data set and print what is in it."""

    path: Path = option(Path("data/processed_sh"), "the data set", positional=True, metavar="DIR")
    deep: bool = option(False, "also recompute every checksum and look at every number")
    json: bool = option(False, "print JSON instead of tables")
    debug: bool = _debug()


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Measure a trained model beside the untrained baselines and write a report."""

    checkpoint: Path = option(
        Path("checkpoints"),
        "a checkpoint, or a folder whose best one is taken",
        positional=True,
        metavar="CKPT",
    )
    data_dir: Path | None = option(None, "data set; by default the one it was trained on", group="data")
    split: str = option(
        "auto",
        "which graphs: val (kept back in training), train, all; auto is val on the training data set, "
        "else all",
        choices=("auto", "val", "train", "all"),
        group="data",
    )
    batch_size: int = option(64, "graphs per step", at_least=1, group="data")
    out: Path | None = option(
        None,
        "folder of report.html and evaluation.json; by default the checkpoint's, and for another data set "
        "than the training's a folder of its name in there",
        metavar="DIR",
        group="output",
    )
    json: bool = option(False, "print JSON instead of tables", group="output")
    debug: bool = _debug()


Config = TrainConfig | PrepareConfig | CheckConfig | EvaluateConfig
Verb = Literal["prepare", "check", "train", "evaluate"]


def parse_range(text: str, flag: str, *, whole: bool) -> tuple[float, float]:
    """``"2"`` or ``"1-3"`` as (low, high); InputError names the flag."""
    parts = text.split("-")
    try:
        low, high = float(parts[0]), float(parts[-1])
    except ValueError:
        low = high = math.nan
    kind = "a whole number" if whole else "a number"
    good = len(parts) <= 2 and 0 < low <= high < math.inf
    if whole:
        good = good and low >= 1 and low == int(low) and high == int(high)
    if not good:
        raise InputError(f"--{flag} {text}: give {kind} above 0 or a range such as 1-3")
    return low, high


def nearest(name: str, known: Iterable[str]) -> str:
    """A "did you mean" for a misspelt name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


_OTHER_NAMES = {"gpu": "cuda"}
"""What other programs call one of our choices."""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def validate(config: Config) -> None:
    """Refuse values that cannot be meant, alone or together. Raises InputError naming flag and value."""
    validate_each(config)
    _validate_together(config)


def validate_each(config: Config) -> None:
    """Refuse values outside their range. Raises InputError naming the flag, the value and the range."""
    for item in fields(config):
        value, meta = getattr(config, item.name), item.metadata
        label = f"{item.name}" if meta["positional"] else f"--{item.name}"
        if meta["choices"] and value not in meta["choices"]:
            guess = nearest(_OTHER_NAMES.get(str(value), str(value)), meta["choices"])
            raise InputError(f"{label} {value}: choose one of {', '.join(meta['choices'])}{guess}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        bounds = (
            ("at_least", "at least", lambda v, b: v >= b),
            ("at_most", "at most", lambda v, b: v <= b),
            ("above", "above", lambda v, b: v > b),
            ("below", "below", lambda v, b: v < b),
        )
        wanted = " and ".join(
            f"{word} {_number(meta[key])}" for key, word, _ in bounds if meta[key] is not None
        )
        inside = all(holds(value, meta[key]) for key, _, holds in bounds if meta[key] is not None)
        if not inside or not math.isfinite(value):
            raise InputError(f"{label} {value}: must be {wanted or 'a finite number'}")


def _validate_together(config: Config) -> None:
    if isinstance(config, PrepareConfig):
        parse_range(config.views, "views", whole=True)
        if parse_range(config.distance, "distance", whole=False)[0] <= 1:
            raise InputError(
                f"--distance {config.distance}: the sensor must stay outside the object, above 1 radius"
            )
        if config.k >= config.points:
            raise InputError(
                f"--k {config.k}: a point has only {config.points - 1} others (--points {config.points})"
            )
        if config.out is None:
            raise InputError("--out is missing: name the folder that the data set goes to")
        if not config.paths and not config.solids and config.labels is None:
            raise InputError("nothing to prepare: give mesh files or folders, --solids N, or --labels CSV")
    if isinstance(config, TrainConfig) and config.devices * config.num_nodes > 1:
        flag = "devices" if config.devices > 1 else "num_nodes"
        raise InputError(
            f"--{flag} {getattr(config, flag)}: training on several devices is not there yet; leave it at 1"
        )
    if isinstance(config, TrainConfig) and config.max_time is not None:
        parts = config.max_time.split(":")
        if (
            len(parts) != 4
            or not all(part.isdigit() for part in parts)
            or not any(int(part) for part in parts)
        ):
            raise InputError(
                f"--max_time {config.max_time}: write days:hours:minutes:seconds, such as 00:00:10:00"
            )
