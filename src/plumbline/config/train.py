"""The flags of ``plumbline train``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import option
from plumbline.config.recipes import RECIPES

NETWORKS = ("gcn", "pointnet", "egnn", "painn", "steerable", "framed", "ept")
"""Names of the networks, those of ``plumbline.models.MODELS``: flags must not load torch."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a model on a data set."""

    recipe: str = option(
        "documented",
        "defaults of everything below: the documented ones, or those that are best for accuracy",
        choices=tuple(RECIPES),
    )
    data_dir: Path = option(
        Path("data/processed_sh"), "data set: a prepared folder or a folder of .pt samples", group="data"
    )
    batch_size: int = option(16, "graphs per training step", at_least=1, group="data")
    val_split: float = option(0.1, "share of the objects kept for validation", above=0, below=1, group="data")
    split_by: str = option(
        "object",
        "what validation shares none of with training: an object, or a whole group of them (the folder of a "
        "mesh, the family of a built-in solid: the name of the object before the last slash)",
        choices=("object", "group"),
        group="data",
    )
    num_workers: int = option(4, "reader processes for --loader workers", at_least=0, group="data")
    loader: str = option(
        "auto",
        "where batches are built: in this process from memory, in worker processes, or as fits",
        choices=("auto", "resident", "workers"),
        group="data",
    )
    model: str = option("gcn", "which network", choices=NETWORKS, group="model")
    hidden_dim: int = option(128, "width of the hidden layers", at_least=4, group="model")
    num_layers: int = option(
        4, "layers: graph convolutions (first and last included) or attention", at_least=1, group="model"
    )
    dropout: float = option(
        0.1, "share of hidden units dropped in training", at_least=0, below=1, group="model"
    )
    features: list[str] = option(
        ["all"],
        "what the network sees beyond positions: all, none, or some of sensor, normal, curvature, spacing, "
        "depth, hull, carve, view",
        metavar="NAME",
        group="model",
    )
    model_args: list[str] = option(
        [],
        "arguments of the network that have no flag of their own; ept has num_tokens=32 (patches), "
        "num_neighbours=16 (points of a patch), num_heads=4 (of attention) and patch_dim=64 (width of the "
        "network on a patch), the others have none",
        metavar="NAME=VALUE",
        group="model",
    )
    loss: str = option(
        "l1",
        "what is minimised: mean absolute error, or mean displacement in radii of the object",
        choices=("l1", "displacement"),
        group="training",
    )
    optimizer: str = option(
        "adam",
        "which optimizer; muon turns the steps of matrices orthogonal and leaves the rest to adamw",
        choices=("adam", "adamw", "muon"),
        group="training",
    )
    schedule: str = option(
        "plateau",
        "learning rate: halved when val_loss stands still, or half a cosine over all epochs",
        choices=("plateau", "cosine"),
        group="training",
    )
    warmup: float = option(
        0.0, "share of the steps in which --schedule cosine rises", at_least=0, below=1, group="training"
    )
    max_epochs: int = option(100, "epochs at most", at_least=1, group="training")
    lr: float = option(1e-3, "learning rate", above=0, group="training")
    weight_decay: float = option(
        1e-5, "L2 penalty on the weights; decay of matrices with adamw and muon", at_least=0, group="training"
    )
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
    skip_nonfinite: bool = option(
        False,
        "leave out and count steps whose loss is not finite, instead of stopping at the first",
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
    ensemble: int = option(
        1,
        "train so many models one after the other and join them: ensemble.ckpt answers with their mean",
        at_least=1,
        at_most=64,
        group="training",
    )
    member: int = option(
        0,
        "which member of an ensemble: other weights and another order at the same --seed and split",
        at_least=0,
        at_most=63,
        group="training",
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
    devices: int = option(1, "devices per node; more than one is not there yet", at_least=1, group="machine")
    num_nodes: int = option(1, "nodes; more than one is not there yet", at_least=1, group="machine")
    strategy: str = option("auto", "how devices share the work", choices=("auto", "ddp"), group="machine")
    stall_timeout: float = option(
        300.0,
        "seconds without a step after which every thread's place in the program is shown, and reader "
        "processes are given up; 0 never",
        at_least=0,
        group="machine",
    )
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
    allow_mismatch: bool = option(
        False,
        "resume although data or flags differ from those that the checkpoint was written with",
        group="output",
    )
    checkpoint_every_n_steps: int = option(
        0,
        "also write last.ckpt after so many steps; 0 only at the end of an epoch",
        at_least=0,
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
