"""The files that answers are drawn into: filled scan by scan while answers stream by, written in one step."""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from numpy.typing import ArrayLike

from plumbline.errors import InputError
from plumbline.payload.record import Payload
from plumbline.predictors.many import Source
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.prediction_table import ScanName
from plumbline.records import Cloud
from plumbline.views.coloured_ply import coloured_ply
from plumbline.views.page import MOST_POINTS, MOST_SCANS, render
from plumbline.views.scene import Scene, scene_of
from plumbline.writing import write_atomically


class ViewFiles:
    """Draws answers, if files are asked for.

    A cloud is held from when it is read until its answer is there, and then the part of it that is drawn.

    Args:
        html: the page; or None.
        ply: the file for other viewers; or None.
        scans: number of scans.
        sensor, clean: as for :meth:`Predictor.predict_many`.

    Raises:
        InputError: a file cannot hold this many scans.
    """

    def __init__(
        self, html: Path | None, ply: Path | None, *, scans: int, sensor: ArrayLike | None, clean: bool
    ) -> None:
        if html is not None and scans > MOST_SCANS:
            raise InputError(
                f"--html {html}: a page shows at most {MOST_SCANS} scans, and these are {scans:,}; name fewer"
            )
        if ply is not None and scans > 1:
            raise InputError(
                f"--ply {ply}: the file shows one scan, and these are {scans:,}; name one, or use --html"
            )
        self._html, self._ply, self._sensor, self._clean = html, ply, sensor, clean
        self._most = None if ply is not None else MOST_POINTS // scans
        self._clouds: deque[Cloud | InputError] = deque()
        self._scenes: list[Scene] = []
        self._refused: list[str] = []

    @property
    def wanted(self) -> bool:
        """Whether anything is drawn."""
        return bool(self._html or self._ply)

    def passing(self, sources: Iterable[Source]) -> Iterator[Source]:
        """Yield the scans on their way to the predictor; read and remember each if its answer is drawn."""
        for source in sources:
            if not self.wanted:
                yield source
                continue
            cloud = source() if callable(source) else source
            assert isinstance(cloud, Cloud | InputError)
            self._clouds.append(cloud)
            yield cloud

    def add(
        self,
        name: ScanName,
        predicted: Prediction | InputError,
        answer: Prediction | InputError,
        payload: Payload | None,
    ) -> None:
        """Take what is given for the next cloud that passed.

        Args:
            name: of the scan.
            predicted: the prediction in the frame of the scan.
            answer, payload: in the frame that was asked for.
        """
        if not self._clouds:
            return
        cloud = self._clouds.popleft()
        if isinstance(answer, InputError) or isinstance(cloud, InputError):
            self._refused.append(str(answer))
            return
        assert isinstance(predicted, Prediction), "an answer is made of a prediction"
        scene = scene_of(
            cloud,
            predicted,
            name=str(name),
            sensor=self._sensor,
            clean=self._clean,
            asked=answer,
            payload=payload,
        )
        self._scenes.append(scene if self._most is None else scene.thinned(self._most))

    def write(self, model: str) -> tuple[dict[str, Path], list[str]]:
        """Write the files.

        Args:
            model: what the model is called.

        Returns:
            What is written where; and why a file is not written, a sentence for each of them, if no scan has
            an answer.

        Raises:
            InputError: a file cannot be written.
        """
        if not self._scenes:
            flags = {"--html": self._html, "--ply": self._ply}
            why = "is not written: no scan has an answer"
            return {}, [f"{flag} {path} {why}" for flag, path in flags.items() if path]
        if self._html is not None:
            _write("--html", self._html, render(self._scenes, model, self._refused).encode())
        if self._ply is not None:
            _write("--ply", self._ply, coloured_ply(self._scenes[0]))
        return {name: path for name, path in {"page": self._html, "points": self._ply}.items() if path}, []


def _write(flag: str, path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise InputError(f"{flag} {path}: cannot be written ({error.strerror})") from error
