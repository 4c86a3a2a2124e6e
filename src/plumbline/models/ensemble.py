"""Several trained models that answer together."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch

_WEAKEST_FIRST = ("none", "translation", "SE(3)", "E(3)")


class Ensemble(nn.Module):
    """The mean of its members' answers; their disagreement is part of the error it expects.

    Symmetry: that of its weakest member.
    In: whatever any member needs. Out: ``[G, 3]`` centre of mass, stored frame.
    Source: Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles" (2017).

    Args:
        members: for each its ``model``, a name in ``MODELS``, and its ``model_args``.
    """

    def __init__(self, *, members: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        from plumbline.models import build_model  # it knows this class by name

        built = [build_model(item["model"], **item["model_args"]) for item in members]
        self.members = nn.ModuleList(built)
        self.symmetry: str = min((member.symmetry for member in built), key=_WEAKEST_FIRST.index)
        self.needs: frozenset[str] = frozenset().union(*(member.needs for member in built))

    def forward(self, batch: Batch) -> Tensor:
        """``[G, 3]`` in the type of the weights."""
        return self.answer(batch)[0]

    def answer(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean answer ``[G, 3]``, and the logarithm ``[G]`` of the error to expect.

        A member's expected error and its distance from the mean add up in squares, averaged over members.
        """
        from plumbline.models import entry_point

        found = [entry_point(member)(batch) for member in self.members]
        places = torch.stack([item[0] if isinstance(item, tuple) else item for item in found])
        mean = places.mean(0)
        square = (places - mean).square().sum(2)
        doubts = [item[1] for item in found if isinstance(item, tuple)]
        if doubts:
            square = square + torch.exp(2 * torch.stack(doubts)).mean(0)
        tiny = torch.finfo(square.dtype).tiny
        return mean, 0.5 * torch.log(square.mean(0) + tiny)
