"""What a network predicts of G graphs."""

from typing import Any, NamedTuple

from torch import Tensor


class Answer(NamedTuple):
    """Predictions for G graphs in the stored frame; None for what a network does not predict.

    Attributes:
        com: ``[G, 3]`` centre of mass.
        log_scale: ``[G]`` natural logarithm of the expected error, stored units.
        covariance: ``[G, 3, 3]`` positive definite; its shape is that of the error's distribution, its size
            must be calibrated (:mod:`plumbline.predictors.calibration`). Stored units squared.
        log_volume: ``[G]`` natural logarithm of the object's volume, stored units cubed.
        inertia: ``[G, 3, 3]`` inertia tensor about the centre of mass per unit mass, stored units squared.
        features: ``[G, C]`` invariant description of the whole scan, without gradient, which tells unusual
            scans from usual ones.
    """

    com: Tensor
    log_scale: Tensor | None = None
    covariance: Tensor | None = None
    log_volume: Tensor | None = None
    inertia: Tensor | None = None
    features: Tensor | None = None

    @property
    def parts(self) -> list[Tensor]:
        """The predictions that there are."""
        return [part for part in self if part is not None]

    def cpu(self) -> "Answer":
        """The same in the memory of the processor."""
        com, *others = (None if part is None else part.cpu() for part in self)
        assert com is not None
        return Answer(com, *others)


def as_answer(found: Any) -> Answer:
    """What a network returns as an :class:`Answer`: ``com``, or a tuple of ``com`` and ``log_scale``."""
    if isinstance(found, Answer):
        return found
    return Answer(*found) if isinstance(found, tuple) else Answer(found)
