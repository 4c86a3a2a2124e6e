"""PointNet in frames of the scan itself, averaged: any network made equivariant. A strong simple reference.

Letters: N nodes, G graphs, H frames per graph.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch
from plumbline.models.equivariant import mean_by
from plumbline.models.inputs import Inputs, NodeInputs
from plumbline.models.pointnet import PointNetwork


class FramedPointNet(nn.Module):
    """PointNet in the frame of the sensor, averaged over the frames that cannot be told apart.

    The first axis is the mean direction to the sensors, the second the principal direction of the points
    across it, the third what is left. The signs of the second and third are nobody's to choose, so the
    network answers in all 4 frames and the mean of its answers is the answer. Points without directions to
    a sensor (not in the data set, or switched off) get their 3 principal directions instead, in 8 frames.
    Nothing but rounding breaks the symmetry as long as the frame is well defined. Where two principal
    directions have the same spread, or the mean direction to the sensors is zero, the answer is an ordinary
    finite one, but it jumps when the points move a little, and symmetry is lost for any method of this kind.

    Symmetry: E(3), and scale.
    In: positions, vectors and scalars of nodes, vectors of the scan (any of them may be missing but the
    positions), stored frame. Out: ``[G, 3]`` centre of mass, stored frame; untrained, the mean of the points.
    Source: Puny et al., "Frame Averaging for Invariant and Equivariant Network Design" (2022); Qi et al.,
    "PointNet" (2017).

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: which of them to use; all by default.
        hidden_dim: channels per point; the pooled layer is four times as wide.
        num_layers: layers of the network on points.
        dropout: share of hidden channels of the head dropped in training.
    """

    symmetry = "E(3)"
    needs: frozenset[str] = frozenset()

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
        vectors = [name for name in self.inputs.names if name in ("sensor", "normal")]
        self.sensor = vectors.index("sensor") if "sensor" in vectors else None
        self.net = PointNetwork(self.inputs, hidden_dim, num_layers, dropout)

    def forward(self, batch: Batch) -> Tensor:
        """``[G, 3]`` in the type of the weights."""
        dtype = self.net.last.weight.dtype
        given, graph_idx, num = self.inputs(batch), batch.graph_idx, batch.num_graphs
        view = None
        if self.sensor is not None:
            view = mean_by(given.vectors[:, self.sensor], graph_idx, num)
        frames = all_frames(principal_axes(given.pos, graph_idx, num, view), signed=view is None)
        ways = frames.shape[1]
        of_node = frames[graph_idx]
        turned = NodeInputs(
            pos=_turn(given.pos[:, None], of_node)[:, :, 0].flatten(0, 1),
            vectors=_turn(given.vectors, of_node).flatten(0, 1),
            scalars=given.scalars.repeat_interleave(ways, 0),
            graph_vectors=_turn(given.graph_vectors, frames).flatten(0, 1),
        )
        group = (graph_idx[:, None] * ways + torch.arange(ways, device=graph_idx.device)).flatten()
        local = self.net(turned, group).to(dtype).view(num, ways, 1, 3)
        answer = (local * frames.mT.to(dtype)).sum(3).mean(1)
        return self.inputs.place(batch, answer)


def _turn(vectors: Tensor, frames: Tensor) -> Tensor:
    """``[M, D, 3]`` in the ``[M, H, 3, 3]`` frames: ``[M, H, D, 3]``; in full precision (no autocast)."""
    return (vectors[:, None, :, None] * frames[:, :, None]).sum(4)


def principal_axes(pos: Tensor, graph_idx: Tensor, num: int, view: Tensor | None) -> Tensor:
    """``[G, 3, 3]`` orthonormal rows: the view if there is one, then principal axes, the widest first.

    Args:
        pos: ``[N, 3]`` centred positions.
        graph_idx: ``[N]``.
        num: G.
        view: ``[G, 3]`` first axis, of any length; where it is zero, the first axis is arbitrary.
    """
    with torch.no_grad(), torch.autocast(pos.device.type, enabled=False):
        wide = pos.double()
        spread = mean_by(wide[:, :, None] * wide[:, None], graph_idx, num)
        if view is None:
            axes: Tensor = torch.linalg.eigh(spread).eigenvectors.mT.flip(1)
            return axes.to(pos.dtype)
        first = nn.functional.normalize(view.double(), dim=1, eps=1e-30)
        across = torch.eye(3, dtype=wide.dtype, device=pos.device) - first[:, :, None] * first[:, None]
        # With a spread along the view beyond that of all others, the view itself is the last eigenvector.
        beyond = 1 + spread.diagonal(dim1=1, dim2=2).sum(1)
        spread = across @ spread @ across + beyond[:, None, None] * first[:, :, None] * first[:, None]
        axes = torch.linalg.eigh(spread).eigenvectors.mT.flip(1)
        axes[:, 0] *= torch.where((axes[:, 0] * first).sum(1) < 0, -1.0, 1.0)[:, None]
        return axes.to(pos.dtype)


def all_frames(axes: Tensor, *, signed: bool) -> Tensor:
    """``[G, H, 3, 3]``: the axes with every choice of signs, of the first only if it is ``signed``."""
    signs = [(first, *rest) for first in ((1, -1) if signed else (1,)) for rest in product((1, -1), repeat=2)]
    return axes[:, None] * torch.tensor(signs, dtype=axes.dtype, device=axes.device)[:, :, None]
