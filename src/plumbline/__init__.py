"""plumbline: an object's centre of mass from a partial scan of it.

The names below are the public Python interface; each is imported when it is first used, so that
``import plumbline`` costs nothing.

>>> import plumbline
>>> plumbline.make_solid(seed=0, index=3).com.shape
(3,)
"""

from importlib import import_module as _import_module
from typing import Any as _Any

__version__ = "0.1.0"

_HOME = {
    "Solid": "records",
    "Scan": "records",
    "Sample": "records",
    "Range": "records",
    "ScanSettings": "records",
    "GraphSettings": "records",
    "InputError": "errors",
    "load_mesh": "geometry.meshes",
    "make_solid": "geometry.solids",
    "Caster": "geometry.raycast",
    "scan_solid": "geometry.scans",
    "read_cloud": "geometry.clouds",
    "load_cloud": "geometry.clouds",
    "build_sample": "geometry.graphs",
    "make_dataset": "data.prepare.dataset",
    "PackedStore": "data.store.reader",
    "open_data": "data.pt.cache",
    "make_batch": "data.batches.collate",
    "build_model": "models",
    "load_checkpoint": "predictors.checkpoint",
    "benchmark": "evaluation.benchmark",
    "Cloud": "geometry.clouds",
    "load_predictor": "predictors.predictor",
    "Predictor": "predictors.predictor",
    "Prediction": "predictors.predictor",
    "evaluate": "evaluation.evaluate",
    "train": "api",
    "train_settings": "api",
    "TrainSettings": "training.records",
    "TrainResult": "training.records",
    "Event": "reporting",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> _Any:
    if name not in _HOME:
        raise AttributeError(f"plumbline has no {name!r}; it has {', '.join(__all__)}")
    return getattr(_import_module(f"plumbline.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
