"""An equivariant patch transformer: patches of the surface become tokens of scalars and vectors.

Letters: G graphs, T tokens (patches) per graph, K neighbours per patch, C scalar and D vector channels,
H attention heads, E = G T K pairs of a patch's centre and one of its points, W vectors of the whole scan.
Vectors are laid out ``[..., 3, D]``, so that a linear map of channels is one matrix product.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from plumbline.data.batches.batch import Batch
from plumbline.errors import InputError
from plumbline.models.blocks import highest
from plumbline.models.equivariant import EquivariantNorm
from plumbline.models.inputs import Inputs

_TYPICAL = 2.0
"""Logarithm of how many times smaller a usual error is than the object's size."""
_PATCH_SCALE = 3.0
"""Brings offsets within a patch, in units of the object's size, to order one."""


class EPT(nn.Module):
    """Equivariant patch transformer.

    Each of T points in farthest-point order gathers its K nearest points into a patch: invariants of every
    pair (dot products of the offset and the point's vectors with each other and with the centre's) go
    through a small network, whose answers are pooled into C scalars and weigh the pairs' vectors into D
    vectors. All tokens of a graph then attend to each other: scores are dot products of scalars and of
    vectors alike. The centre of mass is where the tokens vote, each with an offset of its own, plus learned
    multiples of the pooled vectors and of the vectors of the whole scan. Only dot products and linear maps of
    vectors occur, no cross products, so mirrors are obeyed too. Nothing couples to the number of points.

    Symmetry: E(3), and scale.
    In: patches, positions, vectors and scalars of nodes, vectors of the scan (any of them may be missing but
    the positions), stored frame. Out: ``[G, 3]`` centre of mass, stored frame.
    Source: our own; attention on scalars and vectors after Assaad et al., VN-Transformer (2022), gated vector
    updates after Jing et al., Geometric Vector Perceptrons (2021), patches after Zhao et al., Point
    Transformer (2021).

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: which of them to use; all by default.
        hidden_dim: C; D is a quarter of it.
        num_layers: attention layers.
        dropout: share of hidden scalars dropped in training.
        num_tokens: T, at most 64.
        num_neighbours: K.
        num_heads: H.
        patch_dim: width of the network on pairs.
    """

    symmetry = "E(3)"
    needs = frozenset({"patches"})

    def __init__(
        self,
        *,
        feature_names: Sequence[str],
        vector_names: Sequence[str] = (),
        features: Sequence[str] | None = None,
        hidden_dim: int = 96,
        num_layers: int = 4,
        dropout: float = 0.0,
        num_tokens: int = 32,
        num_neighbours: int = 16,
        num_heads: int = 4,
        patch_dim: int = 64,
    ) -> None:
        super().__init__()
        self.inputs = Inputs(feature_names, vector_names, features)
        self.num_tokens, self.num_neighbours = num_tokens, num_neighbours
        if hidden_dim % num_heads:
            raise InputError(
                f"--hidden_dim {hidden_dim}: must be a multiple of the {num_heads} attention heads"
            )
        vector_dim = num_heads * max(hidden_dim // (4 * num_heads), 1)
        num_graph = self.inputs.num_graph_vectors
        self.patches = PatchEncoder(
            self.inputs.num_vectors, self.inputs.num_scalars, num_graph, patch_dim, hidden_dim, vector_dim
        )
        self.layers = nn.ModuleList(
            AttentionLayer(hidden_dim, vector_dim, num_heads, dropout) for _ in range(num_layers)
        )
        self.head = Head(hidden_dim, vector_dim, num_graph)

    def forward(self, batch: Batch) -> Tensor:
        """``[G, 3]`` in the type of the weights."""
        return self.answer(batch)[0]

    def answer(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Centre of mass ``[G, 3]`` and the logarithm of its expected error ``[G]``, stored units."""
        if batch.patches is None:
            raise ValueError("the batch was built without patches (needs 'patches')")
        found = batch.patches.shape[2] - 1
        if self.num_neighbours > found:
            raise InputError(
                f"--model_args num_neighbours={self.num_neighbours}: the data set joins each point to "
                f"{found} others; lower it, or prepare the data set with a larger --k"
            )
        dtype = self.head.vote.weight.dtype
        inputs = self.inputs(batch)
        patches = batch.patches[:, : self.num_tokens, : self.num_neighbours + 1]
        vectors = torch.cat([inputs.pos[:, None], inputs.vectors], 1).to(dtype)
        graph_vectors = inputs.graph_vectors.to(dtype)
        pos = vectors[patches[:, :, 0], 0]
        s, v = self.patches(patches, vectors, inputs.scalars.to(dtype), graph_vectors)
        for layer in self.layers:
            s, v = layer(s, v)
        offset, log_scale = self.head(s, v, pos, graph_vectors)
        return self.inputs.place(batch, offset), log_scale + batch.size.to(dtype).log()


class PatchEncoder(nn.Module):
    """Pools each patch into scalars ``[G, T, C]`` and vectors ``[G, T, 3, D]``."""

    def __init__(
        self, num_vectors: int, num_scalars: int, num_graph: int, width: int, hidden_dim: int, vector_dim: int
    ) -> None:
        super().__init__()
        pair, centre = 1 + num_vectors, 1 + num_vectors + num_graph
        self.from_pair = nn.Linear(pair * pair + pair * centre + num_scalars, width)
        self.from_centre = nn.Linear(centre * centre + num_scalars, width, bias=False)
        self.deep = nn.Linear(width, width)
        self.weights = nn.Linear(width, pair * vector_dim)
        self.pooled = nn.Linear(3 * width, hidden_dim)
        self.mix = nn.Linear(hidden_dim, (centre) * vector_dim)
        self.vector_dim = vector_dim

    def forward(
        self, patches: Tensor, vectors: Tensor, scalars: Tensor, graph_vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of node numbers ``[G, T, 1 + K]``, node vectors ``[N, D, 3]`` and scalars, and ``[G, W, 3]``."""
        graphs, tokens, points = patches.shape
        flat = patches.reshape(-1)
        near = vectors.index_select(0, flat).view(graphs * tokens, points, -1, 3)
        centre, pair = near[:, 0], near[:, 1:]
        offset = (pair[:, :, :1] - centre[:, None, :1]) * _PATCH_SCALE
        pair = torch.cat([offset, pair[:, :, 1:]], 2)
        whole = graph_vectors[:, None].expand(-1, tokens, -1, -1).reshape(graphs * tokens, -1, 3)
        centre = torch.cat([centre, whole], 1)
        each = scalars.index_select(0, flat).view(graphs * tokens, points, -1)
        # All products, though half of them come twice: picking some costs more than multiplying them again.
        within = (pair @ pair.mT).flatten(2)
        across = (pair.flatten(1, 2) @ centre.mT).view(graphs * tokens, points - 1, -1)
        of_centre = (centre @ centre.mT).flatten(1)
        first = self.from_pair(torch.cat([within, across, each[:, 1:]], 2))
        known = self.from_centre(torch.cat([of_centre, each[:, 0]], 1))
        hidden = functional.silu(self.deep(functional.silu(first + known[:, None])))
        pooled = torch.cat([hidden.mean(1), highest(hidden), known], 1)
        s = self.pooled(pooled)
        weight = self.weights(hidden).view(graphs * tokens, -1, self.vector_dim)
        v = pair.flatten(1, 2).mT @ weight / (points - 1)
        v = v + centre.mT @ self.mix(s).view(graphs * tokens, -1, self.vector_dim)
        return s.view(graphs, tokens, -1), v.view(graphs, tokens, 3, -1)


class AttentionLayer(nn.Module):
    """Attention among the tokens of a graph, then a gated update of every token; residual, norms first."""

    def __init__(self, hidden_dim: int, vector_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = EquivariantNorm(hidden_dim, vector_dim)
        self.scalar_in = nn.Linear(hidden_dim, 3 * hidden_dim, bias=False)
        self.vector_in = nn.Linear(vector_dim, 3 * vector_dim, bias=False)
        self.scalar_out = nn.Linear(hidden_dim, hidden_dim)
        self.vector_out = nn.Linear(vector_dim, vector_dim, bias=False)
        self.norm_update = EquivariantNorm(hidden_dim, vector_dim)
        self.maps = nn.Linear(vector_dim, 3 * vector_dim, bias=False)
        self.update = nn.Sequential(
            nn.Linear(hidden_dim + 2 * vector_dim, 2 * hidden_dim),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * hidden_dim, hidden_dim + vector_dim),
        )

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """``[G, T, C]`` and ``[G, T, 3, D]`` to the same."""
        mixed_s, mixed_v = self.attend(*self.norm(s, v))
        s, v = s + mixed_s, v + mixed_v
        normed_s, normed_v = self.norm_update(s, v)
        left, right, gated = self.maps(normed_v).chunk(3, -1)
        invariants = torch.cat([normed_s, (left * right).sum(2), normed_v.square().sum(2)], -1)
        change, gate = self.update(invariants).split([s.shape[-1], v.shape[-1]], -1)
        return s + change, v + gate[:, :, None] * gated

    def attend(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """What the tokens tell each other."""
        graphs, tokens, width = s.shape
        heads = self.num_heads

        def by_head(x: Tensor) -> Tensor:
            """``[G, T, 3, ...]`` for query, key and value, to ``[3, G, H, T, ...]`` flattened."""
            return x.reshape(graphs, tokens, -1, 3, heads, x.shape[-1] // (3 * heads)).permute(
                3, 0, 4, 1, 2, 5
            )

        scalars = by_head(self.scalar_in(s)[:, :, None]).flatten(4)
        vectors = by_head(self.vector_in(v)).flatten(4)
        query, key, value = torch.cat([scalars, vectors], -1)
        # So few tokens that PyTorch's fused attention takes half as long again, forward and backward.
        found = torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, -1) @ value
        new_s, new_v = found.split([scalars.shape[-1], vectors.shape[-1]], -1)
        new_s = new_s.transpose(1, 2).reshape(graphs, tokens, width)
        new_v = new_v.reshape(graphs, heads, tokens, 3, -1).permute(0, 2, 3, 1, 4).reshape(v.shape)
        return self.scalar_out(new_s), self.vector_out(new_v)


class Head(nn.Module):
    """Where the tokens vote, and how far off they expect to be; starts as the mean of the points."""

    def __init__(self, hidden_dim: int, vector_dim: int, num_graph: int) -> None:
        super().__init__()
        self.norm = EquivariantNorm(hidden_dim, vector_dim)
        # A bias would move all votes alike, which their softmax does not see.
        self.vote = nn.Linear(hidden_dim, 1, bias=False)
        torch.rand(1)  # drawn for a bias that once was here: a seed gives all other weights as before
        self.offset = nn.Linear(vector_dim, 1, bias=False)
        self.gate = nn.Linear(hidden_dim, vector_dim)
        last = nn.Linear(hidden_dim, 1 + vector_dim + num_graph)
        self.whole = nn.Sequential(nn.Linear(hidden_dim, hidden_dim), nn.SiLU(), last)
        self.doubt = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim // 2), nn.SiLU(), nn.Linear(hidden_dim // 2, 1)
        )
        for weight in (last.weight, last.bias, self.offset.weight):
            nn.init.zeros_(weight)

    def forward(self, s: Tensor, v: Tensor, pos: Tensor, graph_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens, their positions ``[G, T, 3]`` and ``[G, W, 3]``, to ``[G, 3]`` and ``[G]``."""
        s, v = self.norm(s, v)
        share = torch.softmax(self.vote(s), 1)
        place = pos + self.offset(v * self.gate(s)[:, :, None])[..., 0]
        pooled = s.mean(1)
        vectors = torch.cat([(share * place).sum(1)[..., None], v.mean(1), graph_vectors.mT], -1)
        answer = (vectors @ self.whole(pooled)[..., None])[..., 0]
        # What the model expects of itself must not change what it answers: no gradient beyond this point.
        return answer, self.doubt(pooled.detach())[:, 0] - _TYPICAL
