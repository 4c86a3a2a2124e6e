"""Prediction of centres of mass from scans, by a trained model or an untrained baseline."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice, takewhile
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from plumbline.data.store.in_memory import MemoryStore
from plumbline.errors import InputError
from plumbline.geometry.clouds import Cloud
from plumbline.own_parts import names_a_file, register
from plumbline.predictors.answers import Answers
from plumbline.predictors.calibration import Calibration
from plumbline.predictors.find_checkpoint import PRETRAINED, SHIPPED, find_best
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.looking import USUAL_DRAWS, Look, Seen, look_at, to_cloud, unusual
from plumbline.predictors.many import Source, looks
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.untrained import BASELINES, Scans, baseline_predictions, load_baseline
from plumbline.records import Float, Int, Sample

if TYPE_CHECKING:
    from plumbline.predictors.checkpoint import Trained

UNTRAINED = {name.replace(" ", "_"): name for name in BASELINES}
"""The untrained baselines, by their names in ``--model`` and :func:`load_predictor`."""

_SHARE = "0.9"
"""Share of the validation errors within ``radius_90``."""
_UNTRAINED_POINTS = 512
"""Number of points that untrained baselines use, at most."""
_UNRECORDED_POINTS = 128
"""The same for a checkpoint that does not record the scans of its training. On real scans it is the best
number for models trained on 128 to 512 points, and for one trained on 256."""


class Predictor:
    """Predicts centres of mass; made by :func:`load_predictor`. Safe to use from several threads at a time.

    Attributes:
        name: name of the network or of the baseline.
        symmetry: how the prediction moves with the scan: "none", "translation", "SE(3)" or "E(3)".
        checkpoint: the file of the model; None for an untrained baseline.
        form: the graphs that it takes.
        usual_points: number of points of a scan that are used, at most, unless the caller says otherwise.
    """

    def __init__(
        self,
        name: str,
        symmetry: str,
        form: GraphForm,
        answer: Callable[[MemoryStore], Answers],
        *,
        checkpoint: Path | None = None,
        calibration: Calibration | None = None,
        usual_points: int = _UNTRAINED_POINTS,
        fewest_points: int = 0,
        batch_size: int = 64,
    ) -> None:
        self.name, self.symmetry, self.form, self.checkpoint = name, symmetry, form, checkpoint
        self.usual_points, self._fewest_points = usual_points, fewest_points
        self._answer, self._batch_size = answer, batch_size
        self._calibration = calibration or Calibration()

    @classmethod
    def untrained(cls, name: str, *, batch_size: int = 64) -> "Predictor":
        """Make a predictor of an untrained baseline, by its name in ``UNTRAINED`` or the user's file."""
        baseline = UNTRAINED.get(name, name)

        def answer(store: MemoryStore) -> Answers:
            found = baseline_predictions(store, np.arange(len(store)), (baseline,))
            return Answers(found.predictions[baseline])

        return cls(name, load_baseline(baseline).symmetry, GraphForm(), answer, batch_size=batch_size)

    @classmethod
    def trained(cls, trained: "Trained", *, batch_size: int = 64) -> "Predictor":
        """Make a predictor of a trained model, which computes on the device of its weights.

        Raises:
            InputError: the graphs that the model takes cannot be made from a scan.
        """
        from plumbline.predictors.inference import answers_for

        model: Any = trained.model

        def answer(store: MemoryStore) -> Answers:
            return answers_for(model, store, np.arange(len(store)), batch_size=batch_size)

        return cls(
            trained.model_name,
            str(model.symmetry),
            GraphForm.of(trained.data, needs=model.needs, path=trained.path),
            answer,
            checkpoint=trained.path,
            calibration=trained.calibration,
            usual_points=(trained.data.num_points or (_UNRECORDED_POINTS,))[0],
            fewest_points=(trained.data.num_points or (0,))[0],
            batch_size=batch_size,
        )

    def __repr__(self) -> str:
        where = "untrained" if self.checkpoint is None else str(self.checkpoint)
        return f"<Predictor {self.name} ({where}), symmetry {self.symmetry}>"

    def predict(
        self,
        points: ArrayLike | Cloud,
        *,
        sensor: ArrayLike | None = None,
        view: ArrayLike | None = None,
        table: ArrayLike | None = None,
        max_points: int | None = None,
        draws: int = USUAL_DRAWS,
        clean: bool = True,
        strict: bool = False,
    ) -> Prediction:
        """Find the centre of mass of the object that a scan shows.

        Args:
            points: ``[N, 3]`` finite numbers, in any frame and unit; or a :class:`plumbline.Cloud`, such as
                ``load_cloud`` returns.
            sensor: ``[3]`` or ``[N, 3]`` position of the sensor, in the same frame and unit. None: the
                position in the file, or else the origin, where a sensor that reports in its own frame stands.
            view: ``[N]`` whole numbers, equal for points of one view. None: points measured from the same
                position are one view.
            table: ``[4]`` plane that the object stands on, in the frame and unit of the points: its normal
                toward the object, of any length, and the product of the unit normal with a point of the
                plane. None: not known. For models that were trained with ``--sensor_model depth``.
            max_points: number of points that are used, at most; they are chosen with a fixed seed. None:
                ``usual_points``, for a trained model the fewest that its training scans had.
            draws: draw the points of a larger scan this many times, and return the mean prediction.
            clean: leave out points that are not connected to the object, such as those of what lies behind it
                (:func:`plumbline.geometry.cleaning.object_points`).
            strict: refuse a scan whose prediction would have a warning.

        Raises:
            InputError: the points are not a valid scan, a table is given that cannot be used, the prediction
                is not finite, or, with ``strict``, there is a warning.
        """
        how = self.how(sensor, table, max_points, draws, clean, strict)
        seen = look_at(to_cloud(points, "the scan"), view, how, self.form)
        (answer,) = self.answers([seen])
        if isinstance(answer, InputError):
            raise answer
        return answer

    def predict_many(
        self,
        scans: Iterable[Source],
        *,
        sensor: ArrayLike | None = None,
        table: ArrayLike | None = None,
        max_points: int | None = None,
        draws: int = USUAL_DRAWS,
        clean: bool = True,
        strict: bool = False,
        workers: int = 1,
    ) -> Iterator[Prediction | InputError]:
        """Find the centres of mass of many scans, in batches.

        The next batch is read while the model works on the current one, so ``scans`` may be a generator that
        reads files. Reading, cleaning and features take several times as long as the model, so hundreds of
        files are faster with several ``workers``.

        Args:
            scans: points as for :meth:`predict`, or :class:`plumbline.Cloud` with its own sensor and name; or
                functions without arguments that return one, such as ``functools.partial(load_cloud, path)``,
                which are called when it is their turn. An ``InputError`` in place of a scan, for example for
                an unreadable file, is passed on.
            sensor: position of the sensor in all scans, overriding their own.
            table, max_points, draws, clean, strict: as for :meth:`predict`.
            workers: number of processes that look at scans; 1: this process does. The scans, or the functions
                that read them, are sent to the processes.

        Returns:
            One result for each scan, in order, as soon as its batch is done: a ``Prediction``, or the
            ``InputError`` that :meth:`predict` would raise. The predictions of a model depend on the rest of
            the batch only by rounding, those of a baseline not at all.
        """
        if workers < 1:
            raise InputError(f"workers must be at least 1, got {workers}")
        how = self.how(sensor, table, max_points, draws, clean, strict)
        return self._in_batches(looks(scans, how, self.form, workers))

    def locate(self, graphs: Sequence[Sample]) -> Answers:
        """Predict for graphs of this form, in the frame and unit of their scans."""
        origin = np.array([graph.origin for graph in graphs])
        scale = np.array([graph.scale for graph in graphs])
        return self._answer(self.form.store(graphs)).placed(origin, scale)

    def how(
        self,
        sensor: ArrayLike | None,
        table: ArrayLike | None,
        max_points: int | None,
        draws: int,
        clean: bool,
        strict: bool,
    ) -> Look:
        """How :meth:`predict` looks at a scan with these arguments; see there for them and the errors."""
        if table is not None and "table" not in self.form.vector_names:
            raise InputError(
                f"a table is given, but {self.name} does not use any: leave it out, or use a model that was "
                "trained on data of prepare --sensor_model depth"
            )
        points = self.usual_points if max_points is None else max_points
        how = Look(sensor, points, draws, clean, table, self._fewest_points, strict)
        how.check()
        return how

    def _in_batches(self, seen: Generator[Seen | InputError]) -> Iterator[Prediction | InputError]:
        stopped = Event()

        def read() -> list[Seen | InputError]:
            wanted = takewhile(lambda _: not stopped.is_set(), seen)
            return list(islice(wanted, self._batch_size))

        with closing(seen), ThreadPoolExecutor(1) as pool:
            try:
                ahead = pool.submit(read)
                while batch := ahead.result():
                    ahead = pool.submit(read)
                    yield from self.answers(batch)
            finally:
                stopped.set()  # Ctrl-C waits for one scan, not for a batch

    def answers(self, batch: Sequence[Seen | InputError]) -> Iterator[Prediction | InputError]:
        """Yield the prediction for each scan of a batch, the mean over its draws.

        Args:
            batch: scans as graphs of this form (:func:`plumbline.predictors.looking.look_at`). Predictors
                that take the same graphs may share them. An ``InputError`` in place of a scan is passed on.
        """
        seen = [one for one in batch if isinstance(one, Seen)]
        found: Iterator[Prediction | InputError] = iter(())
        if seen:
            found = self._predictions(seen)
        for one in batch:
            yield one if isinstance(one, InputError) else next(found)

    def _predictions(self, seen: Sequence[Seen]) -> Iterator[Prediction | InputError]:
        """Predict for some scans, at least one; the mean over the draws of each."""
        first = np.cumsum([0, *(len(one.graphs) for one in seen)])[:-1]
        all_draws = self.locate([graph for one in seen for graph in one.graphs])
        usual = self._calibration.usual
        novelty = [None] * len(seen)
        if usual is not None and all_draws.features is not None:
            novelty = _means(usual.novelty(all_draws.features), first).tolist()
        mean = all_draws.changed(lambda values: _means(values, first))
        for i, one in enumerate(seen):
            yield self._prediction(one, mean.changed(lambda values, i=i: values[i]), novelty[i])  # type: ignore[misc]

    def _prediction(self, seen: Seen, found: Answers, novelty: float | None) -> Prediction | InputError:
        """The prediction for one scan, from arrays without the dimension of graphs."""
        error, scale = found.expected_error, self._calibration.covariance_scale
        parts = (found.com, error, found.covariance, found.volume, found.inertia)
        if not all(np.isfinite(part).all() for part in parts if part is not None):
            return InputError(f"{seen.name}: the prediction of {self.name} is not finite")
        factor = self._calibration.error_factors.get(_SHARE)
        warnings = seen.unknown.warnings
        if novelty is not None and novelty > 1:
            warnings = (*warnings, unusual(novelty))
        answer = replace(
            seen.unknown,
            com=found.com,
            expected_error=None if error is None else float(error),
            radius_90=None if factor is None or error is None else float(factor * error),
            covariance=None if scale is None or found.covariance is None else scale * found.covariance,
            volume=None if found.volume is None else float(found.volume),
            inertia=found.inertia,
            novelty=novelty,
            warnings=warnings,
        )
        return (answer.refusal(seen.name) if seen.strict else None) or answer


def load_predictor(
    source: str | os.PathLike[str] | Callable[[Scans], Float] | None = None,
    *,
    model: str | type | None = None,
    accelerator: str = "auto",
    batch_size: int = 64,
) -> Predictor:
    """Load a predictor of centres of mass: a trained model or an untrained baseline.

    Args:
        source: None or ``"pretrained"``: the weights that plumbline ships; a checkpoint; the folder of a run,
            whose best checkpoint is used; or the name of an untrained baseline, such as ``"carve"`` (as
            ``plumbline predict --model``); or a baseline of your own: a function,
            ``"path/to/file.py:function"``, or a :class:`plumbline.Baseline`.
        model: the class of a network of your own, see :func:`plumbline.load_checkpoint`.
        accelerator: where a model computes: "auto", "cpu", "cuda" or "mps".
        batch_size: scans that are looked at together in :meth:`Predictor.predict_many`.

    Raises:
        InputError: the checkpoint does not exist or cannot be read, it was trained on graphs that cannot be
            made from a scan, the accelerator is not available, or a guess of your own cannot be used.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    if source is None:
        source = SHIPPED
    if callable(source):
        source = register(source)
    if isinstance(source, str) and (source in UNTRAINED or names_a_file(source)):
        return Predictor.untrained(source, batch_size=batch_size)
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"a predictor is loaded from a path or the name of a baseline, got {source!r}")
    path = Path(source)
    if isinstance(source, str) and source != PRETRAINED and not path.exists():
        near = get_close_matches(source, (*UNTRAINED, PRETRAINED), n=1)
        raise InputError(
            f"there is no checkpoint, no folder and no untrained baseline {source!r}: "
            + (f"did you mean {near[0]!r}?" if near else f"the baselines are {', '.join(UNTRAINED)}")
        )
    from plumbline.predictors.checkpoint import load_checkpoint
    from plumbline.predictors.device import choose_device

    loaded = load_checkpoint(find_best(path), model=model)
    loaded.model.to(choose_device(accelerator))
    return Predictor.trained(loaded, batch_size=batch_size)


def _means(values: Float, first: Int) -> Float:
    """Means over the draws of each scan; ``first`` is the position of each scan's first draw."""
    counts = np.diff([*first, len(values)])
    return np.add.reduceat(values, first, axis=0) / counts.reshape(-1, *[1] * (values.ndim - 1))
