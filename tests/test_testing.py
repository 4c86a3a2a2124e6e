"""The tests that every model must pass see a model that does not deserve to pass."""

import random

import pytest
import torch
from torch import nn

from plumbline.models.painn import PaiNN
from plumbline.testing import ModelTests


class AddsAConstant(PaiNN):
    """Adds the same vector in every frame: neither turns nor mirrors."""

    def forward(self, batch):
        return super().forward(batch) + 0.01 * batch.size[:, None] * torch.tensor([1.0, 0.0, 0.0])


class AddsACrossProduct(PaiNN):
    """Turns with the object, but not with mirrors."""

    def forward(self, batch):
        hull, carve, view, _ = batch.vectors.unbind(1)
        return super().forward(batch) + torch.cross(hull - carve, view, dim=1)


class AnswersTheOrigin(PaiNN):
    def forward(self, batch):
        return 0 * super().forward(batch)


class LooksAtTheOthers(PaiNN):
    def forward(self, batch):
        answer = super().forward(batch)
        return answer + 0.001 * (answer - batch.centre).mean(0)


class HasAWeightWithoutEffect(PaiNN):
    def __init__(self, *, feature_names, vector_names):
        super().__init__(feature_names=feature_names, vector_names=vector_names, hidden_dim=16)
        self.idle = nn.Parameter(torch.ones(3))

    def forward(self, batch):
        return super().forward(batch) + (self.idle - self.idle)


class HasAWeightThatIsNeverUsed(PaiNN):
    def __init__(self, *, feature_names, vector_names):
        super().__init__(feature_names=feature_names, vector_names=vector_names, hidden_dim=16)
        self.idle = nn.Parameter(torch.ones(3))


class Gambles(PaiNN):
    def forward(self, batch):
        return super().forward(batch) * (1 + 1e-6 * torch.rand(()))


class AnswersInDouble(PaiNN):
    def forward(self, batch):
        return super().forward(batch).double()


class DividesByTheSpread(PaiNN):
    def forward(self, batch):
        graph, answer = batch.graph_idx, super().forward(batch)
        away = (batch.pos - batch.centre[graph]).norm(dim=1)
        return answer / away.new_zeros(batch.num_graphs).index_add(0, graph, away)[:, None]


class NeedsTheUnknown(PaiNN):
    needs = frozenset({"edge_index", "mass"})


class DeclaresSomethingElse(PaiNN):
    symmetry = "O(3)"


class CountsItsSteps(PaiNN):
    """Keeps a number where no checkpoint looks."""

    steps = 0

    def forward(self, batch):
        self.steps += self.training
        return super().forward(batch) * (1 + 0.01 * self.steps)


class AveragesOnTheSide(PaiNN):
    """A running average that is used in validation only, so that no weight differs."""

    def __init__(self, *, feature_names, vector_names):
        super().__init__(feature_names=feature_names, vector_names=vector_names, hidden_dim=16)
        self.register_buffer("mean", torch.zeros(3), persistent=False)

    def forward(self, batch):
        answer = super().forward(batch)
        if not self.training:
            return answer + self.mean
        self.mean = 0.9 * self.mean + 0.1 * answer.detach().mean(0)
        return answer


class HasItsOwnDice(PaiNN):
    def __init__(self, *, feature_names, vector_names):
        super().__init__(feature_names=feature_names, vector_names=vector_names, hidden_dim=16)
        self.dice = random.Random(0)

    def forward(self, batch):
        return super().forward(batch) * (1 + 0.01 * self.dice.random() * self.training)


class CountsForAll(PaiNN):
    """Keeps a number in its class, where the next training in the process finds it."""

    steps = 0

    def forward(self, batch):
        CountsForAll.steps += self.training
        return super().forward(batch) * (1 + 0.01 * CountsForAll.steps)


@pytest.mark.parametrize(
    ("model", "test", "message"),
    [
        (AddsAConstant, "it_keeps_the_symmetry_that_it_declares", "rotation: off by"),
        (AddsACrossProduct, "it_keeps_the_symmetry_that_it_declares", "mirror: off by"),
        (AnswersTheOrigin, "it_answers_three_numbers_per_graph", "does not depend on the graph"),
        (LooksAtTheOthers, "a_graph_does_not_see_the_others_in_its_batch", "not close"),
        (HasAWeightWithoutEffect, "the_gradient_reaches_every_parameter", "idle has no effect"),
        (HasAWeightThatIsNeverUsed, "the_gradient_reaches_every_parameter", "no gradient reaches idle"),
        (Gambles, "the_same_bits_every_time", None),
        (AnswersInDouble, "it_computes_in_the_type_of_its_weights", None),
        (DividesByTheSpread, "graphs_without_a_shape", None),
        (NeedsTheUnknown, "it_declares_symmetry_and_needs", "needs: some of"),
        (DeclaresSomethingElse, "it_declares_symmetry_and_needs", "symmetry: one of"),
    ],
)
def test_a_model_that_breaks_a_rule_fails_its_test(model, test, message):
    suite = type("Suite", (ModelTests,), {"model": model})()
    with pytest.raises(AssertionError, match=message):
        getattr(suite, f"test_{test}")()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (CountsItsSteps, "differs? after a resumed training"),
        (AveragesOnTheSide, "the metrics differ after a resumed training"),
        (HasItsOwnDice, "differs? after a resumed training"),
        (CountsForAll, "differs? after a resumed training"),
    ],
)
def test_a_model_that_keeps_something_to_itself_is_not_resumed(model, message):
    test_a_model_that_breaks_a_rule_fails_its_test(model, "it_resumes_with_the_same_bits", message)
