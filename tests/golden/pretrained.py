"""The predictions of the shipped weights for fixed scans.

    python -m tests.golden.pretrained --write    # after new weights, and only then; say why in the commit

The scans are made of formulas: no random generator, ray caster or solid can move them.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import plumbline
from plumbline.predictors.find_checkpoint import SHIPPED
from plumbline.records import Float

FILE = Path(__file__).with_name("pretrained.json")
_STEPS = np.array([0.7548776662466927, 0.5698402909980532])
SENSOR = np.array([1.9, -2.3, 1.7])
TABLE = np.array([0.0, 0.0, 1.0, -0.25])


def _square(count: int) -> Float:
    """``[count, 2]`` positions in the unit square.

    The numbers are squared, since without that the positions are those of a lattice, where many distances are
    equal up to rounding and decide which points are drawn.
    """
    return (np.arange(count)[:, None] ** 2 * _STEPS + 0.31) % 1


def box(count: int) -> Float:
    """``[count, 3]`` points on the three sides of a box of 1 x 0.7 x 0.5 about 0 that the sensor sees."""
    uv, which = _square(count), np.arange(count) % 3
    unit = np.empty((count, 3))
    for side in range(3):
        some = which == side
        unit[np.ix_(some, [(side + 1) % 3, (side + 2) % 3])] = uv[some]
        unit[some, side] = SENSOR[side] > 0
    return (unit - 0.5) * [1.0, 0.7, 0.5]


def egg(count: int, sensor: Float) -> Float:
    """At most ``[count, 3]`` points: what a sensor sees of an ellipsoid with half axes 0.6, 0.4 and 0.3."""
    height, turn = (_square(count) * 2 - 1).T * [[1], [np.pi]]
    ring = np.sqrt(1 - height**2)
    unit = np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)
    axes = np.array([0.6, 0.4, 0.3])
    points = unit * axes
    return points[np.einsum("nc,nc->n", unit / axes, sensor - points) > 0]


def scans() -> dict[str, dict[str, Any]]:
    """Keyword arguments of ``Predictor.predict`` by name of the scan."""
    sides = [egg(260, SENSOR), egg(260, -SENSOR)]
    return {
        "box, every point": {"points": box(90), "sensor": SENSOR},
        "box of many points, on a table": {"points": box(700), "sensor": SENSOR, "table": TABLE},
        "egg, two views": {
            "points": np.concatenate(sides),
            "sensor": np.repeat([SENSOR, -SENSOR], [len(side) for side in sides], axis=0),
        },
    }


def digest() -> str:
    """SHA-256 of the shipped file."""
    return hashlib.sha256(SHIPPED.read_bytes()).hexdigest()


def predictions() -> dict[str, list[float]]:
    """Centre of mass, expected error and radius of 90 % for each scan, in the unit of the scan."""
    predictor = plumbline.load_predictor(accelerator="cpu")
    found = {name: predictor.predict(**scan) for name, scan in scans().items()}
    return {name: [*one.com.tolist(), one.expected_error, one.radius_90] for name, one in found.items()}


if __name__ == "__main__":
    text = json.dumps({"weights": digest(), "predictions": predictions()}, indent=1) + "\n"
    if "--write" in sys.argv:
        FILE.write_text(text, encoding="utf-8")
    print(text, end="")
