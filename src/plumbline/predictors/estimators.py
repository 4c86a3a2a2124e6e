"""One interface for trained models and untrained guesses: a scan goes in, its centre of mass comes out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.untrained import BASELINES, baseline_predictions
from plumbline.records import Float, Sample

if TYPE_CHECKING:
    from plumbline.data.store.in_memory import MemoryStore

UNTRAINED = {name.replace(" ", "_"): name for name in BASELINES}
"""The untrained guesses as the command line spells them."""


class Answers(NamedTuple):
    """``com [G, 3]`` and, where the model says how far off it expects to be, that ``error_scale [G]``."""

    com: Float
    error_scale: Float | None


class Estimator(NamedTuple):
    """Whatever finds centres of mass.

    Attributes:
        name: of the model or of the guess.
        error_factors: share (``"0.9"``) to what an expected error is multiplied with to hold that share of
            all errors; empty where no error is expected.
        form: the graphs that it takes.
        answer: centres of mass of all graphs of a store, stored frame.
    """

    name: str
    form: GraphForm
    answer: "Callable[[MemoryStore], Answers]"
    error_factors: Mapping[str, float] = MappingProxyType({})

    def locate(self, samples: Sequence[Sample]) -> Answers:
        """Centres of mass of graphs of the right form, in the frame and unit of their scans."""
        com, error_scale = self.answer(self.form.store(samples))
        origin = np.array([sample.origin for sample in samples])
        scale = np.array([sample.scale for sample in samples])
        return Answers(origin + scale[:, None] * com, None if error_scale is None else scale * error_scale)


def untrained(name: str) -> Estimator:
    """A guess by its name in ``UNTRAINED``."""

    def answer(store: "MemoryStore") -> Answers:
        found = baseline_predictions(store, np.arange(len(store)), (UNTRAINED[name],))
        return Answers(found.predictions[UNTRAINED[name]], None)

    return Estimator(name, GraphForm(), answer)


def trained(
    model: Any,
    name: str,
    data: dict[str, Any],
    *,
    path: Path,
    error_factors: Mapping[str, float] = MappingProxyType({}),
    batch_size: int = 64,
) -> Estimator:
    """A model with its weights.

    Args:
        model: the network.
        name: as in ``MODELS``.
        data: what its checkpoint says about the data that it was trained on.
        path: of the checkpoint, for messages.
        error_factors: see :class:`Estimator`.
        batch_size: graphs at once.

    Raises:
        InputError: no graph such as the model takes can be made of a scan.
    """
    from plumbline.predictors.inference import predict_with_error

    form = GraphForm.of(data, needs=model.needs, path=path)

    def answer(store: "MemoryStore") -> Answers:
        return Answers(*predict_with_error(model, store, np.arange(len(store)), batch_size=batch_size))

    return Estimator(name, form, answer, error_factors)
