"""One self-contained HTML page with scenes to turn, without network requests.

The drawing is ``viewer.js``: it renders into an image of its own, without WebGL, so that the page looks the
same on every machine. The text at the side is written here and escaped here; the script shows it and changes
none.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from plumbline import __version__
from plumbline.console.text import counted, length, percent, visible
from plumbline.evaluation.report_style import PALETTE
from plumbline.payload.forms.numbers import NAMES
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.prediction_table import decimals, frame_name, frame_of, moments, position_of
from plumbline.records import Float
from plumbline.views.scene import Scene, first_view, principal_axes, uncertainty

MOST_POINTS = 100_000
"""Points of one page at most; of a larger scan a part is drawn. Each takes 8 bytes of the page."""
MOST_SCANS = 200
"""Scans of one page at most."""
_LEVELS = 65535
"""Steps of a drawn coordinate along each side of the box of the points."""
_HELP = (
    "Drag to turn, scroll or pinch to zoom, drag with Shift to move; point at a scan to read positions. "
    "Keys: arrows, + and −, Shift with arrows, 0 for the first view."
)
_UNITS = {"metres": "m"}
_SENSORS = {"assumed": "assumed at the origin"}
_DETAILS = "<h2>Details</h2>"
_FLAG = re.compile(r"(?<!\S)--\w+")
_MOST_SENSORS = 64
"""Sensors that are drawn, at most."""
_CANVAS = (
    '<canvas id="view" tabindex="0" role="img" aria-label="the scan in three dimensions"></canvas>'
    '<p id="tip" role="status" hidden></p>'
    "<noscript>The picture needs JavaScript; the numbers do not.</noscript>"
)
_LAYERS = {
    "kept": "points of the object",
    "left_out": "left out as stray",
    "com": "centre of mass",
    "body": "90 % of true centres",
    "inertia": "principal axes of inertia",
    "sensors": "sensor",
}
_LOOKS = {
    "first": "first view",
    "lens": "from the sensor",
    "x": "along x",
    "y": "along y",
    "z": "along z",
    "in": "+",
    "out": "−",
}
_SAID = {"in": ' aria-label="zoom in"', "out": ' aria-label="zoom out"'}


def render(scenes: Sequence[Scene], model: str, refused: Sequence[str] = ()) -> str:
    """Render a page; the same scenes give the same bytes.

    Args:
        scenes: at least one and at most ``MOST_SCANS``.
        model: what the model is called.
        refused: why other scans have no answer, a sentence each.
    """
    folder = Path(__file__).parent
    style = PALETTE + (folder / "viewer.css").read_text(encoding="utf-8")
    script = (folder / "viewer.js").read_text(encoding="utf-8")
    shown = [scene.thinned(MOST_POINTS // len(scenes)) for scene in scenes]
    data = json.dumps([_drawing(scene) for scene in shown], allow_nan=False, separators=(",", ":"))
    title = "Centre of mass of " + (_base(scenes[0]) if len(scenes) == 1 else counted(len(scenes), "scan"))
    policy = f"default-src 'none'; style-src {digest(style)}; script-src {digest(script)}"
    facts = "".join(_facts(scene, model, hidden=number > 0) for number, scene in enumerate(shown))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(visible(title))}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<main>\n<div id="stage">{_CANVAS}</div>\n{_controls()}\n</main>\n'
        f'<aside tabindex="0" aria-label="numbers">\n{_choice(scenes)}{facts}{_refused(refused)}'
        f"{_note(_HELP)}\n{_note(f'plumbline {__version__}')}\n</aside>\n"
        f'<script type="application/json" id="scenes">{data}</script>\n<script>{script}</script>\n'
        "</body>\n</html>\n"
    )


def _controls() -> str:
    """Lay out what is shown, which is the legend too, and where to look from."""
    layers = "".join(
        f'<label data-layer="{key}"><input type="checkbox" checked><i class="{key}"></i>{text}</label>'
        for key, text in _LAYERS.items()
    )
    looks = "".join(
        f'<button type="button" data-look="{key}"{_SAID.get(key, "")}>{text}</button>'
        for key, text in _LOOKS.items()
    )
    return f'<div id="controls"><div class="layers">{layers}</div><div class="looks">{looks}</div></div>'


def _choice(scenes: Sequence[Scene]) -> str:
    if len(scenes) == 1:
        return ""
    options = "".join(f"<option>{escape(visible(scene.name))}</option>" for scene in scenes)
    return f'<label class="choice">Scan <select id="choice" autocomplete="off">{options}</select></label>\n'


def _facts(scene: Scene, model: str, *, hidden: bool) -> str:
    """Write the text of one scene; all but the first are hidden until they are chosen."""
    answer = scene.prediction
    rows = _list(_rows(scene, model))
    asked = scene.asked or answer
    said = [("warning", text) for text in asked.warnings] + [("remark", text) for text in asked.notes]
    remarks = "".join(f'<p class="{kind}">{_sentence(text)}</p>' for kind, text in said)
    return (
        f'<section class="scan"{" hidden" if hidden else ""}>'
        f'<p class="kicker">{escape(visible(scene.name))}</p><h1>Centre of mass</h1>'
        f"{_centre(answer)}{remarks}{_asked(scene)}{rows}</section>\n"
    )


def _asked(scene: Scene) -> str:
    """Write what was asked for: the centre of mass in another frame, the payload."""
    payload, asked = scene.payload, scene.asked or scene.prediction
    frame = frame_name(asked)
    if payload is None:
        if asked.frame == scene.prediction.frame:
            return ""
        return f"<h2>In the frame {escape(visible(frame))}</h2>{_centre(asked)}{_DETAILS}"
    mass = _list([("mass", f"{payload.mass:.4g} kg")])
    position = f"<h3>centre of mass, m</h3>{_table('xyz', position_of(payload.com, asked.extent))}"
    inertia = ""
    if payload.inertia is not None:
        numbers = dict(zip(NAMES, moments(payload), strict=True))
        halves = (("ixx", "iyy", "izz"), ("ixy", "ixz", "iyz"))
        tables = "".join(_table(heads, [numbers[head] for head in heads]) for heads in halves)
        inertia = f'<h3>inertia about the centre of mass, kg m²</h3><div class="inertia">{tables}</div>'
    return f"<h2>Payload</h2>{mass}{position}{inertia}{_note(f'in the frame {frame}')}{_DETAILS}"


def _centre(answer: Prediction) -> str:
    return _table("xyz", position_of(answer.com, answer.extent)) + _note(f"in {frame_of(answer)}")


def _sentence(text: str) -> str:
    """Write a sentence in which no flag breaks at its dashes."""
    return _FLAG.sub(r"<code>\g<0></code>", escape(visible(text)))


def _note(text: str) -> str:
    return f'<p class="note">{escape(visible(text))}</p>'


def _table(heads: Iterable[str], values: Iterable[str]) -> str:
    """Write one row of numbers below their headings."""
    head = "".join(f'<th scope="col">{head}</th>' for head in heads)
    cells = "".join(f"<td>{value}</td>" for value in values)
    return f"<table><thead><tr>{head}</tr></thead><tbody><tr>{cells}</tr></tbody></table>"


def _list(rows: Iterable[tuple[str, str]]) -> str:
    held = "".join(f"<dt>{escape(name)}</dt><dd>{escape(visible(value))}</dd>" for name, value in rows)
    return f"<dl>{held}</dl>"


def _rows(scene: Scene, model: str) -> Iterator[tuple[str, str]]:
    answer = scene.prediction
    digits, unit = decimals(answer.extent), _UNITS.get(answer.unit, "")

    def long(*values: float) -> str:
        return " × ".join(f"{value:.{digits}f}" for value in values) + (f" {unit}" if unit else "")

    if answer.expected_error is not None:
        yield "expected error", long(answer.expected_error)
    if answer.radius_90 is not None:
        yield "90 % within", long(answer.radius_90)
    if answer.covariance is not None:
        body = uncertainty(answer)
        assert body is not None
        yield "90 % ellipsoid", f"semi-axes {long(*np.linalg.norm(body, axis=1).tolist())}"
    if answer.volume is not None:
        yield "volume", f"{length(answer.volume)} {unit}³" if unit else f"{length(answer.volume)}"
    if answer.inertia is not None:
        principal = ", ".join(length(value) for value in np.linalg.eigvalsh(answer.inertia).tolist())
        yield "principal moments", f"{principal}{f' {unit}²' if unit else ''}, per unit mass"
    if answer.novelty is not None:
        yield "novelty", f"{answer.novelty:.2f} (99 % of the validation scans are below 1)"
    yield "points", _points(answer)
    shown = len(scene.kept) + len(scene.left_out)
    if shown < answer.num_points:
        yield "drawn", f"{shown:,} of {counted(answer.num_points, 'point')}, chosen at random"
    yield "sensor", f"{counted(answer.num_views, 'position')}, {_SENSORS.get(answer.sensor, answer.sensor)}"
    yield "model", model


def _points(answer: Prediction) -> str:
    text = f"{answer.num_points_used:,} used of {answer.num_points:,}"
    if not answer.left_out:
        return text
    strays = round(answer.left_out * answer.num_points)
    return f"{text}; {strays:,} stray, left out ({percent(answer.left_out, 1)})"


def _refused(refused: Sequence[str]) -> str:
    if not refused:
        return ""
    items = "".join(f"<li>{_sentence(text)}</li>" for text in refused)
    return f"<section><h2>{counted(len(refused), 'scan')} without an answer</h2><ul>{items}</ul></section>\n"


def _base(scene: Scene) -> str:
    return Path(scene.name).name or scene.name


# ------------------------------------------------------------------------------------------- drawing


def _drawing(scene: Scene) -> dict[str, Any]:
    """What the script draws, as plain values; lengths in the unit of the scan."""
    view, lens = first_view(scene)
    body, inertia = uncertainty(scene.prediction), principal_axes(scene.prediction)
    return {
        "kept": _packed(scene.kept),
        "left_out": _packed(scene.left_out),
        "com": scene.prediction.com.tolist(),
        "body": None if body is None else body.tolist(),
        "inertia": None if inertia is None else inertia.tolist(),
        "sensors": scene.sensors[:_MOST_SENSORS].tolist(),
        "middle": scene.middle.tolist(),
        "radius": scene.radius,
        "reach": scene.reach,
        "view": view.tolist(),
        "lens": lens.tolist(),
        "digits": decimals(scene.prediction.extent),
        "unit": _UNITS.get(scene.prediction.unit, ""),
    }


def _packed(points: Float) -> dict[str, Any]:
    """Points as 16 bits for each coordinate, little endian, within their box."""
    if not len(points):
        return {"low": [0, 0, 0], "step": [0, 0, 0], "data": ""}
    low = points.min(axis=0)
    step = (points.max(axis=0) - low) / _LEVELS
    steps = np.divide(points - low, step, out=np.zeros_like(points), where=step > 0).round()
    data = steps.clip(0, _LEVELS).astype("<u2").tobytes()
    return {"low": low.tolist(), "step": step.tolist(), "data": base64.b64encode(data).decode("ascii")}


def digest(text: str) -> str:
    """What a content security policy allows an inline text by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
