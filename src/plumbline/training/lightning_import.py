"""Lightning's names that training uses, imported without the parts of Lightning that it does not need.

Lightning imports torchmetrics, which imports matplotlib, scipy.signal and a thousand other modules for
metrics that are not used here: a quarter of the time from the command to the first step. torchmetrics skips
both libraries if they are not installed, so they are hidden during its import. They remain importable as
usual.

Lightning and torch's optimizers also import ``torch._dynamo``, the front end of torch's compiler, which is as
large as the rest of torch, only to find that nothing is compiled. A stand-in answers that instead. Code that
does compile, before or afterwards, imports the real module as usual.
"""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError
from types import ModuleType
from typing import Any

import torch

_HIDDEN = frozenset({"matplotlib", "scipy"})
_DYNAMO = "torch._dynamo"


class Uncompiled:
    """Base class to list before one of torch's optimizers: their methods without the decorators that exclude
    them from compilation, because these decorators import the compiler."""

    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class _IsCompiled(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        real = sys.modules.get(_DYNAMO)
        return real is not None and isinstance(instance, real.OptimizedModule)


class _OptimizedModule(metaclass=_IsCompiled):
    """Stand-in for the class of compiled models: no model is one before the compiler is imported."""


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Replace ``torch._dynamo`` in the block by a stand-in with the two names that Lightning uses: the class
    of compiled models, and the decorator that excludes a function from compilation."""
    if _DYNAMO in sys.modules:
        yield
        return
    stand_in: Any = ModuleType(_DYNAMO)
    stand_in.OptimizedModule = _OptimizedModule
    stand_in.disable = lambda fn, recursive=True, **_: fn
    sys.modules[_DYNAMO] = stand_in
    try:
        yield
    finally:
        del sys.modules[_DYNAMO]
        vars(torch).pop("_dynamo", None)


def _import_lightning() -> None:
    """Import Lightning as described above; do nothing if torchmetrics is already imported, or if
    ``lightning_utilities`` no longer has the names that are replaced here."""
    from lightning_utilities.core import imports as probe

    caches: list[Any] = [getattr(probe, name, None) for name in ("package_available", "module_available")]
    known = hasattr(probe, "find_spec") and hasattr(probe, "_version")
    if "torchmetrics" in sys.modules or not known or not all(hasattr(c, "cache_clear") for c in caches):
        return
    find, version = probe.find_spec, probe._version

    def find_some(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name.partition(".")[0] in _HIDDEN else find(name, package)

    def version_of_some(distribution_name: str) -> str:
        if distribution_name in _HIDDEN:
            raise PackageNotFoundError(distribution_name)
        return version(distribution_name)

    probe.find_spec, probe._version = find_some, version_of_some
    try:
        for cache in caches:
            cache.cache_clear()
        with suppress(AttributeError, ImportError), _without_compiler():  # names that the stand-in lacks
            import lightning.pytorch  # noqa: F401

            return
        for name in [name for name in sys.modules if name.partition(".")[0] in ("lightning", "torchmetrics")]:
            del sys.modules[name]
    finally:
        probe.find_spec, probe._version = find, version
        for cache in caches:
            cache.cache_clear()


_import_lightning()

from lightning.fabric.plugins.environments import ClusterEnvironment, LightningEnvironment  # noqa: E402
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO  # noqa: E402
from lightning.pytorch import Callback, LightningModule, Trainer  # noqa: E402
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint  # noqa: E402
from lightning.pytorch.profilers import Profiler  # noqa: E402
from lightning.pytorch.strategies import DDPStrategy  # noqa: E402
from lightning.pytorch.utilities.types import OptimizerLRScheduler  # noqa: E402

__all__ = [
    "Callback",
    "CheckpointIO",
    "ClusterEnvironment",
    "DDPStrategy",
    "EarlyStopping",
    "LightningEnvironment",
    "LightningModule",
    "ModelCheckpoint",
    "OptimizerLRScheduler",
    "Profiler",
    "Trainer",
]
