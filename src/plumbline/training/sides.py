"""Which graphs a training trains on, and which it is validated on."""

import numpy as np

from plumbline.console.text import counted
from plumbline.data.batches.by_points import PointOrder
from plumbline.data.batches.order import first_batches
from plumbline.data.split import split_samples
from plumbline.data.split_file import GivenSplit, read_split, split_as_given
from plumbline.data.store.reader import PackedStore
from plumbline.records import Int
from plumbline.reporting import Reporter
from plumbline.training.records import TrainSettings


def choose_sides(
    store: PackedStore, settings: TrainSettings, report: Reporter, *, size: int
) -> tuple[Int, Int, GivenSplit | None]:
    """Choose the graphs to train and to validate on.

    Args:
        store: the data set.
        settings: ``--split_file``, or ``--val_split``, ``--split_by`` and ``--seed``; ``--overfit_batches``.
        report: receives a message about graphs that are left out.
        size: number of processes.

    Returns:
        ``[G]`` graphs of each side, and the split that the user gave, if any.

    Raises:
        InputError: a side is empty, or the file does not fit the data set.
    """
    objects, names = store.object_idx, store.object_names
    given = None
    if settings.split_file is None:
        train, val = split_samples(objects, names, settings.val_split, settings.seed, settings.split_by)
    else:
        given = read_split(settings.split_file)
        sides = split_as_given(objects, names, given, f"--split_file {settings.split_file}")
        left_out = len(store) - sum(map(len, sides.values()))
        report.say(
            f"{counted(len(sides['test']), 'graph')} for test; {counted(left_out, 'graph')} of objects that "
            f"{settings.split_file} does not name left out"
        )
        train, val = sides["train"], sides["val"]
    if settings.overfit_batches:
        train = val = train[_first_batches(store, train, settings, size)]
    return train, val, given


def _first_batches(store: PackedStore, train: Int, settings: TrainSettings, size: int) -> Int:
    """The positions in ``train`` of the batches of ``--overfit_batches``, of all processes together."""
    number, points = settings.overfit_batches, settings.batch_points
    if not points:
        whole = settings.batch_size * size
        return first_batches(settings.seed, len(train), batch_size=whole, number=number)
    order = PointOrder(
        np.diff(store.node_ptr)[train], batch_points=points, together=True, shuffle=True, seed=settings.seed
    )
    return np.concatenate(list(order)[: number * size])
