"""The picture of a sweep: the errors of its trials in their order, and by the value of each flag."""

from collections.abc import Sequence
from io import BytesIO
from itertools import accumulate
from math import ceil
from typing import Any

from plumbline.evaluation.plots import INK, MODEL, MUTED, STYLE
from plumbline.spaces import Parameter, Space
from plumbline.sweeping.records import Trial

_COLUMNS = 3
_BEST = "#c4460f"
_MARGIN = 0.06
"""Share of a range that is shown beyond each of its ends."""
_LOG_FROM = 3.0
"""Ratio of the largest to the smallest error from which their axis is logarithmic."""


def draw(space: Space, trials: Sequence[Trial]) -> bytes:
    """Draw the trials that have an error. Returns a PNG.

    Args:
        space: what was varied.
        trials: at least one with an error.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    shown = [trial for trial in trials if trial.error is not None]
    complete = [trial for trial in shown if trial.state == "complete"]
    best = min(complete, key=lambda trial: trial.error or 0.0, default=None)
    columns = 2 if len(space.parameters) in (2, 4) else min(_COLUMNS, len(space.parameters))
    rows = ceil(len(space.parameters) / columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 2.6 + 2.3 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(1 + rows, columns)
        history = figure.add_subplot(grid[0, :])
        _points(history, shown, [trial.number for trial in shown], best)
        if complete:
            _best_so_far(history, complete, last=trials[-1].number)
        history.set_xlabel("trial")
        history.xaxis.set_major_locator(MaxNLocator(integer=True))
        history.legend(
            loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=9, labelcolor=MUTED, ncols=4
        )
        log = _scale(history, shown)
        history.set_title(
            "Miss, % of the radius" + ", log scale" * log,
            loc="left", fontsize=10, color=INK, pad=8,
        )  # fmt: skip
        for place, item in enumerate(space.parameters):
            axis = figure.add_subplot(grid[1 + place // columns, place % columns])
            having = [trial for trial in shown if item.name in trial.values]
            _points(axis, having, [_place(item, trial.values[item.name]) for trial in having], best)
            _scale(axis, shown)
            axis.set_ylim(history.get_ylim())
            _name_values(axis, item)
            axis.set_xlabel(item.name)
            if place % columns:
                axis.set_yticklabels([])
        png = BytesIO()
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
    return png.getvalue()


def _points(axis: Any, trials: Sequence[Trial], places: Sequence[float], best: Trial | None) -> None:
    """One mark for each trial: full if it is complete, hollow if not; the best one is larger."""
    styles = {
        "complete": {"facecolors": MODEL, "edgecolors": "none", "s": 22, "zorder": 3},
        "pruned": {"facecolors": "none", "edgecolors": MUTED, "s": 18, "zorder": 2},
    }
    for state, style in styles.items():
        some = [
            (place, trial.error) for place, trial in zip(places, trials, strict=True) if trial.state == state
        ]
        if some:
            axis.scatter(*zip(*some, strict=True), label=state, linewidths=1.0, **style)
    for place, trial in zip(places, trials, strict=True):
        if best is not None and trial.number == best.number:
            axis.scatter([place], [trial.error], s=60, marker="D", color=_BEST, zorder=4, label="best")


def _best_so_far(axis: Any, complete: Sequence[Trial], *, last: int) -> None:
    lowest = list(accumulate((trial.error or 0.0 for trial in complete), min))
    numbers = [trial.number for trial in complete]
    axis.step(
        [*numbers, max(last, numbers[-1])], [*lowest, lowest[-1]], where="post", color=_BEST, linewidth=1.2,
        zorder=1, label="best so far",
    )  # fmt: skip


def _scale(axis: Any, shown: Sequence[Trial]) -> bool:
    """Show errors as per cent, on a logarithmic axis if they span much. Returns whether they do."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    errors = [trial.error or 0.0 for trial in shown]
    log = min(errors) > 0 and max(errors) > _LOG_FROM * min(errors)
    if log:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    return log


def _place(item: Parameter, value: str) -> float:
    return item.choices.index(value) if item.choices else float(value)


def _name_values(axis: Any, item: Parameter) -> None:
    """Name the values of a list; show a whole range, on the scale on which it was drawn from."""
    if item.choices:
        longest = max(map(len, item.choices))
        axis.set_xticks(range(len(item.choices)), [text[-18:] for text in item.choices])
        axis.set_xlim(-0.5, len(item.choices) - 0.5)
        if longest * len(item.choices) > 30:
            axis.tick_params(axis="x", rotation=30)
    elif item.low == item.high:
        return
    elif item.log:
        axis.set_xscale("log")
        margin = (item.high / item.low) ** _MARGIN
        axis.set_xlim(item.low / margin, item.high * margin)
    else:
        margin = _MARGIN * (item.high - item.low)
        axis.set_xlim(item.low - margin, item.high + margin)
