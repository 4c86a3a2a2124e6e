"""Graphs of scans that are in no data set, made as those that a model was trained on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plumbline.data.store.in_memory import MemoryStore
from plumbline.errors import InputError
from plumbline.geometry.graphs import LEADERS, NORMAL_NEIGHBOURS, build_sample
from plumbline.predictors.trained_on import TrainedOn
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Sample, Scan

_EDGES = frozenset({"gcn", "edge_index"})
"""Parts of a batch for which the graph must be joined as in training."""


class GraphForm(NamedTuple):
    """How a scan becomes a graph.

    Attributes:
        feature_names, vector_names: which of ``FEATURE_NAMES`` and ``VECTOR_NAMES``, in this order.
        k: neighbours per node; None if the graphs of the training were of another kind.
        leaders: so many first nodes are known to be in farthest-point order.
        normalise: stored frame, as in :func:`plumbline.geometry.graphs.build_sample`.
    """

    feature_names: tuple[str, ...] = FEATURE_NAMES
    vector_names: tuple[str, ...] = VECTOR_NAMES
    k: int | None = NORMAL_NEIGHBOURS
    leaders: int = LEADERS
    normalise: Any = "unit"

    @classmethod
    def of(cls, data: TrainedOn, *, needs: frozenset[str], path: Path) -> "GraphForm":
        """The form of the graphs that a model was trained on.

        Args:
            data: what its checkpoint says about them.
            needs: what the model reads of a batch.
            path: of the checkpoint, for the message.

        Raises:
            InputError: they were made of more than a scan, or nobody knows how.
        """
        names, vectors = data.feature_names, data.vector_names
        if names[:3] != FEATURE_NAMES[:3] or not set(names) <= set(FEATURE_NAMES):
            raise InputError(
                f"{path} was trained on other features ({', '.join(names)}) than those of a scan "
                f"({', '.join(FEATURE_NAMES)}): train on a data set of `plumbline prepare`"
            )
        lost = [name for name in vectors if name not in VECTOR_NAMES]
        unknown = [f"vectors {', '.join(lost)}"] if lost else []
        if data.k is None and needs & _EDGES:
            unknown.append("neighbours (k)")
        if data.normalise == "unknown":
            unknown.append("frame (--normalise)")
        if unknown:
            raise InputError(
                f"{path} was trained on graphs that do not say how they were made ({'; '.join(unknown)}), so "
                "none can be made of a scan: train on a data set of `plumbline prepare`"
            )
        leaders = min(data.leaders, LEADERS)
        return cls(names, vectors, data.k, leaders, data.normalise)

    def sample(self, scan: Scan, name: str, dtype: type = np.float32) -> Sample:
        """The graph of a scan; raises InputError as :func:`plumbline.geometry.graphs.build_sample` does."""
        sample = build_sample(
            scan,
            k=NORMAL_NEIGHBOURS if self.k is None else self.k,
            edge_attr="none",
            sh_degree=0,
            normalise=self.normalise,
            object_name=name,
            dtype=dtype,
        )
        columns = [FEATURE_NAMES.index(name) for name in self.feature_names]
        rows = [VECTOR_NAMES.index(name) for name in self.vector_names]
        assert sample.vectors is not None
        return replace(sample, node_features=sample.node_features[:, columns], vectors=sample.vectors[rows])

    def store(self, samples: Sequence[Sample]) -> MemoryStore:
        """Such graphs with the interface of a data set."""
        return MemoryStore(
            samples,
            feature_names=self.feature_names,
            vector_names=self.vector_names,
            leaders=self.leaders,
            k=self.k,
        )
