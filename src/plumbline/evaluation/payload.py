"""Errors of predicted volume and inertia, next to untrained answers.

The error of a volume is ``|ln(V_predicted / V)|``: twice and half the truth are equally wrong. It is shown as
the factor ``exp`` of it, so 1 is right. The error of an inertia tensor is ``||J_predicted - J|| / ||J||`` in
the Frobenius norm; all zeros would have an error of 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.text import Text

from plumbline.console.tables import Column, print_fitting
from plumbline.console.text import counted, length, percent
from plumbline.errors import InputError
from plumbline.evaluation.metrics import Summary, summarise_errors
from plumbline.evaluation.table import interval
from plumbline.predictors.answers import Answers
from plumbline.predictors.untrained_payload import Payload, untrained_payloads
from plumbline.records import Float, Int

if TYPE_CHECKING:
    from plumbline.data.store.reader import PackedStore

MEANING = (
    "Volume: the factor by which it is too large or too small. Inertia (per unit mass, about the centre of "
    "mass): the difference from the true tensor, as a share of it (Frobenius norms)."
)
"""What the columns of volume and inertia mean."""


class PayloadErrors(NamedTuple):
    """Errors of one method on G scans.

    Attributes:
        volume: ``[G]`` logarithm of the factor by which the volume is too large or too small.
        inertia: ``[G]`` norm of the difference from the true tensor, as a fraction of the norm of that.
        objects: ``[G]`` object names.
    """

    volume: Float
    inertia: Float
    objects: np.ndarray

    def volume_factor(self) -> Summary:
        """Summary of the factors; the mean is the geometric one."""
        found = summarise_errors(self.volume, self.objects)
        figures = (found.mean, found.median, found.p90, found.low, found.high)
        return Summary(found.n, *np.exp(figures).tolist())

    def inertia_rel(self) -> Summary:
        """Summary of the errors of the tensors."""
        return summarise_errors(self.inertia, self.objects)


@dataclass(frozen=True, slots=True)
class PayloadTable:
    """Errors of models and of the untrained answers on the same scans.

    Attributes:
        errors: method name to its errors, models first; empty if there is no scan to measure on.
        unknown: number of scans that are left out because their truth is not known.
        flat: number of scans that are left out because their points span no volume.
        left_out: untrained answers that need the directions to the sensors, which the store lacks.
    """

    errors: dict[str, PayloadErrors]
    unknown: int
    flat: int
    left_out: tuple[str, ...]

    @property
    def objects(self) -> np.ndarray:
        """``[G]`` object names of the scans that are measured on."""
        return next((one.objects for one in self.errors.values()), np.empty(0, dtype=object))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the printed numbers, unrounded."""
        return {
            "num_graphs": len(self.objects),
            "num_objects": len(np.unique(self.objects)),
            "scans_without_truth": self.unknown,
            "scans_without_volume": self.flat,
            "left_out": list(self.left_out),
            "methods": {
                name: {
                    "volume_factor": one.volume_factor().to_dict(),
                    "inertia_rel": one.inertia_rel().to_dict(),
                }
                for name, one in self.errors.items()
            },
        }


class Figures(NamedTuple):
    """A column of the table.

    Attributes:
        head: its heading, in two lines.
        texts: one per method.
        best: the row of the smallest value; None for intervals.
        gives_way: see :class:`plumbline.console.tables.Column`.
    """

    head: str
    texts: list[str]
    best: int | None
    gives_way: int | None


def network_payload(answers: Answers) -> Payload | None:
    """Volume and inertia in a network's answers; None if it predicts none."""
    if answers.volume is None or answers.inertia is None:
        return None
    return Payload(answers.volume, answers.inertia)


def payload_errors(predicted: Payload, true: Payload, objects: np.ndarray) -> PayloadErrors:
    """Errors of G predictions; ``objects [G]`` are the names of the objects."""
    off = np.linalg.norm(predicted.inertia - true.inertia, axis=(1, 2))
    return PayloadErrors(
        np.abs(np.log(predicted.volume) - np.log(true.volume)),
        off / np.linalg.norm(true.inertia, axis=(1, 2)),
        objects,
    )


def summarise_payload(store: "PackedStore", indices: Int, predicted: Mapping[str, Payload]) -> PayloadTable:
    """Compare the volumes and inertia tensors of models with the untrained answers.

    All methods are measured on the same scans: those whose truth is known and whose points span a volume.

    Args:
        store: the data set.
        indices: ``[G]`` graphs.
        predicted: name of a model to its answers, in the same order, stored units.

    Raises:
        InputError: a prediction is not finite, or a volume is not positive.
    """
    indices = np.asarray(indices, dtype=np.int64)
    for name, answer in predicted.items():
        _refuse_impossible(name, answer, indices)
    true = Payload(store.volume[indices], store.inertia[indices])
    known = np.isfinite(true.volume) & (true.volume > 0) & np.isfinite(true.inertia).all(axis=(1, 2))
    found = untrained_payloads(store, indices[known])
    measured = np.flatnonzero(known)[~found.flat]
    methods = {name: answer.take(measured) for name, answer in predicted.items()}
    methods |= {name: answer.take(~found.flat) for name, answer in found.answers.items()}
    objects = np.array(store.object_names, dtype=object)[store.object_idx[indices[measured]]]
    return PayloadTable(
        errors={name: payload_errors(one, true.take(measured), objects) for name, one in methods.items()}
        if len(measured)
        else {},
        unknown=int((~known).sum()),
        flat=int(found.flat.sum()),
        left_out=found.left_out,
    )


def _refuse_impossible(model: str, predicted: Payload, indices: Int) -> None:
    possible = np.isfinite(predicted.inertia).all(axis=(1, 2)) & np.isfinite(predicted.volume)
    broken = np.flatnonzero(~(possible & (predicted.volume > 0)))
    if len(broken):
        raise InputError(
            f"the volume or inertia that {model} predicts for {len(broken)} of {len(indices)} scans is not "
            f"finite, or the volume is not positive (the first is graph {indices[broken[0]]}); its weights "
            "are damaged or its training diverged"
        )


def print_payload(console: Console, table: PayloadTable) -> None:
    """Print one row per method, the smallest value of each column in bold, then the notes."""
    if table.errors:
        columns = []
        for head, texts, best, gives_way in figures(table):
            cells = [Text(text, "dim" if best is None else "") for text in texts]
            if best is not None:
                cells[best].stylize("bold")
            columns.append(Column(head, cells, gives_way))
        print_fitting(console, [Column("volume and inertia", list(table.errors)), *columns])
        console.print()
    for note in notes(table):
        console.print(Text(note, style="dim"))


def figures(table: PayloadTable) -> list[Figures]:
    """The columns of numbers of a table that measured something."""
    volume = [one.volume_factor() for one in table.errors.values()]
    inertia = [one.inertia_rel() for one in table.errors.values()]
    return [
        _figures("volume\nmean", [one.mean for one in volume], factor, None),
        Figures("95 %\ninterval", [_factor_interval(one) for one in volume], None, 3),
        _figures("volume\nmedian", [one.median for one in volume], factor, 2),
        _figures("inertia\nmean", [one.mean for one in inertia], percent, None),
        Figures("95 %\ninterval", [interval(one) for one in inertia], None, 4),
        _figures("inertia\nmedian", [one.median for one in inertia], percent, 5),
        _figures("inertia\n90 % below", [one.p90 for one in inertia], percent, 1),
    ]


def _figures(head: str, values: list[float], shown: Callable[[float], str], gives_way: int | None) -> Figures:
    return Figures(head, [shown(value) for value in values], int(np.argmin(values)), gives_way)


def factor(value: float) -> str:
    """Format a factor, e.g. ``× 1.31``."""
    return f"× {length(value)}"


def _factor_interval(summary: Summary) -> str:
    """Format the 95 % interval of a mean factor, e.g. ``1.20 – 1.43``."""
    return "–" if summary.low != summary.low else f"{length(summary.low)} – {length(summary.high)}"


def notes(table: PayloadTable) -> list[str]:
    """Notes that a reader needs to understand the numbers: their meaning, how many scans, what is missing."""
    lines = []
    if table.errors:
        num = len(np.unique(table.objects))
        lines.append(f"{MEANING} {counted(len(table.objects), 'scan')} of {counted(num, 'object')}.")
    if table.unknown:
        lines.append(
            f"The true volume and inertia of {counted(table.unknown, 'scan')} are not known; the volume and "
            "inertia that the model predicts for these are not measured."
        )
    if table.flat:
        lines.append(
            f"The points of {counted(table.flat, 'scan')} span no volume: no untrained answer, left out."
        )
    if table.left_out and table.errors:
        names = " and ".join(table.left_out)
        lines.append(f"{names} needs the directions to the sensors, which this data set does not record.")
    return lines
