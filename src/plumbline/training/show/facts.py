"""Descriptions of a run, as text and plain values: for ``--debug``, for W&B, for the checkpoint."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import nn

import plumbline
from plumbline.console.text import counted, percent
from plumbline.data.batches.batch import Batch
from plumbline.data.batches.by_points import PointOrder
from plumbline.data.batches.collate import largest_batch
from plumbline.data.batches.loader import Loader
from plumbline.data.split import mark_objects, object_sizes
from plumbline.data.split_file import GivenSplit
from plumbline.data.store.reader import PackedStore
from plumbline.predictors.trained_on import TrainedOn
from plumbline.records import Int
from plumbline.training.records import TrainSettings

_CROWDED = 0.75  # load per core from which threads get into each other's way
_MOST_REJECTED = 100  # files that are listed one by one in W&B
_RARE = 0.01  # share of the graphs at either end that do not count as what a model was trained on


@dataclass(frozen=True)
class Data:
    """The data set and its split."""

    store: PackedStore
    train_idx: Int
    val_idx: Int
    identity: dict[str, Any]

    def largest_batch(self, settings: TrainSettings, needs: frozenset[str]) -> Batch:
        """The largest batch that training can contain."""
        size, points = settings.batch_size, settings.batch_points
        return largest_batch(self.store, self.train_idx, size, needs, points)


def batches(loader: Loader, settings: TrainSettings, size: int) -> str:
    """How large the batches of ``size`` processes are, and how many an epoch has."""
    each = f"{size} x " if size > 1 else ""
    text = f"batches of {each}{settings.batch_size}, {len(loader):,} per epoch"
    if isinstance(loader.order, PointOrder):
        text = (
            f"batches of at most {each}{settings.batch_points:,} points, {len(loader):,} per epoch, on "
            f"average of {loader.order.graphs_per_batch:.1f} graphs and {percent(loader.order.filled)} full"
        )
    if settings.accumulate > 1:
        steps = counted(ceil(len(loader) / settings.accumulate), "step")
        text += f"; {steps} per epoch, of {settings.accumulate} batches each (--accumulate)"
    return text


def versions() -> dict[str, str]:
    """Versions of everything that results may depend on."""
    return {
        "plumbline": plumbline.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lightning": version("lightning"),
        "numpy": np.__version__,
    }


def data_identity(
    store: PackedStore,
    config: dict[str, Any],
    train_idx: Int,
    val_idx: Int,
    split: GivenSplit | None = None,
) -> dict[str, Any]:
    """A checkpoint's description of its training data: a :class:`TrainedOn` as plain values."""
    return TrainedOn(
        data_dir=config["data_dir"],
        fingerprint=store.fingerprint,
        feature_names=store.feature_names,
        vector_names=store.vector_names,
        leaders=store.leaders,
        k=store.k,
        edge_attr=store.edge_attr_kind,
        sh_degree=store.sh_degree,
        normalise=store.normalise,
        num_train=len(train_idx),
        num_val=len(val_idx),
        objects=mark_objects(object_sizes(store, train_idx)),
        val_split=config["val_split"],
        split_by=config["split_by"],
        seed=config["seed"],
        num_points=_usual_range(np.diff(store.node_ptr)[train_idx]),
        split=split,
    ).to_dict()


def _usual_range(counts: Int) -> tuple[int, int]:
    """The range of the counts without the rarest: a few objects are too thin for the points asked for."""
    fewest, most = np.quantile(counts, [_RARE, 1 - _RARE], method="nearest").tolist()
    return fewest, most


def data_statistics(store: PackedStore, identity: dict[str, Any]) -> dict[str, Any]:
    """Statistics of the data set, for W&B."""
    nodes, edges = np.diff(store.node_ptr), np.diff(store.edge_ptr)
    return {
        **{name: value for name, value in identity.items() if name not in ("objects", "split")},
        "num_graphs": len(store),
        "num_objects": store.num_objects,
        "num_nodes": store.num_nodes,
        "num_edges": store.num_edges,
        "nodes_per_graph": _spread(nodes),
        "edges_per_graph": _spread(edges),
        "num_node_features": len(store.feature_names),
        "edge_attr": store.edge_attr_kind,
        "edge_attr_dim": store.edge_attr_dim,
        "num_rejected": len(store.rejected),
        "rejected": [f"{item.source}: {item.reason}" for item in store.rejected[:_MOST_REJECTED]],
        "used_share": len(store) / (len(store) + len(store.rejected)),
    }


def crowded() -> str | None:
    """A message if other programs keep the cores busy, which slows down threads that wait for each other."""
    if torch.get_num_threads() < 2 or not hasattr(os, "getloadavg"):
        return None
    load, cores = os.getloadavg()[0], os.cpu_count() or 1  # all cores: the load is that of the machine
    if load < _CROWDED * cores:
        return None
    return (
        f"other programs keep the {cores} cores busy (load {load:.1f}): OMP_NUM_THREADS=1 before the command "
        "may make it several times faster"
    )


def _spread(counts: Int) -> dict[str, float]:
    return {"min": int(counts.min()), "mean": float(counts.mean()), "max": int(counts.max())}


def model_lines(model: nn.Module) -> Iterator[str]:
    """Parameter count and layer structure, one line per layer that has weights or shapes the data."""
    total = sum(weight.numel() for weight in model.parameters())
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    yield f"model: {type(model).__name__}, {total:,} parameters ({trained:,} trained)"
    for name, module in model.named_modules():
        weights = dict(module.named_parameters(recurse=False))
        if weights:
            shapes = ", ".join(f"{key} {list(weight.shape)}" for key, weight in weights.items())
            yield f"  {name:<16} {type(module).__name__:<10} {shapes}"
        elif name and not any(module.children()):
            yield f"  {name:<16} {module}"
