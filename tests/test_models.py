"""The networks: sparse products and dropout against plain torch, and what every model must do."""

import numpy as np
import pytest
import torch
from random_samples import random_store
from torch.nn import functional

from plumbline.data.assembly import make_batch
from plumbline.data.batch import SparsePair
from plumbline.models import MODELS, build_model, load_model_class
from plumbline.models.blocks import relu_dropout, sparse_product


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return random_store(tmp_path_factory.mktemp("store"))


def model_of(name, **changes):
    """A model whose every weight is of order one: tests must not pass because an answer is nearly zero."""
    torch.manual_seed(3)
    model = build_model(name, **{"input_dim": 9, "hidden_dim": 16, "num_layers": 3, "dropout": 0.0} | changes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model.double()


def batch_of(store, rows, name="gcn"):
    batch = make_batch(store, np.asarray(rows), load_model_class(name).needs)
    return batch._map(lambda tensor: tensor.double() if tensor.dtype == torch.float32 else tensor)


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
    # Units are dropped independently of their neighbours in the same 64-bit draw.
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
        model = model_of(name)
        model(batch_of(store, range(20), name)).square().sum().backward()
        for label, parameter in model.named_parameters():
            assert parameter.grad is not None, label
            assert parameter.grad.abs().max() > 0, label

    def test_runs_in_its_own_type(self, name, store):
        batch = make_batch(store, np.arange(6), load_model_class(name).needs)
        for dtype in (torch.float32, torch.bfloat16):
            assert model_of(name).to(dtype)(batch).dtype == dtype

    @pytest.mark.parametrize("num_layers", [2, 3, 5])
    def test_depth_and_width(self, name, store, num_layers):
        model = model_of(name, num_layers=num_layers, hidden_dim=8)
        assert model(batch_of(store, range(3), name)).shape == (3, 3)


def test_gcn_says_what_is_missing(store):
    with pytest.raises(ValueError, match="gcn"):
        model_of("gcn")(make_batch(store, np.arange(2), frozenset()))


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
