"""Whether a sensor can have stood where it is said to have: right positions, and each kind of wrong one."""

import csv
from functools import cache

import numpy as np
import pytest

from plumbline.geometry.cleaning import object_points
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.solids import make_solid
from plumbline.geometry.visibility import overlap, sensor_reason
from plumbline.records import Float, Scan
from tests.helpers.scans import scan_of

AMONG, HIDDEN = "lies among the points", "is not where these points can be seen from"


@cache
def scans() -> list[Scan]:
    """Scans of different solids from one view each, most with much noise, some by the depth camera."""
    kinds = [{"noise": 0.0}, {"noise": 0.03}, {"sensor_model": "depth", "sensor_share": 1.0}]
    return [
        scan_of(
            make_solid(3, i), i, points=(128, 700)[i % 2], distance=(1.5, 4), sampling="mixed", **kinds[i % 3]
        )
        for i in range(60)
    ]


def reason(points: Float, sensor: Float) -> str | None:
    return sensor_reason(points, np.broadcast_to(sensor, points.shape), np.zeros(len(points), np.int64))


def placed(scan: Scan, degrees: float) -> Float:
    """A sensor position at the true distance from the points' mean, turned about it."""
    centre, rng = scan.points.mean(axis=0), np.random.default_rng(4)
    away = scan.sensor[0] - centre
    aside = np.cross(away, rng.normal(size=3))
    aside *= np.linalg.norm(away) / np.linalg.norm(aside)
    angle = np.radians(degrees)
    return centre + np.cos(angle) * away + np.sin(angle) * aside


def share(degrees: float) -> float:
    """The share of the scans that are found wrong from a turned position."""
    return float(np.mean([reason(scan.points, placed(scan, degrees)) is not None for scan in scans()]))


def test_true_positions_pass_and_turned_ones_are_found():
    assert share(0) <= 0.02
    assert share(90) > 0.5
    assert share(45) > 0.2


def test_a_sensor_among_the_points_is_found():
    boxes = [(scan.points.min(axis=0) + scan.points.max(axis=0)) / 2 for scan in scans()]
    assert all(AMONG in reason(scan.points, scan.points.mean(axis=0)) for scan in scans())
    found = [reason(scan.points, box) is not None for scan, box in zip(scans(), boxes, strict=True)]
    assert np.mean(found) > 0.9


def test_a_half_ball_with_points_all_over_it_is_possible():
    points = np.random.default_rng(2).normal(size=(3000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    half = points * np.where(points[:, 2:] > 0, [1, 1, -1], 1)
    assert reason(half, np.array([0.0, 0, -4])) is None
    assert HIDDEN in reason(half, np.array([4.0, 0, 0]))
    assert HIDDEN in reason(points, np.array([0.0, 0, -4])), "a whole ball, for which one sensor is given"


def test_what_is_said_moves_with_the_scan_and_its_size():
    rng = np.random.default_rng(7)
    for number, scan in enumerate(scans()[:20]):
        for sensor in (scan.sensor[0], placed(scan, 90)):
            turn, shift, size = random_rotation(rng), rng.normal(size=3), 10.0 ** rng.uniform(-3, 3)
            turn *= (-1) ** number
            moved = size * (scan.points @ turn.T + shift), size * (turn @ sensor + shift)
            assert reason(*moved) == reason(scan.points, sensor)


def test_overlap_is_the_share_of_neighbours_on_different_surfaces():
    rng = np.random.default_rng(2)
    aim = np.column_stack([rng.uniform(-0.2, 0.2, (600, 2)), np.ones(600)])
    aim /= np.linalg.norm(aim, axis=1, keepdims=True)
    depth = np.full(600, 2.0)
    assert overlap(depth, aim) == 0
    depth[::2] = 3.0
    assert overlap(depth, aim) == pytest.approx(0.5, abs=0.03)
    depth = np.where(aim[:, 0] > 0, 2.0, 3.0)
    assert overlap(depth, aim) < 0.06, "one edge of an object in front of another"


def test_each_view_is_judged_and_a_moving_sensor_is_not():
    scan = max(scans(), key=lambda scan: overlap_from(scan, placed(scan, 90)))
    points = np.concatenate([scan.points, scan.points])
    view = np.repeat([0, 1], len(scan.points))
    wrong = np.concatenate([scan.sensor, np.tile(placed(scan, 90), (len(scan.points), 1))])
    mixed = np.random.default_rng(1).permutation(len(points))
    assert HIDDEN in sensor_reason(points[mixed], wrong[mixed], view[mixed])
    assert sensor_reason(points, np.concatenate([scan.sensor, scan.sensor]), view) is None
    moving = wrong + np.linspace(0, 1e-3, len(points))[:, None]
    assert sensor_reason(points, moving, view) is None


def overlap_from(scan: Scan, sensor: Float) -> float:
    away = scan.points - sensor
    distance = np.linalg.norm(away, axis=1)
    return overlap(distance, away / distance[:, None])


def test_few_points_and_repeated_ones_are_not_judged_wrong():
    few = scans()[0].points[:31]
    assert reason(few, few.mean(axis=0)) is None
    same = np.zeros((600, 3)) + 0.5
    assert reason(same, np.zeros(3)) is None


def test_real_scans_pass_and_are_found_wrong_from_the_side(shared_meshes):
    folder = shared_meshes.parent / "real"
    if not folder.is_dir():
        pytest.skip("no real scans next to the meshes")
    with open(folder / "manifest.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["views"] == "1"]
    found = {0: 0, 90: 0}
    for row in rows:
        with np.load(folder / row["scan"]) as held:
            points, sensor = held["points"].astype(np.float64), held["sensor"].reshape(-1, 3)[0]
        sensors = np.tile(sensor, (len(points), 1))
        points = points[object_points(points, sensors, np.zeros(len(points), np.int64))]
        sensors = sensors[: len(points)]
        scan = Scan(points, sensors, np.zeros(len(points), np.int64), None, None)
        for degrees in found:
            found[degrees] += reason(points, placed(scan, degrees)) is not None
    assert found[0] == 0
    assert found[90] > 0.5 * len(rows)
