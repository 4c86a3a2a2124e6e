"""Losses: functions of the errors ``[G, 3]`` and the objects' bounding radii ``[G]``, by name.

Letters: G graphs.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from plumbline.errors import InputError
from plumbline.own_parts import load, names_a_file, reason

_SIDE_WEIGHT = 0.1
"""Weight of the losses for all that a model predicts but the centre of mass. Their gradients reach no weights
that the centre of mass depends on, see the models."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""A function of ``error`` ``[G, 3]``, predicted minus true centre of mass in the stored frame, and
``bounding_radius`` ``[G]``, the objects' radii in the same unit. It returns their loss, shape ``[]``."""


def l1(error: Tensor, bounding_radius: Tensor) -> Tensor:
    """Mean absolute error of a coordinate, in the unit of the stored frame. Depends on the frame's axes."""
    return error.abs().mean()


def displacement(error: Tensor, bounding_radius: Tensor) -> Tensor:
    """Mean length of the errors in radii of their objects. Symmetry: rotations, mirrors and scale."""
    return (_length(error) / bounding_radius).mean()


LOSSES: dict[str, Loss] = {"l1": l1, "displacement": displacement}
"""The losses of this package, by their names in ``--loss``."""


def load_loss(name: str) -> Loss:
    """Load a loss by its name in ``LOSSES``, or from a file of the user, which is executed.

    A loss of the user is tried out on two graphs.

    Raises:
        KeyError: there is no loss of this name.
        InputError: ``path/to/file.py:function`` cannot be imported, or is not a loss.
    """
    if not names_a_file(name):
        return LOSSES[name]
    found = load(name)
    error = torch.tensor([[1.0, -2.0, 0.5], [0.1, 0.2, -0.3]], requires_grad=True)
    try:
        value = found(error, torch.tensor([1.0, 2.0]))
    except Exception as trouble:  # it may raise anything
        raise InputError(
            f"the loss {name} fails when it is called with the errors [2, 3] and the radii [2] of two graphs "
            f"({reason(trouble)})"
        ) from trouble
    if not isinstance(value, Tensor) or value.shape != ():
        kind = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"the loss {name} returns {kind}: it must return a tensor of shape [], such as a mean"
        )
    if not value.requires_grad or torch.autograd.grad(value, error, allow_unused=True)[0] is None:
        raise InputError(f"the loss {name} has no gradient: compute it from error with torch alone")
    return found


def scale_loss(error: Tensor, log_scale: Tensor) -> Tensor:
    """Negative log likelihood of the displacements if they fell off exponentially at the expected scale.

    Args:
        error: ``[G, 3]``; no gradient flows into it.
        log_scale: ``[G]`` logarithm of the expected displacement.
    """
    shift = _length(error.detach())
    return _SIDE_WEIGHT * (shift * torch.exp(-log_scale) + log_scale).mean()


def covariance_loss(error: Tensor, covariance: Tensor, bounding_radius: Tensor) -> Tensor:
    """Negative log likelihood of the errors if their density fell off exponentially with their distance.

    The distance is that of Mahalanobis, ``m = sqrt(e^T C^-1 e)``; the loss is ``m + log(det C) / 2``, with
    lengths in radii. Compared with a Gaussian, large errors count less.

    Args:
        error: ``[G, 3]``; no gradient flows into it.
        covariance: ``[G, 3, 3]`` positive definite.
        bounding_radius: ``[G]``.
    """
    error = error.detach() / bounding_radius[:, None]
    square, log_det = _mahalanobis(error, covariance / bounding_radius[:, None, None].square())
    m = (square + torch.finfo(error.dtype).tiny).sqrt()
    return _SIDE_WEIGHT * (m + 0.5 * log_det).mean()


def _mahalanobis(error: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """``e^T C^-1 e`` ``[G]``, and ``log(det C)`` ``[G]``, by the factors ``L D L^T`` of C.

    LAPACK would be called once for each matrix; formulas with the determinant lose all digits where an
    ellipsoid is long.
    """
    (a, b, c), (_, d, e), (_, _, f) = (row.unbind(1) for row in covariance.unbind(1))
    lower, last = b / a, c / a
    second = d - lower * b
    lowest = (e - last * b) / second
    third = f - last * c - lowest.square() * second
    x, y, z = error.unbind(1)
    y = y - lower * x
    z = z - last * x - lowest * y
    return x.square() / a + y.square() / second + z.square() / third, a.log() + second.log() + third.log()


def payload_loss(log_volume: Tensor, inertia: Tensor, volume: Tensor, true_inertia: Tensor) -> Tensor:
    """Mean absolute error of the logarithm of the volume, plus mean relative error of the inertia.

    The relative error is the Frobenius norm of the difference, divided by that of the truth.

    Args:
        log_volume: ``[G]``.
        inertia: ``[G, 3, 3]``.
        volume: ``[G]`` truth; NaN where it is unknown.
        true_inertia: ``[G, 3, 3]`` truth; NaN where it is unknown.

    Returns:
        The weighted sum; a mean over no graphs is zero.
    """
    known = volume > 0
    off = (log_volume - torch.where(known, volume, 1.0).log()).abs()
    of_volume = torch.where(known, off, 0.0).sum() / known.sum().clamp_min(1)
    norm = true_inertia.flatten(1).norm(dim=1)
    known = norm > 0
    wanted = torch.where(known[:, None, None], true_inertia, 1.0)
    off = _length((inertia - wanted).flatten(1)) / torch.where(known, norm, 1.0)
    of_inertia = torch.where(known, off, 0.0).sum() / known.sum().clamp_min(1)
    return _SIDE_WEIGHT * (of_volume + of_inertia)


def _length(error: Tensor) -> Tensor:
    """``[G]`` lengths of rows; the gradient of an error of zero is zero."""
    return (error.square().sum(1) + torch.finfo(error.dtype).tiny).sqrt()
