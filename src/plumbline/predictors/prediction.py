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
            or "assumed" at the origin of the points' frame.
        unit: of all lengths.
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
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as printed by ``plumbline predict --json``."""
        doubts = {"expected_error": self.expected_error, "radius_90": self.radius_90}
        return {
            "com": self.com.tolist(),
            **{key: value for key, value in doubts.items() if value is not None},
            "points": self.num_points,
            "points_used": self.num_points_used,
            "left_out": round(self.left_out, 4),
            "views": self.num_views,
            "sensor": "assumed at the origin" if self.sensor == "assumed" else self.sensor,
            "unit": self.unit,
            **({"notes": list(self.notes)} if self.notes else {}),
            **({"warnings": list(self.warnings)} if self.warnings else {}),
        }
