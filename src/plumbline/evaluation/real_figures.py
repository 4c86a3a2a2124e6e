"""Figures of ScanCoM-Real: what a method's answers for S real scans say, on each part of the set.

Lengths are fractions of the radius of each object; the first dimension is that of ``COLUMNS``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plumbline.evaluation.metrics import summarise_errors
from plumbline.evaluation.real_scans import RealScan
from plumbline.evaluation.real_tables import ALL, BUT, COLUMNS
from plumbline.evaluation.risk_coverage import Refusal, refusal
from plumbline.payload.record import GAUSSIAN_90
from plumbline.predictors.calibration import mahalanobis
from plumbline.predictors.prediction import Prediction
from plumbline.records import Float

CLEANED = COLUMNS.index("cleaned")


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """What one method said of S scans; NaN for what it did not say.

    Attributes:
        com: ``[4, S, 3]``; here and in the following two in the frame and unit of each scan.
        stated: ``[4, S]`` stated 90 % radii.
        covariance: ``[4, S, 3, 3]`` of the error.
        relative: ``[4, S]`` expected errors as fractions of ``extent``.
        novelty: ``[4, S]``.
    """

    com: Float
    stated: Float
    covariance: Float
    relative: Float
    novelty: Float

    @classmethod
    def none(cls, scans: int) -> "Answered":
        """No answers yet."""
        shape = (len(COLUMNS), scans)
        tails: tuple[tuple[int, ...], ...] = ((3,), (), (3, 3), (), ())
        return cls(*(np.full((*shape, *tail), np.nan) for tail in tails))

    def add(self, column: int, scan: int, answer: Prediction) -> None:
        """Enter the answer for one column of one scan."""
        at = column, scan
        self.com[at] = answer.com
        if answer.radius_90 is not None:
            self.stated[at] = answer.radius_90
        if answer.covariance is not None:
            self.covariance[at] = answer.covariance
        if answer.expected_error is not None:
            self.relative[at] = answer.expected_error / answer.extent
        if answer.novelty is not None:
            self.novelty[at] = answer.novelty


@dataclass(frozen=True, slots=True, eq=False)
class Misses:
    """How far one method missed S scans, and what it said of that; lengths as fractions of the radius.

    Attributes:
        solid: ``[4, S, 3]`` from the solid's centre of mass to the answer, a row for each of ``COLUMNS``.
        shell: ``[4, S, 3]`` from that of the shell; NaN unless the object is a vessel.
        stated, covariance, relative, novelty: as in :class:`Answered`.
        seen: ``[S]`` whether the object was, or may have been, in the training.
    """

    solid: Float
    shell: Float
    stated: Float
    covariance: Float
    relative: Float
    novelty: Float
    seen: NDArray[np.bool_]

    @classmethod
    def of(
        cls, said: Answered, *, solid: Float, shell: Float, radius: Float, seen: NDArray[np.bool_]
    ) -> "Misses":
        """Compare with the truths ``solid`` and ``shell [S, 3]`` of objects of these radii ``[S]``."""
        return cls(
            (said.com - solid) / radius[:, None],
            (said.com - shell) / radius[:, None],
            said.stated / radius,
            said.covariance / radius[:, None, None] ** 2,
            said.relative,
            said.novelty,
            seen,
        )

    @property
    def miss(self) -> Float:
        """``[4, S]`` distances from the solid's centre of mass."""
        found: Float = np.linalg.norm(self.solid, axis=2)
        return found

    @property
    def knows_novelty(self) -> bool:
        """Whether the method says how unlike those of its training the scans are."""
        return _known(self.novelty)


def parts_of(
    scans: Sequence[RealScan], several: Sequence[Misses], without: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Results of one method, or of several trainings of it taken together, on each part of the set."""
    objects = np.array([scan.object for scan in scans], dtype=object)
    seen = np.any([one.seen for one in several], axis=0)
    parts: dict[str, dict[str, Any]] = {}
    for name, (mask, shell) in _masks(scans, seen, without).items():
        if not mask.any():
            continue
        shown = np.tile(objects[mask], len(several))
        parts[name] = {"scans": int(mask.sum()), "objects": len(set(shown))}
        for i, column in enumerate(COLUMNS):
            parts[name][column] = _figures(several, i, mask, shell, shown)
    return parts


def refusals_of(
    scans: Sequence[RealScan], several: Sequence[Misses], without: tuple[str, ...]
) -> dict[str, Refusal]:
    """What the misses of cleaned scans become if some are refused, on the parts that have tables."""
    found = {}
    for name, (mask, _) in _masks(scans, several[0].seen, without).items():
        if name == ALL or name.startswith(BUT):
            curves = _refusal(several, mask)
            if curves is not None:
                found[name] = curves
    return found


def _refusal(several: Sequence[Misses], mask: NDArray[np.bool_]) -> Refusal | None:
    miss, novelty, relative = (
        np.concatenate([getattr(one, name)[CLEANED, mask] for one in several])
        for name in ("miss", "novelty", "relative")
    )
    return refusal(
        miss,
        novelty=novelty if _known(novelty) else None,
        relative=relative if _known(relative) else None,
    )


def _figures(
    several: Sequence[Misses], column: int, mask: NDArray[np.bool_], shell: bool, objects: np.ndarray
) -> dict[str, Any]:
    """Results in one column, as fractions of the radius, as plain values.

    Args:
        several: trainings that are taken together.
        column: which of ``COLUMNS``.
        mask: ``[S]`` the scans.
        shell: whether the truth is that of the shell.
        objects: names of the objects, which the interval of the mean resamples.

    Returns:
        ``n``, ``mean``, ``median``, ``p90``, ``low`` and ``high`` (95 % interval of the mean); ``holds``, the
        share of the truths within the stated radius, and ``radius``, its median; ``ellipsoid_holds``, the
        share within the 90 % ellipsoid, and ``ellipsoid_volume``, its volume as a fraction of the ball's
        (geometric mean); ``unusual``, the share of scans whose novelty is above 1. None where the method does
        not say them.
    """
    off = np.concatenate([(one.shell if shell else one.solid)[column, mask] for one in several])
    stated, covariance, novelty = (
        np.concatenate([getattr(one, name)[column, mask] for one in several])
        for name in ("stated", "covariance", "novelty")
    )
    miss = np.linalg.norm(off, axis=1)
    found: dict[str, Any] = dict.fromkeys(
        ("holds", "radius", "ellipsoid_holds", "ellipsoid_volume", "unusual")
    )
    if _known(stated):
        found |= {"holds": float((miss <= stated).mean()), "radius": float(np.median(stated))}
    if _known(covariance):
        found["ellipsoid_holds"] = float((mahalanobis(off, covariance) ** 2 <= GAUSSIAN_90).mean())
        if _known(stated):
            size = 0.5 * np.linalg.slogdet(covariance)[1] + 1.5 * np.log(GAUSSIAN_90) - 3 * np.log(stated)
            found["ellipsoid_volume"] = float(np.exp(size.mean()))
    if _known(novelty):
        found["unusual"] = float((novelty > 1).mean())
    return summarise_errors(miss, objects).to_dict() | found


def _known(values: Float) -> bool:
    return bool(np.isfinite(values).all())


def _masks(
    scans: Sequence[RealScan], seen: NDArray[np.bool_], without: tuple[str, ...]
) -> Mapping[str, tuple[NDArray[np.bool_], bool]]:
    """The parts of a set by name: which scans, and whether the truth is that of the shell."""
    groups, kinds = np.array([scan.group for scan in scans]), np.array([scan.kind for scan in scans])
    vessel = np.array([scan.vessel for scan in scans])
    parts = {ALL: np.ones(len(scans), bool)}
    if without:
        parts[f"{BUT}{', '.join(without)}"] = ~np.isin(groups, without)
    parts |= {f"group {name}": groups == name for name in dict.fromkeys(groups.tolist())}
    parts |= {f"kind {name}": kinds == name for name in sorted(set(kinds.tolist()))}
    parts |= {"in training": seen, "not in training": ~seen}
    parts |= {"without vessels": ~vessel, "vessels, solid truth": vessel}
    return {**{name: (mask, False) for name, mask in parts.items()}, "vessels, shell truth": (vessel, True)}
