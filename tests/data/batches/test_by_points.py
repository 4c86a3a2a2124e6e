"""Batches by number of points: complete, bounded, pure, as many in every epoch, resumable."""

import numpy as np
import pytest

from plumbline.data.batches.by_points import PointOrder, _divided, fill, larger_ones
from plumbline.data.batches.loader import make_loaders
from plumbline.data.batches.order import BatchOrder, epoch_order
from plumbline.errors import InputError
from tests.helpers.random_samples import random_store

POINTS = 6000
SIZES = np.exp(np.random.default_rng(3).uniform(np.log(50), np.log(5000), 203)).astype(np.int64)
"""Log-uniform from 50 to 5,000."""


def orders(
    size: int, *, points: int = POINTS, sizes: np.ndarray = SIZES, train: bool = True
) -> list[PointOrder]:
    return [
        PointOrder(sizes, batch_points=points, together=train, shuffle=train, seed=6, rank=rank, size=size)
        for rank in range(size)
    ]


def parts(each: list[PointOrder]) -> list[np.ndarray]:
    """The parts of all processes, in the order in which one process would have them."""
    lists = [list(order) for order in each]
    return [one[i] for i in range(max(map(len, lists))) for one in lists if i < len(one)]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_each_graph_comes_once_and_no_batch_is_larger_than_it_may_be(size):
    each = orders(size)
    for epoch in range(60):
        for order in each:
            order.epoch = epoch
        found = parts(each)
        assert len(found) == size * len(each[0]) == size * len(each[-1]), "as many in every epoch"
        assert all(0 < SIZES[part].sum() <= POINTS for part in found)
        assert np.array_equal(np.sort(np.concatenate(found)), np.arange(len(SIZES)))
        assert np.array_equal(np.concatenate(found), np.concatenate(parts(orders_in(epoch, size)))), "pure"


def orders_in(epoch: int, size: int) -> list[PointOrder]:
    each = orders(size)
    for order in each:
        order.epoch = epoch
    return each


def test_an_epoch_is_one_of_its_orders_and_the_first_that_does_not_need_too_many_batches():
    (order,) = orders(1)
    drawn = []
    for order.epoch in range(60):
        found = np.concatenate(list(order))
        needs = [len(fill(SIZES[epoch_order(6, order.epoch, 203, draw)], POINTS)) - 1 for draw in range(9)]
        draw = next(i for i, number in enumerate(needs) if number <= len(order))
        assert np.array_equal(found, epoch_order(6, order.epoch, 203, draw))
        drawn.append(draw)
    assert drawn[:8] == [0] * 8
    first = [epoch_order(6, epoch, 203) for epoch in range(8)]
    assert len(order) == max(len(fill(SIZES[one], POINTS)) - 1 for one in first)
    assert max(drawn) > 0, "the test says nothing about other draws"


def test_batches_are_filled_as_far_as_they_can_be():
    bounds = fill(np.array([3, 4, 2, 9, 5, 1, 1, 1, 1]), 8)
    assert bounds == [0, 2, 3, 4, 8, 9], "3 + 4; 2, as 9 is larger than a batch; 9 alone; 5 + 1 + 1 + 1; 1"
    assert larger_ones(np.array([3, 9, 11]), 8) == [
        "2 graphs of the training set with up to 11 points, more than --batch_points 8: batches of their own"
    ]
    assert larger_ones(np.array([8]), 8) == []
    assert _divided([0, 4, 6, 7], 5) == [0, 2, 4, 5, 6, 7], "the last ones, each in halves"
    assert _divided([0, 4, 6, 7], 7) == list(range(8)), "and again"
    (order,) = orders(1)
    assert SIZES.sum() / (POINTS * len(order)) == order.filled
    assert order.filled > 0.7


def test_processes_share_the_batches_of_one():
    """What two take in one step, one process takes in two batches, until the last are divided."""
    (alone,), both = orders(1), orders(2)
    assert len(alone) in (2 * len(both[0]), 2 * len(both[0]) - 1)
    for one, other in zip(list(alone)[: 2 * len(both[0]) - 4], parts(both), strict=False):
        assert np.array_equal(one, other)
    for order in both:
        assert order.share(2, 3, 5) == 10 / sum(len(list(one)[2]) for one in both)
        assert order.share(2, 4, 5) == 10 / sum(len(part) for one in both for part in list(one)[2:4])


@pytest.mark.parametrize(("graphs", "size"), [(203, 2), (203, 3), (3, 3), (4, 3), (7, 2)])
def test_validation_visits_each_graph_once_in_order(graphs, size):
    each = orders(size, sizes=SIZES[:graphs], train=False)
    assert [len(list(order)) for order in each] == [len(order) for order in each]
    assert np.array_equal(np.concatenate(parts(each)), np.arange(graphs))
    assert all(len(order) for order in each), "each has something to validate"


def test_a_graph_larger_than_a_batch_is_one_of_its_own():
    (order,) = orders(1, points=1000)
    batches = list(order)
    large = [batch for batch in batches if SIZES[batch].sum() > 1000]
    assert len(large) == (SIZES > 1000).sum() > 50
    assert all(len(batch) == 1 for batch in large)


@pytest.mark.parametrize("epoch", [0, 11])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 2), (2, 1), (1, 2), (2, 3), (3, 2)])
def test_a_stopped_epoch_continues_with_the_next_graph(before, after, epoch):
    """None twice, none left out, also with another number of processes; and again after a second stop."""
    for done in (1, 5, len(orders(before)[0]) - 1):
        first = orders_in(epoch, before)
        seen = parts(first)[: done * before]
        for order in first:
            order.position = done
        state = first[0].state_dict()
        assert state == first[-1].state_dict()
        assert state["graphs"] == sum(map(len, seen))
        second = orders(after)
        for order in second:
            order.load_state_dict(state)
        position = second[0].position
        copies = [one.state_dict() for one in second]
        rest = parts(second)
        assert np.array_equal(np.concatenate([*seen, *rest]), np.concatenate(parts(orders_in(epoch, before))))
        assert all(0 < SIZES[part].sum() <= POINTS for part in rest)
        assert len(rest) == (len(second[0]) - position) * after
        if before == after:
            assert position == done
        third = orders(after)
        for order, state in zip(third, copies, strict=True):
            order.load_state_dict(state)
            next(iter(order))
            order.position += 1
        again = orders(after)
        for order, one in zip(again, third, strict=True):
            order.load_state_dict(one.state_dict())
        assert len(again[0]) - again[0].position == len(rest) // after - 1 or len(rest) == after
        if len(rest) > after:
            assert np.array_equal(np.concatenate(parts(again)), np.concatenate(rest[after:]))


def test_the_end_of_an_epoch_stays_its_end():
    (order,) = orders(1)
    order.position = len(order)
    state = order.state_dict()
    assert state["graphs"] == 203
    for other in (*orders(2), *orders(1)):
        other.load_state_dict(state)
        assert other.position == len(other)
        assert len(list(other)) == len(other), "the next epoch begins with its first graph"


def test_an_epoch_may_continue_with_batches_of_another_kind():
    """With --allow_mismatch; the order of the epoch stays, also where it was not the first that was drawn."""
    (points,) = orders(1)
    drawn = {}
    for points.epoch in range(60):
        points.position = 4
        drawn.setdefault(points.state_dict()["draw"] > 0, points.epoch)
    for epoch in drawn.values():
        (points,) = orders_in(epoch, 1)
        whole = np.concatenate(list(points))
        points.position = 4
        state = points.state_dict()
        by_number = BatchOrder(203, batch_size=8, shuffle=True, drop_last=True, seed=6)
        by_number.load_state_dict(state)
        kept = by_number.state_dict()
        rest = np.concatenate(list(by_number))
        assert np.array_equal(rest, whole[state["graphs"] :][: len(rest)])
        assert len(rest) == (203 - state["graphs"]) // 8 * 8
        by_number.load_state_dict(kept)
        assert np.array_equal(np.concatenate(list(by_number)), rest)
        by_one = BatchOrder(203, batch_size=1, shuffle=True, drop_last=True, seed=6)
        by_one.load_state_dict(state)
        assert np.array_equal(np.concatenate(list(by_one)), whole[state["graphs"] :])
        (other,) = orders(1, points=9000)
        other.load_state_dict(state)
        assert np.array_equal(np.concatenate(list(other)), whole[state["graphs"] :])
    by_number = BatchOrder(203, batch_size=8, shuffle=True, drop_last=True, seed=6)
    by_number.position = 3
    (points,) = orders(1)
    points.load_state_dict(by_number.state_dict())
    assert np.array_equal(np.concatenate(list(points)), epoch_order(6, 0, 203)[24:])


def test_a_rest_that_needs_more_batches_than_an_epoch_is_refused():
    """An order that was no order of these batches, one graph of which is done."""
    (points,) = orders(1)
    needed = [len(fill(SIZES[epoch_order(6, epoch, 203)[1:]], POINTS)) - 1 for epoch in range(60)]
    epoch = next(epoch for epoch, number in enumerate(needed) if number > len(points))
    with pytest.raises(InputError, match=r"the rest of this epoch makes \d+ batches of 6,000 points"):
        points.load_state_dict({"epoch": epoch, "position": 1, "graphs": 1, "whole": 1})


@pytest.mark.parametrize("other", ["seed", "data"])
def test_the_rest_of_an_epoch_of_another_training_is_checked(other):
    """A rest that was divided for other graphs, or in another order, may not be divided so again."""
    sizes, seed = (SIZES[::-1].copy(), 6) if other == "data" else (SIZES, 7)
    refused = 0
    for epoch in range(40):
        for graphs in (1, 50, 150):
            (first,) = orders(1)
            needed = len(fill(SIZES[epoch_order(6, epoch, 203)[graphs:]], POINTS)) - 1
            if needed > len(first):
                continue
            first.load_state_dict({"epoch": epoch, "position": 1, "graphs": graphs, "whole": 1})
            second = PointOrder(sizes, batch_points=POINTS, together=True, shuffle=True, seed=seed)
            try:
                second.load_state_dict(first.state_dict())
            except InputError:
                refused += 1
                continue
            rest = np.concatenate(list(second))
            assert np.array_equal(rest, epoch_order(seed, epoch, 203)[graphs:])
    assert refused < 60, "the test says nothing about what is resumed"


def test_too_few_graphs_for_all_processes_are_refused():
    sizes = np.full(5, 100)
    with pytest.raises(InputError, match=r"5 graphs are too few for 2 processes .* 100 points each"):
        orders(2, points=100, sizes=sizes)
    (alone,) = orders(1, points=100, sizes=sizes)
    assert len(alone) == 5
    (state,) = orders(1, points=100, sizes=np.full(6, 100))
    state.position = 3
    with pytest.raises(InputError, match="3 graphs of this epoch are left, too few for 2 processes"):
        orders(2, points=100, sizes=np.full(6, 100))[0].load_state_dict(state.state_dict())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return random_store(tmp_path_factory.mktemp("store"))


def test_both_loaders_give_these_batches(store):
    settings = {"batch_size": 4, "batch_points": 90, "seed": 7, "train_idx": np.arange(3, 33)}
    each = [
        make_loaders(store, val_idx=np.arange(33, 41), loader=loader, num_workers=1, **settings)
        for loader in ("resident", "workers")
    ]
    sizes = np.diff(store.node_ptr)
    assert sizes.max() <= 90
    for epoch in (0, 1):
        for loaders in each:
            loaders.train.load_state_dict({"epoch": epoch, "position": 0})
        pairs = list(zip(*(loaders.train for loaders in each), strict=True))
        assert len(pairs) == len(each[0].train)
        for one, other in pairs:
            assert one.index.tolist() == other.index.tolist()
            assert one.num_nodes <= 90
    assert len({one.num_graphs for one, _ in pairs}) > 1
    for loaders in each:
        assert np.concatenate([batch.index.tolist() for batch in loaders.val]).tolist() == list(range(33, 41))
        assert max(batch.num_nodes for batch in loaders.val) <= 90
        loaders.train.close()
        loaders.val.close()


def test_slots_hold_the_batches(store):
    """Of few large graphs and of many small ones."""
    loaders = make_loaders(
        store, train_idx=np.arange(41), val_idx=np.arange(33, 41), batch_size=4, batch_points=150,
        loader="workers", num_workers=1, needs=frozenset({"gcn", "patches"}),
    )  # fmt: skip
    memory = loaders.train._slots._memory
    for batch in loaders.train:
        assert 0 <= batch.index.data_ptr() - memory.ctypes.data < memory.nbytes
    loaders.train.close()
    loaders.val.close()


def test_readers_that_are_ahead_leave_the_position_where_the_training_is(store):
    """Also in the rest of an epoch that began with batches of another size."""
    settings = {"batch_size": 4, "seed": 7, "train_idx": np.arange(3, 33), "val_idx": np.arange(33, 41)}
    for points in (0, 90):
        loader = make_loaders(store, loader="workers", num_workers=2, batch_points=points, **settings).train
        loader.load_state_dict({"epoch": 1, "position": 1, "graphs": 6, "whole": 6})
        graphs = 6
        for number, batch in enumerate(loader, start=loader.order.position + 1):
            graphs += batch.num_graphs
            state = loader.state_dict()
            assert (state["position"], state["graphs"]) == (number, graphs)
        loader.close()
