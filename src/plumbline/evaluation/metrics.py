"""Displacement errors of predictions, and their summaries.

The displacement ``||predicted - true||`` of a graph is given in three units: ``error`` in stored units (the
unit of the data set and of ``val_error``), ``error_m`` in metres, and ``error_rel`` as a fraction of the
object's bounding-sphere radius, which makes objects comparable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from plumbline.data.split import group_of
from plumbline.errors import InputError
from plumbline.records import Float, Int

if TYPE_CHECKING:
    from plumbline.data.store.reader import PackedStore

RESAMPLES = 2000
"""Bootstrap resamples; with this many, the ends of a 95 % interval vary by a few per cent of its width."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary statistics of many errors.

    Attributes:
        n: number of graphs.
        mean, median, p90: mean, median and 90th percentile of the errors.
        low, high: 95 % interval of the mean, by resampling objects; NaN for a single object.
    """

    n: int
    mean: float
    median: float
    p90: float
    low: float = float("nan")
    high: float = float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, with None for unknown values."""
        return {key: None if value != value else value for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Errors:
    """Displacement errors of G graphs, one value per graph.

    Attributes:
        error: ``[G]`` stored units.
        error_rel: ``[G]`` fraction of the bounding-sphere radius.
        error_m: ``[G]`` metres.
        objects: ``[G]`` object names; graphs of one object are not independent.
    """

    error: Float
    error_rel: Float
    error_m: Float
    objects: np.ndarray

    def __len__(self) -> int:
        return len(self.error)

    @property
    def groups(self) -> np.ndarray:
        """``[G]`` group of each graph's object: its name before the last slash, or the object itself."""
        names, inverse = np.unique(self.objects, return_inverse=True)
        return np.array([group_of(str(name)) for name in names], dtype=object)[inverse]

    def by_group(self) -> dict[str, "Errors"]:
        """The errors of each group, by name; empty if every object is its own group."""
        groups = self.groups
        if (groups == self.objects).all():
            return {}
        return {str(group): self.take(groups == group) for group in np.unique(groups)}

    def take(self, chosen: Int | np.ndarray) -> "Errors":
        """The errors of some graphs (indices or mask)."""
        return Errors(self.error[chosen], self.error_rel[chosen], self.error_m[chosen], self.objects[chosen])

    def summary(self, kind: str = "error_rel", *, resamples: int = RESAMPLES) -> Summary:
        """Summarise one kind of error: ``"error"``, ``"error_rel"`` or ``"error_m"``."""
        return summarise_errors(getattr(self, kind), self.objects, resamples=resamples)


def refuse_nonfinite(answers: Mapping[str, Float], indices: Int, *, trained: bool) -> None:
    """Refuse predictions that are not finite.

    Args:
        answers: method to its predictions ``[G, 3]``.
        indices: ``[G]`` graphs, for the message.
        trained: whether these are trained models, whose message says what may have happened.

    Raises:
        InputError: a prediction is not finite.
    """
    for name, answer in answers.items():
        broken = np.flatnonzero(~np.isfinite(answer).all(axis=1))
        if len(broken):
            why = "; its weights are damaged or its training diverged" if trained else ""
            raise InputError(
                f"the predictions of {name} for {len(broken)} of {len(indices)} scans are not finite (the "
                f"first is graph {indices[broken[0]]}){why}"
            )


def displacement_errors(
    predicted: Float,
    target: Float,
    *,
    bounding_radius: Float,
    scale: Float,
    objects: Sequence[str] | np.ndarray,
) -> Errors:
    """Displacement errors of predictions, in the stored frame.

    Args:
        predicted: ``[G, 3]`` predictions.
        target: ``[G, 3]`` true centres of mass.
        bounding_radius: ``[G]`` radius of each whole object, stored units.
        scale: ``[G]`` metres per stored unit.
        objects: ``[G]`` object names.
    """
    difference = np.asarray(predicted, dtype=np.float64) - np.asarray(target, dtype=np.float64)
    error = np.linalg.norm(difference, axis=-1)
    return Errors(error, error / bounding_radius, error * scale, np.asarray(objects, dtype=object))


def errors_on(store: "PackedStore", indices: Int, predictions: Mapping[str, Float]) -> dict[str, Errors]:
    """Errors by method on the graphs ``indices [G]`` of a store; ``predictions``: method to ``[G, 3]``."""
    objects = np.array(store.object_names, dtype=object)[store.object_idx[indices]]
    radius, scale = store.bounding_radius[indices], store.scale[indices]
    return {
        name: displacement_errors(
            predicted, store.target[indices], bounding_radius=radius, scale=scale, objects=objects
        )
        for name, predicted in predictions.items()
    }


def summarise_errors(
    values: Float, objects: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES
) -> Summary:
    """Summarise errors ``[G]`` of at least one graph; ``objects`` ``[G]`` names the object of each."""
    values = np.asarray(values, dtype=np.float64)
    median, p90 = np.quantile(values, (0.5, 0.9))
    low, high = bootstrap_mean(values, objects, seed=seed, resamples=resamples)
    return Summary(len(values), float(values.mean()), float(median), float(p90), low, high)


def bootstrap_mean(
    values: Float, objects: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile interval of the mean over graphs, by resampling whole objects (cluster bootstrap).

    Scans of one object share its difficulty, so resampling single graphs would give an interval that is too
    narrow. Deterministic for a seed, and independent of the order of the graphs up to rounding.

    Source: Davison & Hinkley, *Bootstrap Methods and their Application*, section 3.8.

    Returns:
        (low, high); NaN for fewer than two objects.
    """
    _, inverse = np.unique(np.asarray(objects, dtype=object), return_inverse=True)
    sums = np.bincount(inverse, weights=values)
    counts = np.bincount(inverse).astype(np.float64)
    num = len(sums)
    if num < 2 or resamples < 1:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, 4_000_000 // num)
    for start in range(0, resamples, step):
        drawn = rng.integers(0, num, size=(min(step, resamples - start), num))
        means[start : start + step] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
