"""How far the errors reach that a model expects: factors from held-back graphs, and whether they hold."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from plumbline.records import Float

SHARES = (0.5, 0.9)
"""For which the validation says how far the errors reach."""


def conformal_factors(ratios: Sequence[float]) -> dict[str, float]:
    """What to multiply an expected error with, so that a share of all errors lies below it.

    Split conformal prediction: for n held-back graphs it is the ``ceil((n + 1) share)``-th smallest ratio of
    error to expected error. It holds for new objects as far as those of the validation are like them.

    Args:
        ratios: of the held-back graphs.

    Returns:
        Share (``"0.5"``, ``"0.9"``) to factor; a share that n is too small for is left out.

    Source: Lei et al., Distribution-Free Predictive Inference for Regression (2018), locally weighted.
    """
    ordered = sorted(ratios)
    ranks = {share: math.ceil((len(ordered) + 1) * share) for share in SHARES}
    return {str(share): ordered[rank - 1] for share, rank in ranks.items() if rank <= len(ordered)}


def coverage(errors: Float, expected: Float, factors: Mapping[str, float]) -> dict[str, float]:
    """The share of errors that lie within the radius which should hold that share.

    Args:
        errors: ``[G]``.
        expected: ``[G]`` what the model expected them to be, in the same unit.
        factors: share (``"0.9"``) to what an expected error is stretched by to hold it.
    """
    return {share: float(np.mean(errors <= factor * expected)) for share, factor in factors.items()}
