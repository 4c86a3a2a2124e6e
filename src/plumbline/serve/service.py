"""Answers for requests: admitted, read, looked at in threads, batched for the model."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request

from plumbline.cores import num_cores
from plumbline.errors import InputError
from plumbline.predictors.answer_lines import to_dict, to_payload
from plumbline.predictors.choice import model_facts
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.prediction_table import called
from plumbline.predictors.predictor import Predictor
from plumbline.serve.batching import Answer, Batcher
from plumbline.serve.bodies import read_body
from plumbline.serve.fields import Asked
from plumbline.serve.limits import Limits
from plumbline.serve.places import Place, Places
from plumbline.serve.scans import Looked, look
from plumbline.views.page import render
from plumbline.views.scene import scene_of


@dataclass(frozen=True)
class Answered:
    """What was asked, what of it was looked at, and an answer for each scan."""

    asked: Asked
    looked: Looked
    answers: Sequence[Answer]


class Service:
    """Answers requests with one predictor.

    Args:
        predictor: the model.
        limits: what a request may cost.
        batch_size: scans that the model gets at a time, at most.
    """

    def __init__(self, predictor: Predictor, limits: Limits, *, batch_size: int) -> None:
        self.limits, self._predictor, self._batch_size = limits, predictor, batch_size
        self._own = {predictor.name: Path(predictor.name).name}
        if predictor.checkpoint is not None:
            self._own[str(predictor.checkpoint)] = predictor.checkpoint.name
        self.model = {key: self._hidden(value) for key, value in model_facts(predictor).items()}

    def open(self) -> None:
        """Start threads; before any request."""
        self.batcher = Batcher(self._predictor.answers, self._batch_size)
        self._pool = ThreadPoolExecutor(num_cores(), thread_name_prefix="plumbline-look")
        self._places = Places(self.limits, self._pool)

    def close(self) -> None:
        """Wait for what threads are working on, and end them."""
        self._pool.shutdown(cancel_futures=True)
        self.batcher.close()

    async def lines(self, request: Request) -> list[dict[str, Any]]:
        """Answer a request as ``predict --json`` does, a line for each scan.

        Raises:
            InputError: no scan has an answer; the reasons, in one sentence.
            BusyError, TimeoutError: too many requests, or too slow.
        """
        async with self._places.take() as place:
            return self._lines(await self._answer(request, place))

    async def page(self, request: Request) -> str:
        """Answer a request with a page, as ``predict --html`` writes it; errors as for :meth:`lines`."""
        async with self._places.take() as place:
            found = await self._answer(request, place)
            self._lines(found)  # an error if there is nothing to draw
            return await place.run(lambda: self._draw(found))

    async def _answer(self, request: Request, place: Place) -> Answered:
        try:
            async with read_body(request, self.limits, place) as asked:
                looked = await place.run(lambda: look(asked, self._predictor, self.limits))
            return Answered(asked, looked, await self.batcher.ask(looked.seen))
        except InputError as error:  # of a model of the user's own, named by its path
            raise type(error)(self._hidden(str(error))) from error

    def _lines(self, found: Answered) -> list[dict[str, Any]]:
        lines, refused = [], dict[str, None]()
        for name, predicted in zip(found.looked.names, found.answers, strict=True):
            answer, payload = to_payload(name, predicted, found.asked.wanted)
            if isinstance(answer, InputError):
                answer = InputError(self._hidden(str(answer)))
                refused[str(answer)] = None
            lines.append(name.to_dict() | to_dict(answer, payload, self.model))
        if not any("com" in line for line in lines):
            raise InputError("; ".join(refused))
        return lines

    def _draw(self, found: Answered) -> str:
        looked, clean = found.looked, found.asked.config.clean
        scenes, refused = [], []
        for name, cloud, predicted in zip(looked.names, looked.clouds, found.answers, strict=True):
            answer, payload = to_payload(name, predicted, found.asked.wanted)
            if isinstance(cloud, InputError) or isinstance(answer, InputError):
                refused.append(self._hidden(str(answer)))
                continue
            assert isinstance(predicted, Prediction), "an answer is made of a prediction"
            scenes.append(
                scene_of(
                    cloud,
                    predicted,
                    name=str(name),
                    sensor=looked.sensor,
                    clean=clean,
                    asked=answer,
                    payload=payload,
                )
            )
        return render(scenes, self._hidden(called(self._predictor)), refused)

    def _hidden(self, text: str) -> str:
        """A text without the paths of this machine."""
        for own, shown in self._own.items():
            text = text.replace(own, shown)
        return text
