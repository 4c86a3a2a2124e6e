"""Comparison of a trained model with the untrained baselines: the table, and the sentence that sums it up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.text import Text

from plumbline.console.tables import Column, print_fitting
from plumbline.console.text import counted, length, percent
from plumbline.errors import InputError
from plumbline.evaluation.metrics import Errors, Summary, bootstrap_mean, errors_on, refuse_nonfinite
from plumbline.predictors.untrained import USUAL, baseline_predictions
from plumbline.records import Float, Int

if TYPE_CHECKING:
    from plumbline.data.store.reader import PackedStore

UNSEEN, SEEN, OTHER = "unseen", "seen", "other"
"""Whether the objects were held out from training, were trained on, or come from another data set."""

FEWEST = 10
"""Minimum number of objects for a claim that one method is better: fewer are too few to resample."""

_WHERE = {
    UNSEEN: "on objects it has not seen",
    SEEN: "on objects that include those it was trained on",
    OTHER: "on this data set",
}


@dataclass(frozen=True, slots=True)
class Table:
    """Errors of a model and of the baselines on the same graphs.

    Attributes:
        model: name of the model, the first key of ``errors``.
        errors: method name to its errors, graph by graph, in the order of ``indices``.
        indices: ``[G]`` graphs of the store.
        predictions: ``[G, 3]`` predictions of the model, stored frame.
        metric_scale: the store's unit in metres is known, so that ``error_m`` differs from ``error``.
        radius_source: "object", or "scan" / "mixed" if the radius is (partly) that of the scan.
        flat: number of graphs without volume, for which hull and carve fell back to the point mean.
        left_out: baselines that need vectors which the store lacks.
        relation: one of UNSEEN, SEEN, OTHER.
        trained_on: for another data set, how many of its objects the model was trained on.
    """

    model: str
    errors: dict[str, Errors]
    indices: Int
    predictions: Float
    metric_scale: bool
    radius_source: str
    flat: int
    relation: str
    left_out: tuple[str, ...] = ()
    trained_on: int = 0

    @property
    def num_graphs(self) -> int:
        """Number of graphs, G."""
        return len(self.indices)

    @property
    def num_objects(self) -> int:
        """Number of distinct objects."""
        return len(np.unique(self.errors[self.model].objects))

    @property
    def methods(self) -> list[str]:
        """Names of the model and the baselines, the model first."""
        return list(self.errors)

    @property
    def best_baseline(self) -> str:
        """The baseline with the smallest mean relative error."""
        return min(self.methods[1:], key=lambda name: self.errors[name].error_rel.mean())

    def summary(self, method: str, kind: str = "error_rel") -> Summary:
        """Summary of one method over all graphs."""
        return self.errors[method].summary(kind)

    def group_summaries(self) -> dict[str, dict[str, Summary]]:
        """Summaries of the relative error, without intervals, by group (see :class:`Errors`) and method."""
        parts = {name: errors.by_group() for name, errors in self.errors.items()}
        return {
            group: {name: part[group].summary(resamples=0) for name, part in parts.items()}
            for group in parts[self.model]
        }

    def advantage(self) -> tuple[float, float, float]:
        """Mean relative error of the best baseline minus the model's, and its 95 % interval (low, high).

        Paired: both are measured on the same graphs, and objects are resampled jointly.
        """
        model = self.errors[self.model]
        gain = self.errors[self.best_baseline].error_rel - model.error_rel
        return (float(gain.mean()), *bootstrap_mean(gain, model.objects))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the printed numbers, unrounded."""
        kinds = ("error_rel", "error", *(("error_m",) if self.metric_scale else ()))
        mean, low, high = self.advantage()
        return {
            "sentence": sentence(self),
            "model": self.model,
            "objects_are": self.relation,
            "objects_trained_on": self.trained_on,
            "num_graphs": self.num_graphs,
            "num_objects": self.num_objects,
            "radius_source": self.radius_source,
            "scans_without_volume": self.flat,
            "left_out": list(self.left_out),
            "methods": {
                name: {kind: self.summary(name, kind).to_dict() for kind in kinds} for name in self.methods
            },
            "advantage_over_best_baseline": {
                "baseline": self.best_baseline,
                "mean": mean,
                "low": None if low != low else low,
                "high": None if high != high else high,
            },
            "groups": {
                group: {name: summary.to_dict() for name, summary in row.items()}
                for group, row in self.group_summaries().items()
            },
        }


def summarise(
    store: "PackedStore",
    indices: Int,
    predictions: Float,
    *,
    model: str = "model",
    relation: str = UNSEEN,
    trained_on: int = 0,
    baselines: Sequence[str] = (),
) -> Table:
    """Compare a model's predictions with the usual baselines.

    Args:
        store: the data set.
        indices: ``[G]`` graphs, at least one.
        predictions: ``[G, 3]`` in the same order, stored frame.
        model: name of the model in the table.
        relation: UNSEEN, SEEN or OTHER; determines the claim of the sentence.
        trained_on: for another data set, how many of its objects the model was trained on.
        baselines: names of more baselines, in the user's files.

    Raises:
        InputError: there are no graphs, a prediction is not finite, or a baseline of the user fails.
    """
    indices = np.asarray(indices, dtype=np.int64)
    predictions = np.asarray(predictions, dtype=np.float64)
    if len(indices) == 0:
        raise InputError("there are no graphs to measure the model on")
    if predictions.shape != (len(indices), 3):
        raise ValueError(f"predictions of shape {predictions.shape} for {len(indices)} graphs")
    refuse_nonfinite({model: predictions}, indices, trained=True)
    found = baseline_predictions(store, indices, (*USUAL, *baselines))
    refuse_nonfinite(found.predictions, indices, trained=False)
    return Table(
        model=model,
        errors=errors_on(store, indices, {model: predictions, **found.predictions}),
        indices=indices,
        predictions=predictions,
        metric_scale=bool(np.any(store.scale[indices] != 1.0)),
        radius_source=store.radius_source,
        flat=found.flat,
        relation=relation,
        left_out=found.left_out,
        trained_on=trained_on,
    )


def sentence(table: Table) -> str:
    """The result in one sentence, whether or not the model is better."""
    model, best = table.summary(table.model).mean, table.summary(table.best_baseline).mean
    whose = {"object": "object's", "scan": "scan's"}.get(table.radius_source, "object's or scan's")
    where = _WHERE[table.relation] + (", some of which it was trained on" if table.trained_on else "")
    start = f"The model misses by {percent(model)} of the {whose} radius {where}"
    gain, low, high = table.advantage()
    rival = f"the baseline {table.best_baseline}, which needs no training,"
    if table.num_objects < FEWEST:
        return f"{start}; {rival} by {percent(best)}: too few objects ({table.num_objects}) to tell."
    if low <= 0.0 <= high:
        return f"{start}; {rival} by {percent(best)}, too close to call on {table.num_objects} objects."
    if gain > 0:
        return f"{start}; {rival} by {percent(best)}."
    return f"{start}; {rival} is better, with {percent(best)}."


def interval(summary: Summary) -> str:
    """Format the 95 % interval of a mean fraction, e.g. ``17.1 – 19.4 %``."""
    return "–" if summary.low != summary.low else f"{length(100 * summary.low)} – {percent(summary.high)}"


def print_table(console: Console, table: Table) -> None:
    """Print one row per method, the smallest value of each column in bold, then the sentence and the notes.

    If the terminal is too narrow, columns are left out; numbers are never truncated.
    """
    print_fitting(console, [Column("miss / radius", table.methods), *_columns(table)])
    console.print()
    console.print(Text(sentence(table)))
    for note in notes(table):
        console.print(Text(note, style="dim"))


def _columns(table: Table) -> list[Column]:
    """The columns of numbers, with one cell per method."""
    kinds = {
        "mean": ("mean", "error_rel", None),
        "95 % interval": ("interval", "error_rel", 3),
        "median": ("median", "error_rel", 2),
        "90 % below": ("p90", "error_rel", 1),
        "data units": ("mean", "error", 5),
    }
    if table.metric_scale:
        kinds["metres"] = ("mean", "error_m", 4)
    columns = []
    for head, (stat, kind, gives_way) in kinds.items():
        summaries = [table.summary(name, kind) for name in table.methods]
        if stat == "interval":
            cells = [Text(interval(summary), style="dim") for summary in summaries]
        else:
            values = [getattr(summary, stat) for summary in summaries]
            cells = [Text((percent if kind == "error_rel" else length)(value)) for value in values]
            cells[int(np.argmin(values))].stylize("bold")
        columns.append(Column(head, cells, gives_way))
    return columns


def notes(table: Table) -> list[str]:
    """Notes that a reader needs to understand the numbers: how many, which radius, which fallbacks."""
    lines = [
        f"{counted(table.num_graphs, 'scan')} of {counted(table.num_objects, 'object')}; "
        "the interval of the mean comes from resampling the objects."
    ]
    if table.trained_on:
        lines.append(
            f"The model was trained on {table.trained_on:,} of these {table.num_objects:,} objects; it may "
            "do worse on the others."
        )
    if table.radius_source != "object":
        part = "some objects" if table.radius_source == "mixed" else "the objects"
        lines.append(f"The size of {part} is not recorded; the radius of the scan is used instead.")
    if table.flat:
        lines.append(
            f"{table.flat:,} scans span no volume; for these the convex hull falls back to the point mean."
        )
    if table.left_out:
        names, verb = " and ".join(table.left_out), "needs" if len(table.left_out) == 1 else "need"
        lines.append(f"{names} {verb} the positions of the sensors, which this data set does not record.")
    return lines
