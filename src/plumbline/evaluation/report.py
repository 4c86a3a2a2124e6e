"""The evaluation report: one self-contained HTML file without network requests or scripts.

All text that comes from data (names, paths, configuration) is escaped where it enters the page.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from plumbline.console.text import length, percent
from plumbline.evaluation import gallery, plots, risk_coverage
from plumbline.evaluation.gallery import Example
from plumbline.evaluation.payload import PayloadTable, figures
from plumbline.evaluation.payload import notes as payload_notes
from plumbline.evaluation.report_style import CSS
from plumbline.evaluation.risk_coverage import Refusal
from plumbline.evaluation.table import Table, interval, notes, sentence

Facts = Mapping[str, Mapping[str, str]]
"""Heading to (name to value), shown at the end of a report."""


def render(
    *,
    table: Table,
    payload: PayloadTable | None,
    refusal: Refusal | None,
    examples: Sequence[Example],
    history: plots.History | None,
    facts: Facts,
    command: str,
    kicker: str,
) -> str:
    """Render the report as HTML text.

    Args:
        table: the measured errors.
        payload: those of volume and inertia; None for a model that predicts neither.
        refusal: the errors if scans are refused; None for a model that knows nothing to refuse them by.
        examples: scans to show, best to worst (see :func:`examples_of`).
        history: metrics of the training run, or None if they are not available.
        facts: data set, model, configuration, versions.
        command: the command that repeats the evaluation.
        kicker: the line above the title.
    """
    title = f"How well {table.model} finds the centre of mass"
    body = [
        f'<header><p class="kicker">{escape(kicker)}</p><h1>{escape(title)}</h1>'
        f'<p class="result">{escape(sentence(table))}</p></header>',
        "<main>",
        _methods_section(table),
        _cumulative_section(table),
        _examples_section(examples),
        _groups_section(table),
        _payload_section(payload),
        _refusal_section(refusal),
        _training_section(table, history),
        *(_facts_section(heading, rows) for heading, rows in facts.items()),
        "</main>",
        f"<footer><h2>How to repeat it</h2><pre>{escape(command)}</pre></footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def examples_of(store: Any, table: Table) -> list[Example]:
    """Read the scans with the smallest, median and largest relative errors of a table from its store."""
    errors = table.errors[table.model]
    found = []
    for kind, positions in gallery.choose(errors.error_rel).items():
        for position in positions:
            graph = int(table.indices[position])
            found.append(
                Example(
                    name=str(errors.objects[position]),
                    kind=kind,
                    error_rel=float(errors.error_rel[position]),
                    pos=store.gather(np.array([graph])).pos,
                    target=store.target[graph],
                    predicted=table.predictions[position],
                    bounding_radius=float(store.bounding_radius[graph]),
                )
            )
    return found


def _methods_section(table: Table) -> str:
    columns = [("mean", "error_rel"), ("median", "error_rel"), ("p90", "error_rel"), ("mean", "error")]
    heads = ["mean", "95 % interval", "median", "90 % below", "data units"]
    if table.metric_scale:
        columns.append(("mean", "error_m"))
        heads.append("metres")
    values = np.array(
        [[getattr(table.summary(name, kind), stat) for stat, kind in columns] for name in table.methods]
    )
    best = values.argmin(axis=0)
    rows = []
    for row, name in enumerate(table.methods):
        cells = [
            _cell((percent if kind == "error_rel" else length)(values[row, column]), best[column] == row)
            for column, (_, kind) in enumerate(columns)
        ]
        cells.insert(1, f'<td class="quiet">{escape(interval(table.summary(name)))}</td>')
        rows.append(f"<tr>{_method_cell(name)}{''.join(cells)}</tr>")
    note = " ".join(notes(table))
    meaning = "Distance between the prediction and the true centre of mass, as a share of the object's radius"
    units = "in the units of the data set" + (" and in metres" if table.metric_scale else "")
    return (
        f"<h2>Compared with guesses that need no training</h2>{_table(['', *heads], rows)}"
        f'<p class="note">{meaning} (of its smallest enclosing sphere); the mean also {units}. '
        f"{escape(note)}</p>"
    )


def _cumulative_section(table: Table) -> str:
    svg = plots.cumulative_svg({name: errors.error_rel for name, errors in table.errors.items()})
    caption = "Share of scans whose miss is smaller than each distance; higher curves are better."
    return f"<h2>All scans</h2><figure>{_chart(svg)}<figcaption>{caption}</figcaption></figure>"


def _examples_section(examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    cards = "".join(
        f"<figure>{gallery.picture(example)}<figcaption><b>{example.kind}, {percent(example.error_rel)}</b>"
        f"<br>{escape(example.name)}</figcaption></figure>"
        for example in examples
    )
    keys = {
        "true centre of mass": '<circle class="truth" cx="8" cy="6" r="4.5"/>',
        "prediction of the model": '<circle class="answer" cx="8" cy="6" r="4"/>',
        "one fifth of the radius": '<path class="ruler" d="M1 6h14m0 -3v6M1 3v6"/>',
    }
    legend = "".join(
        f'<span><svg viewBox="0 0 16 12" aria-hidden="true">{shape}</svg>{text}</span>'
        for text, shape in keys.items()
    )
    legend = f'<p class="legend">{legend}</p>'
    how = "Single scans, each seen from where its miss appears at full length; nearer points stand out more."
    return f'<h2>Examples</h2><p class="note">{how}</p>{legend}<div class="gallery">{cards}</div>'


def _groups_section(table: Table) -> str:
    groups = table.group_summaries()
    if len(groups) < 2:
        return ""
    parts = table.errors[table.model].by_group()
    heads = ["group", "objects", "scans", *table.methods]
    rows, shown = [], ""
    for group in sorted(groups, key=lambda group: group.rpartition("/")):
        folder, _, name = group.rpartition("/")
        if folder != shown:
            rows.append(f'<tr><th scope="rowgroup" colspan="{len(heads)}">{escape(folder)}/</th></tr>')
        shown = folder
        means = [groups[group][method].mean for method in table.methods]
        best = int(np.argmin(means))
        objects = len(np.unique(parts[group].objects))
        cells = "".join(_cell(percent(mean).removesuffix(" %"), i == best) for i, mean in enumerate(means))
        rows.append(
            f'<tr><td class="name">{escape(name)}</td><td class="quiet">{objects:,}</td>'
            f'<td class="quiet">{len(parts[group].objects):,}</td>{cells}</tr>'
        )
    note = "Mean miss, % of the radius; a group is all objects whose names share a folder."
    return (
        f"<h2>By group</h2>{_table(heads, rows, 'groups', quiet=('objects', 'scans'))}"
        f'<p class="note">{note}</p>'
    )


def _payload_section(payload: PayloadTable | None) -> str:
    if payload is None:
        return ""
    note = f'<p class="note">{escape(" ".join(payload_notes(payload)))}</p>'
    if not payload.errors:
        return f"<h2>Volume and inertia</h2>{note}"
    columns = figures(payload)
    rows = []
    for row, name in enumerate(payload.errors):
        cells = [
            f'<td class="quiet">{escape(texts[row])}</td>' if best is None else _cell(texts[row], best == row)
            for _, texts, best, _ in columns
        ]
        rows.append(f"<tr>{_method_cell(name)}{''.join(cells)}</tr>")
    heads = ["", *(" ".join(column.head.split()) for column in columns)]
    return f"<h2>Volume and inertia</h2>{_table(heads, rows, 'groups')}{note}"


def _refusal_section(refusal: Refusal | None) -> str:
    if refusal is None:
        return ""
    orders = (
        "Scans are refused in the order of their novelty, or of their expected error as a share of the "
        "extent of their points, the largest first; best possible is the order of the misses themselves."
    )
    caption = escape(f"{orders} {risk_coverage.sentence(refusal)}")
    chart = _chart(plots.risk_svg(refusal.curves))
    return f"<h2>If scans are refused</h2><figure>{chart}<figcaption>{caption}</figcaption></figure>"


def _training_section(table: Table, history: plots.History | None) -> str:
    if history is None or not history.num_epochs:
        return ""
    levels = {}
    note = "Training and validation loss, and the learning rate, per epoch."
    if table.relation == "unseen":
        levels = {name: float(table.errors[name].error_rel.mean()) for name in table.methods[1:]}
        note = "Dashed lines: the guesses that need no training, on the same objects."
    svg = plots.curves_svg(history, levels)
    return f"<h2>Training</h2><figure>{_chart(svg)}<figcaption>{note}</figcaption></figure>"


def _facts_section(heading: str, rows: Mapping[str, str]) -> str:
    if not rows:
        return ""
    items = "".join(
        f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items()
    )
    if len(rows) > 12:
        return (
            f"<h2>{escape(heading)}</h2><details><summary>{len(rows)} settings</summary>"
            f"<dl>{items}</dl></details>"
        )
    return f"<h2>{escape(heading)}</h2><dl>{items}</dl>"


def _table(heads: Sequence[str], rows: Sequence[str], kind: str = "", quiet: Sequence[str] = ()) -> str:
    """Lay out a table; ``kind`` is a class of it, and ``quiet`` are columns that matter less."""
    classes = [' class="quiet"' if text in quiet else "" for text in heads]
    head = "".join(
        f'<th scope="col"{mark}>{escape(text)}</th>' for text, mark in zip(heads, classes, strict=True)
    )
    return (
        f'<div class="{f"scroll {kind}".strip()}" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _chart(svg: str) -> str:
    return f'<div class="scroll chart" tabindex="0">{svg}</div>'


def _method_cell(name: str) -> str:
    colour = plots.CSS_NAMES[plots.colour_of(name)]
    return f'<td class="name"><span class="key" style="background: var({colour})"></span>{escape(name)}</td>'


def _cell(text: str, best: bool) -> str:
    return f'<td class="best">{text}</td>' if best else f"<td>{text}</td>"
