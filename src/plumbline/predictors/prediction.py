"""The prediction for one scan."""

import math
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import ArrayLike

from plumbline.errors import InputError
from plumbline.payload.frames import Frame
from plumbline.payload.lift import update, weigh
from plumbline.payload.record import Payload, check_above_0, size_reason
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
        frame: name of the frame, if it has one: that of the cloud, or the one it was moved to.
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
    frame: str = ""

    def moved(self, frame: Frame) -> "Prediction":
        """Express the prediction in another frame, such as that of a flange; ``extent`` stays as it is.

        The motion is in metres, so the prediction must be, too; a size that no payload has is a warning.
        """
        return replace(
            self,
            com=frame.move(self.com),
            covariance=None if self.covariance is None else frame.turn_tensor(self.covariance),
            inertia=None if self.inertia is None else frame.turn_tensor(self.inertia),
            frame=frame.name,
            warnings=self._warnings_in_metres(),
        )

    def payload(self, mass: float | None = None, *, density: float | None = None) -> Payload:
        """Scale volume and inertia to the payload of an arm. The prediction must be in metres.

        The payload has the warnings of the prediction, and another one if no payload has its size.

        Args:
            mass: kilograms.
            density: kilograms per cubic metre; the mass is this times the predicted volume. Give one of both.

        Raises:
            InputError: both or none are given, one is not above 0, or the model predicts no volume.
        """
        if (mass is None) == (density is None):
            raise InputError("a payload needs its mass or its density, one of both")
        if mass is None:
            assert density is not None
            check_above_0(density, "a density", "kg/m3")
            if self.volume is None:
                raise InputError("this model predicts no volume, so a density gives no mass: give the mass")
            mass = density * self.volume
        check_above_0(mass, "a mass", "kg")
        inertia = None if self.inertia is None else mass * self.inertia
        return Payload(
            mass,
            self.com,
            inertia,
            self.covariance,
            frame=self.frame,
            warnings=self._warnings_in_metres(),
        )

    def _warnings_in_metres(self) -> tuple[str, ...]:
        """The warnings, with that of an implausible size: only here does it matter what the unit is."""
        return tuple(dict.fromkeys((*self.warnings, *filter(None, [size_reason(self.extent)]))))

    def update(self, wrench: ArrayLike, gravity: ArrayLike, covariance: ArrayLike) -> Payload:
        """Weigh the object by lifting it: its payload after static readings of a force/torque sensor.

        The mass is measured, and the centre of mass is refined where the readings tell more of it than the
        scan; see :func:`plumbline.payload.lift.update`, which explains the arguments. Later readings go into
        that function with the payload.
        """
        first = self.payload(weigh(wrench, gravity))
        return update(replace(first, mass_error=math.inf), wrench, gravity, covariance)

    def refusal(self, name: object) -> InputError | None:
        """Refuse an answer with a warning, as ``--strict`` does; None if there is none."""
        if not self.warnings:
            return None
        return InputError(f"{name}: --strict refuses a scan with a warning: {'; '.join(self.warnings)}")

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
            **({"frame": self.frame} if self.frame else {}),
        }
