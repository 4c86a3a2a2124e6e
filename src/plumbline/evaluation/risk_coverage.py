"""Risk-coverage curves: the mean miss of the scans that are answered when the others are refused.

Scans are refused in the order of a score that is known when they are answered. The best possible order is
that of the misses themselves; a random one leaves the mean miss as it is.

Source: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks (2017); the area: Geifman,
Uziel and El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers (2019).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from plumbline.console.text import percent
from plumbline.records import Float

BEST, RANDOM = "best possible", "random"
SHARES = tuple(tenth / 10 for tenth in range(1, 11))
"""Shares of the scans that are answered, for which the plain values give the mean miss."""


def risk_coverage(errors: Float, score: Float) -> Float:
    """Mean error of those answered ``[S]``, when 1, 2, ... S scans are answered, those of least score first.

    Scans of equal score are answered in any order, and the result is the mean over all orders.

    Args:
        errors: ``[S]``.
        score: ``[S]`` the scans with the largest are refused first.
    """
    _, rank, count = np.unique(score, return_inverse=True, return_counts=True)
    means = np.bincount(rank, errors) / count
    found: Float = np.cumsum(np.repeat(means, count)) / np.arange(1, len(errors) + 1)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Refusal:
    """What a model's misses become when it may refuse scans.

    Attributes:
        curves: name of an order to its curve (:func:`risk_coverage`) over S scans: "novelty" and "expected
            error", where the model knows them, "best possible" and "random".
        unusual: share of the scans whose novelty is above 1; None if the model does not know it.
    """

    curves: dict[str, Float]
    unusual: float | None

    def area(self, order: str) -> float:
        """Area under a curve (AURC): the mean over all numbers of scans that may be answered."""
        return float(self.curves[order].mean())

    def at(self, order: str, share: float) -> float:
        """Mean miss when at least this share of the scans is answered."""
        curve = self.curves[order]
        return float(curve[max(int(np.ceil(share * len(curve) - 1e-9)), 1) - 1])

    def to_dict(self) -> dict[str, Any]:
        """Plain values: areas, and the mean miss for some shares of scans that are answered."""
        return {
            "unusual": self.unusual,
            "area": {order: self.area(order) for order in self.curves},
            "answered": list(SHARES),
            "miss": {order: [self.at(order, share) for share in SHARES] for order in self.curves},
        }


def refusal(misses: Float, *, novelty: Float | None, relative: Float | None) -> Refusal | None:
    """The curves of a model; None if it knows nothing by which it could refuse a scan.

    Args:
        misses: ``[S]`` fractions of the radius of each object.
        novelty: ``[S]``, see :class:`plumbline.predictors.prediction.Prediction`; or None.
        relative: ``[S]`` expected errors, as fractions of ``extent`` of each scan, or None: the size of the
            object itself is not known when it is answered.
    """
    scores: Mapping[str, Float | None] = {"novelty": novelty, "expected error": relative}
    known = {name: score for name, score in scores.items() if score is not None}
    if not known:
        return None
    known |= {BEST: misses, RANDOM: np.zeros(len(misses))}
    curves = {name: risk_coverage(misses, score) for name, score in known.items()}
    return Refusal(curves, None if novelty is None else float((novelty > 1).mean()))


def sentence(found: Refusal) -> str:
    """What refusing a fifth of the scans does, in words."""
    orders = [name for name in found.curves if name != RANDOM]
    left = ", ".join(f"{percent(found.at(name, 0.8))} ({name})" for name in orders)
    areas = ", ".join(f"{percent(found.area(name))} ({name})" for name in found.curves)
    unusual = (
        "" if found.unusual is None else f" {percent(found.unusual)} of the scans have a novelty above 1."
    )
    return (
        f"The mean miss is {percent(found.at(RANDOM, 1))} if all scans are answered; if a fifth is refused, "
        f"{left}. Areas under the curves: {areas}.{unusual}"
    )
