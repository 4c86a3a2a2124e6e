"""The description of the training data in a checkpoint."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedOn:
    """The training data set, its split, and how its graphs were made.

    Attributes:
        data_dir: the data set, or several, as given to the training.
        fingerprint: fingerprint of its content.
        feature_names, vector_names: features of a node and vectors of a graph, in this order.
        leaders: the first ``leaders`` nodes are in farthest-point order; 0 if unknown.
        k: neighbours of a node; None for any other kind of graph.
        edge_attr: kind of edge attributes.
        sh_degree: degree of the harmonics for "sh", else None.
        normalise: the stored frame; "unknown" if the data set does not record it.
        num_train, num_val: number of training and validation graphs.
        objects: marks of the training objects (:func:`plumbline.data.split.mark_objects`); None if unknown.
        val_split, split_by, seed: how the data set was split, unless ``split`` says it.
        num_points: fewest and most points of a training graph, without the hundredth of the graphs at either
            end; None if unknown.
        split: the split that the user gave, see :func:`plumbline.data.split_file.read_split`; else None.
    """

    data_dir: str | list[str]
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
    num_points: tuple[int, int] | None = None
    split: dict[str, list[str]] | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainedOn":
        """Build from the plain values of :meth:`to_dict`. Raises TypeError or KeyError for any others."""
        names = {key: tuple(values[key]) for key in ("feature_names", "vector_names")}
        if (points := values.get("num_points")) is not None:
            fewest, most = points
            names["num_points"] = (int(fewest), int(most))
        return cls(**{**values, **names})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint holds them; without what is optional if it is None."""
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        optional = ("num_points", "split")
        return {name: value for name, value in values.items() if name not in optional or value is not None}
