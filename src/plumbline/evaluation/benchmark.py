"""ScanCoM: how well a method finds centres of mass under stated conditions, so that others can compare.

The conditions are fixed; what is measured is the displacement as a fraction of the object's bounding radius.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from plumbline.data.store.reader import Gathered, PackedStore
from plumbline.errors import InputError
from plumbline.evaluation.metrics import Errors, displacement_errors, summarise_errors
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.untrained import BASELINES, baseline_predictions
from plumbline.records import Float, Int

EDITION = 1
"""Rises when a number could change for a reason other than the method or the objects."""
SEED = 20_231
"""Of sensors, noise and built-in solids; not that of ``plumbline prepare``, whose solids are trained on."""
SHARES = (0.05, 0.1)
"""Displacements below which scans are counted."""


class Condition(NamedTuple):
    """How scans are taken: sensors, range noise (1 sigma, of the radius), points kept, and which ones."""

    views: int
    noise: float
    points: int
    sampling: str = "farthest"

    @property
    def name(self) -> str:
        """For folders and JSON, e.g. ``v1-noise0.01-256-farthest``."""
        return f"v{self.views}-noise{self.noise:g}-{self.points}-{self.sampling}"

    @property
    def title(self) -> str:
        """In words, e.g. ``1 view, 1 % noise, 256 points``."""
        views = f"{self.views} view{'s' if self.views > 1 else ''}"
        noise = f"{100 * self.noise:g} % noise" if self.noise else "no noise"
        return f"{views}, {noise}, {self.points} {'random ' * (self.sampling == 'random')}points"


VIEWS = (1, 3)
MAIN = tuple(Condition(views, 0.01, 256) for views in VIEWS)
"""The conditions by which methods are ranked."""
CONDITIONS = tuple(
    condition
    for views in VIEWS
    for condition in (
        *(Condition(views, noise, points) for noise in (0.0, 0.01, 0.03) for points in (128, 256, 512)),
        Condition(views, 0.01, 256, "random"),
    )
)

OPTICS: dict[str, Any] = {
    "pattern": "grid",
    "num_rays": 1600,
    "distance": (2.0, 3.0),
    "dropout_grazing": float(np.radians(80.0)),
    "pose_error": (0.0, 0.0),
    "rotate": True,
}
"""What all conditions share: a camera aimed at the object, turned at random before every scan."""


class Asked(NamedTuple):
    """A trained model that is measured: ``answer(store, indices)`` gives ``[G, 3]``, stored frame.

    Attributes:
        name: in the tables.
        form: the graphs that it takes.
        answer: of graphs of that form.
    """

    name: str
    form: GraphForm
    answer: Callable[[Any, Int], Float]


class AsTrained:
    """A store whose graphs have the features, vectors and neighbours that a model was trained with.

    Args:
        store: with all features and vectors, and no fewer neighbours.
        form: what the model takes.
    """

    has_point_cloud = False

    def __init__(self, store: PackedStore, form: GraphForm) -> None:
        self._store = store
        self._columns = [store.feature_names.index(name) for name in form.feature_names]
        self._rows = [store.vector_names.index(name) for name in form.vector_names]
        self.feature_names, self.vector_names = form.feature_names, form.vector_names
        self.leaders, self.k = form.leaders, form.k
        # Room for edges is made by the store's own, which are no fewer.
        self.node_ptr, self.edge_ptr = store.node_ptr, store.edge_ptr

    def __len__(self) -> int:
        return len(self._store)

    def gather(self, indices: Int, *, edge_attr: bool = False) -> Gathered:
        """As :meth:`PackedStore.gather`, without the farthest neighbours of every node."""
        found = self._store.gather(indices, edge_attr=edge_attr)
        found = found._replace(
            node_features=found.node_features[:, self._columns], vectors=found.vectors[:, self._rows]
        )
        if self.k is None or self.k == self._store.k:
            return found
        first = np.cumsum(found.in_degree) - found.in_degree
        kept = np.arange(len(found.edge_source)) - np.repeat(first, found.in_degree) < self.k
        degree = np.minimum(found.in_degree, self.k)
        edges = np.concatenate([[0], np.cumsum(degree, dtype=np.int64)])
        return found._replace(
            in_degree=degree,
            edge_source=found.edge_source[kept],
            edge_ptr=edges[found.node_ptr],
            edge_attr=None if found.edge_attr is None else found.edge_attr[kept],
        )


def measure(store: PackedStore, asked: Sequence[Asked], baselines: Sequence[str]) -> dict[str, Errors]:
    """Errors of models and untrained baselines on all graphs of a store, by name.

    Raises:
        InputError: an answer is no finite number.
    """
    everything = np.arange(len(store))
    answers = {one.name: one.answer(AsTrained(store, one.form), everything) for one in asked}
    for name, answer in answers.items():
        broken = int((~np.isfinite(answer).all(axis=1)).sum())
        if broken:
            raise InputError(
                f"{name} answers {broken} of {len(store)} scans with no finite number; its weights are "
                "damaged or its training diverged"
            )
    if baselines:
        answers |= baseline_predictions(store, everything, baselines).predictions
    objects = np.array(store.object_names, dtype=object)[store.object_idx]
    return {
        name: displacement_errors(
            answer, store.target, bounding_radius=store.bounding_radius, scale=store.scale, objects=objects
        )
        for name, answer in answers.items()
    }


def figures(errors: Errors) -> dict[str, Any]:
    """What is said of one method under one condition, in shares of the bounding radius, as plain values."""
    return {
        **summarise_errors(errors.error_rel, errors.objects).to_dict(),
        **{f"below_{share:g}": float((errors.error_rel < share).mean()) for share in SHARES},
        "sources": {
            group: {
                "objects": len(np.unique(part.objects)),
                "n": len(part),
                "mean": float(part.error_rel.mean()),
            }
            for group, part in errors.by_group().items()
        },
    }


def best_baseline(conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """The untrained baseline of least mean under the main conditions, all of them counted alike.

    Args:
        conditions: condition name to its part of the result.
    """
    rows = [conditions[condition.name]["methods"] for condition in MAIN]
    names = [name for name in BASELINES if name in rows[0]]
    return min(names, key=lambda name: sum(row[name]["mean"] for row in rows))
