"""The flags of ``plumbline evaluate``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.config.parts import own_baselines_option, own_model_option
from plumbline.kinds import file, folder, one_of, switch, whole


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Flags):
    """Compare a trained model with the untrained baselines and write a report."""

    checkpoint: Path = option(
        Path("checkpoints"),
        "a checkpoint; a folder, whose best checkpoint is used; or pretrained, the shipped model",
        file,
        positional=True,
        metavar="CKPT",
    )
    model: str | None = own_model_option("model")
    baselines: list[str] = own_baselines_option()
    data_dir: Path | None = option(
        None, "data set; by default the one that the model was trained on", folder, group="data"
    )
    split: str = option(
        "auto",
        "graphs to use: val (held out in training), train, test (of a training with --split_file), all; "
        "auto: val on the training data set, otherwise all",
        one_of("auto", "val", "train", "test", "all"),
    )
    batch_size: int = option(64, "graphs per batch", whole(at_least=1))
    out: Path | None = option(
        None,
        "output folder for report.html and evaluation.json; by default the checkpoint's folder, or, if the "
        "data set is not the training data set, a subfolder with the data set's name",
        folder,
        group="output",
    )
    per_scan: Path | None = option(
        None,
        "a .csv or .jsonl file for each scan's prediction, truth and error, in frame and unit of the "
        "data set, and in metres where the scale is known",
        file,
    )
    json: bool = option(False, "print JSON instead of tables", switch)
    debug: bool = debug_option()
