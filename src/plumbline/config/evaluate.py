"""The flags of ``plumbline evaluate``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.kinds import file, folder, one_of, switch, whole


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Flags):
    """Measure a trained model beside the untrained baselines and write a report."""

    checkpoint: Path = option(
        Path("checkpoints"),
        "a checkpoint, or a folder whose best one is taken",
        file,
        positional=True,
        metavar="CKPT",
    )
    data_dir: Path | None = option(
        None, "data set; by default the one it was trained on", folder, group="data"
    )
    split: str = option(
        "auto",
        "which graphs: val (kept back in training), train, all; auto is val on the training data set, "
        "else all",
        one_of("auto", "val", "train", "all"),
    )
    batch_size: int = option(64, "graphs per step", whole(at_least=1))
    out: Path | None = option(
        None,
        "folder of report.html and evaluation.json; by default the checkpoint's, and for another data set "
        "than the training's a folder of its name in there",
        folder,
        group="output",
    )
    json: bool = option(False, "print JSON instead of tables", switch)
    debug: bool = debug_option()
