"""The payload of an arm: mass, centre of mass and inertia, as controllers and simulators take them."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from plumbline.arrays import is_number, shown, to_numbers
from plumbline.errors import InputError
from plumbline.payload.frames import Frame
from plumbline.records import Float

GAUSSIAN_90 = 6.251388631170325
"""Squared Mahalanobis distance within which a Gaussian in three dimensions lies with probability 0.9."""
_ROUNDING = 1e-9
"""Relative slack of what holds exactly for a body: symmetry, and the triangle inequality of a plate."""
_SHORTEST, _LONGEST = 0.002, 10.0
"""Lengths in metres of the objects that are plausible payloads. No arm holds a longer one; anything above a
centimetre that is in millimetres but taken for metres is longer. No scanner of such arms resolves a shorter
one; anything below two metres that is scaled by 0.001 once too often is shorter."""


@dataclass(frozen=True, slots=True, eq=False)
class Payload:
    """A body that an arm holds. Kilograms, metres, the axes of one frame.

    Attributes:
        mass: kilograms, above 0.
        com: ``[3]`` centre of mass.
        inertia: ``[3, 3]`` inertia tensor about the centre of mass, kilogram square metres; None: not known.
        covariance: ``[3, 3]`` covariance of the error of ``com``; None: not known, or none.
        mass_error: standard deviation of ``mass``; 0 if it was given.
        frame: name of the frame; empty if it has none.
        warnings: why it may be wrong, one sentence each: those of the prediction that it is made of, and a
            size that no payload has, as of a scan in millimetres that is taken for metres.

    Raises:
        InputError: something is not a number or not finite, the mass is not above 0, or no body has such an
            inertia: its principal moments are above 0, and none is larger than the sum of the other two.
    """

    mass: float
    com: Float
    inertia: Float | None = None
    covariance: Float | None = None
    mass_error: float = 0.0
    frame: str = ""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("com", "inertia", "covariance"):
            if (given := getattr(self, name)) is not None or name == "com":
                object.__setattr__(self, name, to_numbers(given, f"{name} of a payload"))
        check_above_0(self.mass, "the mass of a payload", "kg")
        if not (is_number(self.mass_error) and self.mass_error >= 0):
            raise InputError(f"mass_error of a payload must be 0 or above, not {shown(self.mass_error)}")
        _check_point(self.com, "the centre of mass of a payload")
        if self.inertia is not None:
            check_inertia(self.inertia)
        if self.covariance is not None:
            _check_covariance(self.covariance)

    def moved(self, frame: Frame) -> "Payload":
        """Express the payload in another frame: positions and axes; mass and principal moments stay.

        Args:
            frame: the motion ``p' = R p + t`` from the payload's frame to the new one, and its name.
        """
        return replace(
            self,
            com=frame.move(self.com),
            inertia=None if self.inertia is None else frame.turn_tensor(self.inertia),
            covariance=None if self.covariance is None else frame.turn_tensor(self.covariance),
            frame=frame.name,
        )

    def inertia_about(self, point: ArrayLike) -> Float:
        """Compute the inertia tensor ``[3, 3]`` about a point ``[3]``, by the parallel axis theorem.

        Raises:
            InputError: the inertia is not known, or the point is not 3 finite numbers.
        """
        about = to_numbers(point, "the point")
        _check_point(about, "the point")
        away = self.com - about
        return self.known_inertia() + self.mass * ((away @ away) * np.eye(3) - np.outer(away, away))

    def known_inertia(self) -> Float:
        """The inertia tensor. Raises InputError if it is not known."""
        if self.inertia is None:
            raise InputError(
                "the inertia of this payload is not known: untrained baselines and models of older versions "
                "predict none; use the shipped model"
            )
        return self.inertia

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``inertia_at_origin`` is the tensor about the origin of the frame."""
        found: dict[str, Any] = {"mass": self.mass, "com": self.com.tolist()}
        if self.mass_error:
            found["mass_error"] = self.mass_error
        if self.inertia is not None:
            found["inertia"] = self.inertia.tolist()
            found["inertia_at_origin"] = self.inertia_about(np.zeros(3)).tolist()
        if self.covariance is not None:
            found["covariance"] = self.covariance.tolist()
        return found | ({"frame": self.frame} if self.frame else {})


def size_reason(length: float) -> str | None:
    """Say why an object of this length is no plausible payload if the length is in metres, or None."""
    if _SHORTEST <= length <= _LONGEST:
        return None
    number = f"{length:,.0f}" if length > _LONGEST else f"{length:.2g}"
    return (
        f"the object is {number} m long if its lengths are in metres, which no payload is: check the unit; "
        "--scale is metres per unit, such as 0.001 for millimetres (--depth_scale for a depth image)"
    )


def check_above_0(value: float, what: str, unit: str) -> None:
    """Refuse what is not a finite number above 0. Raises InputError."""
    if not (is_number(value) and 0 < value < math.inf):
        raise InputError(f"{what} must be above 0 {unit} and finite, not {shown(value)}")


def _check_point(point: Float, what: str) -> None:
    if point.shape != (3,) or not np.isfinite(point).all():
        raise InputError(f"{what} is 3 finite numbers, not {point.tolist()}")


def _check_covariance(covariance: Float) -> None:
    if covariance.shape != (3, 3) or not np.isfinite(covariance).all():
        raise InputError(f"a covariance is 3 x 3 finite numbers, not {covariance.tolist()}")
    slack = _ROUNDING * np.abs(covariance).max()
    if np.abs(covariance - covariance.T).max() > slack or np.linalg.eigvalsh(covariance)[0] < -slack:
        raise InputError(
            f"a covariance is symmetric and not negative; this one is not: {covariance.tolist()}"
        )


def check_inertia(inertia: Float) -> None:
    """Refuse a tensor ``[3, 3]`` that no body has. Raises InputError."""
    if np.shape(inertia) != (3, 3) or not np.isfinite(inertia).all():
        raise InputError(f"an inertia tensor is 3 x 3 finite numbers, not {np.asarray(inertia).tolist()}")
    slack = _ROUNDING * np.abs(inertia).max()
    if np.abs(inertia - inertia.T).max() > slack:
        raise InputError(f"an inertia tensor is symmetric; this one is not: {inertia.tolist()}")
    least, middle, largest = np.linalg.eigvalsh(inertia)
    if least <= 0 or largest > least + middle + slack:
        moments = ", ".join(f"{moment:.4g}" for moment in (least, middle, largest))
        raise InputError(
            f"no body has the principal moments of inertia {moments}: they must be above 0, and none larger "
            "than the sum of the other two"
        )
