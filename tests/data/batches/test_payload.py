"""Volume and inertia of the objects in batches."""

from pathlib import Path

import numpy as np
import torch

from plumbline.data.batches.collate import GraphTables, make_batch
from plumbline.data.store.reader import PackedStore
from tests.helpers.training_fixtures import write_seeded

NEEDS = frozenset({"payload"})


def test_they_are_those_of_the_store_in_the_order_of_the_graphs(tmp_path: Path) -> None:
    store = PackedStore.open(write_seeded(tmp_path / "data", payload=True))
    rows = np.array([40, 3, 17])
    for batch in (
        make_batch(store, rows, NEEDS),
        GraphTables(store, np.arange(20, 41), NEEDS).batch(rows[:1] - 20),
    ):
        assert batch.volume is not None
        assert batch.inertia is not None
        number = batch.num_graphs
        assert batch.volume.dtype == batch.inertia.dtype == torch.float32
        np.testing.assert_array_equal(batch.volume, store.volume[rows[:number]].astype(np.float32))
        np.testing.assert_array_equal(batch.inertia, store.inertia[rows[:number]].astype(np.float32))
        moved = batch.to("cpu")
        assert moved.inertia is not None
        assert torch.equal(moved.inertia, batch.inertia)


def test_what_is_unknown_is_not_a_number(tmp_path: Path) -> None:
    store = PackedStore.open(write_seeded(tmp_path / "data"))
    batch = make_batch(store, np.arange(3), NEEDS)
    assert batch.volume is not None
    assert batch.inertia is not None
    assert batch.volume.isnan().all()
    assert batch.inertia.isnan().all()


def test_who_does_not_need_them_gets_none(tmp_path: Path) -> None:
    store = PackedStore.open(write_seeded(tmp_path / "data", payload=True))
    batch = make_batch(store, np.arange(3), frozenset())
    assert (batch.volume, batch.inertia) == (None, None)
