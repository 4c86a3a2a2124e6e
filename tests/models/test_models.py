"""The networks: sparse products and dropout against plain torch, and what every model must do."""

import re
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from plumbline.data.batches.batch import Batch, _mapped
from plumbline.data.batches.collate import make_batch
from plumbline.data.batches.gcn_constants import SparsePair
from plumbline.data.store.in_memory import MemoryStore
from plumbline.errors import InputError
from plumbline.models import MODELS, build_model, load_model_class
from plumbline.models.blocks import highest, relu_dropout, sparse_product
from plumbline.models.equivariant import softmax_by
from plumbline.records import FEATURE_NAMES
from tests.helpers.architectures import model_of as build
from tests.helpers.random_samples import FEATURES, random_sample, random_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return random_store(tmp_path_factory.mktemp("store"))


DATA = {"input_dim": 9, "feature_names": FEATURES, "vector_names": ()}


def model_of(name, **changes):
    return build(name, DATA, **changes)


def answer_and_gradients(model, batch):
    """The answer, and the gradients of everything that the model answers (some know their error too)."""
    answer, *scale = model.answer(batch) if hasattr(model, "answer") else (model(batch),)
    sum(part.double().square().sum() for part in (answer, *scale)).backward()
    return answer.detach(), {label: parameter.grad for label, parameter in model.named_parameters()}


def batch_of(store, rows, name="gcn"):
    batch = make_batch(store, np.asarray(rows), load_model_class(name).needs)
    parts = {name: getattr(batch, name) for name in Batch.__slots__}
    return Batch(
        **_mapped(parts, torch.Tensor, lambda part: part.double() if part.dtype == torch.float32 else part)
    )


def degenerate_store():
    """One node, with and without a self loop; two, apart and in one place; loops and parallel edges alone."""
    rng = np.random.default_rng(5)
    loops = {"num_nodes": 3, "in_degree": np.array([2, 0, 3], np.int32)}
    samples = [
        random_sample(rng, num_nodes=1, in_degree=np.zeros(1, np.int32), edge_source=np.zeros(0, np.int32)),
        random_sample(
            rng, num_nodes=1, in_degree=np.ones(1, np.int32), edge_source=np.zeros(1, np.int32),
            node_features=np.zeros((1, 9), np.float32),
        ),
        random_sample(rng, num_nodes=2),
        random_sample(rng, num_nodes=2, node_features=np.ones((2, 9), np.float32)),
        random_sample(rng, **loops, edge_source=np.array([0, 0, 2, 2, 1], np.int32)),
        random_sample(rng, **loops, edge_source=np.array([0, 0, 2, 2, 2], np.int32)),
    ]  # fmt: skip
    return MemoryStore(samples, feature_names=FEATURES)


def random_pair(rows, cols):
    dense = torch.randn(rows, cols, dtype=torch.float64) * (torch.rand(rows, cols) < 0.3)
    csr, csr_t = dense.to_sparse_csr(), dense.T.contiguous().to_sparse_csr()

    def parts(matrix):
        return matrix.crow_indices().int(), matrix.col_indices().int(), matrix.values()

    return dense, SparsePair(*parts(csr), *parts(csr_t))


def test_sparse_product_and_its_gradient():
    torch.manual_seed(0)
    dense, pair = random_pair(7, 11)
    x = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(sparse_product(pair, x), dense @ x, rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(lambda x: sparse_product(pair, x), x)


def test_sparse_product_sums_halves_in_float32():
    pair = SparsePair(*(torch.tensor(v) for v in ([0, 2049], [0] * 2049, [1.0] * 2049, [0, 1], [0], [1.0])))
    pair = SparsePair(*(part.int() if part.dtype == torch.int64 else part for part in pair))
    x = torch.ones(1, 1, dtype=torch.bfloat16)
    assert sparse_product(pair, x).dtype == torch.bfloat16
    # Added one by one in bfloat16 the sum stops at 256.
    assert sparse_product(pair, x).item() == pytest.approx(2049, rel=0.01)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_has_its_rate_and_keeps_the_mean(probability):
    torch.manual_seed(0)
    x = torch.rand(1000, 333) + 0.5
    y, factor = relu_dropout(x, probability, training=True)
    dropped = (y == 0).double().mean().item()
    deviation = (probability * (1 - probability) / x.numel()) ** 0.5
    assert abs(dropped - probability) < 5 * deviation
    assert abs(factor - 1 / (1 - probability)) < 1e-3
    assert (factor * y).mean().item() == pytest.approx(x.mean().item(), rel=0.02)
    assert torch.equal(y[y != 0], x[y != 0])
    # Units are dropped independently of their neighbours.
    kept = (y != 0).double() - (1 - probability)
    for step in (1, 2, 3, 4):
        together = (kept[:, :-step] * kept[:, step:]).mean().item()
        assert abs(together) < 5 * probability * (1 - probability) / x.numel() ** 0.5


def test_dropout_is_relu_and_mask_in_both_directions():
    torch.manual_seed(0)
    x = torch.randn(50, 7, requires_grad=True)
    y, factor = relu_dropout(x, 0.4, training=True)
    keep = (y != 0) | (x <= 0)
    assert torch.equal(y, functional.relu(x) * keep)
    (factor * y * torch.arange(7)).sum().backward()
    expected = factor * torch.arange(7) * ((x > 0) & keep)
    torch.testing.assert_close(x.grad, expected, rtol=0, atol=1e-6)


def test_dropout_is_off_in_evaluation_and_at_zero():
    x = torch.randn(5, 3)
    for probability, training in ((0.5, False), (0.0, True)):
        y, factor = relu_dropout(x, probability, training)
        assert torch.equal(y, functional.relu(x))
        assert factor == 1.0


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_declares_what_it_is(self, name):
        kind = load_model_class(name)
        assert kind.symmetry in ("none", "translation", "SE(3)", "E(3)")
        assert isinstance(kind.needs, frozenset)
        assert all(word in kind.__doc__ for word in ("Symmetry:", "In:", "Out:", "Source:"))

    def test_answers_three_numbers_per_graph(self, name, store):
        answer = model_of(name)(batch_of(store, range(9), name))
        assert answer.shape == (9, 3)
        assert answer.isfinite().all()
        assert answer.std(0).min() > 1e-3, "the answer depends on the graph"

    def test_a_graph_does_not_see_its_neighbours_in_the_batch(self, name, store):
        model, rows = model_of(name).eval(), [0, 1, 17, 30]
        together = model(batch_of(store, rows, name))
        alone = torch.cat([model(batch_of(store, [row], name)) for row in rows])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)

    def test_the_gradient_reaches_every_parameter(self, name, store):
        """In float64, where a gradient that is zero but for rounding is below 1e-12 of the others."""
        _, gradients = answer_and_gradients(model_of(name), batch_of(store, range(20), name))
        assert [label for label, gradient in gradients.items() if gradient is None] == []
        sizes = {label: gradient.abs().max() for label, gradient in gradients.items()}
        assert [label for label, size in sizes.items() if size < 1e-9 * max(sizes.values())] == []

    def test_runs_in_its_own_type(self, name, store):
        batch = make_batch(store, np.arange(6), load_model_class(name).needs)
        for dtype in (torch.float32, torch.bfloat16):
            assert model_of(name).to(dtype)(batch).dtype == dtype

    def test_runs_under_autocast(self, name, store):
        batch = make_batch(store, np.arange(6), load_model_class(name).needs)
        model = model_of(name).float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            answer, gradients = answer_and_gradients(model, batch)
        assert all(part.isfinite().all() for part in (answer, *gradients.values()))
        assert (answer - model(batch)).norm() < 0.1 * model(batch).norm()

    def test_graphs_without_a_shape(self, name):
        """One node, coinciding nodes, no edges, self loops, parallel edges: finite answers and gradients."""
        batch = make_batch(degenerate_store(), np.arange(6), load_model_class(name).needs)
        for dtype in (torch.float32, torch.bfloat16):
            answer, gradients = answer_and_gradients(model_of(name).to(dtype), batch)
            assert all(part.isfinite().all() for part in (answer, *gradients.values()))

    def test_a_batch_without_any_edge(self, name):
        alone = MemoryStore([degenerate_store()._samples[0]], feature_names=FEATURES)
        batch = make_batch(alone, np.arange(1), load_model_class(name).needs)
        answer, gradients = answer_and_gradients(model_of(name), batch)
        assert all(part.isfinite().all() for part in (answer, *gradients.values()))

    def test_the_same_bits_every_time(self, name, store):
        def once():
            answer, gradients = answer_and_gradients(model_of(name), batch_of(store, range(20), name))
            return [answer, *gradients.values()]

        assert all(torch.equal(a, b) for a, b in zip(once(), once(), strict=True))

    def test_untrained_it_answers_the_mean_of_the_points(self, name, store):
        if load_model_class(name).symmetry == "none":
            pytest.skip("does not know what is a position")
        batch = make_batch(store, np.arange(9), load_model_class(name).needs)
        answer = build_model(name, feature_names=FEATURES, vector_names=())(batch)
        torch.testing.assert_close(answer, batch.centre, rtol=0, atol=1e-5)

    def test_says_what_is_missing(self, name, store):
        for part in load_model_class(name).needs:
            with pytest.raises(ValueError, match=part):
                model_of(name)(make_batch(store, np.arange(2), load_model_class(name).needs - {part}))

    @pytest.mark.parametrize("num_layers", [2, 3, 5])
    def test_depth_and_width(self, name, store, num_layers):
        model = model_of(name, num_layers=num_layers, hidden_dim=8)
        assert model(batch_of(store, range(3), name)).shape == (3, 3)


def test_shares_of_large_votes_are_finite_and_sum_to_one():
    votes = torch.tensor([[1e4], [1e4], [-1e4], [5.0]])
    shares = softmax_by(votes, torch.tensor([0, 0, 0, 2]), 3)
    assert shares[:, 0].tolist() == [0.5, 0.5, 0.0, 1.0]


def test_frames_where_no_direction_to_the_sensor_is_left():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 12)).astype(np.float32)
    features[3:, 3:6] = -features[:3, 3:6]
    alone = random_sample(rng, num_nodes=6, node_features=features)
    batch = make_batch(MemoryStore([alone], feature_names=FEATURE_NAMES), np.arange(1), frozenset())
    model = build("framed", {"feature_names": FEATURE_NAMES}).float()
    assert model.sensor is not None
    assert answer_and_gradients(model, batch)[0].isfinite().all()


def test_steerable_says_how_to_install_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "e3nn", None)
    monkeypatch.delitem(sys.modules, "plumbline.models.steerable", raising=False)
    with pytest.raises(InputError, match=re.escape("pip install 'plumbline[steerable]'")):
        load_model_class("steerable")


def test_the_documented_network_has_the_documented_parts():
    model = build_model("gcn", input_dim=9)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert shapes == {
        "convs.0.lin.weight": (128, 9),
        "convs.0.bias": (128,),
        "convs.1.lin.weight": (128, 128),
        "convs.1.bias": (128,),
        "convs.2.lin.weight": (128, 128),
        "convs.2.bias": (128,),
        "convs.3.lin.weight": (128, 128),
        "convs.3.bias": (128,),
        "head.0.weight": (64, 128),
        "head.0.bias": (64,),
        "head.3.weight": (32, 64),
        "head.3.bias": (32,),
        "head.6.weight": (3, 32),
        "head.6.bias": (3,),
    }


def test_the_highest_row_and_its_gradient_are_those_of_amax() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(5, 6, 7, dtype=torch.float64, generator=generator)
    x[1] = x[1, :1]  # all alike
    x[2, 4:] = x[2, :2]
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    grad = torch.randn(5, 7, dtype=torch.float64, generator=generator)
    top = highest(ours)
    assert torch.equal(top, theirs.amax(1))
    top.backward(grad)
    theirs.amax(1).backward(grad)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, rtol=0, atol=1e-15)
    assert torch.autograd.gradcheck(highest, x[[0, 3]].requires_grad_())
