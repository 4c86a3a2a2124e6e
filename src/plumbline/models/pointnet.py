"""PointNet: one network applied to every point, pooling, and a head. The plain reference network.

Letters: N nodes, G graphs, C hidden channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch
from plumbline.models.equivariant import mean_by, mlp
from plumbline.models.feature_axes import FeatureAxes, point_network_axes
from plumbline.models.inputs import Inputs, NodeInputs


class PointNet(nn.Module):
    """PointNet on centred and scaled points with their vectors and scalars; it does not use edges.

    One network is applied to every point, and its outputs are pooled by maximum and mean. A head reads the
    pooled channels and the vectors of the whole scan. Unlike the original there are no transformation
    networks (they only help to rotate objects into a common pose) and no batch normalisation (a prediction
    must not depend on the rest of the batch). There are no random rotations in training either: every object
    in a data set of simulated scans is already rotated at random.

    Symmetry: translation, and scale: centre and size are removed from the input and put back into the output.
    A rotated object gets a different prediction.
    In: positions, vectors and scalars of nodes, vectors of the scan (all but the positions may be missing),
    stored frame. Out: ``[G, 3]`` centre of mass, stored frame; untrained, the mean of the points.
    Source: Qi et al., "PointNet: Deep Learning on Point Sets for 3D Classification and Segmentation" (2017).

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: the features to use; all by default.
        hidden_dim: C; the pooled layer is four times as wide.
        num_layers: number of layers of the per-point network.
        dropout: share of the head's hidden channels dropped in training.
    """

    symmetry = "translation"
    needs: frozenset[str] = frozenset()
    heads = ("net.head", "net.last")

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

    def feature_axes(self, columns: Sequence[str]) -> FeatureAxes:
        """Which entries of which weights read which features."""
        return point_network_axes(self.inputs, self.net.num_pooled)

    def forward(self, batch: Batch) -> Tensor:
        """Predict the centre of mass ``[G, 3]``, in the dtype of the weights."""
        dtype = self.net.last.weight.dtype
        answer = self.net(self.inputs(batch), batch.graph_idx)
        return self.inputs.place(batch, answer.to(dtype))


class PointNetwork(nn.Module):
    """Maps each of G point clouds to a position; it has no symmetry of its own."""

    def __init__(self, inputs: Inputs, hidden_dim: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        columns = 3 * (1 + inputs.num_vectors) + inputs.num_scalars
        wide = 4 * hidden_dim
        self.points = mlp(columns, *[hidden_dim] * (num_layers - 1), wide)
        self.num_pooled = 2 * wide
        self.head = mlp(
            self.num_pooled + 3 * inputs.num_graph_vectors, 2 * hidden_dim, hidden_dim, dropout=dropout
        )
        self.last = nn.Linear(hidden_dim, 3, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, given: NodeInputs, graph_idx: Tensor) -> Tensor:
        """Predict ``[G, 3]`` in the frame and unit of the inputs."""
        dtype = self.last.weight.dtype
        num = len(given.graph_vectors)
        columns = torch.cat([given.pos, given.vectors.flatten(1), given.scalars], 1)
        x = self.points(columns.to(dtype))
        lowest = x.new_full((num, x.shape[1]), -torch.inf)
        highest = lowest.scatter_reduce(0, graph_idx[:, None].expand_as(x), x, "amax")
        pooled = [highest, mean_by(x, graph_idx, num), given.graph_vectors.flatten(1).to(dtype)]
        result: Tensor = self.last(nn.functional.silu(self.head(torch.cat(pooled, 1))))
        return result
