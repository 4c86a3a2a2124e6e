"""The figures of trainings and evaluations.

A figure is drawn once and saved as PNG (at twice the screen resolution) or as SVG text whose colours are CSS
variables, so that a page can show it in light and dark mode. The palette is Okabe & Ito's, which colour-blind
readers can distinguish; names are written next to the lines, in the same colours.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from plumbline.records import Float

INK, MUTED, GRID, PAPER = "#1b1f24", "#68707a", "#e4e7eb", "#fffffe"
MODEL = "#0072b2"
METHOD_COLOURS = {
    "point mean": "#8f969e",
    "bounding box": "#d98e04",
    "oriented box": "#d98e04",
    "convex hull": "#009e73",
    "carve": "#cc79a7",
    "carve pushed": "#c4460f",
}
ORDER_COLOURS = {
    "novelty": METHOD_COLOURS["carve pushed"],
    "expected error": MODEL,
    "best possible": METHOD_COLOURS["convex hull"],
    "random": METHOD_COLOURS["point mean"],
}
"""Orders of refusal, see :mod:`plumbline.evaluation.risk_coverage`."""
CSS_NAMES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    PAPER: "--paper",
    MODEL: "--model",
    METHOD_COLOURS["point mean"]: "--mean",
    METHOD_COLOURS["bounding box"]: "--box",
    METHOD_COLOURS["convex hull"]: "--hull",
    METHOD_COLOURS["carve"]: "--carve",
    METHOD_COLOURS["carve pushed"]: "--pushed",
}
"""Colour in a figure to the CSS variable that replaces it in SVG."""

FINEST = 300
"""Steps of a cumulative curve, at most; finer steps are not visible."""

_TICKS = {12.0: (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), 300.0: (1.0, 2.0, 5.0), np.inf: (1.0,)}
"""Ratio of the largest to the smallest value, below which a logarithmic axis has these ticks in a decade."""

STYLE: Any = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.minor.visible": False,
    "ytick.minor.size": 0,
    "ytick.major.size": 0,
    "font.size": 10,
    "font.family": "sans-serif",
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "axes.xmargin": 0.015,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "svg.fonttype": "none",
    "svg.hashsalt": "plumbline",
}


@dataclass(frozen=True, slots=True)
class History:
    """Metrics of a training run: metric name to (epochs ``[T]``, values ``[T]``), finite values only."""

    series: dict[str, tuple[Float, Float]]

    def get(self, *names: str) -> tuple[Float, Float] | None:
        """The series of the first of the names that was logged, or None."""
        return next((self.series[name] for name in names if name in self.series), None)

    @property
    def num_epochs(self) -> int:
        """Number of epochs with a validation or training loss."""
        found = self.get("val_loss", "train_loss_epoch", "train_loss")
        return 0 if found is None else len(found[0])


def read_history(metrics_csv: Path) -> History:
    """Read the metrics of a run; if an epoch has several values of a metric, the last one counts."""
    series: dict[str, dict[int, float]] = {}
    if metrics_csv.is_file():
        with metrics_csv.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                epoch = _number(row.get("epoch"))
                for name, text in row.items():
                    value = _number(text)
                    if epoch is not None and value is not None and name not in (None, "epoch", "step"):
                        series.setdefault(name, {})[int(epoch)] = value
    return History(
        {
            name: (np.array(sorted(values), float), np.array([values[epoch] for epoch in sorted(values)]))
            for name, values in series.items()
        }
    )


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def curves(metrics_csv: Path, out_png: Path, *, baselines: Mapping[str, float]) -> None:
    """Draw the training curves of a run as a PNG.

    Args:
        metrics_csv: metrics, as in :mod:`plumbline.training.show.metrics_file`.
        out_png: where to write; nothing is written if no epoch was finished.
        baselines: name to mean relative error, drawn as horizontal lines next to ``val_error_rel``.
    """
    history = read_history(metrics_csv)
    if history.num_epochs:
        _save_png(_draw_curves(history, baselines), out_png)


def curves_svg(history: History, baselines: Mapping[str, float]) -> str:
    """Draw the training curves as SVG text whose colours are CSS variables."""
    return _svg(_draw_curves(history, baselines), "curves")


def cumulative_svg(errors: Mapping[str, Float]) -> str:
    """Draw the share of scans below each relative error as SVG text; the first method is the model."""
    return _svg(_draw_cumulative(errors), "cumulative")


def risk_svg(curves: Mapping[str, Float]) -> str:
    """Draw risk-coverage curves, by the names of their orders, as SVG text."""
    return _svg(_draw_risk(curves), "risk")


def colour_of(method: str) -> str:
    """The colour of a baseline, or the model's."""
    return METHOD_COLOURS.get(method, MODEL)


def _draw_curves(history: History, baselines: Mapping[str, float]) -> Any:
    rows = [("loss", 3.0)]
    if history.get("val_error_rel"):
        rows.append(("error", 3.0))
    if history.get("learning_rate"):
        rows.append(("rate", 1.1))
    figure, axes = _figure(
        (6.4, 0.6 + 0.75 * sum(height for _, height in rows)), [height for _, height in rows]
    )
    for (kind, _), axis in zip(rows, axes, strict=True):
        labels: list[tuple[float, str, str]] = []
        if kind == "loss":
            for names, label, colour in (
                (("train_loss_epoch", "train_loss"), "training", MUTED),
                (("val_loss",), "validation", MODEL),
            ):
                _line(axis, history.get(*names), label, colour, labels)
            _title(axis, "Loss" + _log_or_linear(axis))
        elif kind == "error":
            for name, level in baselines.items():
                axis.axhline(level, color=colour_of(name), linewidth=1.0, linestyle=(0, (4, 3)))
                labels.append((level, name, colour_of(name)))
            _line(axis, history.get("val_error_rel"), "model", MODEL, labels)
            _title(axis, "Miss on validation objects, % of the radius" + _log_or_linear(axis, share=True))
        else:
            found = history.get("learning_rate")
            if found is not None:
                axis.plot(found[0] + 1, found[1], color=MUTED, drawstyle="steps-mid", **_marks(found))
                _title(axis, "Learning rate" + _log_or_linear(axis))
                # More ticks would overlap in so low a panel.
                axis.set_yticks(np.unique([found[1].min(), found[1].max()]))
        _end_labels(axis, labels)
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _draw_cumulative(errors: Mapping[str, Float]) -> Any:
    figure, (axis,) = _figure((6.4, 3.7), [1.0])
    limit = max(float(np.quantile(values, 0.98)) for values in errors.values())
    limit = min(
        max(limit, 1e-3), 4 * max(float(np.quantile(values, 0.9)) for values in errors.values()) + 1e-9
    )
    names = list(errors)
    for name in reversed(names):
        share = np.arange(1, len(errors[name]) + 1) / len(errors[name])
        if len(share) > FINEST:
            share = np.linspace(1 / FINEST, 1, FINEST)
        values = np.quantile(errors[name], share, method="inverted_cdf")
        x = np.concatenate([[0.0], values, [max(limit, values[-1])]])
        y = np.concatenate([[0.0], share, [1.0]])
        main = name == names[0]
        axis.step(
            x, y, where="post", color=colour_of(name), linewidth=2.2 if main else 1.4, zorder=3 if main else 2
        )
    axis.set_xlim(0, limit)
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("miss, share of the radius")
    _title(axis, "Share of scans that miss by less")
    for scale_axis in (axis.xaxis, axis.yaxis):
        scale_axis.set_major_formatter(_percent_formatter())
    means = {name: float(np.mean(values)) for name, values in errors.items()}
    _corner_labels(axis, {name: colour_of(name) for name in sorted(means, key=lambda name: -means[name])})
    return figure


def _draw_risk(curves: Mapping[str, Float]) -> Any:
    figure, (axis,) = _figure((6.4, 3.7), [1.0])
    for name, curve in curves.items():
        share = np.linspace(1 / FINEST, 1, FINEST)
        number = np.ceil(share * len(curve) - 1e-9).astype(int).clip(1)
        axis.plot(share, curve[number - 1], color=ORDER_COLOURS[name], drawstyle="steps-pre")
    axis.set_xlim(0, 1)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("share of the scans that is answered")
    _title(axis, "Mean miss of these, % of the radius")
    for scale_axis in (axis.xaxis, axis.yaxis):
        scale_axis.set_major_formatter(_percent_formatter())
    heights = {name: float(curve.mean()) for name, curve in curves.items()}
    _corner_labels(
        axis, {name: ORDER_COLOURS[name] for name in sorted(heights, key=lambda name: heights[name])}
    )
    return figure


def _corner_labels(axis: Any, colours: Mapping[str, str]) -> None:
    """Write the names of curves into the lower right corner, which they leave empty, from the bottom up."""
    for rank, (name, colour) in enumerate(colours.items()):
        height = 0.07 + 0.085 * rank
        axis.plot([0.72, 0.765], [height, height], transform=axis.transAxes, color=colour, linewidth=2.2)
        axis.text(0.785, height, name, transform=axis.transAxes, color=colour, va="center")


def _figure(size: tuple[float, float], heights: Sequence[float]) -> tuple[Any, list[Any]]:
    """Make a figure in the common style, with stacked panels that share their x axis."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
    return figure, list(grid[:, 0])


def _title(axis: Any, text: str) -> None:
    axis.set_title(text, loc="left", fontsize=10, color=INK, pad=8)


def _marks(series: tuple[Float, Float]) -> dict[str, Any]:
    """Markers for a short series: without them, a run of one epoch would be an empty picture."""
    return {"marker": "o", "markersize": 3.5} if len(series[0]) < 12 else {}


def _line(
    axis: Any,
    series: tuple[Float, Float] | None,
    label: str,
    colour: str,
    labels: list[tuple[float, str, str]],
) -> None:
    """Draw a series; epochs are stored from 0 and shown from 1, as in the terminal."""
    if series is None:
        return
    axis.plot(series[0] + 1, series[1], color=colour, **_marks(series))
    labels.append((float(series[1][-1]), label, colour))


def _log_or_linear(axis: Any, *, share: bool = False) -> str:
    """Make the axis logarithmic if its values span more than half a decade; ticks are plain numbers.

    Returns:
        What the title must add: that the axis is logarithmic, or nothing.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = np.concatenate(
        [np.asarray(line.get_ydata(), float) for line in axis.get_lines()] or [np.ones(1)]
    )
    plain = _percent_formatter() if share else FuncFormatter(lambda value, _: f"{value:.3g}")
    logarithmic = values.min() > 0 and values.max() / values.min() > 3
    if logarithmic:
        axis.set_yscale("log")
        ratio = values.max() / values.min()
        subs = next(subs for largest, subs in _TICKS.items() if ratio < largest)
        axis.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
        axis.yaxis.set_minor_formatter(NullFormatter())
    else:
        axis.margins(y=0.15)
    axis.yaxis.set_major_formatter(plain)
    return ", log scale" if logarithmic else ""


def _percent_formatter() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{100 * value:.4g} %")


def _end_labels(axis: Any, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write the name of each line right of the panel at its last value; overlapping names are moved apart."""
    if not labels:
        return
    low, high = axis.get_ylim()
    axis.set_ylim(low, high)
    forward = axis.yaxis.get_transform().transform
    bottom, top = forward(np.array([low, high], float))
    order = sorted(labels)
    wanted = np.array([(forward(np.array([value]))[0] - bottom) / (top - bottom) for value, _, _ in order])
    gap = 0.095
    placed = wanted.copy()
    for _ in range(50):
        for i in range(1, len(placed)):
            overlap = gap - (placed[i] - placed[i - 1])
            if overlap > 0:
                placed[i - 1] -= overlap / 2
                placed[i] += overlap / 2
    for height, (_, text, colour) in zip(placed, order, strict=True):
        axis.annotate(
            text,
            (1.0, height),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )


def _save_png(figure: Any, path: Path) -> None:
    import matplotlib

    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure.savefig(path, format="png", dpi=200, metadata={"Software": None})


def _svg(figure: Any, prefix: str) -> str:
    """Convert a figure to SVG for embedding in an HTML page.

    The SVG has no prologue, size or fonts, and its colours are CSS variables. ``prefix`` is put before every
    id, so that several figures can share a page.
    """
    import matplotlib

    stream = StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    opening, rest = text.split(">", 1)
    text = re.sub(r'\s(width|height|version)="[^"]*"', "", opening) + ">" + rest
    text = re.sub(r"<style.*?</style>|\s*font-family: [^;\"]*;", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"\s*\n\s*", " ", text)
    for colour, name in CSS_NAMES.items():
        text = re.sub(re.escape(colour), f"var({name})", text, flags=re.IGNORECASE)
    return text.strip()
