"""PointNet: every point by itself through one network, pooled, and a head. The plain reference.

Letters: N nodes, G graphs, C hidden channels, F columns per point, W vectors of the whole scan.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch
from plumbline.models.equivariant import mean_by, mlp
from plumbline.models.inputs import Inputs, NodeInputs


class PointNet(nn.Module):
    """PointNet on centred and scaled points with their other columns; edges are not read.

    A network shared by all points, its answers pooled by maximum and mean, a head on the pooled channels and
    the vectors of the whole scan. Without the original's transformation networks (they only help to turn
    objects into a common pose) and without batch normalisation (an answer must not hang on the batch).
    Random rotations in training are left out too: a data set of simulated scans turns every object already.

    Symmetry: translation, and scale; centre and size are removed and put back. An object that is turned gets
    another answer.
    In: positions, vectors and scalars of nodes, vectors of the scan (any of them may be missing but the
    positions), stored frame. Out: ``[G, 3]`` centre of mass, stored frame; untrained, the mean of the points.
    Source: Qi et al., "PointNet: Deep Learning on Point Sets for 3D Classification and Segmentation" (2017).

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: which of them to use; all by default.
        hidden_dim: C; the pooled layer is four times as wide.
        num_layers: layers of the network on points.
        dropout: share of hidden channels of the head dropped in training.
    """

    symmetry = "translation"
    needs: frozenset[str] = frozenset()

    def __init__(
        self,
        *,
        feature_names: Sequence[str],
        vector_names: Sequence[str] = (),
        features: Sequence[str] | None = None,
        hidden_dim: int = 64,
        num_layers: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.inputs = Inputs(feature_names, vector_names, features)
        self.net = PointNetwork(self.inputs, hidden_dim, num_layers, dropout)

    def forward(self, batch: Batch) -> Tensor:
        """``[G, 3]`` in the type of the weights."""
        dtype = self.net.last.weight.dtype
        answer = self.net(self.inputs(batch), batch.graph_idx)
        return self.inputs.place(batch, answer.to(dtype))


class PointNetwork(nn.Module):
    """Coordinates of G points out of the coordinates of clouds; no symmetry of its own."""

    def __init__(self, inputs: Inputs, hidden_dim: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        columns = 3 * (1 + inputs.num_vectors) + inputs.num_scalars
        wide = 4 * hidden_dim
        self.points = mlp(columns, *[hidden_dim] * (num_layers - 1), wide)
        self.head = mlp(2 * wide + 3 * inputs.num_graph_vectors, 2 * hidden_dim, hidden_dim, dropout=dropout)
        self.last = nn.Linear(hidden_dim, 3, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, given: NodeInputs, graph_idx: Tensor) -> Tensor:
        """``[G, 3]`` in the frame and unit of the inputs."""
        dtype = self.last.weight.dtype
        num = len(given.graph_vectors)
        columns = torch.cat([given.pos, given.vectors.flatten(1), given.scalars], 1)
        x = self.points(columns.to(dtype))
        lowest = x.new_full((num, x.shape[1]), -torch.inf)
        highest = lowest.scatter_reduce(0, graph_idx[:, None].expand_as(x), x, "amax")
        pooled = [highest, mean_by(x, graph_idx, num), given.graph_vectors.flatten(1).to(dtype)]
        result: Tensor = self.last(nn.functional.silu(self.head(torch.cat(pooled, 1))))
        return result
