"""Steerable network: features of degree 0, 1 and 2 in tensor products with spherical harmonics of the edges.

Letters: N nodes, G graphs, K the largest number of in-edges of a node, C scalar channels, D channels of each
higher degree, R radial functions. Components of degrees 0 to 2 are laid out ``[..., 9, D]``, so that a linear
map of channels is one matrix product.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from plumbline.data.batches.batch import Batch
from plumbline.errors import InputError
from plumbline.models.equivariant import EquivariantNorm, Geometry, Readout, edges_of, length, mlp
from plumbline.models.feature_axes import FeatureAxes, invariants_axis, rows
from plumbline.models.inputs import Inputs
from plumbline.models.painn import RADIAL, radial_functions

try:
    from e3nn import o3
except ImportError as error:
    raise InputError("--model steerable needs e3nn: pip install e3nn") from error

DEGREES = (0, 1, 2)
COMPONENTS = 9
_ROWS = {degree: slice(degree**2, (degree + 1) ** 2) for degree in DEGREES}


class Steerable(nn.Module):
    """Tensor-product convolutions on the edges of the data set, with irreps ``C x 0e + D x 1o + D x 2e``.

    A message is the tensor product of the source's features with the spherical harmonics of the edge's
    direction. It is weighted by a network on the edge's length and the scalars of both end nodes, with one
    weight for each degree of the harmonics, not one for each channel and path. The sum over the neighbours is
    therefore one matrix product, and the Clebsch-Gordan coefficients, which are the same for all neighbours,
    are applied after it. Only features with the parity of spherical harmonics occur (0e, 1o, 2e), because all
    inputs are polar vectors. Features of degree 2 start from the harmonics of the nodes' vectors.

    Symmetry: E(3), and scale.
    In: edges, positions, vectors and scalars of nodes, vectors of the scan (any of the last three may be
    missing), stored frame. Out: ``[G, 3]`` centre of mass, stored frame; untrained, the mean of the points.
    Memory grows with N times K: every node takes as much as the node with the most in-edges.
    Source: Thomas et al., "Tensor field networks" (2018); Batatia et al., "MACE" (2022), for summing before
    coupling; harmonics and coefficients from Geiger & Smidt, "e3nn" (2022).

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: the features to use; all by default.
        hidden_dim: C; D is an eighth of it.
        num_layers: number of convolutions.
        dropout: share of hidden scalars dropped in training.

    Raises:
        InputError: e3nn is not installed (raised when this module is imported).
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
        num_vectors, dim = 1 + self.inputs.num_vectors, max(hidden_dim // 8, 1)
        self.dim = dim
        self.embed = mlp(Geometry.num_invariants(self.inputs), hidden_dim, hidden_dim)
        self.mix = nn.ModuleList(nn.Linear(num_vectors, dim, bias=False) for _ in DEGREES[1:])
        self.layers = nn.ModuleList(Convolution(hidden_dim, dim, dropout) for _ in range(num_layers))
        self.from_lengths = nn.Linear(dim, hidden_dim, bias=False)
        self.readout = Readout(hidden_dim, dim, self.inputs.num_graph_vectors, dropout)

    def feature_axes(self, columns: Sequence[str]) -> FeatureAxes:
        """Which entries of which weights read which features."""
        return {
            "embed.0.weight": invariants_axis(self.inputs),
            **{f"mix.{i}.weight": (1, self.inputs.vector_names) for i in range(len(self.mix))},
            **rows("readout.whole.3", [*range(self.dim), *self.inputs.graph_names]),
        }

    def forward(self, batch: Batch) -> Tensor:
        """Predict the centre of mass ``[G, 3]``, in the dtype of the weights."""
        dtype = self.readout.vote.weight.dtype
        geometry = Geometry(self.inputs, batch, dtype)
        neighbours, present = padded_neighbours(batch)
        r = geometry.pos[neighbours] - geometry.pos[:, None]
        apart = length(r)
        scale = geometry.edge_length[geometry.graph_idx][:, None, None]
        edges = Edges(
            neighbours=neighbours,
            share=present / present.sum(1, keepdim=True).clamp_min(1).to(dtype),
            radial=radial_functions(apart / scale),
            harmonics=harmonics(r / apart),
        )
        s = self.embed(geometry.invariants)
        of_vectors = harmonics(geometry.vectors.mT)
        v = torch.cat(
            [mix(of_vectors[..., _ROWS[degree]].mT) for degree, mix in zip((1, 2), self.mix, strict=True)], 1
        )
        for layer in self.layers:
            s, v = layer(s, v, edges)
        s = s + self.from_lengths(length(v[:, 3:], 1)[:, 0])
        answer = self.readout(s, geometry.pos, v[:, :3], geometry)
        return self.inputs.place(batch, answer.to(dtype))


def harmonics(vectors: Tensor) -> Tensor:
    """Compute real spherical harmonics ``[..., 9]`` of degrees 0 to 2, as polynomials of ``[..., 3]``."""
    result: Tensor = o3.spherical_harmonics(
        list(DEGREES), vectors, normalize=False, normalization="component"
    )
    return result


def padded_neighbours(batch: Batch) -> tuple[Tensor, Tensor]:
    """Arrange the edges by node.

    Returns:
        ``[N, K]`` sources of the in-edges of every node, padded with zeros, and a ``[N, K]`` mask that is
        True for real edges.
    """
    source, target = edges_of(batch)
    degree = target.new_zeros(batch.num_nodes).index_add(0, target, torch.ones_like(target))
    place = torch.arange(len(target), device=target.device) - (degree.cumsum(0) - degree)[target]
    neighbours = source.new_zeros(batch.num_nodes, batch.max_in_degree).index_put((target, place), source)
    return neighbours, torch.arange(batch.max_in_degree, device=target.device) < degree[:, None]


class Edges:
    """Edge data for a convolution, padded to K edges per node.

    Attributes:
        neighbours: ``[N, K]`` source nodes.
        share: ``[N, K]`` weights for the mean over a node's edges; zero for padding.
        radial: ``[N, K, R]`` radial functions of the edge's length.
        harmonics: ``[N, K, 9]`` spherical harmonics of the edge's direction.
    """

    def __init__(self, *, neighbours: Tensor, share: Tensor, radial: Tensor, harmonics: Tensor) -> None:
        self.neighbours, self.share, self.radial, self.harmonics = neighbours, share, radial, harmonics


def coupling() -> tuple[Tensor, list[int]]:
    """Compute the Clebsch-Gordan coefficients that couple two features of degrees 0 to 2 to a third.

    Returns:
        A float64 matrix whose 81 rows are pairs of components (harmonic of the edge, feature) and whose
        columns are ordered by output degree, component, path and have unit length; and the number of paths to
        each degree.
    """
    columns, paths = [], []
    for out in DEGREES:
        found = []
        for edge in DEGREES:
            for feature in DEGREES:
                # Keep paths that preserve the parity (-1)^l: the others are cross products, which change sign
                # under reflection.
                if abs(edge - feature) <= out <= edge + feature and (edge + feature + out) % 2 == 0:
                    table = torch.zeros(COMPONENTS, COMPONENTS, 2 * out + 1, dtype=torch.float64)
                    pair = o3.wigner_3j(edge, feature, out, dtype=torch.float64)
                    table[_ROWS[edge], _ROWS[feature]] = pair * (2 * out + 1) ** 0.5
                    found.append(table.flatten(0, 1))
        columns.append(torch.stack(found, 2).flatten(1))
        paths.append(len(found))
    return torch.cat(columns, 1), paths


class Convolution(nn.Module):
    """One tensor-product convolution, then a gated update of each node; residual, with norms first."""

    def __init__(self, hidden_dim: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.dim, width = dim, max(hidden_dim // 4, 1)
        # Not a buffer: casting the weights to a lower precision and back must not round it.
        self.coupling, self.paths = coupling()
        self.norm = EquivariantNorm(hidden_dim, dim)
        self.say = nn.ModuleList(
            nn.Linear(hidden_dim if degree == 0 else dim, dim, bias=False) for degree in DEGREES
        )
        self.of_ends = nn.Linear(hidden_dim, 2 * width)
        self.of_length = nn.Linear(RADIAL, width, bias=False)
        self.weigh = nn.Linear(width, len(DEGREES))
        outputs = [hidden_dim, dim, dim]
        self.hear = nn.ModuleList(
            nn.Linear(num * dim, out, bias=False) for num, out in zip(self.paths, outputs, strict=True)
        )
        self.norm_update = EquivariantNorm(hidden_dim, dim)
        self.maps = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in DEGREES[1:])
        self.update = mlp(hidden_dim + 2 * dim, hidden_dim, hidden_dim + 2 * dim, dropout=dropout)

    def forward(self, s: Tensor, v: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        """Update scalars ``s [N, C]`` and components of degrees 1 and 2 ``v [N, 8, D]``."""
        normed_s, normed_v = self.norm(s, v)
        heard = self.listen(normed_s, normed_v, edges)
        s, v = s + heard[0][:, 0], v + torch.cat(heard[1:], 1)
        normed_s, normed_v = self.norm_update(s, v)
        parts = normed_v[:, :3], normed_v[:, 3:]
        lengths = [length(part, 1)[:, 0] for part in parts]
        change, *gates = self.update(torch.cat([normed_s, *lengths], 1)).split(
            [s.shape[1], self.dim, self.dim], 1
        )
        steps = [gate[:, None] * m(part) for gate, m, part in zip(gates, self.maps, parts, strict=True)]
        return s + change, v + torch.cat(steps, 1)

    def listen(self, s: Tensor, v: Tensor, edges: Edges) -> list[Tensor]:
        """Compute the convolution: one ``[N, 2 l + 1, channels]`` for each degree l."""
        num, most = edges.neighbours.shape
        said = torch.cat([self.say[0](s)[:, None], self.say[1](v[:, :3]), self.say[2](v[:, 3:])], 1)
        to_me, from_me = self.of_ends(s).chunk(2, 1)
        flat = edges.neighbours.flatten()
        ends = to_me[:, None] + from_me.index_select(0, flat).view(num, most, from_me.shape[1])
        hidden = functional.silu(self.of_length(edges.radial) + ends)
        weights = self.weigh(hidden) * edges.share[:, :, None]
        weighed = [weights[:, :, degree, None] * edges.harmonics[..., _ROWS[degree]] for degree in DEGREES]
        features = said.flatten(1).index_select(0, flat).view(num, most, COMPONENTS * self.dim)
        pairs = torch.cat(weighed, 2).mT @ features
        # One matrix product with many rows; one product with [81, D] for each node is many times slower.
        rows = pairs.view(num, COMPONENTS**2, self.dim).mT.reshape(-1, COMPONENTS**2)
        coupled = (rows @ self.coupling.to(rows)).view(num, self.dim, -1)
        sizes = [2 * degree + 1 for degree in DEGREES]
        parts = coupled.split([size * paths for size, paths in zip(sizes, self.paths, strict=True)], 2)
        return [
            hear(part.unflatten(2, (size, -1)).transpose(1, 2).flatten(2))
            for size, part, hear in zip(sizes, parts, self.hear, strict=True)
        ]
