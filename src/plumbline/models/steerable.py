"""A steerable network: features of degree 0, 1 and 2, multiplied with spherical harmonics of the edges.

Letters: N nodes, G graphs, K in-edges of a node at most, C scalar channels, D channels of each higher
degree. Components of degrees 0 to 2 are laid out ``[..., 9, D]``, so that a linear map of channels is one
matrix product.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from plumbline.data.batches.batch import Batch
from plumbline.errors import InputError
from plumbline.models.equivariant import EquivariantNorm, Geometry, Readout, edges_of, length, mlp
from plumbline.models.inputs import Inputs
from plumbline.models.painn import RADIAL, radial_functions

try:
    from e3nn import o3
except ImportError as error:
    raise InputError(
        "--model steerable needs the package e3nn; install it with: pip install 'plumbline[steerable]'"
    ) from error

DEGREES = (0, 1, 2)
COMPONENTS = 9
_ROWS = {degree: slice(degree**2, (degree + 1) ** 2) for degree in DEGREES}


class Steerable(nn.Module):
    """Tensor-product convolutions on the edges of the data set, with irreps ``C x 0e + D x 1o + D x 2e``.

    A message is the tensor product of the source's features with the spherical harmonics of the edge's
    direction, weighed by a network on the edge's length and both ends' scalars: one weight for each degree of
    the harmonics, none of its own for each channel and path. So the sum over the neighbours is one matrix
    product, and the Clebsch-Gordan coefficients, the same for all neighbours, come after it. Only features
    with the parity of spherical harmonics occur (0e, 1o, 2e), as all inputs are polar vectors. Degree 2
    starts from the harmonics of the nodes' vectors.

    Symmetry: E(3), and scale.
    In: edges, positions, vectors and scalars of nodes, vectors of the scan (any of the last three may be
    missing), stored frame. Out: ``[G, 3]`` centre of mass, stored frame; untrained, the mean of the points.
    Memory grows with the largest number of in-edges, for all nodes alike.
    Source: Thomas et al., "Tensor field networks" (2018); Batatia et al., "MACE" (2022), for the order of sum
    and coupling; harmonics and coefficients from Geiger & Smidt, "e3nn" (2022).

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: which of them to use; all by default.
        hidden_dim: C; D is an eighth of it.
        num_layers: convolutions.
        dropout: share of hidden scalars dropped in training.

    Raises:
        InputError: e3nn is not installed (when this file is imported).
    """

    symmetry = "E(3)"
    needs = frozenset({"edge_index"})

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
        self.irreps = o3.Irreps(f"{hidden_dim}x0e + {dim}x1o + {dim}x2e")
        self.embed = mlp(Geometry.num_invariants(self.inputs), hidden_dim, hidden_dim)
        self.mix = nn.ModuleList(nn.Linear(num_vectors, dim, bias=False) for _ in DEGREES[1:])
        self.layers = nn.ModuleList(Convolution(hidden_dim, dim, dropout) for _ in range(num_layers))
        self.from_lengths = nn.Linear(dim, hidden_dim, bias=False)
        self.readout = Readout(hidden_dim, dim, self.inputs.num_graph_vectors, dropout)

    def forward(self, batch: Batch) -> Tensor:
        """``[G, 3]`` in the type of the weights."""
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
    """Real spherical harmonics ``[..., 9]`` of degrees 0 to 2: polynomials of ``[..., 3]``."""
    result: Tensor = o3.spherical_harmonics(
        list(DEGREES), vectors, normalize=False, normalization="component"
    )
    return result


def padded_neighbours(batch: Batch) -> tuple[Tensor, Tensor]:
    """Sources of the in-edges of every node ``[N, K]``, padded with zeros, and which of them are there."""
    source, target = edges_of(batch)
    degree = target.new_zeros(batch.num_nodes).index_add(0, target, torch.ones_like(target))
    place = torch.arange(len(target), device=target.device) - (degree.cumsum(0) - degree)[target]
    neighbours = source.new_zeros(batch.num_nodes, batch.max_in_degree).index_put((target, place), source)
    return neighbours, torch.arange(batch.max_in_degree, device=target.device) < degree[:, None]


class Edges:
    """What a convolution needs of the edges, padded to K per node.

    Attributes:
        neighbours: ``[N, K]`` nodes.
        share: ``[N, K]`` weights of a mean; zero where there is no edge.
        radial: ``[N, K, R]``.
        harmonics: ``[N, K, 9]``.
    """

    def __init__(self, *, neighbours: Tensor, share: Tensor, radial: Tensor, harmonics: Tensor) -> None:
        self.neighbours, self.share, self.radial, self.harmonics = neighbours, share, radial, harmonics


def coupling() -> tuple[Tensor, list[int]]:
    """The paths of two features of degrees 0 to 2 to a third, by Clebsch-Gordan coefficients.

    Returns:
        ``[81, P]`` float64 from pairs of components (harmonic of the edge, feature), and the number of paths
        to each degree. Columns are ordered by degree, component, path, and have unit length.
    """
    columns, paths = [], []
    for out in DEGREES:
        found = []
        for edge in DEGREES:
            for feature in DEGREES:
                # Parity (-1)^l must be kept: the others would be cross products, which a mirror turns around.
                if abs(edge - feature) <= out <= edge + feature and (edge + feature + out) % 2 == 0:
                    table = torch.zeros(COMPONENTS, COMPONENTS, 2 * out + 1, dtype=torch.float64)
                    pair = o3.wigner_3j(edge, feature, out, dtype=torch.float64)
                    table[_ROWS[edge], _ROWS[feature]] = pair * (2 * out + 1) ** 0.5
                    found.append(table.flatten(0, 1))
        columns.append(torch.stack(found, 2).flatten(1))
        paths.append(len(found))
    return torch.cat(columns, 1), paths


class Convolution(nn.Module):
    """One tensor-product convolution and a gated update of every node; residual, norms first."""

    def __init__(self, hidden_dim: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.dim, width = dim, max(hidden_dim // 4, 1)
        # Not a buffer: it must keep its digits when the weights are cast to a shorter type and back.
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
        """Scalars ``[N, C]`` and components of degrees 1 and 2 ``[N, 8, D]`` to the same."""
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
        """The convolution itself: one ``[N, 2 l + 1, channels]`` for each degree l."""
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
        # One matrix product of long rows; on [81, D] for every node it is many times slower.
        rows = pairs.view(num, COMPONENTS**2, self.dim).mT.reshape(-1, COMPONENTS**2)
        coupled = (rows @ self.coupling.to(rows)).view(num, self.dim, -1)
        sizes = [2 * degree + 1 for degree in DEGREES]
        parts = coupled.split([size * paths for size, paths in zip(sizes, self.paths, strict=True)], 2)
        return [
            hear(part.unflatten(2, (size, -1)).transpose(1, 2).flatten(2))
            for size, part, hear in zip(sizes, parts, self.hear, strict=True)
        ]
