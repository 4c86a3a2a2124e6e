"""Conversion of single scans into graphs like those that a model was trained on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plumbline.data.store.in_memory import MemoryStore
from plumbline.errors import InputError
from plumbline.geometry.graphs import LEADERS, NORMAL_NEIGHBOURS, build_sample
from plumbline.predictors.trained_on import TrainedOn
from plumbline.records import FEATURE_NAMES, USUAL_VECTORS, VECTOR_NAMES, Sample, Scan

_EDGES = frozenset({"gcn", "edge_index"})
"""Parts of a batch that require the same neighbours as in training."""


class GraphForm(NamedTuple):
    """How a scan becomes a graph.

    Attributes:
        feature_names, vector_names: which of ``FEATURE_NAMES`` and ``VECTOR_NAMES``, in this order.
        k: neighbours per node; None if the training graphs were of another kind.
        leaders: the first ``leaders`` nodes are in farthest-point order; 0 if unknown.
        normalise: stored frame, as in :func:`plumbline.geometry.graphs.build_sample`.
    """

    feature_names: tuple[str, ...] = FEATURE_NAMES
    vector_names: tuple[str, ...] = USUAL_VECTORS
    k: int | None = NORMAL_NEIGHBOURS
    leaders: int = LEADERS
    normalise: Any = "unit"

    @classmethod
    def of(cls, data: TrainedOn, *, needs: frozenset[str], path: Path) -> "GraphForm":
        """The form of the graphs that a model was trained on.

        Args:
            data: the description of the training data in its checkpoint.
            needs: parts of a batch that the model reads.
            path: the checkpoint, for error messages.

        Raises:
            InputError: the training graphs contain more than a scan provides, or how they were made is not
                recorded.
        """
        names, vectors = data.feature_names, data.vector_names
        if names[:3] != FEATURE_NAMES[:3] or not set(names) <= set(FEATURE_NAMES):
            raise InputError(
                f"{path} was trained on other features ({', '.join(names)}) than those of a scan "
                f"({', '.join(FEATURE_NAMES)}): train on a data set made by `plumbline prepare`"
            )
        lost = [name for name in vectors if name not in VECTOR_NAMES]
        unknown = [f"vectors {', '.join(lost)}"] if lost else []
        if data.k is None and needs & _EDGES:
            unknown.append("neighbours (k)")
        if data.normalise == "unknown":
            unknown.append("frame (--normalise)")
        if unknown:
            raise InputError(
                f"{path} was trained on a data set that does not record how its graphs were made "
                f"({'; '.join(unknown)}), so a scan cannot be converted: train on a data set made by "
                "`plumbline prepare`"
            )
        leaders = min(data.leaders, LEADERS)
        return cls(names, vectors, data.k, leaders, data.normalise)

    def sample(self, scan: Scan, name: str, dtype: type = np.float32) -> Sample:
        """Build the graph of a scan. Raises InputError as :func:`plumbline.geometry.graphs.build_sample`."""
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
        """Wrap graphs of this form in a store with the interface of a data set."""
        return MemoryStore(
            samples,
            feature_names=self.feature_names,
            vector_names=self.vector_names,
            leaders=self.leaders,
            k=self.k,
        )
