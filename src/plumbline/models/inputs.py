"""Inputs of all models but the GCN: centred and scaled positions, and vectors and scalars by name.

Only this file centres and scales, and transforms predictions back. Letters: N nodes, G graphs, S scalars per
node, V vectors per node in addition to its position, W vectors of the whole scan.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from plumbline.data.batches.batch import Batch
from plumbline.errors import InputError

NODE_VECTORS = {"sensor": "sensor_x", "normal": "normal_x"}
"""Vector features of a node, and the first of the three columns that contain each."""
NODE_SCALARS = {"curvature": 10.0, "spacing": 5.0, "depth": 1.0}
"""Invariant features of a node, and the factor that brings each to order one."""
LENGTHS = {"spacing", "depth"}
"""Scalars that are lengths: they are proportional to the size of the object."""
GRAPH_VECTORS = {"hull": True, "carve": True, "view": False, "table": True}
"""Vectors of a whole scan; True for those proportional to the size of the object, False for directions."""
FEATURES = (*NODE_VECTORS, *NODE_SCALARS, *GRAPH_VECTORS)
"""Everything in addition to positions that ``--features`` can name."""


class NodeInputs(NamedTuple):
    """Inputs of a batch, independent of the object's position and size.

    Attributes:
        pos: ``[N, 3]`` positions relative to their mean, in units of their root mean square distance from it.
        vectors: ``[N, V, 3]``; they rotate with the object.
        scalars: ``[N, S]``; they are invariant.
        graph_vectors: ``[G, W, 3]``; they rotate with the object.
    """

    pos: Tensor
    vectors: Tensor
    scalars: Tensor
    graph_vectors: Tensor


class Inputs:
    """Selects features by name from batches of one data set.

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: the ``FEATURES`` to use; by default all that the data set has.

    Attributes:
        names: names of the features used.
        columns: columns of the node features that contain them, the position first.

    Raises:
        InputError: ``features`` names a feature that the data set does not have.
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
                f"--features {' '.join(missing)}: not in the data set; it has "
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
    def vector_names(self) -> list[str]:
        """Names of the vectors of a node, ``pos`` first: 1 + V."""
        return ["pos", *(name for name in self.names if name in NODE_VECTORS)]

    @property
    def scalar_names(self) -> list[str]:
        """Names of the scalars of a node: S."""
        return [name for name in self.names if name in NODE_SCALARS]

    @property
    def graph_names(self) -> list[str]:
        """Names of the vectors of the whole scan: W."""
        return [name for name in self.names if name in GRAPH_VECTORS]

    @property
    def num_vectors(self) -> int:
        """V, the number of vectors per node in addition to its position."""
        return len(self._vector)

    @property
    def num_scalars(self) -> int:
        """S, the number of scalars per node."""
        return len(self._scalar)

    @property
    def num_graph_vectors(self) -> int:
        """W, the number of vectors of the whole scan."""
        return len(self._graph)

    def __call__(self, batch: Batch) -> NodeInputs:
        """Compute the inputs of a batch, in the precision of its positions."""
        graph_idx, pos, features = batch.graph_idx, batch.pos, batch.node_features
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
        """Transform predictions ``[G, 3]`` to the stored frame.

        Args:
            batch: G graphs.
            answer: ``[G, 3]`` relative to the mean of each graph's points, in units of its size.
        """
        return batch.centre.to(answer.dtype) + batch.size.to(answer.dtype)[:, None] * answer
