"""Reader processes are as many as the memory holds."""

import numpy as np
import pytest

from plumbline.data.batches import collate, loader
from plumbline.data.batches.collate import GraphTables, make_batch
from plumbline.data.batches.loader import make_loaders
from plumbline.data.batches.order import BatchOrder
from plumbline.data.batches.transit import HELD, batch_bytes, in_transit, readers_that_fit, transit_bytes
from plumbline.memory import Memory
from tests.helpers.random_samples import random_store

MIB = 1 << 20


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return random_store(tmp_path_factory.mktemp("store"))


def order(num_graphs: int) -> BatchOrder:
    return BatchOrder(num_graphs, batch_size=4, shuffle=False, drop_last=False, seed=0)


@pytest.mark.parametrize(("free", "num"), [(1000, 4), (60, 2), (50, 1), (36, 0), (0, 0)])
def test_as_many_as_fit(free: int, num: int) -> None:
    """One reader has 4 batches of 2 MiB under way and the training holds 3; validation has 1 and 3 of 0.2."""
    sides = [(order(400), 2 * MIB), (order(4), MIB // 5)]
    assert transit_bytes(1, sides) == 7 * 2 * MIB + 4 * (MIB // 5)
    assert transit_bytes(0, sides) == 0
    found, sentence = readers_that_fit(4, sides, Memory(free * MIB, 2000 * MIB, "the memory of a box"))
    assert found == num
    expected = (
        f"the batches of 4 reader processes would take 39 MiB, and {free} MiB of the memory of a box "
        f"are free: --num_workers {num} is used"
    )
    assert sentence == ("" if num == 4 else expected)


def test_a_short_epoch_has_fewer_batches() -> None:
    assert in_transit(4, order(20)) == 5 + HELD


def test_a_side_without_graphs_takes_nothing(store) -> None:
    found = [batch_bytes(store, np.arange(num), 4, frozenset({"gcn"})) for num in (0, 4, 8)]
    assert 0 == found[0] < found[1] <= found[2]


def test_the_loader_reduces_them_and_says_so(store, monkeypatch) -> None:
    sides = {"train_idx": np.arange(30), "val_idx": np.arange(30, 41), "batch_size": 4}
    plenty = make_loaders(store, loader="workers", num_workers=2, **sides)
    monkeypatch.setattr(loader, "usable_memory", lambda: Memory(1000, 1000, "the memory of a box"))
    little = make_loaders(store, loader="workers", num_workers=2, **sides)
    assert [made.settings["num_workers"] for made in (plenty, little)] == [2, 0]
    assert plenty.bytes > 0 == little.bytes
    assert "of the memory of a box are free: --num_workers 0 is used" in little.notes[-1]
    for one, other in zip(plenty.train, little.train, strict=True):
        assert one.index.tolist() == other.index.tolist()
    plenty.train.close()


def test_a_data_set_in_memory_knows_its_size(store) -> None:
    found = make_loaders(store, train_idx=np.arange(30), val_idx=np.arange(30, 41), batch_size=4)
    tables = GraphTables(store, np.arange(41), frozenset({"gcn"}))
    assert found.bytes == tables.num_bytes
    assert 0.5 * collate.resident_bytes(store, frozenset({"gcn"})) < found.bytes


@pytest.mark.parametrize("rows", [1, 50, 1000])
def test_constants_are_computed_for_few_rows_at_a_time(store, monkeypatch, rows) -> None:
    sizes = []
    original = collate._columns

    def watched(store, indices, needs):
        sizes.append(int(np.diff(store.node_ptr)[indices].sum() + np.diff(store.edge_ptr)[indices].sum()))
        assert len(indices) == 1 or sizes[-1] <= rows
        return original(store, indices, needs)

    graphs = np.arange(41)[::-1]
    whole = make_batch(store, graphs, frozenset({"gcn", "edge_index", "patches"}))
    monkeypatch.setattr(collate, "_CHUNK_ROWS", rows)
    monkeypatch.setattr(collate, "_columns", watched)
    pieces = make_batch(store, graphs, frozenset({"gcn", "edge_index", "patches"}))
    assert len(sizes) > (store.num_nodes + store.num_edges) / max(rows, 200)
    for one, other in zip(whole.tensors(), pieces.tensors(), strict=True):
        assert one.equal(other)
