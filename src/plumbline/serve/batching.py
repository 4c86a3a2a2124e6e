"""Scans of concurrent requests, given to the model together: whatever arrives while it is busy."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from plumbline.errors import InputError
from plumbline.predictors.looking import Seen
from plumbline.predictors.prediction import Prediction

Answer = Prediction | InputError


class Batcher:
    """Collects scans while the model works on earlier ones; an idle model gets a scan at once.

    All methods are for one event loop.

    Args:
        answers: :meth:`plumbline.predictors.predictor.Predictor.answers`, called in a thread of its own.
        most: number of scans that the model gets at a time.
    """

    def __init__(self, answers: Callable[[Sequence[Seen]], Iterable[Answer]], most: int) -> None:
        self._answers, self._most = answers, most
        self._waiting: deque[tuple[Seen, asyncio.Future[Answer]]] = deque()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="plumbline-model")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Number of scans that wait for the model."""
        return len(self._waiting)

    async def ask(self, scans: Sequence[Seen | InputError]) -> list[Answer]:
        """Answer scans, in order; an ``InputError`` in place of a scan is passed on.

        A request that is cancelled, or fails at one of its scans, takes the others back, unless the model is
        already working on them.
        """
        loop = asyncio.get_running_loop()
        promised = [loop.create_future() if isinstance(one, Seen) else None for one in scans]
        for one, future in zip(scans, promised, strict=True):
            if isinstance(one, Seen) and future is not None:
                self._waiting.append((one, future))
        if self._waiting and self._task is None:
            self._task = loop.create_task(self._work())
        try:
            found = iter(await asyncio.gather(*(future for future in promised if future is not None)))
        finally:
            for future in promised:
                if future is not None:
                    future.cancel()
            self._waiting = deque(item for item in self._waiting if not item[1].done())
        return [one if isinstance(one, InputError) else next(found) for one in scans]

    def close(self) -> None:
        """Wait for the model to finish, and end its thread."""
        self._worker.shutdown()

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                await self._answer(batch)
        finally:
            self._task = None

    async def _answer(self, batch: Sequence[tuple[Seen, asyncio.Future[Answer]]]) -> None:
        """Answer a batch; if that fails, each scan by itself, so that only those that cause it fail."""
        loop = asyncio.get_running_loop()
        scans = [one for one, _ in batch]
        try:
            found = await loop.run_in_executor(self._worker, lambda: list(self._answers(scans)))
        except Exception as error:  # noqa: BLE001 (whatever it is, the requests must be told)
            if len(batch) > 1:
                for item in batch:
                    await self._answer([item])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, future), answer in zip(batch, found, strict=True):
            if not future.done():
                future.set_result(answer)
