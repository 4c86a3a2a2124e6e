"""The flags of ``plumbline train``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from plumbline.config.options import NOTHING, Flags, Given, Option, option
from plumbline.config.parts import logger, loss, network, own_options, owners
from plumbline.config.recipes import RECIPES
from plumbline.errors import InputError
from plumbline.kinds import duration, file, folder, number, one_of, switch, text, whole
from plumbline.models.arguments import read_arguments
from plumbline.own_parts import names_a_file
from plumbline.predictors.architecture import architecture
from plumbline.quantities import Duration


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Flags):
    """Train a model on a data set."""

    recipe: str = option(
        "documented",
        "set of defaults for all flags below: the documented ones, or the most accurate ones",
        one_of(*RECIPES),
    )
    data_dir: Path | list[Path] = option(
        Path("data/processed_sh"),
        "data set: a prepared folder or a folder of .pt samples; several are joined, and objects of the same "
        "name count as one object",
        folder,
        group="data",
        several=True,
    )
    batch_size: int = option(16, "graphs per training step", whole(at_least=1))
    batch_points: int = option(
        0,
        "for graphs of very uneven sizes: batches of at most N points in place of --batch_size graphs; a "
        "larger graph is a batch of its own; 0: off",
        whole(at_least=0),
    )
    accumulate: int = option(
        1, "step after every N batches, with the mean gradient over all their graphs", whole(at_least=1)
    )
    val_split: float = option(
        0.1, "fraction of the objects held out for validation", number(above=0, below=1)
    )
    split_by: str = option(
        "object",
        "unit that is never split between training and validation: an object, or a group of objects (the "
        "folder of a mesh, the family of a built-in solid: the object's name before the last slash)",
        one_of("object", "group"),
    )
    split_file: Path | None = option(
        None,
        "JSON or YAML file with the objects of each side: {train: [name, ...], val: [...], test: [...]}; a "
        "name that ends in a slash stands for all objects whose names start with it",
        file,
    )
    num_workers: int = option(4, "reader processes for --loader workers", whole(at_least=0))
    persistent_workers: bool = option(True, "keep the reader processes from one epoch to the next", switch)
    loader: str = option(
        "auto",
        "resident: batches are built in this process, from memory; workers: in reader processes; auto: "
        "whichever fits",
        one_of("auto", "resident", "workers"),
    )
    model: str = option("gcn", "network, or path/to/file.py:ClassName for your own", network, group="model")
    hidden_dim: int = option(128, "width of the hidden layers", whole(at_least=4))
    num_layers: int = option(
        4, "number of layers: graph convolutions (first and last included) or attention", whole(at_least=1)
    )
    dropout: float = option(0.1, "fraction of hidden units dropped in training", number(at_least=0, below=1))
    features: list[str] = option(
        ["all"],
        "network inputs in addition to positions: all, none, or some of sensor, normal, curvature, spacing, "
        "depth, hull, carve, view",
        text,
        metavar="NAME",
    )
    model_args: list[str] = option(
        [],
        "the network's own flags as NAME=VALUE; --model NAME --help lists them",
        text,
        metavar="NAME=VALUE",
    )
    init_from: Path | None = option(
        None,
        "fine-tune: start a new training from the weights of this checkpoint, a file, a run folder or "
        "pretrained, whose network it keeps; of an ensemble from one network, see --member",
        file,
        metavar="CKPT",
    )
    init_from_sha256: str | None = option(
        None,
        "SHA-256 that the file of --init_from must have; config.yaml records it",
        text,
        metavar="HEX",
    )
    freeze: str = option(
        "none",
        "weights of --init_from that are not trained; trunk: all but those of the heads",
        one_of("none", "trunk"),
    )
    loss: str = option(
        "l1",
        "l1: mean absolute error; displacement: mean displacement in radii of the object; "
        "path/to/file.py:function: your own",
        loss,
        group="training",
    )
    optimizer: str = option(
        "adam",
        "optimizer; muon orthogonalises the updates of matrices and uses adamw for all other weights",
        one_of("adam", "adamw", "muon"),
    )
    schedule: str = option(
        "plateau",
        "learning rate: plateau: lowered when val_loss stops improving; cosine: half a cosine over all steps",
        one_of("plateau", "cosine"),
    )
    warmup: float = option(
        0.0, "fraction of the steps during which --schedule cosine warms up", number(at_least=0, below=1)
    )
    plateau_patience: int = option(
        10,
        "epochs without a better val_loss after which the plateau schedule acts",
        whole(at_least=0),
    )
    plateau_factor: float = option(
        0.5, "factor by which the plateau schedule lowers the learning rate", number(above=0, below=1)
    )
    min_lr: float = option(1e-6, "minimum learning rate of the plateau schedule", number(at_least=0))
    max_epochs: int = option(100, "maximum number of epochs", whole(at_least=1))
    max_steps: int = option(
        0, "stop after this many steps, if that is earlier than --max_epochs; 0: no limit", whole(at_least=0)
    )
    val_every_n_epochs: int = option(
        1, "validate, and save, after every Nth epoch, and at the end of the training", whole(at_least=1)
    )
    lr: float = option(1e-3, "learning rate", number(above=0))
    weight_decay: float = option(
        1e-5,
        "adam: L2 penalty on all weights; adamw, muon: weight decay of matrices only",
        number(at_least=0),
    )
    gradient_clip: float = option(1.0, "maximum norm of the gradient; 0: no clipping", number(at_least=0))
    early_stopping: int = option(
        0, "stop after this many epochs without a better val_loss; 0: never", whole(at_least=0)
    )
    ema: float = option(
        0.0, "decay of the averaged weights that are validated and saved; 0: off", number(at_least=0, below=1)
    )
    skip_nonfinite: bool = option(
        False, "skip and count steps whose loss is not finite instead of stopping at the first one", switch
    )
    max_time: Duration | None = option(None, "stop after DD:HH:MM:SS; the state is saved first", duration)
    seed: int = option(
        0, "random seed of weights, split, order and dropout", whole(at_least=0, at_most=2**32 - 1)
    )
    ensemble: int = option(
        1,
        "train N models in sequence and join them: ensemble.ckpt predicts their mean",
        whole(at_least=1, at_most=64),
    )
    member: int = option(
        0,
        "index of the ensemble member: different weights and order with the same --seed and split",
        whole(at_least=0, at_most=63),
    )
    precision: str = option(
        "32",
        "number format in the network: 32, true half (16, bf16), mixed (16-mixed, bf16-mixed), or 64",
        one_of("32", "16", "bf16", "16-mixed", "bf16-mixed", "64"),
        group="machine",
    )
    accelerator: str = option("auto", "device to compute on", one_of("auto", "cpu", "cuda", "mps"))
    devices: int = option(
        1,
        "GPUs, or processes without GPUs, on each host; batches of --batch_size for each",
        whole(at_least=1),
    )
    num_nodes: int = option(1, "hosts; started by torchrun or srun", whole(at_least=1))
    strategy: str = option("auto", "how several devices share the work; auto is ddp", one_of("auto", "ddp"))
    stall_timeout: float = option(
        300.0,
        "seconds without a step after which the stack of every thread is printed, and reader processes "
        "count as hung; 0: never",
        number(at_least=0),
    )
    deterministic: bool = option(False, "use only deterministic kernels, on CUDA too", switch)
    use_compile: bool = option(False, "compile the network with torch.compile", switch)
    checkpoint_dir: Path = option(
        Path("checkpoints"), "run folder: checkpoints and records of the training", folder, group="output"
    )
    resume: str | None = option(
        None,
        "resume from this checkpoint; without a path, from the last one in --checkpoint_dir",
        text,
        bare="last",
        metavar="PATH",
    )
    allow_mismatch: bool = option(
        False, "resume even if data or flags differ from those of the checkpoint", switch
    )
    checkpoint_every_n_steps: int = option(
        0, "also write last.ckpt every N steps; 0: only after validations", whole(at_least=0)
    )
    save_top_k: int = option(
        1, "number of best models to keep, by their val_loss, in addition to last.ckpt", whole(at_least=1)
    )
    log_every_n_steps: int | None = option(
        None,
        "steps between two rows of step metrics; by default 50, or fewer: an epoch has at least ten rows",
        whole(at_least=1),
    )
    logger: list[str] = option(
        ["csv"],
        "where metrics go, one or several: csv is always written; wandb is the same as --use_wandb; "
        "path/to/file.py:ClassName: your own",
        logger,
    )
    use_wandb: bool = option(
        False, "log to Weights & Biases, in a process of its own that never delays the training", switch
    )
    wandb_project: str = option("equivariant-center-of-mass", "Weights & Biases: project", text)
    wandb_entity: str | None = option(
        None, "Weights & Biases: user or team; your own by default", text, metavar="NAME"
    )
    wandb_name: str | None = option(None, "Weights & Biases: name of the run; generated by default", text)
    wandb_tags: list[str] = option([], "Weights & Biases: tags of the run", text, metavar="TAG")
    overfit_batches: int = option(
        0,
        "for debugging: train and validate on the same N batches of the training set, in the same order in "
        "every epoch; 0: off",
        whole(at_least=0),
    )
    fast_dev_run: int = option(
        0,
        "trial run: N batches of training and of validation; nothing is saved or tracked; 0: off",
        whole(at_least=0),
    )
    profile: bool = option(
        False,
        "show where the time of a step goes, and write a trace for Perfetto into the run folder: of 20 steps "
        "of one epoch, after 10 others",
        switch,
    )
    debug: bool = option(
        False, "log more: data set, architecture, loaders, first epoch, first batches, tracebacks", switch
    )

    @classmethod
    def options(cls, said: Mapping[str, str] = NOTHING) -> dict[str, Option]:
        """Every flag, with the defaults of the recipe, or of the network to start from, and its own flags."""
        found = super().options()
        for name, value in RECIPES.get(said.get("recipe", ""), {}).items():
            found[name] = replace(found[name], default=value)
        for name, value in _architecture(said).items():
            found[name] = replace(found[name], default=found[name].read(value))
        model = said.get("model", found["model"].default)
        own = own_options(found["model"].read(model))
        items = list(found.items())
        place = list(found).index("model_args")
        return dict(items[:place]) | own | found

    @classmethod
    def unknown(cls, name: str, options: Mapping[str, Option]) -> str:
        """The error sentence for an unknown flag; it names the network that has the flag, if one does."""
        owner = owners(name)
        if owner:
            return f"--{name} belongs to --model {owner}: leave it out, or choose that network"
        return super().unknown(name, options)

    def check(self) -> None:
        """Refuse flags that contradict each other. Raises InputError."""
        if self.model == "gcn" and self.num_layers < 2:
            raise InputError(f"--num_layers {self.num_layers}: must be at least 2 for --model gcn")
        read_arguments(self.model, self.model_args)
        if self.init_from is None and self.freeze != "none":
            raise InputError(
                f"--freeze {self.freeze} keeps the weights of a checkpoint: give one by --init_from, or "
                "leave --freeze out"
            )
        if self.init_from is None and self.init_from_sha256 is not None:
            raise InputError("--init_from_sha256 is about the file of --init_from: give both or neither")
        if self.ensemble > 1 and self.member > 0:
            raise InputError(f"--member {self.member} is one model: leave --ensemble out")
        if self.ensemble > 1 and self.resume not in (None, "last"):
            raise InputError(
                f"--resume {self.resume} resumes one model: give --resume alone, which resumes every member, "
                "or --ensemble 1"
            )
        if self.skip_nonfinite and self.devices * self.num_nodes > 1:
            raise InputError(
                "--skip_nonfinite: the processes of --devices take every step together; leave it out"
            )
        if self.accelerator == "mps" and self.devices * self.num_nodes > 1:
            raise InputError("--accelerator mps: a Mac has one GPU; leave --devices and --num_nodes out")


def _architecture(said: Mapping[str, str]) -> dict[str, Given]:
    """Defaults of the flags that describe the network, by the checkpoint to start from.

    None if the checkpoint cannot be read: a training that is resumed does not need it, and any other says so
    when it starts.

    Raises:
        InputError: it holds a network of the user's own, which the user does not name.
    """
    if "init_from" not in said:
        return {}
    try:
        found: dict[str, Given] = {**architecture(Path(said["init_from"]), int(said.get("member", "0")))}
    except (InputError, ValueError):
        return {}
    if names_a_file(str(found["model"])):
        # A file is never run because a checkpoint names it.
        if "model" not in said:
            raise InputError(
                f"--init_from {said['init_from']} holds a network of your own: give --model "
                f"{found['model']}, or where the file is now"
            )
        del found["model"]
    return found
