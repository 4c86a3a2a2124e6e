"""PointNet made equivariant by frame averaging: a simple, strong reference network.

Letters: N nodes, G graphs, H frames per graph, M rows and D vectors of each row.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch
from plumbline.models.equivariant import mean_by
from plumbline.models.feature_axes import FeatureAxes, point_network_axes
from plumbline.models.inputs import Inputs, NodeInputs
from plumbline.models.pointnet import PointNetwork


class FramedPointNet(nn.Module):
    """PointNet in frames defined by the sensor and the points, averaged over all equivalent frames.

    The first axis is the mean direction to the sensors, the second the principal direction of the points
    perpendicular to it, the third is perpendicular to both. The signs of the second and third axes are
    arbitrary, so the prediction is the mean over all 4 frames. Without directions to a sensor (not in the
    data set, or not selected) the axes are the 3 principal directions of the points, and there are 8 frames.
    If the frame is well defined, the symmetry is exact up to rounding. If two principal directions have the
    same spread, or the mean direction to the sensors is zero, the prediction is still finite, but it jumps
    when the points move slightly and the symmetry is lost, as with any method of this kind.

    Symmetry: E(3), and scale.
    In: positions, vectors and scalars of nodes, vectors of the scan (all but the positions may be missing),
    stored frame. Out: ``[G, 3]`` centre of mass, stored frame; untrained, the mean of the points.
    Source: Puny et al., "Frame Averaging for Invariant and Equivariant Network Design" (2022); Qi et al.,
    "PointNet" (2017).

    Args:
        feature_names: columns of the node features.
        vector_names: vectors of the whole scan.
        features: the features to use; all by default.
        hidden_dim: channels per point; the pooled layer is four times as wide.
        num_layers: number of layers of the per-point network.
        dropout: share of the head's hidden channels dropped in training.
    """

    symmetry = "E(3)"
    needs: frozenset[str] = frozenset()
    heads = ("net.head", "net.last")

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

    def feature_axes(self, columns: Sequence[str]) -> FeatureAxes:
        """Which entries of which weights read which features."""
        frame = "principal" if self.sensor is None else "view"  # weights for one frame do not fit the other
        return point_network_axes(self.inputs, self.net.num_pooled, frame)

    def forward(self, batch: Batch) -> Tensor:
        """Predict the centre of mass ``[G, 3]``, in the dtype of the weights."""
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
    """Express vectors ``[M, D, 3]`` in frames ``[M, H, 3, 3]``: ``[M, H, D, 3]``.

    This is not a matrix product, so autocast does not lower its precision.
    """
    return (vectors[:, None, :, None] * frames[:, :, None]).sum(4)


def principal_axes(pos: Tensor, graph_idx: Tensor, num: int, view: Tensor | None) -> Tensor:
    """Compute orthonormal axes of each graph: the view direction if given, then the principal axes.

    Args:
        pos: ``[N, 3]`` centred positions.
        graph_idx: ``[N]`` the graph of each node.
        num: G.
        view: ``[G, 3]`` direction of the first axis, of any length; if it is zero, the first axis is
            arbitrary.

    Returns:
        ``[G, 3, 3]`` with the axes as rows, principal axes in order of decreasing spread; no gradient.
    """
    with torch.no_grad(), torch.autocast(pos.device.type, enabled=False):
        wide = pos.double()
        spread = mean_by(wide[:, :, None] * wide[:, None], graph_idx, num)
        if view is None:
            axes: Tensor = torch.linalg.eigh(spread).eigenvectors.mT.flip(1)
            return axes.to(pos.dtype)
        first = nn.functional.normalize(view.double(), dim=1, eps=1e-30)
        across = torch.eye(3, dtype=wide.dtype, device=pos.device) - first[:, :, None] * first[:, None]
        # The spread along the view is made larger than any other, so the view is the last eigenvector.
        beyond = 1 + spread.diagonal(dim1=1, dim2=2).sum(1)
        spread = across @ spread @ across + beyond[:, None, None] * first[:, :, None] * first[:, None]
        axes = torch.linalg.eigh(spread).eigenvectors.mT.flip(1)
        axes[:, 0] *= torch.where((axes[:, 0] * first).sum(1) < 0, -1.0, 1.0)[:, None]
        return axes.to(pos.dtype)


def all_frames(axes: Tensor, *, signed: bool) -> Tensor:
    """Combine axes ``[G, 3, 3]`` with all choices of signs: ``[G, H, 3, 3]``.

    The first axis changes sign only if ``signed``: H is 8 then, otherwise 4.
    """
    signs = [(first, *rest) for first in ((1, -1) if signed else (1,)) for rest in product((1, -1), repeat=2)]
    return axes[:, None] * torch.tensor(signs, dtype=axes.dtype, device=axes.device)[:, :, None]
