"""What the equivariant networks share: means, safe lengths, norms, the first scalars and the answer.

Letters: N nodes, E edges, G graphs, C scalar channels, D vector channels, W vectors of the whole scan.
Vectors are laid out ``[N, 3, D]``, so that a linear map of channels is one matrix product.
"""

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch
from plumbline.models.inputs import Inputs

_TINY = 1e-6
"""Added to squared lengths, so that a length of zero has a gradient; above the smallest number of float16."""


def edges_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Source and target of every edge, ``[E]`` each, sorted by target."""
    if batch.edge_index is None:
        raise ValueError("the batch was built without edges (needs 'edge_index')")
    return batch.edge_index[0], batch.edge_index[1]


def length(vectors: Tensor, dim: int = -1) -> Tensor:
    """Lengths along ``dim``, which stays with size 1; at zero they are 1e-3 and their gradient is zero."""
    return (vectors.square().sum(dim, keepdim=True) + _TINY).sqrt()


def mean_by(x: Tensor, group: Tensor, num: int) -> Tensor:
    """Means of the rows of each group, zero for a group without rows.

    Summed by ``index_add``: forward and backward together it is the fastest on a CPU for groups of any size.

    Args:
        x: ``[M, ...]``.
        group: ``[M]`` int64 below ``num``.
        num: how many groups.

    Returns:
        ``[num, ...]`` in the type of ``x``.
    """
    total = x.new_zeros(num, *x.shape[1:]).index_add(0, group, x)
    # Not bincount: it makes the host wait for a GPU, to see how many there are.
    count = group.new_zeros(num).index_add(0, group, torch.ones_like(group)).clamp_min(1)
    return total / count.view(-1, *[1] * (x.dim() - 1)).to(x.dtype)


def softmax_by(x: Tensor, group: Tensor, num: int) -> Tensor:
    """``[M, 1]`` shares that sum to one within each group, of logits ``[M, 1]``."""
    highest = x.detach().new_full((num,), -torch.inf).scatter_reduce(0, group, x.detach()[:, 0], "amax")
    weight = (x - highest[group][:, None]).exp()
    total = weight.new_zeros(num, 1).index_add(0, group, weight)
    return weight / total[group]


def edge_lengths(pos: Tensor, batch: Batch) -> Tensor:
    """``[G]`` mean length of a graph's edges in units of ``pos``; 1 where there are none, or all are zero."""
    source, target = edges_of(batch)
    lengths = (pos[source] - pos[target]).norm(dim=1)
    mean = mean_by(lengths, batch.graph_idx[target], batch.num_graphs)
    return torch.where(mean > 0, mean, 1.0)


class Geometry:
    """Inputs of a batch in the precision of a network, vectors as columns.

    Attributes:
        pos: ``[N, 3]`` centred and scaled positions.
        vectors: ``[N, 3, 1 + V]``: the position and the vectors of each node.
        graph_vectors: ``[G, 3, W]``.
        invariants: ``[N, S]`` scalars of each node and all dot products of its vectors and the graph's.
        graph_idx: ``[N]`` the graph of every node.
        num_graphs: G.
        edge_length: ``[G]`` mean length of the edges.
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
        """S."""
        num = 1 + inputs.num_vectors + inputs.num_graph_vectors
        return num * (num + 1) // 2 + inputs.num_scalars


def mlp(*widths: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear maps with SiLU (and dropout) between them."""
    parts: list[nn.Module] = []
    for before, after in zip(widths[:-2], widths[1:-1], strict=True):
        parts += [nn.Linear(before, after), nn.SiLU(), nn.Dropout(dropout)]
    return nn.Sequential(*parts, nn.Linear(widths[-2], widths[-1]))


class EquivariantNorm(nn.Module):
    """Layer norm of the scalars; vectors divided by the root mean square length of a node's vectors."""

    def __init__(self, hidden_dim: int, vector_dim: int) -> None:
        super().__init__()
        self.scalars = nn.LayerNorm(hidden_dim)
        self.scale = nn.Parameter(torch.ones(vector_dim))

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """``[N, C]`` and ``[N, 3, D]`` (or other rows that turn together) to the same."""
        mean_square = v.square().sum((-2, -1), keepdim=True) / v.shape[-1]
        return self.scalars(s), v * torch.rsqrt(mean_square + 1e-5) * self.scale


class Readout(nn.Module):
    """Where the nodes vote, plus learned multiples of their vectors and of the scan's. Symmetry: E(3).

    The votes are a softmax over the nodes of a graph, hence the answer of the votes is never outside of them.
    Starts as the mean of the points: equal votes and no vectors.

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
        """``[G, 3]`` of scalars ``[N, C]``, places ``[N, 3]`` and vectors ``[N, 3, D]``."""
        graph, num = geometry.graph_idx, geometry.num_graphs
        s = self.norm(s)
        weighted = softmax_by(self.vote(s), graph, num) * pos
        votes = weighted.new_zeros(num, 3).index_add(0, graph, weighted)
        gated = (v * self.gate(s)[:, None]).sum(2)
        vectors = torch.cat([mean_by(v, graph, num), geometry.graph_vectors], 2)
        weights = self.whole(mean_by(s, graph, num))
        result: Tensor = votes + mean_by(gated, graph, num) + (vectors * weights[:, None]).sum(2)
        return result
