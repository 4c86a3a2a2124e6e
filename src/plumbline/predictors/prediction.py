"""The prediction for one scan."""

from dataclasses import dataclass
from typing import Any

from plumbline.records import AS_IN_FILE, Float


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The prediction for one scan, in the frame and unit of its points.

    Attributes:
        com: ``[3]`` float64 centre of mass.
        expected_error: distance from the truth that the model expects; None if it expects none.
        radius_90: radius around ``com`` that contains the truth for 90 % of scans like those that the model
            was validated on; None if it is not available.
        extent: longest side of the bounding box of the object's points, along the axes of their frame.
        num_points: points of the scan.
        num_points_used: points that were used.
        left_out: share of the points that were left out because they are not connected to the object, 0 to 1.
        num_views: sensor positions from which the points were measured.
        sensor: how the sensor's position is known: "given", "from the file", "the camera" (of a depth image),
            "from the poses" (of several), or "assumed" at the origin of the points' frame.
        unit: of all lengths.
        covariance: ``[3, 3]`` covariance of the error. The ellipsoid in which a Gaussian of this covariance
            lies with probability 0.9, ``x^T C^-1 x <= 6.25`` around ``com``, contains the truth for 90 % of
            scans like those that the model was validated on; None if it is not available.
        volume: of the object, in the unit cubed; None if the model does not predict it.
        inertia: ``[3, 3]`` inertia tensor about the centre of mass per unit mass, axes of the frame of the
            points, in the unit squared; times the object's mass it is its inertia tensor. None if the model
            does not predict it.
        novelty: how unlike the scans of the training the scan is: 99 % of the scans that the model was
            validated on are below 1; None if it is not available.
        notes: what was left out or assumed while the file was read, a phrase each.
        warnings: why the prediction may be worse than it says, one sentence each.
    """

    com: Float
    expected_error: float | None
    radius_90: float | None
    extent: float
    num_points: int
    num_points_used: int
    left_out: float
    num_views: int
    sensor: str
    unit: str = AS_IN_FILE
    covariance: Float | None = None
    volume: float | None = None
    inertia: Float | None = None
    novelty: float | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as printed by ``plumbline predict --json``."""
        known = {
            "expected_error": self.expected_error,
            "radius_90": self.radius_90,
            "covariance": None if self.covariance is None else self.covariance.tolist(),
            "volume": self.volume,
            "inertia": None if self.inertia is None else self.inertia.tolist(),
            "novelty": None if self.novelty is None else round(self.novelty, 3),
        }
        return {
            "com": self.com.tolist(),
            **{key: value for key, value in known.items() if value is not None},
            "points": self.num_points,
            "points_used": self.num_points_used,
            "left_out": round(self.left_out, 4),
            "views": self.num_views,
            "sensor": "assumed at the origin" if self.sensor == "assumed" else self.sensor,
            "unit": self.unit,
            **({"notes": list(self.notes)} if self.notes else {}),
            **({"warnings": list(self.warnings)} if self.warnings else {}),
        }
