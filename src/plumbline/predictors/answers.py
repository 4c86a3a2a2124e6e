"""What a predictor finds for G graphs, as arrays."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from plumbline.records import Float


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Predictions for G graphs, float64; None for what the predictor does not predict.

    Attributes:
        com: ``[G, 3]`` centres of mass.
        expected_error: ``[G]`` errors that the model expects.
        covariance: ``[G, 3, 3]`` covariances of the errors, not calibrated.
        volume: ``[G]`` volumes of the objects.
        inertia: ``[G, 3, 3]`` inertia tensors about the centres of mass per unit mass.
        features: ``[G, C]`` descriptions of the scans, see :class:`plumbline.models.answer.Answer`.
    """

    com: Float
    expected_error: Float | None = None
    covariance: Float | None = None
    volume: Float | None = None
    inertia: Float | None = None
    features: Float | None = None

    def changed(self, change: Callable[[Float], Float]) -> "Answers":
        """Apply a function to every array."""
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        changed = {name: None if value is None else change(value) for name, value in values.items()}
        return replace(self, **changed)  # type: ignore[arg-type]  # com is never None

    def placed(self, origin: Float, scale: Float) -> "Answers":
        """Transform from stored frames to ``origin + scale * stored``, with ``[G, 3]`` and ``[G]``."""
        area = scale[:, None, None] ** 2
        return Answers(
            com=origin + scale[:, None] * self.com,
            expected_error=None if self.expected_error is None else scale * self.expected_error,
            covariance=None if self.covariance is None else area * self.covariance,
            volume=None if self.volume is None else scale**3 * self.volume,
            inertia=None if self.inertia is None else area * self.inertia,
            features=self.features,
        )
