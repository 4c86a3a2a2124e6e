"""The equivariant patch transformer gives the same numbers as its plain counterpart along edges."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch as PlainBatch

from benchmarks.plain_ept import PlainEPT, load_scans, make_ept
from plumbline.cli import main
from plumbline.data.batches.loader import make_loaders
from plumbline.data.store.reader import PackedStore
from plumbline.training.optim.losses import displacement, scale_loss


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    out = tmp_path_factory.mktemp("scans") / "out"
    flags = "--solids 6 --samples 2 --views 1-2 --points 80-160 --workers 1 --seed 3"
    assert main(["prepare", *flags.split(), "--out", str(out)]) == 0
    return PackedStore.open(out)


def test_answers_and_gradients_agree(store):
    torch.manual_seed(0)
    ours = make_ept(store)
    with torch.no_grad():
        for weight in ours.parameters():  # of order one, so that no path is hidden behind a zero
            weight.copy_(torch.randn_like(weight) / max(weight.shape[-1], 1) ** 0.5)
    plain = PlainEPT(ours)
    loader = make_loaders(
        store,
        train_idx=np.arange(10),
        val_idx=np.arange(12),
        batch_size=12,
        loader="resident",
        needs=ours.needs,
    ).val
    (batch,) = loader
    scans = PlainBatch.from_data_list(load_scans(store))

    def step(com, log_scale, target, radius):
        ours.zero_grad()
        error = com - target
        (displacement(error, radius) + scale_loss(error, log_scale)).backward()
        return com.detach(), log_scale.detach(), [weight.grad.clone() for weight in ours.parameters()]

    expected = step(*ours.answer(batch)[:2], batch.target, batch.bounding_radius)
    found = step(*plain(scans), scans.y, scans.radius)
    assert (found[0] - expected[0]).abs().max() < 1e-4 * expected[0].abs().max()
    assert (found[1] - expected[1]).abs().max() < 1e-4
    total = torch.stack([grad.norm() for grad in expected[2]]).norm()
    for (name, _), one, other in zip(ours.named_parameters(), found[2], expected[2], strict=True):
        assert (one - other).norm() < 1e-4 * other.norm() + 1e-8 * total, name
        assert other.norm() > 1e-6 * total, name


def test_wrong_pairs_are_noticed(store):
    """The control: with the pairs of the tokens mixed up, the answers differ by far more."""
    torch.manual_seed(0)
    plain = PlainEPT(make_ept(store))
    with torch.no_grad():
        for weight in plain.parameters():
            weight.copy_(torch.randn_like(weight) / max(weight.shape[-1], 1) ** 0.5)
        scans = PlainBatch.from_data_list(load_scans(store))
        right = plain(scans)[0]
        scans.pair_index[1] = scans.pair_index[1].roll(1)
        assert (plain(scans)[0] - right).abs().max() > 1e-3 * right.abs().max()
