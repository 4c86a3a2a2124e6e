"""PaiNN: message passing with scalars and vectors of nodes, filtered by distance.

Letters: N nodes, E edges, G graphs, C scalar and D vector channels, R radial functions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch
from plumbline.models.equivariant import EquivariantNorm, Geometry, Readout, edges_of, length, mean_by, mlp
from plumbline.models.feature_axes import FeatureAxes, invariants_axis, rows
from plumbline.models.inputs import Inputs

RADIAL = 16
"""R, the number of radial functions."""


class PaiNN(nn.Module):
    """Polarizable atom interaction network on the edges of the data set.

    Vectors start as linear maps of each node's position, direction to the sensor and normal; scalars start
    from their dot products. A message is computed from the source's scalars and multiplied by a filter that
    depends on the edge's length; parts of it scale the source's vectors and the edge's direction. Lengths are
    in units of the graph's mean edge length, so a denser scan looks the same. Differences from the original:
    fewer vector than scalar channels; means instead of sums over neighbours, because the number of neighbours
    is not a property of the object; a norm before each step; no cutoff, because a k-nearest-neighbour graph
    has none.

    Symmetry: E(3), and scale. Only linear maps and dot products of vectors are used, no cross products.
    In: edges, positions, vectors and scalars of nodes, vectors of the scan (any of the last three may be
    missing), stored frame. Out: ``[G, 3]`` centre of mass, stored frame; untrained, the mean of the points.
    Source: Schuett, Unke & Gastegger, "Equivariant message passing for the prediction of tensorial properties
    and molecular spectra" (2021).

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: the features to use; all by default.
        hidden_dim: C; D is a quarter of it, scalar messages have half as many channels.
        num_layers: number of message-passing layers.
        dropout: share of hidden scalars dropped in training.
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
        num_layers: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.inputs = Inputs(feature_names, vector_names, features)
        vector_dim = max(hidden_dim // 4, 1)
        self.embed = mlp(Geometry.num_invariants(self.inputs), hidden_dim, hidden_dim)
        self.mix = nn.Linear(1 + self.inputs.num_vectors, vector_dim, bias=False)
        self.messages = nn.ModuleList(Message(hidden_dim, vector_dim, dropout) for _ in range(num_layers))
        self.updates = nn.ModuleList(Update(hidden_dim, vector_dim, dropout) for _ in range(num_layers))
        self.readout = Readout(hidden_dim, vector_dim, self.inputs.num_graph_vectors, dropout)

    def feature_axes(self, columns: Sequence[str]) -> FeatureAxes:
        """Which entries of which weights read which features."""
        return {
            "embed.0.weight": invariants_axis(self.inputs),
            "mix.weight": (1, self.inputs.vector_names),
            **rows("readout.whole.3", [*range(self.mix.out_features), *self.inputs.graph_names]),
        }

    def forward(self, batch: Batch) -> Tensor:
        """Predict the centre of mass ``[G, 3]``, in the dtype of the weights."""
        dtype = self.mix.weight.dtype
        source, target = edges_of(batch)
        geometry = Geometry(self.inputs, batch, dtype)
        r = geometry.pos[source] - geometry.pos[target]
        apart = length(r)
        radial = radial_functions(apart / geometry.edge_length[geometry.graph_idx][target][:, None])
        s, v = self.embed(geometry.invariants), self.mix(geometry.vectors)
        for message, update in zip(self.messages, self.updates, strict=True):
            s, v = message(s, v, source, target, radial, r / apart)
            s, v = update(s, v)
        answer = self.readout(s, geometry.pos, v, geometry)
        return self.inputs.place(batch, answer.to(dtype))


def radial_functions(distance: Tensor) -> Tensor:
    """Expand distances ``d [E, 1]`` in R overlapping Gaussians of ``d / (1 + d)``: ``[E, R]``.

    ``d / (1 + d)`` is in [0, 1) for every distance, so no distance is out of range.
    """
    place = (distance / (1 + distance)) * (RADIAL - 1)
    centres = torch.arange(RADIAL, dtype=distance.dtype, device=distance.device)
    return torch.exp(-0.5 * (place - centres).square())


class Message(nn.Module):
    """Message passing: adds the mean message of the neighbours to each node's scalars and vectors."""

    def __init__(self, hidden_dim: int, vector_dim: int, dropout: float) -> None:
        super().__init__()
        self.width = max(hidden_dim // 2, 1)
        self.norm = EquivariantNorm(hidden_dim, vector_dim)
        self.say = mlp(hidden_dim, hidden_dim, self.width + 2 * vector_dim, dropout=dropout)
        self.scalar_filter = nn.Linear(RADIAL, self.width)
        self.vector_filter = nn.Linear(RADIAL, 2 * vector_dim)
        self.hear = nn.Linear(self.width, hidden_dim)

    def forward(
        self, s: Tensor, v: Tensor, source: Tensor, target: Tensor, radial: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update scalars ``s [N, C]`` and vectors ``v [N, 3, D]``.

        Args:
            s: scalars of the nodes.
            v: vectors of the nodes.
            source: ``[E]`` source of each edge.
            target: ``[E]`` target of each edge.
            radial: ``[E, R]`` radial functions of each edge's length.
            direction: ``[E, 3]`` unit vector of each edge.
        """
        normed_s, normed_v = self.norm(s, v)
        scalars, gates = self.say(normed_s).split([self.width, 2 * v.shape[2]], 1)
        heard = scalars.index_select(0, source) * self.scalar_filter(radial)
        gate = gates.index_select(0, source) * self.vector_filter(radial)
        of_vector, of_edge = gate[:, None].chunk(2, 2)
        moved = normed_v.index_select(0, source) * of_vector + direction[:, :, None] * of_edge
        s = s + self.hear(mean_by(heard, target, len(s)))
        return s, v + mean_by(moved, target, len(v))


class Update(nn.Module):
    """Update within each node: lengths and dot products of its vectors change scalars and gate vectors."""

    def __init__(self, hidden_dim: int, vector_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = EquivariantNorm(hidden_dim, vector_dim)
        self.maps = nn.Linear(vector_dim, 2 * vector_dim, bias=False)
        self.gates = mlp(hidden_dim + vector_dim, hidden_dim, hidden_dim + 2 * vector_dim, dropout=dropout)
        self.from_products = nn.Linear(vector_dim, hidden_dim, bias=False)

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Update scalars ``s [N, C]`` and vectors ``v [N, 3, D]``."""
        normed_s, normed_v = self.norm(s, v)
        left, right = self.maps(normed_v).chunk(2, 2)
        known = torch.cat([normed_s, length(right, 1)[:, 0]], 1)
        change, gate, share = self.gates(known).split([s.shape[1], v.shape[2], v.shape[2]], 1)
        s = s + change + self.from_products(share * (left * right).sum(1))
        return s, v + gate[:, None] * left
