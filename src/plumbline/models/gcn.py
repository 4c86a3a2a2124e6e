"""Graph convolutional network (GCN) on raw node features, with mean pooling and a small regression head.

Letters: N nodes, F node features, G graphs, C hidden channels.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch
from plumbline.models.blocks import relu_dropout, sparse_product
from plumbline.models.feature_axes import FeatureAxes


class GCNConv(nn.Module):
    """Weights of one graph convolution ``A X W^T + b``, named as in PyTorch Geometric."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.xavier_uniform_(self.lin.weight)


class GCN(nn.Module):
    """Graph convolutional network of Kipf & Welling with a regression head.

    One layer is ``X <- dropout(relu(A X W^T + b))`` with the normalised adjacency ``A`` of
    ``data.batches.gcn_constants.GCNTables``. The last layer has neither ReLU nor dropout and is followed
    by the mean over each graph's nodes.

    The network is the same function as ``torch_geometric.nn.GCNConv`` layers with ``global_mean_pool``,
    summed in a different order: the first layer's ``A X`` does not depend on the weights and comes with the
    batch, and the last propagation is merged with the pooling into one product with a ``[G, N]`` matrix,
    before the last weights instead of after them. A state dict of the plain network loads unchanged.

    Symmetry: none. Node features contain raw coordinates, so the prediction changes when the object is
    rotated.
    In: ``[N, F]`` node features and edges, stored frame. Out: ``[G, 3]`` centre of mass, stored frame.
    Source: Kipf & Welling, "Semi-Supervised Classification with Graph Convolutional Networks" (2017).

    Args:
        input_dim: number of node features.
        columns: the columns of the node features to use; all by default.
        hidden_dim: C.
        num_layers: number of graph convolutions, at least 2.
        dropout: share of hidden units dropped in training.
    """

    symmetry = "none"
    needs = frozenset({"gcn"})
    heads = ("head",)

    def __init__(
        self,
        *,
        input_dim: int,
        columns: Sequence[int] | None = None,
        hidden_dim: int = 128,
        num_layers: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.columns = columns
        widths = [input_dim] + [hidden_dim] * num_layers
        self.convs = nn.ModuleList(GCNConv(*pair) for pair in pairwise(widths))
        self.head = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim // 2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim // 2, hidden_dim // 4),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim // 4, 3),
        )
        self.dropout = dropout

    def feature_axes(self, columns: Sequence[str]) -> FeatureAxes:
        """Which entries of which weights read which features."""
        used = columns if self.columns is None else [columns[place] for place in self.columns]
        return {"convs.0.lin.weight": (1, list(used))}

    def forward(self, batch: Batch) -> Tensor:
        """Predict the centre of mass ``[G, 3]``, in the dtype of the weights."""
        tables = batch.gcn
        if tables is None:
            raise ValueError("the batch was built without the constants of a graph convolution (needs 'gcn')")
        x = tables.aggregated.to(next(self.parameters()).dtype)
        if self.columns is not None:
            x = x[:, self.columns]
        factor = 1.0
        last = len(self.convs) - 1
        for depth, conv in enumerate(self.convs):
            assert isinstance(conv, GCNConv)
            if depth == last:
                x = sparse_product(tables.pool, x)
            elif depth > 0:
                x = sparse_product(tables.propagate, x)
            x = nn.functional.linear(x, factor * conv.lin.weight, conv.bias)
            if depth < last:
                x, factor = relu_dropout(x, self.dropout, self.training)
        result: Tensor = self.head(x)
        return result
