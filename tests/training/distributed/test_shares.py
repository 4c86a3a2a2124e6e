"""The graphs that each process visits: all of them together, each once, in the order of one process."""

import numpy as np
import pytest

from plumbline.data.batches.loader import make_loaders
from plumbline.data.batches.order import BatchOrder
from plumbline.data.pt.cache import open_data
from plumbline.errors import InputError


def orders(size: int, *, graphs: int = 103, batch: int = 4, drop_last: bool = True) -> list[BatchOrder]:
    return [
        BatchOrder(
            graphs, batch_size=batch, shuffle=drop_last, drop_last=drop_last, seed=5, rank=rank, size=size
        )
        for rank in range(size)
    ]


def visited(each: list[BatchOrder]) -> list[np.ndarray]:
    """The batches of all processes together, in order."""
    lists = [list(order) for order in each]
    return [np.concatenate([one[i] for one in lists if i < len(one)]) for i in range(len(lists[0]))]


@pytest.mark.parametrize("size", [2, 3, 8])
def test_processes_share_the_batches_of_one_process(size):
    (alone,) = orders(1, batch=4 * size)
    together = orders(size)
    assert {len(order) for order in together} == {len(alone)}
    for epoch in (0, 3):
        for order in (alone, *together):
            order.epoch = epoch
        for one, other in zip(alone, visited(together), strict=True):
            np.testing.assert_array_equal(one, other)
    assert [order.share(2, 3, 4) for order in together] == [1.0] * size


@pytest.mark.parametrize(("graphs", "size"), [(103, 2), (103, 8), (9, 8), (8, 8), (64, 2), (33, 8)])
def test_validation_visits_each_graph_once_whatever_is_left_over(graphs, size):
    each = orders(size, graphs=graphs, drop_last=False)
    assert [len(list(order)) for order in each] == [len(order) for order in each], "as Lightning counts them"
    np.testing.assert_array_equal(np.concatenate(visited(each)), np.arange(graphs))
    assert all(len(order) for order in each), "each has something to validate"


def test_parts_of_a_short_batch_weigh_as_many_graphs_as_they_have():
    each = orders(3, graphs=7, drop_last=False)
    sizes = [len(next(iter(order))) for order in each]
    assert sizes == [3, 2, 2]
    shares = [order.share(0, 1, graphs) for order, graphs in zip(each, sizes, strict=True)]
    np.testing.assert_allclose(shares, [9 / 7, 6 / 7, 6 / 7])


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3), (3, 2), (2, 8)])
@pytest.mark.parametrize("done", [1, 5, 7])
def test_another_number_of_processes_goes_on_with_the_next_graph(before, after, done):
    """No graph twice, none left out but at most what does not fill a batch, and that again after a stop."""
    first = orders(before)
    seen = []
    for order in first:
        batches = iter(order)
        for number in range(1, done + 1):
            seen.append(next(batches))
            order.position = number
    state = first[0].state_dict()
    assert state == first[-1].state_dict()
    second = orders(after)
    for order in second:
        order.load_state_dict(state)
    midway = second[0].state_dict()
    rest = visited(second)
    graphs = np.concatenate([*seen, *rest])
    assert len(set(graphs.tolist())) == len(graphs)
    left = 103 - done * 4 * before
    assert len(rest) == max(left // (4 * after), 1)
    again = orders(after)
    for order in again:
        order.load_state_dict(midway)
    np.testing.assert_array_equal(np.concatenate(visited(again) or [[]]), np.concatenate(rest or [[]]))
    for order in second:
        order.epoch = 1
    assert sum(map(len, visited(second))) == 103 // (4 * after) * 4 * after, "the next epoch is whole"


def test_the_end_of_an_epoch_stays_its_end():
    (order,) = orders(1)
    order.position = len(order)
    for other in orders(2):
        other.load_state_dict(order.state_dict())
        assert other.position == len(other)
        assert len(list(other)) == len(other), "the next epoch begins with its first graph"


def test_too_few_graphs_for_all_processes_are_refused():
    (order,) = orders(1, graphs=103, batch=3)
    order.position = 33
    with pytest.raises(InputError, match="4 graphs of this epoch are left, too few for 5 processes"):
        orders(5)[0].load_state_dict(order.state_dict())


def test_a_state_of_an_earlier_program_is_a_position():
    (order,) = orders(1)
    order.load_state_dict({"epoch": 2, "position": 7})
    assert (order.epoch, order.position, len(list(order))) == (2, 7, 103 // 4 - 7)


def test_fewer_graphs_than_processes_are_refused(tiny):
    store = open_data(tiny)
    said = r"3 processes .* need a graph each to train and to validate on, but there are 40 and 2: give fewer"
    with pytest.raises(InputError, match=said):
        make_loaders(store, train_idx=np.arange(40), val_idx=np.arange(2), batch_size=4, size=3)
