"""E(n)-equivariant graph network (EGNN): messages built from invariants move the points, in bounded steps.

Letters: N nodes, E edges, G graphs, C hidden channels.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from plumbline.data.batches.batch import Batch
from plumbline.models.equivariant import Geometry, Readout, edges_of, length, mean_by, mlp
from plumbline.models.feature_axes import FeatureAxes, invariants_axis, rows
from plumbline.models.inputs import Inputs


class EGNN(nn.Module):
    """E(n)-equivariant graph network on the edges of the data set.

    The input of a message is the length of its edge, the dot products of the edge's direction with the
    vectors of both end nodes, and the dot products of these vectors with each other. The message updates the
    scalars of the target node and moves it along the edge. The original step ``coefficient * (x_j - x_i)`` is
    unbounded and throws points far away on objects unlike those in training. Here the step is
    ``tanh(coefficient) * r / (|r| + 1)`` with ``r = x_j - x_i``, averaged over the neighbours, so a layer
    moves no point by more than the size of the object. Lengths enter as logarithms for the same reason.

    Symmetry: E(3), and scale.
    In: edges, positions, vectors and scalars of nodes, vectors of the scan (any of the last three may be
    missing), stored frame. Out: ``[G, 3]`` centre of mass, stored frame; untrained, the mean of the points.
    Source: Satorras, Hoogeboom & Welling, "E(n) Equivariant Graph Neural Networks" (2021).

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: the features to use; all by default.
        hidden_dim: C; messages have half as many channels.
        num_layers: number of message-passing layers.
        dropout: share of the nodes' hidden channels dropped in training.
    """

    symmetry = "E(3)"
    needs = frozenset({"edge_index"})
    heads = ("readout",)

    def __init__(
        self,
        *,
        feature_names: Sequence[str],
        vector_names: Sequence[str] = (),
        features: Sequence[str] | None = None,
        hidden_dim: int = 64,
        num_layers: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.inputs = Inputs(feature_names, vector_names, features)
        num_vectors = 1 + self.inputs.num_vectors
        self.embed = mlp(Geometry.num_invariants(self.inputs), hidden_dim, hidden_dim)
        num_known = 2 + 3 * num_vectors
        self.padding = -num_known % 16
        self.layers = nn.ModuleList(
            EGNNLayer(hidden_dim, num_known + self.padding, dropout) for _ in range(num_layers)
        )
        self.readout = Readout(hidden_dim, num_vectors, self.inputs.num_graph_vectors, dropout)

    def feature_axes(self, columns: Sequence[str]) -> FeatureAxes:
        """Which entries of which weights read which features."""
        names = self.inputs.vector_names
        dots = product(("target", "source", "both"), names)
        known = (1, ["apart by scale", "apart", *dots, *[None] * self.padding])
        return {
            "embed.0.weight": invariants_axis(self.inputs),
            **{f"layers.{i}.from_edge.weight": known for i in range(len(self.layers))},
            "readout.gate.weight": (0, names),
            **rows("readout.whole.3", [*names, *self.inputs.graph_names]),
        }

    def forward(self, batch: Batch) -> Tensor:
        """Predict the centre of mass ``[G, 3]``, in the dtype of the weights."""
        dtype = self.readout.vote.weight.dtype
        source, target = edges_of(batch)
        geometry = Geometry(self.inputs, batch, dtype)
        ends = [geometry.vectors.index_select(0, nodes) for nodes in (target, source)]
        both = torch.cat(ends, 2).mT
        # Matrix products with 16 columns are several times faster than with 11.
        fixed = functional.pad((ends[0] * ends[1]).sum(1), (0, self.padding))
        scale = geometry.edge_length[geometry.graph_idx][target][:, None]
        h, x = self.embed(geometry.invariants), geometry.pos
        for layer in self.layers:
            r = x.index_select(0, source) - x.index_select(0, target)
            apart = length(r)
            dots = (both @ (r / apart)[:, :, None])[:, :, 0]
            known = torch.cat([torch.log1p(apart / scale), torch.log1p(apart), dots, fixed], 1)
            h, x = layer(h, x, source, target, known, r / (apart + 1))
        answer = self.readout(h, x, geometry.vectors, geometry)
        return self.inputs.place(batch, answer.to(dtype))


class EGNNLayer(nn.Module):
    """One message-passing layer with residual connections for scalars and positions."""

    def __init__(self, hidden_dim: int, num_known: int, dropout: float) -> None:
        super().__init__()
        width = max(hidden_dim // 2, 1)
        self.norm = nn.LayerNorm(hidden_dim)
        # The first linear map of [h_i, h_j, known], in parts: the node parts are cheaper before the gather.
        self.from_target = nn.Linear(hidden_dim, width, bias=False)
        self.from_source = nn.Linear(hidden_dim, width, bias=False)
        self.from_edge = nn.Linear(num_known, width)
        self.message = nn.Linear(width, width)
        self.step = nn.Linear(width, 1, bias=False)
        self.update = mlp(hidden_dim + width, hidden_dim, hidden_dim, dropout=dropout)
        nn.init.zeros_(self.step.weight)

    def forward(
        self, h: Tensor, x: Tensor, source: Tensor, target: Tensor, known: Tensor, way: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update scalars ``h [N, C]`` and positions ``x [N, 3]``.

        Args:
            h: scalars of the nodes.
            x: positions of the nodes.
            source: ``[E]`` first node of each edge.
            target: ``[E]`` second node of each edge.
            known: ``[E, num_known]`` invariants of each edge.
            way: ``[E, 3]`` direction in which the edge moves its target; at most of length 1.
        """
        normed = self.norm(h)
        of_target = self.from_target(normed).index_select(0, target)
        of_source = self.from_source(normed).index_select(0, source)
        hidden = functional.silu(self.from_edge(known).add_(of_target).add_(of_source))
        message = functional.silu(self.message(hidden))
        heard = mean_by(message, target, len(h))
        coefficient = torch.tanh(message @ self.step.weight[0])  # with a vector the backward pass is faster
        x = x + mean_by(coefficient[:, None] * way, target, len(x))
        return h + self.update(torch.cat([normed, heard], 1)), x
