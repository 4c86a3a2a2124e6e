"""What every equivariant model starts from: centred and scaled positions, vectors and scalars by name.

Centring, scaling and the way back are here and nowhere else. Letters: N nodes, G graphs, C scalars per node,
D vectors per node beside its position, W vectors per graph.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plumbline.data.batches.batch import Batch
from plumbline.errors import InputError

NODE_VECTORS = {"sensor": "sensor_x", "normal": "normal_x"}
"""Vector features of a node, and the first of the three columns that hold them."""
NODE_SCALARS = {"curvature": 10.0, "spacing": 5.0, "depth": 1.0}
"""Invariant features of a node, and the factor that brings them to order one."""
LENGTHS = {"spacing", "depth"}
"""Scalars that grow with the object."""
GRAPH_VECTORS = {"hull": True, "carve": True, "view": False}
"""Vectors of a whole scan; True for those that are lengths."""
FEATURES = (*NODE_VECTORS, *NODE_SCALARS, *GRAPH_VECTORS)
"""Everything beyond positions that ``--features`` can name."""


class NodeInputs(NamedTuple):
    """Inputs of a batch, independent of where the object lies and of its size.

    Attributes:
        pos: ``[N, 3]`` positions about their mean, in units of their root mean square distance from it.
        vectors: ``[N, D, 3]``; they turn with the object.
        scalars: ``[N, C]``; they do not.
        graph_vectors: ``[G, W, 3]``; they turn with the object.
    """

    pos: Tensor
    vectors: Tensor
    scalars: Tensor
    graph_vectors: Tensor


class Inputs:
    """Takes the named features out of batches of one data set.

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: which of ``FEATURES`` to use; all that the data set has by default.

    Attributes:
        names: of the features used.
        columns: of the node features that hold them, the position first.

    Raises:
        InputError: a feature is asked for that the data set lacks.
    """

    def __init__(
        self, feature_names: Sequence[str], vector_names: Sequence[str], features: Sequence[str] | None = None
    ) -> None:
        columns = {name: column for column, name in enumerate(feature_names)}
        places = {name: columns[first] for name, first in NODE_VECTORS.items() if first in columns}
        places |= {name: columns[name] for name in NODE_SCALARS if name in columns}
        places |= {name: place for place, name in enumerate(vector_names) if name in GRAPH_VECTORS}
        missing = sorted(set(features or ()) - set(places))
        if missing:
            raise InputError(
                f"--features {' '.join(missing)}: the data set does not have this; it has "
                f"{', '.join(name for name in FEATURES if name in places) or 'positions only'}"
            )
        self.names = tuple(n for n in FEATURES if n in places and (features is None or n in features))
        self.columns = [0, 1, 2]
        for name in self.names:
            if name in NODE_VECTORS:
                self.columns += range(places[name], places[name] + 3)
            elif name in NODE_SCALARS:
                self.columns.append(places[name])
        self._vector = [places[name] for name in self.names if name in NODE_VECTORS]
        self._scalar = [(places[name], name) for name in self.names if name in NODE_SCALARS]
        self._graph = [(places[name], GRAPH_VECTORS[name]) for name in self.names if name in GRAPH_VECTORS]

    @property
    def num_vectors(self) -> int:
        """D."""
        return len(self._vector)

    @property
    def num_scalars(self) -> int:
        """C."""
        return len(self._scalar)

    @property
    def num_graph_vectors(self) -> int:
        """W."""
        return len(self._graph)

    def __call__(self, batch: Batch, nodes: Tensor | None = None) -> NodeInputs:
        """Inputs of a batch in the precision of its positions.

        Args:
            batch: G graphs.
            nodes: ``[n]`` int64 the nodes wanted; all by default.
        """
        graph_idx, pos, features = batch.graph_idx, batch.pos, batch.node_features
        if nodes is not None:
            graph_idx, pos, features = graph_idx[nodes], pos[nodes], features[nodes]
        size = batch.size[graph_idx]
        vectors = [features[:, first : first + 3] for first in self._vector]
        scalars = [
            features[:, column] * NODE_SCALARS[name] / (size if name in LENGTHS else 1.0)
            for column, name in self._scalar
        ]
        graph = [
            batch.vectors[:, place] / (batch.size[:, None] if length else 1.0)
            for place, length in self._graph
        ]
        return NodeInputs(
            pos=(pos - batch.centre[graph_idx]) / size[:, None],
            vectors=torch.stack(vectors, 1) if vectors else pos.new_zeros(len(pos), 0, 3),
            scalars=torch.stack(scalars, 1) if scalars else pos.new_zeros(len(pos), 0),
            graph_vectors=torch.stack(graph, 1) if graph else batch.vectors[:, :0],
        )

    @staticmethod
    def place(batch: Batch, answer: Tensor) -> Tensor:
        """``[G, 3]`` answers about the mean of the points, in units of their size, to the stored frame."""
        return batch.centre.to(answer.dtype) + batch.size.to(answer.dtype)[:, None] * answer


def input_arguments(
    feature_names: Sequence[str], vector_names: Sequence[str], features: Sequence[str]
) -> dict[str, Any]:
    """The arguments by which a model's constructor may learn about its inputs.

    Args:
        feature_names, vector_names: of the data set.
        features: ``["all"]``, ``["none"]`` or names of ``FEATURES``, as ``--features``.

    Returns:
        ``feature_names``, ``vector_names``, ``features`` and, for models that see bare columns, ``columns``
        and their number ``input_dim``; what is None leaves the choice at everything.

    Raises:
        InputError: the data set lacks a feature that is named.
    """
    known: dict[str, Any] = {"feature_names": list(feature_names), "vector_names": list(vector_names)}
    if list(features) == ["all"]:
        return known | {"features": None, "columns": None, "input_dim": len(feature_names)}
    inputs = Inputs(feature_names, vector_names, [name for name in features if name != "none"])
    return known | {
        "features": list(inputs.names),
        "columns": inputs.columns,
        "input_dim": len(inputs.columns),
    }
