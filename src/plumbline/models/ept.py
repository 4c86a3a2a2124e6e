"""Equivariant patch transformer (EPT): patches of the surface become tokens with scalars and vectors.

Letters: G graphs, N nodes, T tokens (patches) per graph, K neighbours per patch, C scalar channels, D vector
channels, H attention heads, V vectors of a node in addition to its position, S scalars of a node, W vectors
of the whole scan. Vector channels are laid out ``[..., 3, D]``, so that a linear map of channels is one
matrix product.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from plumbline.data.batches.batch import Batch
from plumbline.errors import InputError
from plumbline.models.answer import Answer
from plumbline.models.blocks import max_pool
from plumbline.models.equivariant import EquivariantNorm
from plumbline.models.feature_axes import FeatureAxes, rows
from plumbline.models.inputs import Inputs
from plumbline.models.side_heads import SideHeads

_TYPICAL = 2.0
"""Natural logarithm of the object's size divided by a typical error."""
_PATCH_SCALE = 3.0
"""Factor that brings offsets within a patch, in units of the object's size, to order one."""


class EPT(nn.Module):
    """Equivariant patch transformer.

    Each of T points in farthest-point order gathers its K nearest points into a patch. Each pair of the
    patch's centre and one of its points has invariants: the dot products of the offset and the point's
    vectors with each other and with the centre's vectors. They go through a small network. Its output is
    pooled into C scalars, and also weights the vectors of the pairs, whose means are D vectors. All tokens of
    a graph then attend to each other; the attention scores are dot products of scalars and of vectors. The
    centre of mass is a weighted mean of the tokens' positions, each with its own offset, plus learned
    multiples of the pooled vectors and of the vectors of the whole scan. The network uses only dot products
    and linear maps of vectors, no cross products, so it is equivariant to reflections too. Nothing depends on
    the number of points.

    Next to the centre of mass it predicts its expected error, the covariance of the error and, if the data
    set has them, volume and inertia of the object; their losses change none of the weights that the centre of
    mass depends on.

    Symmetry: E(3), and scale.
    In: patches, positions, vectors and scalars of nodes, vectors of the scan (the vectors and scalars may be
    missing), stored frame. Out: ``[G, 3]`` centre of mass, stored frame.
    Source: this project; attention on scalars and vectors follows Assaad et al., VN-Transformer (2022), gated
    vector updates follow Jing et al., Geometric Vector Perceptrons (2021), patches follow Zhao et al., Point
    Transformer (2021).

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: the features to use; all by default.
        hidden_dim: C; D is a quarter of it.
        num_layers: attention layers.
        dropout: share of hidden scalars dropped in training.
        num_tokens: patches per graph (T), at most 64.
        num_neighbours: points of a patch in addition to its centre (K).
        num_heads: heads of the attention, a divisor of hidden_dim.
        patch_dim: width of the network on the pairs of a patch.
        covariance: predict the covariance of the error.
        payload: predict volume and inertia as well; training sets it where the data set has them.
    """

    symmetry = "E(3)"
    needs = frozenset({"patches", "payload"})
    heads = ("head", "side_heads")

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
        covariance: bool = True,
        payload: bool = False,
    ) -> None:
        super().__init__()
        self.inputs = Inputs(feature_names, vector_names, features)
        self.num_tokens, self.num_neighbours = num_tokens, num_neighbours
        if hidden_dim % num_heads:
            raise InputError(
                f"--hidden_dim {hidden_dim}: must be a multiple of {num_heads}, the number of attention heads"
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
        self.side_heads = None
        if covariance:
            # A seed gives the same other weights, and the same training, with and without these heads.
            with torch.random.fork_rng(devices=[]):
                self.side_heads = SideHeads(hidden_dim, vector_dim, payload=payload)

    def feature_axes(self, columns: Sequence[str]) -> FeatureAxes:
        """Which entries of which weights read which features."""
        pair, graph = self.inputs.vector_names, self.inputs.graph_names
        centre, scalars = [*pair, *graph], self.inputs.scalar_names
        channels = range(self.patches.vector_dim)
        products = [*product(["within"], pair, pair), *product(["across"], pair, centre)]
        return {
            "patches.from_pair.weight": (1, [*products, *scalars]),
            "patches.from_centre.weight": (1, [*product(centre, centre), *scalars]),
            **rows("patches.weights", [*product(pair, channels)]),
            **rows("patches.mix", [*product(centre, channels)]),
            **rows("head.whole.2", ["votes", *channels, *graph]),
        }

    def side_parameters(self) -> list[nn.Parameter]:
        """The weights that the centre of mass and its expected error do not depend on."""
        return [] if self.side_heads is None else list(self.side_heads.parameters())

    def forward(self, batch: Batch) -> Tensor:
        """Predict the centre of mass ``[G, 3]``, in the dtype of the weights."""
        return self.answer(batch).com

    def answer(self, batch: Batch) -> Answer:
        """Predict the centre of mass and everything else.

        Raises:
            InputError: the data set has fewer neighbours per point than ``num_neighbours``.
        """
        if batch.patches is None:
            raise ValueError("the batch was built without patches (needs 'patches')")
        found = batch.patches.shape[2] - 1
        if self.num_neighbours > found:
            raise InputError(
                f"--num_neighbours {self.num_neighbours}: the data set joins each point to "
                f"{found} others; lower it, or prepare the data set with a larger --k"
            )
        dtype = self.head.vote.weight.dtype
        inputs = self.inputs(batch)
        patches = batch.patches[:, : self.num_tokens, : self.num_neighbours + 1]
        vectors = torch.cat([inputs.pos[:, None], inputs.vectors], 1).to(dtype)
        graph_vectors = inputs.graph_vectors.to(dtype)
        pos = vectors[patches[:, :, 0], 0]
        s, v = self.patches(patches, vectors, inputs.scalars.to(dtype), graph_vectors)
        # The last layers forget what does not tell the centre of mass, such as that points fill a volume.
        local = s.detach().mean(1)
        for layer in self.layers:
            s, v = layer(s, v)
        s, v = self.head.norm(s, v)
        pooled = s.mean(1)
        offset = self.head(s, v, pooled, pos, graph_vectors)
        # Learning what is not the centre of mass must not change it: no gradient flows past this point.
        s, v, pooled = s.detach(), v.detach(), pooled.detach()
        # In half precision its square could be infinite.
        size = batch.size.to(torch.promote_types(dtype, torch.float32))
        covariance = log_volume = inertia = None
        if self.side_heads is not None:
            away = pos - offset.detach()[:, None]
            covariance, log_volume, inertia = self.side_heads(s, v, away, pooled)
            covariance = covariance * size[:, None, None].square()
        if log_volume is not None and inertia is not None:
            log_volume, inertia = log_volume + 3 * size.log(), inertia * size[:, None, None].square()
        return Answer(
            com=self.inputs.place(batch, offset),
            log_scale=self.head.doubt(pooled)[:, 0] - _TYPICAL + size.log(),
            covariance=covariance,
            log_volume=log_volume,
            inertia=inertia,
            features=torch.cat([local, pooled], 1),
        )


class PatchEncoder(nn.Module):
    """Encodes each patch as scalars ``[G, T, C]`` and vectors ``[G, T, 3, D]``."""

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
        """Encode the patches of a batch.

        Args:
            patches: ``[G, T, 1 + K]`` node indices: the centre of each patch, then its points.
            vectors: ``[N, 1 + V, 3]`` position and vectors of each node.
            scalars: ``[N, S]`` scalars of each node.
            graph_vectors: ``[G, W, 3]`` vectors of the whole scan.

        Returns:
            ``[G, T, C]`` scalars and ``[G, T, 3, D]`` vectors.
        """
        graphs, tokens, points = patches.shape
        flat = patches.reshape(-1)
        near = vectors.index_select(0, flat).view(graphs * tokens, points, -1, 3)
        centre, pair = near[:, 0], near[:, 1:]
        offset = (pair[:, :, :1] - centre[:, None, :1]) * _PATCH_SCALE
        pair = torch.cat([offset, pair[:, :, 1:]], 2)
        whole = graph_vectors[:, None].expand(-1, tokens, -1, -1).reshape(graphs * tokens, -1, 3)
        centre = torch.cat([centre, whole], 1)
        each = scalars.index_select(0, flat).view(graphs * tokens, points, -1)
        # All products, although half of them are duplicates: selecting the others costs more time.
        within = (pair @ pair.mT).flatten(2)
        across = (pair.flatten(1, 2) @ centre.mT).view(graphs * tokens, points - 1, -1)
        of_centre = (centre @ centre.mT).flatten(1)
        first = self.from_pair(torch.cat([within, across, each[:, 1:]], 2))
        known = self.from_centre(torch.cat([of_centre, each[:, 0]], 1))
        hidden = functional.silu(self.deep(functional.silu(first + known[:, None])))
        pooled = torch.cat([hidden.mean(1), max_pool(hidden), known], 1)
        s = self.pooled(pooled)
        weight = self.weights(hidden).view(graphs * tokens, -1, self.vector_dim)
        v = pair.flatten(1, 2).mT @ weight / (points - 1)
        v = v + centre.mT @ self.mix(s).view(graphs * tokens, -1, self.vector_dim)
        return s.view(graphs, tokens, -1), v.view(graphs, tokens, 3, -1)


class AttentionLayer(nn.Module):
    """Attention among the tokens of a graph, then a gated update of each token; residual, norms first."""

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
        """Update scalars ``s [G, T, C]`` and vectors ``v [G, T, 3, D]``."""
        mixed_s, mixed_v = self.attend(*self.norm(s, v))
        s, v = s + mixed_s, v + mixed_v
        normed_s, normed_v = self.norm_update(s, v)
        left, right, gated = self.maps(normed_v).chunk(3, -1)
        invariants = torch.cat([normed_s, (left * right).sum(2), normed_v.square().sum(2)], -1)
        change, gate = self.update(invariants).split([s.shape[-1], v.shape[-1]], -1)
        return s + change, v + gate[:, :, None] * gated

    def attend(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Apply multi-head attention to normalised scalars ``[G, T, C]`` and vectors ``[G, T, 3, D]``."""
        graphs, tokens, width = s.shape
        heads = self.num_heads

        def by_head(x: Tensor) -> Tensor:
            """Separate query, key and value, and heads: ``[G, T, R, 3 H c]`` to ``[3, G, H, T, R, c]``."""
            return x.reshape(graphs, tokens, -1, 3, heads, x.shape[-1] // (3 * heads)).permute(
                3, 0, 4, 1, 2, 5
            )

        scalars = by_head(self.scalar_in(s)[:, :, None]).flatten(4)
        vectors = by_head(self.vector_in(v)).flatten(4)
        query, key, value = torch.cat([scalars, vectors], -1)
        # With so few tokens PyTorch's fused attention takes 1.5 times as long, forward and backward.
        found = torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, -1) @ value
        new_s, new_v = found.split([scalars.shape[-1], vectors.shape[-1]], -1)
        new_s = new_s.transpose(1, 2).reshape(graphs, tokens, width)
        new_v = new_v.reshape(graphs, heads, tokens, 3, -1).permute(0, 2, 3, 1, 4).reshape(v.shape)
        return self.scalar_out(new_s), self.vector_out(new_v)


class Head(nn.Module):
    """Predicts the centre of mass; untrained, it predicts the mean of the points.

    Attributes:
        norm: normalises scalars and vectors of the tokens.
        doubt: predicts the logarithm of the expected error from the mean of the scalars.
    """

    def __init__(self, hidden_dim: int, vector_dim: int, num_graph: int) -> None:
        super().__init__()
        self.norm = EquivariantNorm(hidden_dim, vector_dim)
        # No bias: it would shift all logits equally, which does not change their softmax.
        self.vote = nn.Linear(hidden_dim, 1, bias=False)
        torch.rand(1)  # formerly the draw of a bias: with it a seed still gives the same other weights
        self.offset = nn.Linear(vector_dim, 1, bias=False)
        self.gate = nn.Linear(hidden_dim, vector_dim)
        last = nn.Linear(hidden_dim, 1 + vector_dim + num_graph)
        self.whole = nn.Sequential(nn.Linear(hidden_dim, hidden_dim), nn.SiLU(), last)
        self.doubt = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim // 2), nn.SiLU(), nn.Linear(hidden_dim // 2, 1)
        )
        for weight in (last.weight, last.bias, self.offset.weight):
            nn.init.zeros_(weight)

    def forward(self, s: Tensor, v: Tensor, pooled: Tensor, pos: Tensor, graph_vectors: Tensor) -> Tensor:
        """Predict centres of mass ``[G, 3]``, relative to the mean of the points, in units of each size.

        Args:
            s: ``[G, T, C]`` scalars of the tokens, after ``norm``.
            v: ``[G, T, 3, D]`` vectors of the tokens, after ``norm``.
            pooled: ``[G, C]`` mean of the scalars.
            pos: ``[G, T, 3]`` positions of the tokens.
            graph_vectors: ``[G, W, 3]`` vectors of the whole scan.
        """
        share = torch.softmax(self.vote(s), 1)
        place = pos + self.offset(v * self.gate(s)[:, :, None])[..., 0]
        vectors = torch.cat([(share * place).sum(1)[..., None], v.mean(1), graph_vectors.mT], -1)
        answer: Tensor = (vectors @ self.whole(pooled)[..., None])[..., 0]
        return answer
