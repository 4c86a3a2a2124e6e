"""Prediction of centres of mass from scans, by a trained model or an untrained baseline."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import count, islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from plumbline.data.store.in_memory import MemoryStore
from plumbline.errors import InputError
from plumbline.geometry.array_clouds import numbers
from plumbline.geometry.clouds import Cloud, check_points, scan_of
from plumbline.geometry.sampling import thin_scan
from plumbline.own_parts import names_a_file, register
from plumbline.predictors.find_checkpoint import find_best
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.untrained import BASELINES, Scans, baseline_predictions, load_baseline
from plumbline.records import Float, Int, Sample, Scan

if TYPE_CHECKING:
    from plumbline.predictors.checkpoint import Trained

UNTRAINED = {name.replace(" ", "_"): name for name in BASELINES}
"""The untrained baselines, by their names in ``--model`` and :func:`load_predictor`."""

_SHARE = "0.9"
"""Share of the validation errors within ``radius_90``."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The prediction for one scan, in the frame and unit of its points.

    Attributes:
        com: ``[3]`` float64 centre of mass.
        expected_error: distance from the truth that the model expects; None if it expects none.
        radius_90: radius around ``com`` that contains the truth for 90 % of scans like those that the model
            was validated on; None if it is not available.
        extent: longest side of the bounding box of all points of the scan, along the axes of its frame.
        num_points: points of the scan.
        num_points_used: points that were used.
        num_views: sensor positions from which the points were measured.
        sensor: how the sensor's position is known; "assumed" means the origin of the points' frame.
    """

    com: Float
    expected_error: float | None
    radius_90: float | None
    extent: float
    num_points: int
    num_points_used: int
    num_views: int
    sensor: Literal["given", "from the file", "assumed"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as printed by ``plumbline predict --json``."""
        doubts = {"error_scale": self.expected_error, "radius_90": self.radius_90}
        return {
            "com": self.com.tolist(),
            **{key: value for key, value in doubts.items() if value is not None},
            "points": self.num_points,
            "points_used": self.num_points_used,
            "views": self.num_views,
            "sensor": "assumed at the origin" if self.sensor == "assumed" else self.sensor,
            "unit": "as in the file",
        }


Answers = tuple[Float, Float | None]
"""Centres of mass ``[G, 3]`` and the errors ``[G]`` that the model expects, or None."""


class _Seen(NamedTuple):
    """A scan as graphs, one for each draw of its points, and what its prediction will say of the scan."""

    name: str
    graphs: list[Sample]
    unknown: Prediction


class Predictor:
    """Predicts centres of mass; made by :func:`load_predictor`. Safe to use from several threads at a time.

    Attributes:
        name: name of the network or of the baseline.
        symmetry: how the prediction moves with the scan: "none", "translation", "SE(3)" or "E(3)".
        checkpoint: the file of the model; None for an untrained baseline.
        form: the graphs that it takes.
    """

    def __init__(
        self,
        name: str,
        symmetry: str,
        form: GraphForm,
        answer: Callable[[MemoryStore], Answers],
        *,
        checkpoint: Path | None = None,
        error_factors: Mapping[str, float] = MappingProxyType({}),
        batch_size: int = 64,
    ) -> None:
        self.name, self.symmetry, self.form, self.checkpoint = name, symmetry, form, checkpoint
        self._answer, self._error_factors, self._batch_size = answer, error_factors, batch_size

    @classmethod
    def untrained(cls, name: str, *, batch_size: int = 64) -> "Predictor":
        """Make a predictor of an untrained baseline, by its name in ``UNTRAINED`` or the user's file."""
        baseline = UNTRAINED.get(name, name)

        def answer(store: MemoryStore) -> Answers:
            found = baseline_predictions(store, np.arange(len(store)), (baseline,))
            return found.predictions[baseline], None

        return cls(name, load_baseline(baseline).symmetry, GraphForm(), answer, batch_size=batch_size)

    @classmethod
    def trained(cls, trained: "Trained", *, batch_size: int = 64) -> "Predictor":
        """Make a predictor of a trained model, which computes on the device of its weights.

        Raises:
            InputError: the graphs that the model takes cannot be made from a scan.
        """
        from plumbline.predictors.inference import predict_with_error

        model: Any = trained.model

        def answer(store: MemoryStore) -> Answers:
            return predict_with_error(model, store, np.arange(len(store)), batch_size=batch_size)

        return cls(
            trained.model_name,
            str(model.symmetry),
            GraphForm.of(trained.data, needs=model.needs, path=trained.path),
            answer,
            checkpoint=trained.path,
            error_factors=trained.error_factors,
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
        max_points: int = 512,
        draws: int = 1,
    ) -> Prediction:
        """Find the centre of mass of the object that a scan shows.

        Args:
            points: ``[N, 3]`` finite numbers, in any frame and unit; or a :class:`plumbline.Cloud`, such as
                ``load_cloud`` returns.
            sensor: ``[3]`` or ``[N, 3]`` position of the sensor, in the same frame and unit. None: the
                position in the file, or else the origin, where a sensor that reports in its own frame stands.
            view: ``[N]`` whole numbers, equal for points of one view. None: points measured from the same
                position are one view.
            max_points: number of points that are used, at most; they are chosen with a fixed seed.
            draws: draw the points of a larger scan this many times, and return the mean prediction.

        Raises:
            InputError: the points are not a valid scan, or the prediction is not finite.
        """
        _check(max_points, draws)
        seen = self._look(_cloud(points, "the scan"), sensor, view, max_points, draws)
        (answer,) = self._answers([seen])
        if isinstance(answer, InputError):
            raise answer
        return answer

    def predict_many(
        self,
        scans: "Iterable[ArrayLike | Cloud | InputError]",
        *,
        sensor: ArrayLike | None = None,
        max_points: int = 512,
        draws: int = 1,
    ) -> Iterator[Prediction | InputError]:
        """Find the centres of mass of many scans, in batches.

        The next batch is read in another thread while the model works on the current one, so ``scans`` may
        be a generator that reads files.

        Args:
            scans: points as for :meth:`predict`, or :class:`plumbline.Cloud` with its own sensor and name. An
                ``InputError`` in place of a scan, for example for an unreadable file, is passed on.
            sensor: position of the sensor in all scans, overriding their own.
            max_points, draws: as for :meth:`predict`.

        Returns:
            One result for each scan, in order, as soon as its batch is done: a ``Prediction``, or the
            ``InputError`` that :meth:`predict` would raise. The predictions of a model depend on the rest of
            the batch only by rounding, those of a baseline not at all.
        """
        _check(max_points, draws)
        return self._in_batches(iter(scans), sensor, max_points, draws)

    def locate(self, graphs: Sequence[Sample]) -> Answers:
        """Predict the centres of mass of graphs of this form, in the frame and unit of their scans."""
        com, expected_error = self._answer(self.form.store(graphs))
        origin = np.array([graph.origin for graph in graphs])
        scale = np.array([graph.scale for graph in graphs])
        return origin + scale[:, None] * com, None if expected_error is None else scale * expected_error

    def _in_batches(
        self, scans: Iterator[Any], sensor: ArrayLike | None, max_points: int, draws: int
    ) -> Iterator[Prediction | InputError]:
        numbered = zip(count(1), scans, strict=False)

        def look(number: int, scan: Any) -> _Seen | InputError:
            if isinstance(scan, InputError):
                return scan
            try:
                return self._look(_cloud(scan, f"scan {number}"), sensor, None, max_points, draws)
            except InputError as error:
                return error

        def read() -> list[_Seen | InputError]:
            return [look(number, scan) for number, scan in islice(numbered, self._batch_size)]

        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(read)
            while batch := ahead.result():
                ahead = pool.submit(read)
                yield from self._answers(batch)

    def _look(
        self, cloud: Cloud, sensor: ArrayLike | None, view: ArrayLike | None, max_points: int, draws: int
    ) -> _Seen:
        """Convert a scan to graphs of at most ``max_points`` of its points; the choice is deterministic."""
        place = None if sensor is None else _numbers(sensor, cloud.name, "sensor")
        scan = scan_of(cloud, place)
        if view is not None:
            scan = replace(scan, view=_views(view, len(scan.points), cloud.name))
        draws = draws if len(scan.points) > max_points else 1
        thin = [_draw(scan, max_points, draw) for draw in range(draws)]
        unknown = Prediction(
            np.full(3, np.nan),
            expected_error=None,
            radius_90=None,
            extent=float(np.ptp(scan.points, axis=0).max()),
            num_points=len(scan.points),
            num_points_used=len(thin[0].points),
            num_views=len(np.unique(scan.view)),
            sensor="given" if sensor is not None else "assumed" if cloud.sensor is None else "from the file",
        )
        return _Seen(cloud.name, [self.form.sample(some, cloud.name) for some in thin], unknown)

    def _answers(self, batch: Sequence[_Seen | InputError]) -> Iterator[Prediction | InputError]:
        """Yield the prediction for each scan of a batch, the mean over its draws."""
        seen = [one for one in batch if isinstance(one, _Seen)]
        found: Iterator[tuple[Float, float | None]] = iter(())
        if seen:
            first = np.cumsum([0, *(len(one.graphs) for one in seen)])[:-1]
            com, expected = self.locate([graph for one in seen for graph in one.graphs])
            errors = [None] * len(seen) if expected is None else _means(expected, first).tolist()
            found = zip(_means(com, first), errors, strict=True)
        for one in batch:
            yield one if isinstance(one, InputError) else self._prediction(one, *next(found))

    def _prediction(self, seen: _Seen, com: Float, error: float | None) -> Prediction | InputError:
        if not (np.isfinite(com).all() and math.isfinite(error or 0.0)):
            return InputError(f"{seen.name}: the prediction of {self.name} is not finite")
        factor = self._error_factors.get(_SHARE)
        radius = None if factor is None or error is None else factor * error
        return replace(seen.unknown, com=com, expected_error=error, radius_90=radius)


def load_predictor(
    source: str | os.PathLike[str] | Callable[[Scans], Float],
    *,
    model: str | type | None = None,
    accelerator: str = "auto",
    batch_size: int = 64,
) -> Predictor:
    """Load a predictor of centres of mass: a trained model or an untrained baseline.

    Args:
        source: a checkpoint; the folder of a run, whose best checkpoint is used; or the name of an untrained
            baseline, such as ``"carve"`` (as ``plumbline predict --model``); or a baseline of your own: a
            function, ``"path/to/file.py:function"``, or a :class:`plumbline.Baseline`.
        model: the class of a network of your own, see :func:`plumbline.load_checkpoint`.
        accelerator: where a model computes: "auto", "cpu", "cuda" or "mps".
        batch_size: scans that are looked at together in :meth:`Predictor.predict_many`.

    Raises:
        InputError: the checkpoint does not exist or cannot be read, it was trained on graphs that cannot be
            made from a scan, the accelerator is not available, or a guess of your own cannot be used.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    if callable(source):
        source = register(source)
    if isinstance(source, str) and (source in UNTRAINED or names_a_file(source)):
        return Predictor.untrained(source, batch_size=batch_size)
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"a predictor is loaded from a path or the name of a baseline, got {source!r}")
    path = Path(source)
    if isinstance(source, str) and not path.exists():
        near = get_close_matches(source, UNTRAINED, n=1)
        raise InputError(
            f"there is no checkpoint, no folder and no untrained baseline {source!r}: "
            + (f"did you mean {near[0]!r}?" if near else f"the baselines are {', '.join(UNTRAINED)}")
        )
    from plumbline.predictors.checkpoint import load_checkpoint
    from plumbline.predictors.device import choose_device

    loaded = load_checkpoint(find_best(path), model=model)
    loaded.model.to(choose_device(accelerator))
    return Predictor.trained(loaded, batch_size=batch_size)


# ------------------------------------------------------------------------------------------- input checking


def _check(max_points: int, draws: int) -> None:
    if max_points < 2:
        raise InputError(f"max_points must be at least 2, got {max_points}")
    if draws < 1:
        raise InputError(f"draws must be at least 1, got {draws}")


def _cloud(given: ArrayLike | Cloud, name: str) -> Cloud:
    if isinstance(given, Cloud):
        cloud = given if given.name else replace(given, name=name)
    else:
        cloud = Cloud(_numbers(given, name, "points"), name=name)
    check_points(cloud.points, cloud.name)
    return cloud


def _numbers(given: ArrayLike, name: str, what: str) -> Float:
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"{name}: {what} must be an array of numbers ({error})") from error
    return numbers(name, what, array)


def _views(given: ArrayLike, num: int, name: str) -> Int:
    """Renumber any whole numbers as views ``[N]`` from 0."""
    view = _numbers(given, name, "view")
    if view.shape != (num,) or (view % 1 != 0).any():
        raise InputError(f"{name}: view must be [N], one whole number for each of the {num} points")
    return np.unique(view, return_inverse=True)[1].astype(np.int64)


def _draw(scan: Scan, points: int, draw: int) -> Scan:
    """Draw the farthest points; later draws start from a random half, or all draws would be the same."""
    rng = np.random.default_rng(draw)
    if draw:
        scan = thin_scan(scan, max(points, len(scan.points) // 2), sampling="random", rng=rng)
    return thin_scan(scan, points, sampling="farthest", rng=rng)


def _means(values: Float, first: Int) -> Float:
    """Means over the draws of each scan; ``first`` is the position of each scan's first draw."""
    counts = np.diff([*first, len(values)])
    return np.add.reduceat(values, first, axis=0) / counts.reshape(-1, *[1] * (values.ndim - 1))
