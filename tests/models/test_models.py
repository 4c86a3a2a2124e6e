"""The networks: sparse products and dropout against plain torch, and what every model must do."""

import math
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
from plumbline.models import MODELS, arguments_for, build_model, load_model_class
from plumbline.models.answer import as_answer
from plumbline.models.blocks import max_pool, relu_dropout, sparse_product
from plumbline.models.equivariant import softmax_by
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES
from plumbline.testing import ModelTests, scans, store_of
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
    answer = as_answer(model.answer(batch) if hasattr(model, "answer") else model(batch))
    sum(part.double().square().sum() for part in answer.parts).backward()
    return answer.com.detach(), {label: parameter.grad for label, parameter in model.named_parameters()}


def batch_of(store, rows, name="gcn"):
    batch = make_batch(store, np.asarray(rows), load_model_class(name).needs)
    parts = dict(vars(batch))
    return Batch(
        **_mapped(parts, torch.Tensor, lambda part: part.double() if part.dtype == torch.float32 else part)
    )


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


pytest.mark.slow(ModelTests.test_it_resumes_with_the_same_bits)  # it trains three times

for name in MODELS:
    label = f"Test_{name}"
    globals()[label] = type(label, (ModelTests,), {"model": load_model_class(name), "__module__": __name__})


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    """What only the networks of this package promise."""

    def test_its_docstring_has_every_part(self, name):
        assert all(word in load_model_class(name).__doc__ for word in ("Symmetry:", "In:", "Out:", "Source:"))

    def test_untrained_it_answers_the_mean_of_the_points(self, name, store):
        if load_model_class(name).symmetry == "none":
            pytest.skip("does not know what is a position")
        batch = make_batch(store, np.arange(9), load_model_class(name).needs)
        arguments = arguments_for(name, feature_names=FEATURES, vector_names=(), features=["all"])
        answer = build_model(name, **arguments)(batch)
        torch.testing.assert_close(answer, batch.centre, rtol=0, atol=1e-5)

    def test_says_what_is_missing(self, name, store):
        # Only the loss reads the payload.
        for part in load_model_class(name).needs - {"payload"}:
            with pytest.raises(ValueError, match=part):
                model_of(name)(make_batch(store, np.arange(2), load_model_class(name).needs - {part}))

    @pytest.mark.parametrize("num_layers", [2, 3, 5])
    def test_depth_and_width(self, name, store, num_layers):
        model = model_of(name, num_layers=num_layers, hidden_dim=8)
        assert model(batch_of(store, range(3), name)).shape == (3, 3)


def test_shares_of_distinct_votes_are_those_of_a_softmax_in_each_group():
    """Against the definition: the shares of a group stand to each other as the exponentials of its votes."""
    generator = torch.Generator().manual_seed(5)
    votes = torch.randn(12, 1, dtype=torch.float64, generator=generator)
    group = torch.tensor([2, 0, 0, 3, 2, 0, 3, 3, 0, 2, 3, 0])
    shares = softmax_by(votes.requires_grad_(), group, 5)
    expected = torch.empty(12, 1, dtype=torch.float64)
    for number in (0, 2, 3):
        weights = [math.exp(vote) for vote in votes.detach()[group == number, 0].tolist()]
        expected[group == number, 0] = torch.tensor([w / sum(weights) for w in weights], dtype=torch.float64)
    assert 0.01 < expected.min() < expected.max() < 0.9, "moderate votes"
    assert len(expected.unique()) == 12
    torch.testing.assert_close(shares, expected, rtol=0, atol=1e-15)
    assert torch.autograd.gradcheck(lambda x: softmax_by(x, group, 5), votes)


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
    with pytest.raises(InputError, match=r"needs e3nn: pip install e3nn$"):
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


def test_max_pool_and_its_gradient_are_those_of_amax() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(5, 6, 7, dtype=torch.float64, generator=generator)
    x[1] = x[1, :1]  # all alike
    x[2, 4:] = x[2, :2]
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    grad = torch.randn(5, 7, dtype=torch.float64, generator=generator)
    top = max_pool(ours)
    assert torch.equal(top, theirs.amax(1))
    top.backward(grad)
    theirs.amax(1).backward(grad)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, rtol=0, atol=1e-15)
    assert torch.autograd.gradcheck(max_pool, x[[0, 3]].requires_grad_())


def test_a_description_of_a_scan_is_of_the_first_layer_and_of_the_last():
    """The last layers forget what does not tell the centre of mass."""
    data = {"input_dim": 12, "feature_names": FEATURE_NAMES, "vector_names": VECTOR_NAMES}
    model = build("ept", data)
    batch = make_batch(store_of(scans()), np.arange(len(scans())), model.needs)
    kept = {}
    for name, layer in {"first": model.patches, "last": model.head.norm}.items():
        layer.register_forward_hook(lambda _, given, found, name=name: kept.update({name: found[0].mean(1)}))
    features = model.eval().answer(batch).features
    torch.testing.assert_close(features, torch.cat([kept["first"], kept["last"]], 1))
    assert not features.requires_grad
