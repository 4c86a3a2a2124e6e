"""Untrained volumes and inertia tensors: closed forms, symmetry from scan to answer, flat scans."""

import numpy as np
import pytest
import trimesh

from plumbline.data.store.in_memory import MemoryStore
from plumbline.geometry.graphs import build_sample
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.surfaces import solid_inertia, solid_properties
from plumbline.predictors import untrained_payload
from plumbline.predictors.untrained_payload import NAMES, Payload, untrained_payloads
from plumbline.records import FEATURE_NAMES, USUAL_VECTORS, Scan
from tests.geometry.test_carving import block, look
from tests.helpers.scanned import box_points, simulate

SIDES = np.array([2.0, 1.0, 0.6])
BOX = np.diag([1.0 + 0.36, 4.0 + 0.36, 4.0 + 1.0]) / 12
"""Inertia of the box of ``box_points``, whose corners are among its points, per unit mass."""


def store_of(*scans: Scan, features: tuple[str, ...] = FEATURE_NAMES) -> MemoryStore:
    """As scanned, in float64; with only the first of the features, if these are fewer."""
    graph = {"k": 6, "edge_attr": "none", "sh_degree": 0, "normalise": "none", "dtype": np.float64}
    samples = [build_sample(scan, object_name="a", **graph) for scan in scans]
    for sample in samples:
        object.__setattr__(sample, "node_features", sample.node_features[:, : len(features)])
    return MemoryStore(samples, feature_names=features, vector_names=USUAL_VECTORS)


def scan_of(points: np.ndarray, sensor: np.ndarray | None = None, view: np.ndarray | None = None) -> Scan:
    """Points seen from one place far above, unless told otherwise."""
    sensor = np.tile([0.3, 0.2, 9.0], (len(points), 1)) if sensor is None else sensor
    view = np.zeros(len(points), int) if view is None else view
    return Scan(points=points, sensor=sensor, view=view, com=None, bounding_radius=None)


def moved(scan: Scan, turn: np.ndarray, shift: np.ndarray, size: float) -> Scan:
    points, sensor = (size * part @ turn.T + shift for part in (scan.points, scan.sensor))
    return scan_of(points, sensor, scan.view)


def answers(*scans: Scan) -> dict[str, Payload]:
    return untrained_payloads(store_of(*scans), np.arange(len(scans))).answers


def not_moving_along(payload: Payload, turn: np.ndarray, size: float) -> float:
    """How far the second of two scans' answers is from the first one's, turned and grown; relative."""
    (before, after), tensors = payload.volume, payload.inertia
    expected = size**2 * turn @ tensors[0] @ turn.T
    return max(
        abs(after / (size**3 * before) - 1),
        float(np.linalg.norm(tensors[1] - expected) / np.linalg.norm(expected)),
    )


class TestClosedForms:
    @pytest.mark.parametrize("name", ["oriented box", "convex hull"])
    def test_a_box_whose_corners_were_seen_is_exact(self, name):
        turn = random_rotation(np.random.default_rng(0))
        found = answers(scan_of(box_points()), scan_of(box_points() @ turn.T + 7))[name]
        np.testing.assert_allclose(found.volume, 1.2, rtol=1e-12)
        np.testing.assert_allclose(found.inertia, [BOX, turn @ BOX @ turn.T], atol=1e-12)

    def test_a_ball_seen_from_all_sides_is_that_of_its_points(self):
        """The hull is the polyhedron through the points: 2/5 r^2 from below."""
        ball = trimesh.creation.icosphere(subdivisions=4, radius=0.5)
        vertices, faces = np.array(ball.vertices) + 3, np.array(ball.faces)
        hull = answers(scan_of(vertices))["convex hull"]
        volume, com = solid_properties(vertices, faces)
        np.testing.assert_allclose(hull.volume, volume, rtol=1e-12)
        np.testing.assert_allclose(hull.inertia[0], solid_inertia(vertices, faces, com), atol=1e-14)
        np.testing.assert_allclose(hull.volume, np.pi / 6, rtol=5e-3)
        np.testing.assert_allclose(hull.inertia[0], 0.1 * np.eye(3), atol=5e-4)

    def test_of_two_cubes_apart_only_carving_finds_the_gap(self):
        """Seen through it from above and from the front; the hull fills it."""
        cubes = [block([x - 0.5, -0.5, -0.5], [x + 0.5, 0.5, 0.5]) for x in (-1.5, 1.5)]
        seen = look(trimesh.util.concatenate(cubes), [[0, 0, 9], [0, -9, 0], [5, 4, -6], [-5, 4, -6]])
        found = answers(scan_of(*seen))
        np.testing.assert_allclose(found["convex hull"].volume, 4, rtol=0.02)
        np.testing.assert_allclose(found["carve"].volume, 2, rtol=0.1)
        assert found["convex hull"].inertia[0, 1, 1] == pytest.approx((4**2 + 1) / 12, rel=0.02)
        assert found["carve"].inertia[0, 1, 1] == pytest.approx((1 + 1) / 12 + 1.5**2, rel=0.05)

    def test_a_scan_whose_sensors_are_not_found_is_not_carved(self):
        scan = scan_of(box_points())
        towards = np.tile([0.0, 0.6, 0.8], (len(scan.points), 1))
        store = store_of(scan)
        store.samples[0].node_features[:, 3:6] = towards
        found = untrained_payloads(store, np.arange(1)).answers
        np.testing.assert_array_equal(found["carve"].volume, found["convex hull"].volume)
        np.testing.assert_array_equal(found["carve"].inertia, found["convex hull"].inertia)


class TestSymmetry:
    @pytest.mark.parametrize("mirror", [1, -1])
    @pytest.mark.parametrize("number", range(3))
    def test_answers_turn_mirror_and_grow_with_the_scan(self, number, mirror):
        scan = simulate(number)
        rng = np.random.default_rng(number)
        turn, size = mirror * random_rotation(rng), float(rng.uniform(0.3, 3))
        found = answers(scan, moved(scan, turn, rng.normal(size=3), size))
        assert tuple(found) == NAMES
        for name, payload in found.items():
            assert not_moving_along(payload, turn, size) < 1e-10, name
            assert np.linalg.eigvalsh(payload.inertia).min() > 0
        volumes = np.array([payload.volume[0] for payload in found.values()])
        assert np.abs(volumes[:, None] / volumes - 1 + np.eye(3)).min() > 1e-3, "two answers are the same"

    def test_a_box_along_the_axes_of_the_frame_would_be_found_out(self, monkeypatch):
        """The control: the same check refuses an answer that does not turn with the scan."""

        def along_the_axes(points):
            return None, np.eye(3), np.ptp(points, axis=0)

        scan, turn = simulate(0), random_rotation(np.random.default_rng(0))
        motion = (turn, np.zeros(3), 1.0)
        assert not_moving_along(answers(scan, moved(scan, *motion))["oriented box"], turn, 1.0) < 1e-10
        monkeypatch.setattr(untrained_payload, "principal_box", along_the_axes)
        assert not_moving_along(answers(scan, moved(scan, *motion))["oriented box"], turn, 1.0) > 0.05


class TestManyScans:
    def test_flat_scans_are_told_and_have_no_answer(self):
        rng = np.random.default_rng(0)
        flat = np.column_stack([rng.random((50, 2)), np.zeros(50)])
        store = store_of(scan_of(box_points()), scan_of(flat), scan_of(rng.random((3, 3))), simulate(1))
        found = untrained_payloads(store, np.arange(4))
        assert found.flat.tolist() == [False, True, True, False]
        for payload in found.answers.values():
            assert np.isnan(payload.volume).tolist() == found.flat.tolist()
            assert np.isnan(payload.inertia).all(axis=(1, 2)).tolist() == found.flat.tolist()
            assert np.isfinite(payload.inertia[~found.flat]).all()

    def test_many_scans_equal_one_at_a_time_in_any_order(self, monkeypatch):
        monkeypatch.setattr(untrained_payload, "CHUNK", 3)
        scans = [simulate(number) for number in range(8)]
        order = np.random.default_rng(0).permutation(8)[:7]
        together = untrained_payloads(store_of(*scans), order).answers
        for row, graph in enumerate(order):
            for name, alone in answers(scans[graph]).items():
                assert together[name].volume[row] == pytest.approx(alone.volume[0], rel=1e-12)
                np.testing.assert_allclose(together[name].inertia[row], alone.inertia[0], rtol=1e-9)

    def test_without_directions_to_the_sensors_nothing_is_carved(self):
        found = untrained_payloads(store_of(simulate(0), features=FEATURE_NAMES[:3]), np.arange(1))
        assert (tuple(found.answers), found.left_out) == (NAMES[:2], ("carve",))

    def test_no_graphs(self):
        found = untrained_payloads(store_of(simulate(0)), np.array([], int))
        assert found.flat.shape == (0,)
