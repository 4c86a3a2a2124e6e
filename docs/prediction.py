"""The picture of the README: what a sensor sees of an object, and where its centre of mass is predicted.

The scan and the prediction are what the program gives, with the shipped model; the object is not in the
training data of that model. Seen from the side of the sensor's line of sight.
"""

from pathlib import Path
from typing import Any

import numpy as np

import plumbline
from plumbline.geometry.raycast import Caster
from plumbline.geometry.scans import scan_solid
from plumbline.geometry.solids import make_solid
from plumbline.records import Float, Range, Scan, ScanSettings, Solid

SEED, INDEX = 99, 42
"""Which built-in solid; the shipped model was trained on those of the seeds 1 and 2."""
INK, SEEN, PREDICTED = "#24292f", "#2f6db5", "#d1495b"


def draw(path: Path) -> None:
    """Write the picture to a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    solid = make_solid(SEED, INDEX)
    scan = _scan(solid)
    # Nothing stands behind the object, so no point is stray, however far the fins are from the nose.
    prediction = plumbline.load_predictor().predict(scan.points, sensor=scan.sensor[0], clean=False)
    com, mean = prediction.com, scan.points.mean(axis=0)
    right, up, toward = _axes_of_the_picture(solid, scan.sensor[0])
    radius = solid.bounding_radius

    def flat(points: Float) -> Float:
        """In radii of the object, its centre at the origin."""
        return (points - solid.bounding_centre) @ np.stack([right, up]).T / radius

    figure = plt.figure(figsize=(8.6, 2.75), dpi=200, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-2.2, 3.3), ylim=(-0.98, 0.78), aspect="equal")
    axes.set_axis_off()
    _draw_body(axes, solid, flat, right, up, toward)

    seen, camera = flat(scan.points), flat(scan.sensor[:1])[0]
    for edge in (seen[np.argmax(seen[:, 1])], seen[np.argmin(seen[:, 1])]):
        axes.plot(*np.stack([camera, edge]).T, color=SEEN, lw=0.7, alpha=0.35, zorder=1)
    aim = np.rad2deg(np.arctan2(-camera[1], -camera[0]))
    axes.plot(*camera, marker=(3, 0, aim - 90), ms=13, color=SEEN, zorder=4)
    axes.scatter(*seen.T, s=7, color=SEEN, linewidths=0, zorder=3)

    predicted, true, guess = flat(np.stack([com, solid.com, mean]))
    assert prediction.radius_90 is not None
    within = prediction.radius_90 / radius
    axes.add_patch(plt.Circle(predicted, within, facecolor=PREDICTED, alpha=0.16, lw=0, zorder=4))
    axes.add_patch(plt.Circle(predicted, within, fill=False, edgecolor=PREDICTED, lw=1.0, zorder=5))
    square: dict[str, Any] = {"marker": "s", "mec": INK, "mfc": "white", "ms": 7, "mew": 1.3}
    dot: dict[str, Any] = {"marker": "o", "mec": "white", "mfc": PREDICTED, "ms": 8}
    cross: dict[str, Any] = {"marker": "+", "mec": INK, "ms": 12, "mew": 2.0}
    for place, look in (
        (guess, square),
        (predicted, dot),
        (true, cross | {"mec": "white", "mew": 4.5}),
        (true, cross),
    ):
        axes.plot(*place, zorder=6, **look)

    miss, naive = (f"{np.linalg.norm(point - solid.com) / radius * 100:.0f} %" for point in (com, mean))
    lines: list[tuple[dict[str, Any], str, str]] = [
        ({"marker": "o", "mec": SEEN, "mfc": SEEN, "ms": 4}, "what one depth camera sees: 256 points", INK),
        ({"marker": "s", "mec": "#c9ccd1", "mfc": "#e3e5e8", "ms": 9}, "what it does not see", INK),
        (cross, "true centre of mass", INK),
        (dot, f"predicted, {miss} of the radius away", PREDICTED),
        (
            {"marker": "o", "mec": PREDICTED, "mfc": "#f6dde0", "ms": 11},
            "holds the true centre in 9 of 10 scans",
            INK,
        ),
        (square, f"mean of the points, {naive} away", INK),
    ]
    for row, (look, text, color) in enumerate(lines):
        y = 0.53 - 0.252 * row
        axes.plot(1.22, y, linestyle="none", **look)
        axes.text(1.38, y, text, va="center", fontsize=9.5, color=color)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _scan(solid: Solid) -> Scan:
    """One view of a camera, 256 points, 1 % noise."""
    settings = ScanSettings(views=Range(1), points=Range(256), noise=Range(0.01), rotate=False)
    return scan_solid(solid, Caster(solid.vertices, solid.faces), settings, rng=np.random.default_rng(0))


def _axes_of_the_picture(solid: Solid, sensor: Float) -> tuple[Float, Float, Float]:
    """To the right, up, and toward the viewer.

    The line of sight runs from left to right and a little toward the back, so that what is seen shows.
    """
    sight = solid.bounding_centre - sensor
    sight /= np.linalg.norm(sight)
    up = np.array([0.0, 0.0, 1.0]) - sight[2] * sight
    up /= np.linalg.norm(up)
    turn, tilt = np.deg2rad(28), np.deg2rad(12)
    right = np.cos(turn) * sight + np.sin(turn) * np.cross(sight, up)
    back = np.cross(right, up)
    return right, np.cos(tilt) * up - np.sin(tilt) * back, np.cos(tilt) * back + np.sin(tilt) * up


def _draw_body(axes: Any, solid: Solid, flat: Any, right: Float, up: Float, toward: Float) -> None:
    """The faces that face the viewer, from back to front, in pale grey."""
    from matplotlib.collections import PolyCollection

    triangles = solid.vertices[solid.faces]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    facing = normals @ toward > 0
    triangles, normals = triangles[facing], normals[facing]
    order = np.argsort(triangles.mean(axis=1) @ toward)
    light = 0.885 + 0.085 * np.clip(normals[order] @ (0.6 * toward + 0.7 * up - 0.4 * right), -1, 1)
    grey = np.repeat(light[:, None], 3, axis=1)
    axes.add_collection(
        PolyCollection(flat(triangles)[order], facecolors=grey, edgecolors=grey, linewidths=0.4)
    )
