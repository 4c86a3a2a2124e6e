"""Which entries of which weights read which features, so that weights can move to other features.

A network without the method ``feature_axes`` can only be fine-tuned on data with the features that it knows.
"""

from collections.abc import Hashable, Sequence
from itertools import product

from plumbline.models.inputs import Inputs

Labels = Sequence[Hashable]
"""What each entry along an axis of a weight reads: a name, or a tuple of names and numbers that says the same
whatever other features there are. None: nothing, its input is always 0."""
FeatureAxes = dict[str, tuple[int, Labels]]
"""Name of a weight to the axis whose length depends on the features, and its labels."""


def rows(layer: str, labels: Labels) -> FeatureAxes:
    """The rows of weight and bias of a linear layer whose outputs have these labels."""
    return {f"{layer}.weight": (0, labels), f"{layer}.bias": (0, labels)}


def invariants_axis(inputs: Inputs) -> tuple[int, Labels]:
    """The columns of a layer that reads ``equivariant.Geometry.invariants``."""
    every = [*inputs.vector_names, *inputs.graph_names]
    products = [(name, other) for i, name in enumerate(every) for other in every[i:]]
    return 1, [*products, *inputs.scalar_names]


def point_network_axes(inputs: Inputs, num_pooled: int, frame: str = "") -> FeatureAxes:
    """Those of a ``models.pointnet.PointNetwork`` named ``net``, whose weights fit one kind of frame."""
    of_point = [*product([frame], inputs.vector_names, range(3)), *inputs.scalar_names]
    of_graph = [*range(num_pooled), *product([frame], inputs.graph_names, range(3))]
    return {"net.points.0.weight": (1, of_point), "net.head.0.weight": (1, of_graph)}
