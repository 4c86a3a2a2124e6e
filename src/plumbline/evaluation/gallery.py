"""Small pictures of single scans as inline SVG: the points, the truth and the prediction.

Each scan is drawn from a direction in which its miss appears at full length: the miss lies in the picture
plane. Nearer points stand out more.
"""

from dataclasses import dataclass

import numpy as np

from plumbline.records import Float, Int

SIZE = 200.0
"""Side length of a picture in its own units."""

MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class Example:
    """One scan to show. Stored frame.

    Attributes:
        name: object name.
        kind: "best", "median" or "worst".
        error_rel: miss as a fraction of the radius.
        pos: ``[N, 3]`` points.
        target, predicted: ``[3]``.
        bounding_radius: stored units.
    """

    name: str
    kind: str
    error_rel: float
    pos: Float
    target: Float
    predicted: Float
    bounding_radius: float


def choose(error_rel: Float, each: int = 3) -> dict[str, Int]:
    """Positions of the best, median and worst of G errors; no graph appears twice, so small G gives fewer."""
    order = np.argsort(error_rel, kind="stable")
    each = max(1, min(each, len(order) // 3))
    middle = (len(order) - each) // 2
    chosen = {"best": order[:each], "median": order[middle : middle + each], "worst": order[each:][-each:]}
    if len(order) < 3:
        del chosen["median"]
    return {kind: positions for kind, positions in chosen.items() if len(positions)}


def view_axes(pos: Float, miss: Float) -> Float:
    """Choose the axes of a picture so that the miss lies in its plane.

    Either ``right`` or ``up`` is the direction of the miss; the other is the widest direction of the points
    perpendicular to it.

    Returns:
        ``[3, 3]`` orthonormal rows: right, up, towards the viewer.
    """
    spread = np.linalg.svd(pos - pos.mean(axis=0), full_matrices=False)[2]
    length = np.linalg.norm(miss)
    along = miss / length if length > 1e-12 * (1 + np.abs(pos).max()) else spread[0]
    flat = pos - pos.mean(axis=0)
    flat = flat - np.outer(flat @ along, along)
    widest = np.linalg.svd(flat, full_matrices=False)[2][0]
    across = widest - (widest @ along) * along
    if np.linalg.norm(across) < 1e-9:
        across = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
    across /= np.linalg.norm(across)
    right, up = (along, across) if np.ptp(pos @ along) >= np.ptp(pos @ across) else (across, along)
    return np.stack([right, up, np.cross(right, up)])


def picture(example: Example) -> str:
    """Draw a scan as one ``<svg>``.

    Points have three shades of depth, the truth is a ring, the prediction a dot. Only numbers are written,
    so nothing needs escaping.
    """
    pos = np.asarray(example.pos, dtype=np.float64)
    axes = view_axes(pos, np.asarray(example.predicted, float) - np.asarray(example.target, float))
    points, truth, answer = (np.atleast_2d(x) @ axes.T for x in (pos, example.target, example.predicted))
    extent = np.concatenate([points, truth, answer])[:, :2]
    low, high = extent.min(axis=0), extent.max(axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) / 2, 1e-12)
    zoom = (SIZE / 2 - 14) / half

    def place(x: Float) -> Float:
        return np.stack([SIZE / 2 + (x[:, 0] - middle[0]) * zoom, SIZE / 2 - (x[:, 1] - middle[1]) * zoom], 1)

    step = -(-len(points) // MOST_POINTS)
    shown = points[::step]
    shade = np.searchsorted(np.quantile(shown[:, 2], (1 / 3, 2 / 3)), shown[:, 2])
    dots = "".join(_dots(place(shown[shade == level]), level) for level in range(3))
    (tx, ty), (px, py) = place(truth)[0], place(answer)[0]
    return (
        f'<svg viewBox="0 0 {SIZE:g} {SIZE:g}" role="img">{dots}'
        f'<path class="miss" d="M{tx:.1f} {ty:.1f}L{px:.1f} {py:.1f}"/>'
        f'<circle class="truth" cx="{tx:.1f}" cy="{ty:.1f}" r="5.5"/>'
        f'<circle class="answer" cx="{px:.1f}" cy="{py:.1f}" r="3.6"/>{_ruler(example, zoom)}</svg>'
    )


def _dots(xy: Float, level: int) -> str:
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in xy)
    return f'<path class="dots d{level}" d="{path}"/>' if path else ""


def _ruler(example: Example, zoom: float) -> str:
    """A scale bar, one fifth of the radius long."""
    length = 0.2 * example.bounding_radius * zoom
    x, y = 4.0, SIZE - 4
    return f'<path class="ruler" d="M{x:g} {y:g}h{length:.1f}m0 -3v6M{x:g} {y - 3:g}v6"/>'
