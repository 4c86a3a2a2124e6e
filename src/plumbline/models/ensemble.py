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
        own_errors: the usual error of each member that predicts none, its mean on held-out graphs in units
            of their size; None for the other members, and by default for all.
    """

    def __init__(
        self, *, members: Sequence[dict[str, Any]], own_errors: Sequence[float | None] | None = None
    ) -> None:
        super().__init__()
        from plumbline.models import build_model  # imported late: it refers to this class by name

        built = [build_model(item["model"], **item["model_args"]) for item in members]
        self.members = nn.ModuleList(built)
        known = [None] * len(built) if own_errors is None else own_errors
        self.own_errors = [None if error is None else float(error) for error in known]
        self.symmetry: str = min((member.symmetry for member in built), key=_WEAKEST_FIRST.index)
        self.needs: frozenset[str] = frozenset().union(*(member.needs for member in built))

    def forward(self, batch: Batch) -> Tensor:
        """Predict the centre of mass ``[G, 3]``, in the dtype of the weights."""
        return self.answer(batch).com

    def answer(self, batch: Batch) -> Answer:
        """Predict the means of the members' predictions, and how uncertain they are together.

        The squared expected error is the mean over the members of the member's own squared expected error (if
        it is known) plus its squared distance from the mean prediction. The covariance is the mean of the
        members' covariances plus the covariance of their predictions (law of total covariance); that of a
        member that predicts none is isotropic, of the size of its expected error. Volumes have a geometric
        mean, and features are those of all members.
        """
        from plumbline.models import forward_with_error

        found = [
            _with_error(as_answer(forward_with_error(member)(batch)), own, batch)
            for member, own in zip(self.members, self.own_errors, strict=True)
        ]
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


def _with_error(answer: Answer, own: float | None, batch: Batch) -> Answer:
    """What a member predicts, with its usual error and an isotropic covariance if it predicts none."""
    log_scale, covariance = answer.log_scale, answer.covariance
    if log_scale is None and own is not None:
        wide = torch.promote_types(answer.com.dtype, torch.float32)
        log_scale = torch.log(own * batch.size.to(wide))
    if covariance is None and log_scale is not None:
        one = torch.eye(3, dtype=log_scale.dtype, device=log_scale.device)
        covariance = torch.exp(2 * log_scale)[:, None, None] / 3 * one
    return answer._replace(log_scale=log_scale, covariance=covariance)


def _mean_of(parts: Sequence[Tensor | None]) -> Tensor | None:
    """The mean of the members' predictions; None unless all members have one."""
    known = [part for part in parts if part is not None]
    return torch.stack(known).mean(0) if len(known) == len(parts) else None
