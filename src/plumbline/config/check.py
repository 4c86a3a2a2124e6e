"""The flags of ``plumbline check``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import debug_option, option


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Validate a data set and print what is in it."""

    path: Path = option(Path("data/processed_sh"), "the data set", positional=True, metavar="DIR")
    deep: bool = option(False, "also recompute every checksum and look at every number")
    json: bool = option(False, "print JSON instead of tables")
    debug: bool = debug_option()
