"""Parts shared by the equivariant networks: means, safe lengths, norms, input invariants and the readout.

Letters: N nodes, E edges, G graphs, C scalar channels, D vector channels, V vectors of a node in addition to
its position, S invariants of a node, W vectors of the whole scan, M rows of any kind. Vectors are laid out
``[N, 3, D]``, so that a linear map of channels is one matrix product.
"""

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch
from plumbline.models.inputs import Inputs

_TINY = 1e-6
"""Added to squared lengths, so that a zero length has a gradient; larger than float16's smallest number."""


def edges_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the source and target of every edge, ``[E]`` each, sorted by target."""
    if batch.edge_index is None:
        raise ValueError("the batch was built without edges (needs 'edge_index')")
    return batch.edge_index[0], batch.edge_index[1]


def length(vectors: Tensor, dim: int = -1) -> Tensor:
    """Compute lengths along ``dim``, which is kept with size 1.

    The length of a zero vector is 1e-3, and its gradient is zero.
    """
    return (vectors.square().sum(dim, keepdim=True) + _TINY).sqrt()


def mean_by(x: Tensor, group: Tensor, num: int) -> Tensor:
    """Compute the mean of the rows of each group, zero for a group without rows.

    Sums use ``index_add``: forward and backward together it is the fastest way on a CPU, for any group size.

    Args:
        x: ``[M, ...]``.
        group: ``[M]`` int64 group of each row, below ``num``.
        num: number of groups.

    Returns:
        ``[num, ...]`` in the dtype of ``x``.
    """
    total = x.new_zeros(num, *x.shape[1:]).index_add(0, group, x)
    # Not bincount: with a GPU it makes the host wait for the largest group number.
    count = group.new_zeros(num).index_add(0, group, torch.ones_like(group)).clamp_min(1)
    return total / count.view(-1, *[1] * (x.dim() - 1)).to(x.dtype)


def softmax_by(x: Tensor, group: Tensor, num: int) -> Tensor:
    """Compute the softmax of logits ``[M, 1]`` within each group: ``[M, 1]`` that sum to 1 per group."""
    highest = x.detach().new_full((num,), -torch.inf).scatter_reduce(0, group, x.detach()[:, 0], "amax")
    weight = (x - highest[group][:, None]).exp()
    total = weight.new_zeros(num, 1).index_add(0, group, weight)
    return weight / total[group]


def edge_lengths(pos: Tensor, batch: Batch) -> Tensor:
    """Compute the mean edge length ``[G]`` of each graph in units of ``pos``.

    It is 1 for a graph without edges, or with edges of length zero only.
    """
    source, target = edges_of(batch)
    lengths = (pos[source] - pos[target]).norm(dim=1)
    mean = mean_by(lengths, batch.graph_idx[target], batch.num_graphs)
    return torch.where(mean > 0, mean, 1.0)


class Geometry:
    """Inputs of a batch in the precision of a network, with vectors as columns.

    Attributes:
        pos: ``[N, 3]`` centred and scaled positions.
        vectors: ``[N, 3, 1 + V]`` position and vectors of each node.
        graph_vectors: ``[G, 3, W]`` vectors of the whole scan.
        invariants: ``[N, S]``: all dot products among the node's position and vectors and the vectors of the
            scan, then the node's scalars.
        graph_idx: ``[N]`` the graph of each node.
        num_graphs: G.
        edge_length: ``[G]`` mean length of the edges, in units of ``pos``.
    """

    def __init__(self, inputs: Inputs, batch: Batch, dtype: torch.dtype) -> None:
        given = inputs(batch)
        self.edge_length = edge_lengths(given.pos, batch).to(dtype)
        self.graph_idx, self.num_graphs = batch.graph_idx, batch.num_graphs
        self.pos = given.pos.to(dtype)
        own = torch.cat([given.pos[:, None], given.vectors], 1)
        every = torch.cat([own, given.graph_vectors[self.graph_idx]], 1)
        rows, cols = torch.triu_indices(every.shape[1], every.shape[1], device=every.device)
        products = (every[:, rows] * every[:, cols]).sum(2)
        self.invariants = torch.cat([products, given.scalars], 1).to(dtype)
        self.vectors = own.mT.contiguous().to(dtype)
        self.graph_vectors = given.graph_vectors.mT.contiguous().to(dtype)

    @staticmethod
    def num_invariants(inputs: Inputs) -> int:
        """Count the invariants of a node, S."""
        num = 1 + inputs.num_vectors + inputs.num_graph_vectors
        return num * (num + 1) // 2 + inputs.num_scalars


def mlp(*widths: int, dropout: float = 0.0) -> nn.Sequential:
    """Build a multilayer perceptron: linear maps of the given widths with SiLU (and dropout) between them."""
    parts: list[nn.Module] = []
    for before, after in zip(widths[:-2], widths[1:-1], strict=True):
        parts += [nn.Linear(before, after), nn.SiLU(), nn.Dropout(dropout)]
    return nn.Sequential(*parts, nn.Linear(widths[-2], widths[-1]))


class EquivariantNorm(nn.Module):
    """Layer norm for scalars; vectors are divided by the root mean square length of their node's vectors."""

    def __init__(self, hidden_dim: int, vector_dim: int) -> None:
        super().__init__()
        self.scalars = nn.LayerNorm(hidden_dim)
        self.scale = nn.Parameter(torch.ones(vector_dim))

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise scalars ``[N, C]`` and vectors ``[N, 3, D]`` (or other rows that rotate together)."""
        mean_square = v.square().sum((-2, -1), keepdim=True) / v.shape[-1]
        return self.scalars(s), v * torch.rsqrt(mean_square + 1e-5) * self.scale


class Readout(nn.Module):
    """Weighted mean of the node positions, plus learned multiples of vectors. Symmetry: E(3).

    The weights are a softmax over the nodes of a graph, so the weighted mean lies within their convex hull.
    The vectors are those of the nodes and of the whole scan. Untrained, the result is the mean of the points:
    equal weights and no vectors.

    Args:
        hidden_dim: C.
        vector_dim: D.
        num_graph: W.
        dropout: share of hidden scalars dropped in training.
    """

    def __init__(self, hidden_dim: int, vector_dim: int, num_graph: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_dim)
        self.vote = nn.Linear(hidden_dim, 1, bias=False)
        self.gate = nn.Linear(hidden_dim, vector_dim, bias=False)
        self.whole = mlp(hidden_dim, hidden_dim, vector_dim + num_graph, dropout=dropout)
        last = self.whole[-1]
        assert isinstance(last, nn.Linear)
        for weight in (self.vote.weight, self.gate.weight, last.weight, last.bias):
            nn.init.zeros_(weight)

    def forward(self, s: Tensor, pos: Tensor, v: Tensor, geometry: Geometry) -> Tensor:
        """Predict ``[G, 3]`` from scalars ``[N, C]``, positions ``[N, 3]`` and vectors ``[N, 3, D]``."""
        graph, num = geometry.graph_idx, geometry.num_graphs
        s = self.norm(s)
        weighted = softmax_by(self.vote(s), graph, num) * pos
        votes = weighted.new_zeros(num, 3).index_add(0, graph, weighted)
        gated = (v * self.gate(s)[:, None]).sum(2)
        vectors = torch.cat([mean_by(v, graph, num), geometry.graph_vectors], 2)
        weights = self.whole(mean_by(s, graph, num))
        result: Tensor = votes + mean_by(gated, graph, num) + (vectors * weights[:, None]).sum(2)
        return result
