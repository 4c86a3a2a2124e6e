"""A store of samples in memory with the interface of a packed store, for predictions on single scans."""

from collections.abc import Sequence

import numpy as np

from plumbline.data.store.reader import Gathered
from plumbline.data.store.tensors import offsets
from plumbline.records import Int, Sample, known_radius


class MemoryStore:
    """Samples from which batches are made without a data set on disk; see :class:`PackedStore`.

    Args:
        samples: made by :func:`plumbline.geometry.graphs.build_sample`, all with the same features and
            vectors. Their precision becomes that of the batch.
        feature_names, vector_names: names of the features and vectors.
        leaders: the first ``leaders`` nodes of every graph are in farthest-point order; 0 if unknown.
        k: every node is joined to its k nearest nodes, nearest first; None for any other kind of graph.
    """

    has_point_cloud = False

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        feature_names: Sequence[str],
        vector_names: Sequence[str] = (),
        leaders: int = 0,
        k: int | None = None,
    ) -> None:
        self.samples = list(samples)
        self.feature_names, self.vector_names = tuple(feature_names), tuple(vector_names)
        self.leaders, self.k = leaders, k
        self.node_ptr = offsets([len(sample.in_degree) for sample in samples])
        self.edge_ptr = offsets([len(sample.edge_source) for sample in samples])

    def __len__(self) -> int:
        return len(self.samples)

    def gather(self, indices: Int) -> Gathered:
        """Join graphs into one batch, in the order of ``indices`` and the precision of the samples."""
        chosen = [self.samples[int(i)] for i in indices]
        node_ptr = offsets([len(sample.in_degree) for sample in chosen])
        dtype = chosen[0].node_features.dtype
        none, unknown = np.zeros((0, 3), dtype), np.full((3, 3), np.nan)
        return Gathered(
            node_features=np.concatenate([sample.node_features for sample in chosen]),
            pos=np.concatenate([sample.pos for sample in chosen]),
            in_degree=np.concatenate([sample.in_degree for sample in chosen]),
            edge_source=np.concatenate(
                [sample.edge_source + first for sample, first in zip(chosen, node_ptr, strict=False)]
            ),
            node_ptr=node_ptr,
            edge_ptr=offsets([len(sample.edge_source) for sample in chosen]),
            target=np.stack([sample.target for sample in chosen]).astype(dtype),
            bounding_radius=np.array([known_radius(sample) for sample in chosen], dtype),
            num_views=np.array([sample.num_views for sample in chosen], np.int32),
            vectors=np.stack([none if sample.vectors is None else sample.vectors for sample in chosen]),
            volume=np.array([sample.volume for sample in chosen], dtype),
            inertia=np.stack([unknown if s.inertia is None else s.inertia for s in chosen]).astype(dtype),
        )
