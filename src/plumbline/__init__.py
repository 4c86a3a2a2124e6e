"""plumbline: an object's centre of mass from a partial scan of it.

The names below are the public Python interface; each is imported when it is first used, so that
``import plumbline`` costs nothing.

>>> import plumbline
>>> plumbline.make_solid(seed=0, index=3).com.shape
(3,)
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:  # the names of _HOME as a type checker sees them
    from plumbline.api import lightning_parts as lightning_parts
    from plumbline.api import sweep as sweep
    from plumbline.api import train as train
    from plumbline.api import train_settings as train_settings
    from plumbline.data.batches.collate import make_batch as make_batch
    from plumbline.data.prepare.dataset import make_dataset as make_dataset
    from plumbline.data.pt.cache import open_data as open_data
    from plumbline.data.store.reader import PackedStore as PackedStore
    from plumbline.errors import InputError as InputError
    from plumbline.evaluation.benchmark import benchmark as benchmark
    from plumbline.evaluation.evaluate import evaluate as evaluate
    from plumbline.evaluation.real_benchmark import benchmark_real as benchmark_real
    from plumbline.geometry.camera_poses import merge_views as merge_views
    from plumbline.geometry.clouds import Cloud as Cloud
    from plumbline.geometry.clouds import load_cloud as load_cloud
    from plumbline.geometry.clouds import read_cloud as read_cloud
    from plumbline.geometry.depth_images import depth_to_cloud as depth_to_cloud
    from plumbline.geometry.depth_images import depth_to_clouds as depth_to_clouds
    from plumbline.geometry.graphs import build_sample as build_sample
    from plumbline.geometry.meshes import load_mesh as load_mesh
    from plumbline.geometry.raycast import Caster as Caster
    from plumbline.geometry.registration import Registration as Registration
    from plumbline.geometry.registration import register as register
    from plumbline.geometry.scans import scan_solid as scan_solid
    from plumbline.geometry.scenes import find_objects as find_objects
    from plumbline.geometry.solids import make_solid as make_solid
    from plumbline.models import build_model as build_model
    from plumbline.payload.frames import make_frame as make_frame
    from plumbline.payload.record import Payload as Payload
    from plumbline.predictors.checkpoint import load_checkpoint as load_checkpoint
    from plumbline.predictors.prediction import Prediction as Prediction
    from plumbline.predictors.predictor import Predictor as Predictor
    from plumbline.predictors.predictor import load_predictor as load_predictor
    from plumbline.predictors.untrained import Baseline as Baseline
    from plumbline.predictors.untrained import Scans as Scans
    from plumbline.records import GraphSettings as GraphSettings
    from plumbline.records import Range as Range
    from plumbline.records import Sample as Sample
    from plumbline.records import Scan as Scan
    from plumbline.records import ScanSettings as ScanSettings
    from plumbline.records import Solid as Solid
    from plumbline.reporting import Event as Event
    from plumbline.sweeping.records import SweepResult as SweepResult
    from plumbline.training.records import TrainResult as TrainResult
    from plumbline.training.records import TrainSettings as TrainSettings

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
    "register": "geometry.registration",
    "Registration": "geometry.registration",
    "read_cloud": "geometry.clouds",
    "load_cloud": "geometry.clouds",
    "merge_views": "geometry.camera_poses",
    "depth_to_cloud": "geometry.depth_images",
    "depth_to_clouds": "geometry.depth_images",
    "find_objects": "geometry.scenes",
    "build_sample": "geometry.graphs",
    "make_dataset": "data.prepare.dataset",
    "PackedStore": "data.store.reader",
    "open_data": "data.pt.cache",
    "make_batch": "data.batches.collate",
    "build_model": "models",
    "load_checkpoint": "predictors.checkpoint",
    "benchmark": "evaluation.benchmark",
    "benchmark_real": "evaluation.real_benchmark",
    "Cloud": "geometry.clouds",
    "load_predictor": "predictors.predictor",
    "Predictor": "predictors.predictor",
    "Prediction": "predictors.prediction",
    "Payload": "payload.record",
    "make_frame": "payload.frames",
    "Baseline": "predictors.untrained",
    "Scans": "predictors.untrained",
    "evaluate": "evaluation.evaluate",
    "train": "api",
    "lightning_parts": "api",
    "sweep": "api",
    "train_settings": "api",
    "SweepResult": "sweeping.records",
    "TrainSettings": "training.records",
    "TrainResult": "training.records",
    "Event": "reporting",
}
__all__ = sorted(_HOME)


if not TYPE_CHECKING:  # a type checker that sees it takes every misspelt name for one of ours

    def __getattr__(name: str) -> _Any:
        if name not in _HOME:
            raise AttributeError(f"plumbline has no {name!r}; it has {', '.join(__all__)}")
        return getattr(_import_module(f"plumbline.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
