"""Calibration of a model from held-out graphs: how far its errors reach, and which scans are usual."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from plumbline.console.text import counted
from plumbline.payload.record import GAUSSIAN_90
from plumbline.predictors.answers import Answers
from plumbline.records import Float

SHARES = (0.5, 0.9)
"""Shares of errors for which the validation graphs give a factor."""
USUAL_SHARE = 0.99
"""Share of the validation graphs whose novelty is at most 1."""
_RIDGE = 1e-3
"""Added to the variances of the features, as a fraction of their mean."""


@dataclass(frozen=True, slots=True)
class Usual:
    """Features of usual scans: a Gaussian, and the distance from its mean that few of them exceed.

    Attributes:
        mean: ``[C]``.
        whitening: ``[C, C]``; the squared distance of features x is ``|whitening @ (x - mean)|^2``.
        threshold: distance that ``USUAL_SHARE`` of the validation graphs do not exceed.
    """

    mean: Float
    whitening: Float
    threshold: float

    def novelty(self, features: Float) -> Float:
        """Novelty ``[G]`` of graphs by their features ``[G, C]``: distance in units of the threshold."""
        found: Float = np.linalg.norm((features - self.mean) @ self.whitening.T, axis=1) / self.threshold
        return found


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the validation graphs say about a model's predictions.

    Attributes:
        error_factors: share (``"0.9"``) to the factor by which the expected error is multiplied to contain
            that share of the errors; empty for models that expect no error.
        ellipsoid_factors: the same for Mahalanobis distances of the errors by the predicted covariance.
        usual: features of usual scans; None for models without features, or for too few graphs.
    """

    error_factors: Mapping[str, float] = field(default_factory=dict)
    ellipsoid_factors: Mapping[str, float] = field(default_factory=dict)
    usual: Usual | None = None

    @property
    def covariance_scale(self) -> float | None:
        """Factor of the predicted covariance, so that the ellipsoid in which a Gaussian of the product lies
        with probability 0.9 contains nine tenths of the validation errors; None if it is not known."""
        factor = self.ellipsoid_factors.get("0.9")
        return None if factor is None else factor**2 / GAUSSIAN_90

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Build from the plain values of :meth:`to_dict`. Raises KeyError, TypeError for any others."""
        usual = values["usual"]
        if usual is not None:
            usual = Usual(np.asarray(usual["mean"]), np.asarray(usual["whitening"]), usual["threshold"])
        return cls(values["error_factors"], values["ellipsoid_factors"], usual)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint holds them."""
        usual = self.usual and {
            "mean": self.usual.mean.tolist(),
            "whitening": self.usual.whitening.tolist(),
            "threshold": self.usual.threshold,
        }
        return {
            "error_factors": dict(self.error_factors),
            "ellipsoid_factors": dict(self.ellipsoid_factors),
            "usual": usual,
        }


def calibrate(error: Float, answers: Answers) -> Calibration:
    """Calibrate a model by its predictions for held-out graphs and their errors ``[G, 3]``, in one unit."""
    expected, covariance, features = answers.expected_error, answers.covariance, answers.features
    length = np.linalg.norm(error, axis=1)
    return Calibration(
        {} if expected is None else conformal_factors((length / expected).tolist()),
        {} if covariance is None else conformal_factors(mahalanobis(error, covariance).tolist()),
        None if features is None else usual_features(features),
    )


def too_few(num: int) -> str | None:
    """What predictions will lack if only ``num`` graphs validate, as a sentence; None if nothing."""
    needed = {"radius_90": SHARES[-1], "novelty": USUAL_SHARE}
    fewest = {name: round(share / (1 - share)) for name, share in needed.items()}
    lacking = [f"{name} needs {least}" for name, least in fewest.items() if num < least]
    if not lacking:
        return None
    left_out = "them" if len(lacking) > 1 else "it"
    return (
        f"validation has {counted(num, 'graph')}, and {', '.join(lacking)}: predict will leave {left_out} out"
    )


def mahalanobis(error: Float, covariance: Float) -> Float:
    """Distances ``[G]``, ``sqrt(e^T C^-1 e)``, of errors ``[G, 3]`` by covariances ``[G, 3, 3]``."""
    away = np.linalg.solve(covariance, error[:, :, None])[:, :, 0]
    found: Float = np.sqrt(np.maximum((error * away).sum(axis=1), 0))
    return found


def conformal_factors(ratios: Sequence[float]) -> dict[str, float]:
    """Factors to multiply expected errors by, so that a given share of all errors lies below the product.

    Split conformal prediction: for n held-out graphs, the factor is the ``ceil((n + 1) share)``-th smallest
    ratio of error to expected error. It is valid for new objects if they resemble the validation objects.

    Args:
        ratios: error divided by expected error, of the held-out graphs.

    Returns:
        Share (``"0.5"``, ``"0.9"``) to factor; a share for which n is too small is left out.

    Source: Lei et al., Distribution-Free Predictive Inference for Regression (2018), locally weighted; for
    ellipsoids Johnstone and Cox, Conformal Uncertainty Sets for Robust Optimization (2021).
    """
    found = {str(share): _conformal(ratios, share) for share in SHARES}
    return {share: factor for share, factor in found.items() if factor is not None}


def _conformal(values: Sequence[float], share: float) -> float | None:
    """The value that a new one does not exceed with probability ``share``; None if there are too few."""
    rank = math.ceil((len(values) + 1) * share)
    return sorted(values)[rank - 1] if rank <= len(values) else None


def usual_features(features: Float) -> Usual | None:
    """Fit a Gaussian to features ``[G, C]`` of usual scans; None if there are too few.

    The threshold comes from the distance of each graph from the Gaussian of all others.

    Source: Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples (2018), with one
    class.
    """
    num, width = features.shape
    if num < 2:
        return None
    mean = features.mean(axis=0)
    away = features - mean
    scatter = away.T @ away
    ridge = max(_RIDGE * np.trace(scatter) / width, np.finfo(float).tiny)
    values, axes = np.linalg.eigh(scatter + ridge * np.eye(width))
    whitening = np.sqrt(num - 1) * (axes / np.sqrt(values)).T
    # Without graph i, the scatter has one outer product less, and the mean lies elsewhere: in closed form.
    share = ((away @ whitening.T) ** 2).sum(axis=1) / (num - 1)
    part = num / (num - 1)
    left = np.maximum(1 - part * share, np.finfo(float).tiny)
    threshold = _conformal(np.sqrt(part**2 * (num - 2) * share / left).tolist(), USUAL_SHARE)
    return None if not threshold else Usual(mean, whitening, threshold)


class Ellipsoid(NamedTuple):
    """How well the predicted 90 % ellipsoids hold, and how large they are.

    Attributes:
        held: share of the true centres of mass within them.
        volume_ratio: their volume, as a fraction of that of the ball with the predicted 90 % radius: the
            geometric mean over the graphs.
    """

    held: float
    volume_ratio: float


def ellipsoids(error: Float, answers: Answers, calibration: Calibration) -> Ellipsoid | None:
    """Measure the 90 % ellipsoids on errors ``[G, 3]``; None if there are none, or no balls."""
    reach, factor = calibration.ellipsoid_factors.get("0.9"), calibration.error_factors.get("0.9")
    if None in (reach, factor) or answers.covariance is None or answers.expected_error is None:
        return None
    assert reach is not None
    assert factor is not None
    log_ratio = 3 * np.log(reach) + 0.5 * np.linalg.slogdet(answers.covariance)[1]
    log_ratio -= 3 * np.log(factor * answers.expected_error)
    held = np.mean(mahalanobis(error, answers.covariance) <= reach)
    return Ellipsoid(float(held), float(np.exp(log_ratio.mean())))


def coverage(errors: Float, expected: Float, factors: Mapping[str, float]) -> dict[str, float]:
    """Actual share of errors within the radius that should contain a nominal share.

    Args:
        errors: ``[G]`` errors.
        expected: ``[G]`` errors that the model expected, in the same unit.
        factors: nominal share (``"0.9"``) to factor of the expected error.

    Returns:
        Nominal share to actual share.
    """
    return {share: float(np.mean(errors <= factor * expected)) for share, factor in factors.items()}
