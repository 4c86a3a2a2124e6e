"""Calibration of a model's expected errors: conformal factors from held-out graphs, and their coverage."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from plumbline.records import Float

SHARES = (0.5, 0.9)
"""Shares of errors for which the validation graphs give a factor."""


def conformal_factors(ratios: Sequence[float]) -> dict[str, float]:
    """Factors to multiply expected errors by, so that a given share of all errors lies below the product.

    Split conformal prediction: for n held-out graphs, the factor is the ``ceil((n + 1) share)``-th smallest
    ratio of error to expected error. It is valid for new objects if they resemble the validation objects.

    Args:
        ratios: error divided by expected error, of the held-out graphs.

    Returns:
        Share (``"0.5"``, ``"0.9"``) to factor; a share for which n is too small is left out.

    Source: Lei et al., Distribution-Free Predictive Inference for Regression (2018), locally weighted.
    """
    ordered = sorted(ratios)
    ranks = {share: math.ceil((len(ordered) + 1) * share) for share in SHARES}
    return {str(share): ordered[rank - 1] for share, rank in ranks.items() if rank <= len(ordered)}


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
