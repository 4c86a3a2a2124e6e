"""Batches: the right graphs, whoever builds them; the order: pure, complete, resumable."""

import multiprocessing
import pickle
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from plumbline.data.batches import gcn_constants
from plumbline.data.batches.collate import GraphTables, make_batch
from plumbline.data.batches.loader import (
    PREFETCH_FACTOR,
    BatchOrder,
    ResidentLoader,
    _StoreDataset,
    make_loaders,
)
from plumbline.data.batches.order import epoch_order
from plumbline.data.batches.slots import Slots
from plumbline.data.batches.transit import HELD
from plumbline.errors import InputError
from plumbline.memory import Memory
from tests.helpers.random_samples import random_store

EVERYTHING = frozenset({"gcn", "edge_index"})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return random_store(tmp_path_factory.mktemp("store"))


def loaders(store, **changes):
    settings = {"batch_size": 4, "seed": 7, "needs": EVERYTHING} | changes
    return make_loaders(store, train_idx=np.arange(3, 33), val_idx=np.arange(33, 41), **settings)


def same(a, b) -> bool:
    left, right = list(a.tensors()), list(b.tensors())
    return (
        len(left) == len(right)
        and a.max_in_degree == b.max_in_degree
        and all(
            torch.equal(x, y) and x.dtype == y.dtype and (x.stride() == y.stride() or not x.numel())
            for x, y in zip(left, right, strict=True)
        )
    )


def test_a_batch_holds_the_graphs_asked_for(store):
    wanted = np.array([5, 0, 40, 5, 1])
    batch = make_batch(store, wanted, EVERYTHING)
    assert batch.index.tolist() == wanted.tolist()
    for place, i in enumerate(wanted):
        sample = store.sample(int(i))
        nodes = slice(*batch.node_ptr[place : place + 2].tolist())
        assert np.array_equal(batch.node_features[nodes], sample.node_features)
        assert np.array_equal(batch.pos[nodes], sample.pos)
        assert np.array_equal(batch.target[place], sample.target.astype(np.float32))
        assert batch.bounding_radius[place] == np.float32(sample.bounding_radius)
        mine = batch.graph_idx[batch.edge_index[1]] == place
        assert np.array_equal(batch.edge_index[:, mine] - batch.node_ptr[place], sample.edge_index)
    assert batch.max_in_degree == torch.bincount(batch.edge_index[1]).max()
    assert torch.equal(batch.graph_idx, torch.repeat_interleave(torch.arange(5), torch.diff(batch.node_ptr)))


def test_gathered_tables_equal_tables_built_for_the_batch(store):
    rows = np.array([7, 7, 0, 12])
    assert same(
        GraphTables(store, np.arange(len(store)), EVERYTHING).batch(rows), make_batch(store, rows, EVERYTHING)
    )


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_workers_give_the_batches_of_resident_tables(store, num_workers):
    resident = loaders(store, loader="resident")
    workers = loaders(store, loader="workers", num_workers=num_workers)
    for epoch in range(2):
        for side in ("train", "val"):
            left, right = getattr(resident, side), getattr(workers, side)
            left.load_state_dict({"epoch": epoch, "position": 0})
            right.load_state_dict({"epoch": epoch, "position": 0})
            pairs = list(zip(left, right, strict=True))
            assert len(pairs) == len(left) == len(right)
            assert all(same(a, b) for a, b in pairs)


def test_workers_that_start_by_spawn(store):
    """As on Windows: nothing but a path and indices may travel to the worker."""
    workers = loaders(store, loader="workers", num_workers=1).train
    workers._loader.multiprocessing_context = multiprocessing.get_context("spawn")
    assert all(same(a, b) for a, b in zip(workers, loaders(store, loader="resident").train, strict=True))
    dataset = _StoreDataset(store, np.arange(30), EVERYTHING, Slots(2, 1000))
    dataset[np.arange(3), None]
    assert len(pickle.dumps(dataset)) < 10_000


def storages(batch) -> dict[int, torch.UntypedStorage]:
    return {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage()
        for tensor in batch.tensors()
        if tensor.numel()
    }


@pytest.mark.parametrize("needs", [frozenset(), frozenset({"gcn"}), EVERYTHING])
def test_a_batch_travels_as_one_block_of_memory(store, needs):
    """With its strides and shared storages, aligned: a file for each tensor costs more than reading it."""
    rows = np.array([5, 0, 40])
    loose = GraphTables(store, np.arange(len(store)), needs).batch(rows)
    for sent in (loose, make_batch(store, rows, needs)):
        received = pickle.loads(pickle.dumps(sent))  # noqa: S301 (our own)
        assert same(sent, received)
        (block,) = storages(received).values()
        assert block.nbytes() < sum(storage.nbytes() + 64 for storage in storages(loose).values())
        begins = {tensor.data_ptr() for tensor in (received.node_features, received.target, received.index)}
        assert not any(begin % 64 for begin in begins)
    assert len(storages(sent)) == 1


def test_a_batch_goes_to_another_device_as_one_block(store):
    """Shown on torch's device without memory: shapes, types and strides, in one storage."""
    here = make_batch(store, np.array([5, 0, 40]), EVERYTHING)
    there = here.to("meta")
    assert here.to("cpu") is here
    for left, right in zip(here.tensors(), there.tensors(), strict=True):
        assert right.device.type == "meta"
        assert (left.shape, left.dtype, left.stride()) == (right.shape, right.dtype, right.stride())
    assert len({tensor.untyped_storage()._cdata for tensor in there.tensors()}) == 1


def in_slot(loader, batch) -> bool:
    memory = loader._slots._memory
    return 0 <= batch.index.data_ptr() - memory.ctypes.data < memory.nbytes


@pytest.mark.parametrize("num_workers", [1, 2])
def test_every_batch_comes_in_a_slot_epoch_after_epoch(store, num_workers):
    """Also after epochs that were left before their end, of which the readers had begun more."""
    loader = loaders(store, loader="workers", num_workers=num_workers).train
    expected = loaders(store, loader="resident").train
    for epoch in range(12):
        for side in (loader, expected):
            side.load_state_dict({"epoch": epoch, "position": 0})
            side.load_state_dict({"epoch": epoch, "position": 0})
        for number, (mine, other) in enumerate(zip(loader, expected, strict=True)):
            assert in_slot(loader, mine)
            assert same(mine, other)
            if epoch % 2 and number == 1:
                break
    loader.close()


def test_a_slot_is_not_filled_again_while_anything_of_its_batch_is_in_use(store):
    """Batches that are kept use up the slots; those that come after them are sent as they are."""
    loader = loaders(store, loader="workers", num_workers=1, batch_size=1).train
    expected = [
        batch.node_features.clone() for batch in loaders(store, loader="resident", batch_size=1).train
    ]
    kept = [batch.node_features[1:] for batch in loader]
    slots = len(loader._slots._free)
    assert slots == 0
    assert all(torch.equal(a, b[1:]) for a, b in zip(kept, expected, strict=True))
    first = next(iter(loader))
    assert not in_slot(loader, first)
    del kept, first
    assert len(loader._slots._free) > slots
    loader.load_state_dict({"epoch": 1, "position": 0})
    assert all(in_slot(loader, batch) for batch in loader)
    loader.close()


def test_short_epochs_fill_the_same_slots_again(store):
    """Slots that were never used cost no memory; each one that is filled for the first time does."""
    loader = make_loaders(
        store, train_idx=np.arange(30), val_idx=np.arange(8), batch_size=8, loader="workers", num_workers=2
    ).val
    used = set()
    for epoch in range(6):
        loader.load_state_dict({"epoch": epoch, "position": 0})
        for batch_ in loader:
            used.add(batch_.index.untyped_storage().data_ptr())
    assert len(used) <= 2
    loader.close()


def test_without_shared_memory_batches_are_sent_as_they_are(store, monkeypatch):
    def little(_, size):
        if size > 1:
            raise OSError(12, "Cannot allocate memory")
        return bytearray(size)

    monkeypatch.setattr("plumbline.data.batches.slots.mmap", SimpleNamespace(mmap=little, PAGESIZE=4096))
    loader = loaders(store, loader="workers", num_workers=1).train
    assert all(same(a, b) for a, b in zip(loader, loaders(store, loader="resident").train, strict=True))
    loader.close()


@pytest.mark.parametrize("again", [False, True])
def test_an_iteration_does_not_outlive_its_readers(store, again):
    loader = loaders(store, loader="workers", num_workers=2).train
    old = iter(loader)
    next(old)
    loader.close()
    if again:
        new = iter(loader)
        next(new)
    with pytest.raises(RuntimeError, match="closed while"):
        next(old)
    loader.close()


def test_a_side_without_graphs_has_no_batches(store):
    sides = make_loaders(
        store,
        train_idx=np.arange(30),
        val_idx=np.arange(0),
        batch_size=4,
        loader="workers",
        num_workers=1,
        needs=EVERYTHING,
    )
    assert list(sides.val) == []


def test_changing_one_tensor_of_a_batch_is_no_change_of_the_others(store):
    """For autograd, which refuses to go back through what was changed since."""
    both = make_batch(store, np.array([5, 0, 40]), EVERYTHING)
    weight = torch.ones(both.node_features.shape[1], requires_grad=True)
    answer = (both.node_features * weight).sum()
    both.target.sub_(1)
    answer.backward()
    torch.testing.assert_close(weight.grad, both.node_features.sum(0))


def test_a_batch_that_is_larger_than_its_slot_is_sent_as_it_is(store):
    loader = loaders(store, loader="workers", num_workers=1).train
    loader._slots._size = 64
    for mine, other in zip(loader, loaders(store, loader="resident").train, strict=True):
        assert not in_slot(loader, mine)
        assert same(mine, other)
    assert len(loader._slots._free) == PREFETCH_FACTOR + HELD
    loader.close()


def test_reading_leaves_the_global_generator_alone(store):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for kind in ("resident", "workers"):
        list(loaders(store, loader=kind, num_workers=1).train)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_graph_comes_once_and_the_order_changes_by_epoch():
    order = BatchOrder(23, batch_size=4, shuffle=True, drop_last=False, seed=1)
    epochs = []
    for epoch in range(3):
        order.epoch = epoch
        epochs.append(np.concatenate(list(order)))
        assert sorted(epochs[-1]) == list(range(23))
        assert np.array_equal(epochs[-1], epoch_order(1, epoch, 23))
    assert not np.array_equal(epochs[0], epochs[1])
    assert len(order) == 6


def test_drop_last_keeps_whole_batches_only():
    order = BatchOrder(23, batch_size=4, shuffle=True, drop_last=True, seed=1)
    assert len(order) == 5
    assert [len(rows) for rows in order] == [4] * 5


@pytest.mark.parametrize("kind", ["resident", "workers"])
@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_loader_goes_on_where_its_state_was_taken(store, kind, stop):
    whole = loaders(store, loader=kind, num_workers=1).train
    whole.load_state_dict({"epoch": 2, "position": 0})
    expected = [batch.index.tolist() for batch in whole]
    first = loaders(store, loader=kind, num_workers=1).train
    first.load_state_dict({"epoch": 2, "position": 0})
    iterator = iter(first)
    for _ in range(stop):
        next(iterator)
    state = first.state_dict()
    assert state == {"epoch": 2, "position": stop, "graphs": 4 * stop, "whole": 4}
    second = loaders(store, loader=kind, num_workers=1).train
    second.load_state_dict(state)
    assert [batch.index.tolist() for batch in second] == expected[stop:]
    assert second.state_dict() == {"epoch": 2, "position": 0, "graphs": 0, "whole": 4}
    assert len(second) == len(expected), "the length of an epoch does not shrink"


@pytest.mark.parametrize("kind", ["resident", "workers"])
def test_an_epoch_left_before_its_end_does_not_shorten_the_next(store, kind):
    """Who knows the length need not ask for one batch more, as Lightning does not."""
    loader = loaders(store, loader=kind, num_workers=0).train

    def graphs(batches):
        return [batch.index.tolist() for batch in batches]

    def expected(epoch):
        order = 3 + epoch_order(7, epoch, 30)
        return [order[first : first + 4].tolist() for first in range(0, 28, 4)]

    for epoch in range(2):
        loader.load_state_dict({"epoch": epoch, "position": 0})
        iterator = iter(loader)
        assert graphs(next(iterator) for _ in range(len(loader))) == expected(epoch)
    next(iter(loader))
    loader.load_state_dict({"epoch": 5, "position": 0})
    assert graphs(loader) == expected(5)


def test_a_training_set_below_one_batch_is_kept_and_said(store):
    result = loaders(store, batch_size=64)
    assert [batch.num_graphs for batch in result.train] == [30]
    assert "smaller than one batch" in result.notes[0]
    assert not result.settings["drop_last"]
    assert loaders(store).settings["drop_last"]


def test_auto_reads_from_disk_what_does_not_fit(store, monkeypatch):
    assert loaders(store).settings["loader"] == "resident"
    little = Memory(1000, 1000, "this machine's memory")
    monkeypatch.setattr("plumbline.data.batches.loader.usable_memory", lambda: little)
    result = loaders(store, num_workers=0)
    assert result.settings["loader"] == "workers"
    assert re.fullmatch(
        r"the data set would take 0\.0 of 0\.0 GiB free memory, so it stays on disk and reader processes "
        r"read it \(--loader workers\)",
        result.notes[0],
    )


def test_documented_worker_settings(store):
    settings = loaders(store, loader="workers", num_workers=2).settings
    wanted = {"num_workers": 2, "persistent_workers": True, "prefetch_factor": 4, "pin_memory": False}
    assert settings | wanted == settings


@pytest.mark.parametrize("persistent", [True, False])
def test_readers_are_kept_between_epochs_only_if_they_are_to_be(store, persistent):
    """The batches are the same, also after an epoch that was left before its end."""
    made = loaders(store, loader="workers", num_workers=2, persistent_workers=persistent)
    expected = loaders(store, loader="resident").train
    readers, last = [], made.train
    for epoch in range(3):
        for loader in (last, expected):
            loader.load_state_dict({"epoch": epoch, "position": 0})
        iterator = iter(last)
        first = next(iterator)
        readers.append({process.pid for process in multiprocessing.active_children()})
        rest = [] if epoch == 1 else list(iterator)
        wanted = list(expected)
        assert all(same(a, b) for a, b in zip([first, *rest], wanted, strict=False))
        assert epoch == 1 or len(rest) == len(wanted) - 1
        iterator.close()
    last.close()
    assert (readers[0] == readers[2]) == persistent
    assert not multiprocessing.active_children()


def test_readers_that_there_are_not_are_said(store):
    assert "--no_persistent_workers has no effect" in loaders(store, persistent_workers=False).notes[-1]


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_no_worker_processes_where_they_start_slowly(store, monkeypatch, system):
    monkeypatch.setattr("plumbline.data.batches.transit.sys.platform", system)
    result = loaders(store, loader="workers", num_workers=4)
    assert result.settings["num_workers"] == 0
    assert "this process" in result.notes[0]
    assert isinstance(loaders(store).train, ResidentLoader)


def test_more_edges_than_int32_counts_are_refused_before_they_wrap(store, monkeypatch):
    tables = GraphTables(store, np.arange(len(store)), frozenset({"gcn"}))
    most = int(tables.batch(np.arange(10)).gcn.propagate.ptr[-1])
    monkeypatch.setattr(gcn_constants, "_MOST_ENTRIES", most)
    tables.batch(np.arange(10))
    with pytest.raises(InputError, match="lower --batch_size"):
        tables.batch(np.arange(11))
    with pytest.raises(InputError, match="prepare smaller graphs"):
        make_batch(store, np.arange(20), frozenset({"gcn"}))


def test_unknown_needs_are_a_programming_error(store):
    with pytest.raises(ValueError, match="colour"):
        make_batch(store, np.arange(2), frozenset({"colour"}))
