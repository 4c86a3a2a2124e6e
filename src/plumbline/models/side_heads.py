"""Heads that say more than the centre of mass: covariance of its error, volume, inertia.

No gradient flows from them into the rest of the network, so that they cannot change the centre of mass.
Letters: G graphs, T tokens per graph, C scalar channels, D vector channels, R vectors per token.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from plumbline.models.blocks import max_pool

_RANK = 4
"""R, the vectors of each token whose outer products are added up."""
_TYPICAL = 2.0
"""Natural logarithm of the object's size divided by a typical error in one direction."""


class OuterProducts(nn.Module):
    """Positive semidefinite tensors of graphs: means over the tokens of sums of outer products ``u u^T``.

    The R vectors ``u`` of a token are mixtures of its D vectors and its position, gated by its scalars.
    Vectors of the whole graph would not do: where the scan has a mirror plane, they all lie in it.

    Symmetry: O(3). With a rotation Q, the tensor A becomes ``Q A Q^T``.
    """

    def __init__(self, hidden_dim: int, vector_dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden_dim, vector_dim)
        self.mix = nn.Linear(vector_dim, _RANK, bias=False)

    def forward(self, s: Tensor, v: Tensor) -> Tensor:
        """Compute ``[G, 3, 3]``, in float32 at least.

        Args:
            s: ``[G, T, C]`` scalars of the tokens.
            v: ``[G, T, 3, D]`` vectors of the tokens.
        """
        u = self.mix(v * self.gate(s)[:, :, None])
        u = u.transpose(1, 2).flatten(2)
        u = u.to(torch.promote_types(u.dtype, torch.float32))
        # Not a matrix product: autocast would round it, and the sum with a smaller tensor be indefinite.
        products: Tensor = (u[:, :, None] * u[:, None]).sum(3)
        return products / v.shape[1]


class SideHeads(nn.Module):
    """Predicts the covariance of the error, and the volume and inertia of the object.

    The inertia belongs to the positive definite second moment S of the mass: ``J = tr(S) I - S``. So its
    principal moments fulfil the triangle inequality, as those of every body do.

    Args:
        hidden_dim: C.
        vector_dim: D.
        payload: predict volume and inertia, too.
    """

    def __init__(self, hidden_dim: int, vector_dim: int, *, payload: bool) -> None:
        super().__init__()
        self.doubt = OuterProducts(hidden_dim, vector_dim + 1)
        self.doubt_size = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim // 2), nn.SiLU(), nn.Linear(hidden_dim // 2, 1)
        )
        self.moments = OuterProducts(hidden_dim, vector_dim + 1) if payload else None
        self.sizes = Sizes(hidden_dim) if payload else None

    def forward(
        self, s: Tensor, v: Tensor, pos: Tensor, pooled: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Predict in units of each graph's size.

        Args:
            s: ``[G, T, C]`` normalised scalars of the tokens.
            v: ``[G, T, 3, D]`` normalised vectors of the tokens.
            pos: ``[G, T, 3]`` positions of the tokens relative to the predicted centre of mass.
            pooled: ``[G, C]`` mean of the scalars.

        Returns:
            ``[G, 3, 3]`` covariance, ``[G]`` logarithm of the volume, ``[G, 3, 3]`` inertia per unit mass;
            the last two are None without ``payload``.
        """
        v = torch.cat([v, pos[..., None]], -1)
        one = torch.eye(3, dtype=v.dtype, device=v.device)
        log_width = self.doubt_size(pooled)[:, :, None] - _TYPICAL
        covariance = torch.exp(2 * log_width) * (one + self.doubt(s, v))
        if self.moments is None or self.sizes is None:
            return covariance, None, None
        log_volume, log_width = self.sizes(s).split(1, 1)
        second = self.moments(s, v) + torch.exp(2 * (log_width - _TYPICAL))[:, :, None] * one
        trace = second.diagonal(dim1=1, dim2=2).sum(1)
        return covariance, log_volume[:, 0], trace[:, None, None] * one - second


class Sizes(nn.Module):
    """Two scalars of graphs ``[G, 2]`` from the scalars of their tokens ``[G, T, C]``."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.mix = nn.Linear(hidden_dim, 2 * hidden_dim)
        self.deep = nn.Linear(4 * hidden_dim, hidden_dim)
        self.last = nn.Linear(hidden_dim, 2)

    def forward(self, s: Tensor) -> Tensor:
        """Compute the scalars."""
        mixed = functional.silu(self.mix(s))
        pooled = torch.cat([mixed.mean(1), max_pool(mixed)], 1)
        found: Tensor = self.last(functional.silu(self.deep(pooled)))
        return found
