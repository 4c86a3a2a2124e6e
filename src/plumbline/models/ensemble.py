"""Ensemble of several trained models."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch
from plumbline.models.answer import Answer, as_answer

_WEAKEST_FIRST = ("none", "translation", "SE(3)", "E(3)")


class Ensemble(nn.Module):
    """Mean of the members' predictions; their spread is part of the expected error.

    Symmetry: that of the member with the weakest symmetry.
    In: everything that any member needs. Out: ``[G, 3]`` centre of mass, stored frame.
    Source: Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles" (2017).

    Args:
        members: one dict per member, with ``model`` (a name in ``MODELS``) and ``model_args``.
    """

    def __init__(self, *, members: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        from plumbline.models import build_model  # imported late: it refers to this class by name

        built = [build_model(item["model"], **item["model_args"]) for item in members]
        self.members = nn.ModuleList(built)
        self.symmetry: str = min((member.symmetry for member in built), key=_WEAKEST_FIRST.index)
        self.needs: frozenset[str] = frozenset().union(*(member.needs for member in built))

    def forward(self, batch: Batch) -> Tensor:
        """Predict the centre of mass ``[G, 3]``, in the dtype of the weights."""
        return self.answer(batch).com

    def answer(self, batch: Batch) -> Answer:
        """Predict the means of the members' predictions, and how uncertain they are together.

        The squared expected error is the mean over the members of the member's own squared expected error (if
        it predicts one) plus its squared distance from the mean prediction. The covariance, if all members
        predict one, is the mean of their covariances plus the covariance of their predictions (law of total
        covariance). Volumes have a geometric mean, and features are those of all members.
        """
        from plumbline.models import forward_with_error

        found = [as_answer(forward_with_error(member)(batch)) for member in self.members]
        places = torch.stack([item.com for item in found])
        mean = places.mean(0)
        off = places - mean
        square = off.square().sum(2)
        doubts = [item.log_scale for item in found if item.log_scale is not None]
        if doubts:
            square = square + torch.exp(2 * torch.stack(doubts)).mean(0)
        tiny = torch.finfo(square.dtype).tiny
        covariance = _mean_of([item.covariance for item in found])
        if covariance is not None:
            covariance = covariance + (off[..., None] * off[..., None, :]).mean(0)
        features = [item.features for item in found if item.features is not None]
        return Answer(
            com=mean,
            log_scale=0.5 * torch.log(square.mean(0) + tiny),
            covariance=covariance,
            log_volume=_mean_of([item.log_volume for item in found]),
            inertia=_mean_of([item.inertia for item in found]),
            features=torch.cat(features, 1) if features else None,
        )


def _mean_of(parts: Sequence[Tensor | None]) -> Tensor | None:
    """The mean of the members' predictions; None unless all members have one."""
    known = [part for part in parts if part is not None]
    return torch.stack(known).mean(0) if len(known) == len(parts) else None
