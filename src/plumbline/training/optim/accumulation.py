"""One step of the optimizer from the gradients of several batches (``--accumulate``)."""

from torch import Tensor

from plumbline.data.batches.order import BatchOrder
from plumbline.training.lightning_import import Trainer


def within_group(trainer: Trainer) -> bool:
    """Whether more batches are to come before the optimizer steps."""
    batches = trainer.fit_loop.epoch_loop.batch_progress
    return batches.current.ready % trainer.accumulate_grad_batches != 0 and not batches.is_last_batch


class Group:
    """The batches whose gradients make one step; without ``--accumulate``, each is a group.

    Attributes:
        sums: those of the metrics over the batches so far, and their graphs; None if there are none.
        skipped: whether the step is left out, because a loss is not finite.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._last, self._accumulate, self._ends = 0, 1, True
        self.sums: tuple[Tensor, int] | None = None
        self.skipped = False

    def enter(self, number: int, trainer: Trainer) -> None:
        """Note which batch of the epoch is next; a training may resume within what was a group before."""
        accumulate = self._accumulate = trainer.accumulate_grad_batches
        self._ends = not within_group(trainer)
        if self._first is None or number % accumulate == 0:
            self._first, self.sums, self.skipped = number, None, False
            self._last = int(min(number - number % accumulate + accumulate, trainer.num_training_batches))

    def add(self, sums: Tensor, graphs: int) -> tuple[Tensor, int] | None:
        """Add the metrics of a batch. Returns those of the group after its last batch, else None.

        Not before, as a later batch may still leave out the step.
        """
        before = self.sums
        self.sums = (sums, graphs) if before is None else (before[0] + sums, before[1] + graphs)
        return self.sums if self._ends else None

    def skip(self) -> None:
        """Leave the step out, with all its batches."""
        self.skipped, self.sums = True, None

    def weighted(self, loss: Tensor, order: BatchOrder | None, graphs: int) -> Tensor:
        """The loss of a batch, so that the gradient of the step is that of the mean over all its graphs.

        Lightning takes the mean over the processes, and divides by ``--accumulate`` also where an epoch ends
        with fewer batches.

        Args:
            loss: mean over the graphs of this process's part of the batch.
            order: of the batches; None: unknown, and all batches count alike.
            graphs: in this part.
        """
        if order is None or (order.size == 1 and self._accumulate == 1):
            return loss
        assert self._first is not None
        return loss * (self._accumulate * order.share(self._first, self._last, graphs))
