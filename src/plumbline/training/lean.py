"""The names of Lightning that training uses, imported without what Lightning never uses here.

Lightning imports torchmetrics, which imports plotting and signal processing for metrics that nothing here
computes: matplotlib, scipy.signal and some thousand modules more, a quarter of the time from the command to
the first step. torchmetrics leaves both out where they are not installed, so it is imported as if they were
not. The libraries themselves stay as usable as ever.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError
from typing import Any

_HIDDEN = frozenset({"matplotlib", "scipy"})


def _import_lightning() -> None:
    """Does nothing if torchmetrics is there already, or if what it relies on is not there any more."""
    from lightning_utilities.core import imports as probe

    caches: list[Any] = [getattr(probe, name, None) for name in ("package_available", "module_available")]
    known = hasattr(probe, "find_spec") and hasattr(probe, "_version")
    if "torchmetrics" in sys.modules or not known or not all(hasattr(c, "cache_clear") for c in caches):
        return
    find_spec, version = probe.find_spec, probe._version

    def find_some(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name.partition(".")[0] in _HIDDEN else find_spec(name, package)

    def version_of_some(distribution_name: str) -> str:
        if distribution_name in _HIDDEN:
            raise PackageNotFoundError(distribution_name)
        return version(distribution_name)

    probe.find_spec, probe._version = find_some, version_of_some
    try:
        for cache in caches:
            cache.cache_clear()
        import lightning.pytorch  # noqa: F401
    finally:
        probe.find_spec, probe._version = find_spec, version
        for cache in caches:
            cache.cache_clear()


_import_lightning()

from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO  # noqa: E402
from lightning.pytorch import Callback, LightningModule, Trainer  # noqa: E402
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint  # noqa: E402
from lightning.pytorch.utilities.types import OptimizerLRScheduler  # noqa: E402

__all__ = [
    "Callback",
    "CheckpointIO",
    "EarlyStopping",
    "LightningModule",
    "ModelCheckpoint",
    "OptimizerLRScheduler",
    "Trainer",
]
