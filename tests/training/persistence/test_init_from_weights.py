"""Weights that move to a network for other features: with the same answers, and what is refused."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from plumbline.data.batches.collate import make_batch
from plumbline.errors import InputError
from plumbline.models import MODELS, arguments_for, build_model, forward_with_error, load_model_class
from plumbline.models.answer import as_answer
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES
from plumbline.testing import scans, store_of
from plumbline.training.persistence.init_from import Start

STORE = store_of(scans())
EVERYTHING = ("sensor", "normal", "curvature", "spacing", "depth", "hull", "carve", "view", "table")
FEWER = {
    "no features": (),
    "without the table": EVERYTHING[:-1],
    "one of each kind": ("normal", "spacing", "carve"),
}
SETTINGS = SimpleNamespace(model="the network", data_dir="data", freeze="none")


def network(name, features, seed, **side):
    """A network for these features, with weights of order one, and its arguments."""
    torch.manual_seed(seed)
    args = arguments_for(
        name,
        feature_names=FEATURE_NAMES,
        vector_names=VECTOR_NAMES,
        features=features or ["none"],
        hidden_dim=16,
        num_layers=3,
        dropout=0.0,
        **side,
    )
    model = build_model(name, **args)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.5)
    return model.double().eval(), args


def start_of(model, args, **changed):
    start = Start(SETTINGS, "CKPT", model, args, FEATURE_NAMES, VECTOR_NAMES)
    return replace(start, **changed)


def answer(model, store=STORE):
    batch = make_batch(store, np.arange(len(store)), model.needs)
    with torch.no_grad():
        return as_answer(forward_with_error(model)(batch))


def far_off(one, other):
    """The largest difference between two answers, as a fraction of the largest number."""
    return max(
        float((a - b).abs().max() / b.abs().max()) for a, b in zip(one.parts, other.parts, strict=True)
    )


def idle(model):
    """Weights of ``egnn`` whose input is always 0."""
    return sum(layer.from_edge.out_features * model.padding for layer in model.layers)


@pytest.mark.parametrize("fewer", FEWER)
@pytest.mark.parametrize("name", MODELS)
def test_with_new_features_the_first_answers_are_those_of_the_checkpoint(name, fewer):
    features = FEWER[fewer]
    if name == "framed":
        features = ("sensor", *features)  # its frame depends on it
    old, old_args = network(name, features, 1)
    new, args = network(name, EVERYTHING, 2)
    said = start_of(old, old_args).give(new, args, STORE)
    assert far_off(answer(new), answer(old)) < 1e-12
    sizes = [sum(weight.numel() for weight in model.parameters()) for model in (old, new)]
    if name == "egnn":
        sizes = [size - idle(model) for size, model in zip(sizes, (old, new), strict=True)]
    assert said[0] == f"starts from CKPT: {len(old.state_dict())} tensors, {sizes[0]:,} weights taken over"
    if sizes[1] > sizes[0]:  # the documented network knows nothing of vectors of the scan
        assert said[1].startswith(f"starts from zero: {sizes[1] - sizes[0]:,} weights of ")
        assert "table, which it did not know" in said[1] or name == "gcn"
    assert len(said) == 1 + (sizes[1] > sizes[0])


@pytest.mark.parametrize("name", MODELS)
def test_without_zeros_they_would_be_others(name):
    """The control: the same with random weights for the new features."""
    features = ("sensor", "spacing")
    old, old_args = network(name, features, 1)
    new, args = network(name, EVERYTHING, 2)
    drawn = {key: value.clone() for key, value in new.state_dict().items()}
    start_of(old, old_args).give(new, args, STORE)
    assert far_off(answer(new), answer(old)) < 1e-12
    with torch.no_grad():
        for key, weight in new.state_dict().items():
            weight.copy_(torch.where(weight == 0, drawn[key], weight))
    assert far_off(answer(new), answer(old)) > 1e-3


@pytest.mark.parametrize("name", [name for name in MODELS if "edge_index" in load_model_class(name).needs])
def test_the_gradient_reaches_weights_that_start_from_zero(name):
    old, old_args = network(name, ("sensor",), 1)
    new, args = network(name, EVERYTHING, 2)
    start_of(old, old_args).give(new, args, STORE)
    batch = make_batch(STORE, np.arange(len(STORE)), new.needs)
    new(batch).square().sum().backward()
    axes = new.feature_axes(FEATURE_NAMES)
    assert all(float(new.get_parameter(key).grad.abs().max()) > 0 for key in axes)


@pytest.mark.parametrize("name", ["ept", "egnn", "painn", "steerable", "pointnet", "framed"])
def test_a_table_that_the_data_lack_is_one_that_is_not_known(name):
    """As ``predict`` answers without a table, whose vector is then zero."""
    old, old_args = network(name, EVERYTHING, 1)
    new, args = network(name, EVERYTHING[:-1], 2)
    said = start_of(old, old_args).give(new, args, STORE)
    unknown = store_of([replace(scan, table=None) for scan in scans()])
    assert far_off(answer(new), answer(old, unknown)) < 1e-12
    assert far_off(answer(new), answer(old)) > 1e-6, "the control: with the table it answers otherwise"
    before, after = (sum(weight.numel() for weight in model.parameters()) for model in (old, new))
    assert said[1].startswith(f"dropped: {before - after:,} weights of table, ")


@pytest.mark.parametrize("name", MODELS)
def test_other_features_that_it_needs_must_be_there(name):
    old, old_args = network(name, ("sensor", "normal"), 1)
    new, args = network(name, ("sensor",), 2)
    with pytest.raises(
        InputError, match=r"^--init_from CKPT needs .*normal.*: name it in --features, or leave"
    ):
        start_of(old, old_args).give(new, args, STORE)


def test_a_frame_that_depends_on_a_new_feature_is_refused():
    old, old_args = network("framed", ("normal",), 1)
    new, args = network("framed", ("sensor", "normal"), 2)
    with pytest.raises(
        InputError, match=r"in another way .* name by --features those that it was trained with"
    ):
        start_of(old, old_args).give(new, args, STORE)


def test_what_the_checkpoint_does_not_predict_starts_with_random_weights():
    old, old_args = network("ept", EVERYTHING, 1, covariance=False, payload=False)
    new, args = network("ept", EVERYTHING, 2, covariance=True, payload=True)
    drawn = new.side_heads.doubt.mix.weight.clone()
    said = start_of(old, old_args).give(new, args, STORE)
    assert torch.equal(new.side_heads.doubt.mix.weight, drawn)
    assert float((answer(new).com - answer(old).com).abs().max()) == 0
    assert said[1].startswith("starts with random weights: ")
    assert "side_heads.moments" in said[1]


class Own(torch.nn.Module):
    """A network that does not say which weights read which features."""

    def __init__(self, width=3):
        super().__init__()
        self.net = torch.nn.Linear(width, 3)


def test_a_network_that_says_nothing_of_its_features_needs_the_same_ones():
    args = {"input_dim": 12}
    new = Own()
    start = start_of(Own(), args)
    start.give(new, args, STORE)
    assert torch.equal(new.net.weight, start.model.net.weight)
    for other in (replace(start, vector_names=("hull",)), replace(start, model_args={"input_dim": 11})):
        with pytest.raises(InputError, match=r"no method feature_axes .* data with the same features"):
            other.give(new, args, STORE)
    with pytest.raises(
        InputError, match=r"net.weight is \[3, 4\] there and \[3, 3\] .* not the same network"
    ):
        replace(start, model=Own(4)).give(new, args, STORE)
