"""Ensemble of several trained models."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch

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
        return self.answer(batch)[0]

    def answer(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predict the mean ``[G, 3]`` and the natural logarithm ``[G]`` of its expected error, stored units.

        The squared expected error is the mean over the members of the member's own squared expected error (if
        it predicts one) plus its squared distance from the mean prediction.
        """
        from plumbline.models import forward_with_error

        found = [forward_with_error(member)(batch) for member in self.members]
        places = torch.stack([item[0] if isinstance(item, tuple) else item for item in found])
        mean = places.mean(0)
        square = (places - mean).square().sum(2)
        doubts = [item[1] for item in found if isinstance(item, tuple)]
        if doubts:
            square = square + torch.exp(2 * torch.stack(doubts)).mean(0)
        tiny = torch.finfo(square.dtype).tiny
        return mean, 0.5 * torch.log(square.mean(0) + tiny)
