"""What a checkpoint says of the data that its model was trained on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedOn:
    """The data set of a training, its split, and how its graphs were made.

    Attributes:
        data_dir: the data set, as the training was given it.
        fingerprint: of its content.
        feature_names, vector_names: features of a node and vectors of a graph, in this order.
        leaders: number of first nodes that are in farthest-point order; 0 if unknown.
        k: neighbours of a node; None for graphs of another kind.
        edge_attr: kind of edge attributes.
        sh_degree: degree of the harmonics among them, or None.
        normalise: the stored frame; "unknown" where the data set does not say.
        num_train, num_val: graphs on either side of the split.
        objects: marks of the objects that were trained on (:func:`plumbline.data.split.mark_objects`);
            None if unknown.
        val_split, split_by, seed: how the data set was split.
    """

    data_dir: str
    fingerprint: str
    feature_names: tuple[str, ...]
    vector_names: tuple[str, ...]
    leaders: int
    k: int | None
    edge_attr: str
    sh_degree: int | None
    normalise: str
    num_train: int
    num_val: int
    objects: str | None
    val_split: float
    split_by: str
    seed: int

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainedOn":
        """From the plain values of :meth:`to_dict`. Raises TypeError or KeyError if they are others."""
        names = {key: tuple(values[key]) for key in ("feature_names", "vector_names")}
        return cls(**{**values, **names})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint holds them."""
        return asdict(self) | {
            "feature_names": list(self.feature_names),
            "vector_names": list(self.vector_names),
        }
