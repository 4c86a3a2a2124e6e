"""The flags of ``plumbline check``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.config.parts import own_model_option
from plumbline.kinds import file, folder, switch


@dataclass(frozen=True, kw_only=True)
class CheckConfig(Flags):
    """Validate a data set and summarise its content, or verify a checkpoint's symmetry."""

    path: Path = option(Path("data/processed_sh"), "the data set", folder, positional=True)
    equivariance: Path | None = option(
        None,
        "instead of a data set: test whether this checkpoint (or a folder's best one, or pretrained, the "
        "shipped model) keeps the symmetry that its model declares, from raw points to the prediction",
        file,
        metavar="CKPT",
    )
    model: str | None = own_model_option()
    deep: bool = option(False, "also recompute every checksum and inspect every number", switch)
    json: bool = option(False, "print JSON instead of tables", switch)
    debug: bool = debug_option()
