"""CAD models registered to scans: exact where the scan is, refused where it does not tell."""

from typing import Any

import numpy as np
import pytest

import plumbline
from plumbline.errors import InputError
from plumbline.geometry import registration
from plumbline.geometry.cad_surface import CadSurface, closest_on_triangles
from plumbline.geometry.icp import Motion
from plumbline.geometry.meshes import make_solid_record
from plumbline.geometry.registration import register
from plumbline.geometry.registration_fit import Judge
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.solids import make_solid
from plumbline.records import Scan, Solid
from tests.helpers.preparing import BOX, BOX_FACES
from tests.helpers.scans import scan_of

pytestmark = pytest.mark.slow
SIDES = 96


def bracket() -> Solid:
    return make_solid(1, 0)


def box(*size: float) -> Solid:
    return make_solid_record("box", (BOX - 0.5) * size, BOX_FACES)


def can(radius: float, height: float) -> Solid:
    angle = 2 * np.pi * np.arange(SIDES) / SIDES
    ring = radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    up = np.array([0, 0, height])
    vertices = np.concatenate([ring, ring + up, [0 * up, up]])
    here, there = np.arange(SIDES), (np.arange(SIDES) + 1) % SIDES
    low, high = np.full(SIDES, 2 * SIDES), np.full(SIDES, 2 * SIDES + 1)
    faces = np.concatenate(
        [
            np.stack([here, there, there + SIDES], axis=1),
            np.stack([here, there + SIDES, here + SIDES], axis=1),
            np.stack([there, here, low], axis=1),
            np.stack([here + SIDES, there + SIDES, high], axis=1),
        ]
    )
    return make_solid_record("can", vertices, faces)


def seen(solid: Solid, seed: int, noise: float = 0.0, **changed) -> Scan:
    """One view in the frame of the mesh: the true pose is the identity."""
    return scan_of(solid, seed, points=1500, noise=noise, rotate=False, rays=10_000, **changed)


def moved(seed: int) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = random_rotation(np.random.default_rng(seed))
    pose[:3, 3] = (0.7, -0.4, 1.1)
    return pose


def place(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ pose[:3, :3].T + pose[:3, 3]


def test_a_scan_without_noise_gives_its_pose_back():
    solid = bracket()
    scan, truth = seen(solid, 3), moved(0)
    found = plumbline.register(place(truth, scan.points), solid, sensor=place(truth, scan.sensor))
    corners = np.abs(place(found.pose, solid.vertices) - place(truth, solid.vertices)).max()
    assert corners < 1e-9 * solid.bounding_radius
    np.testing.assert_allclose(found.com, place(truth, solid.com[None])[0], atol=1e-9)
    assert found.reason is None
    assert found.inliers == 1
    assert found.in_front == 0
    assert found.rms < 1e-9 * solid.bounding_radius
    assert found.com_spread < 1e-4 * solid.bounding_radius


def test_noise_moves_the_centre_of_mass_by_less_than_itself():
    solid, noise = bracket(), 0.01
    for seed in (1, 2):
        scan = seen(solid, seed, noise)
        found = register(scan.points, solid, sensor=scan.sensor)
        assert found.reason is None
        assert np.linalg.norm(found.com - solid.com) < 0.5 * noise * solid.bounding_radius
        assert found.rms == pytest.approx(0.007 * solid.bounding_radius, rel=0.5)  # of slanted lines of sight


EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}
"""Of float64, for lengths of about a metre."""


def test_the_pose_turns_and_moves_with_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    solid = bracket()
    scan, motion = seen(solid, 1, 0.01), moved(5)
    there, sensor = place(motion, scan.points), place(motion, scan.sensor)
    one = register(scan.points, solid, sensor=scan.sensor)
    other = register(there, solid, sensor=sensor)
    np.testing.assert_allclose(other.pose, motion @ one.pose, **EXACT)
    np.testing.assert_allclose(other.com, place(motion, one.com[None])[0], **EXACT)
    for name in ("rms", "inliers", "in_front", "missing", "com_spread"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-12), name

    views = registration._views

    def on_a_grid(*given: Any) -> Any:
        """A grid of voxels has axes of its own."""
        found = views(*given)
        return found._replace(points=found.points.round(2))

    monkeypatch.setattr(registration, "_views", on_a_grid)
    one = register(scan.points, solid, sensor=scan.sensor)
    other = register(there, solid, sensor=sensor)
    assert np.abs(other.pose - motion @ one.pose).max() > 1e-6, "the control"


def test_the_pose_turns_and_moves_with_the_cad_model() -> None:
    solid, motion = bracket(), moved(6)
    scan = seen(solid, 1, 0.01)
    corners = place(motion, solid.vertices)
    one = register(scan.points, solid, sensor=scan.sensor)
    other, control = (
        register(scan.points, make_solid_record("moved", vertices, solid.faces), sensor=scan.sensor)
        for vertices in (corners, corners.astype(np.float32))
    )
    np.testing.assert_allclose(other.pose @ motion, one.pose, **EXACT)
    np.testing.assert_allclose(other.com, one.com, **EXACT)
    assert np.abs(control.pose @ motion - one.pose).max() > 1e-9, "the control: corners in single precision"


@pytest.mark.parametrize("solid", [box(0.2, 0.14, 0.08), can(0.035, 0.1)], ids=["box", "can"])
def test_a_symmetric_body_has_many_poses_and_one_centre_of_mass(solid):
    scan = seen(solid, 4, 0.005)
    found = register(scan.points, solid, sensor=scan.sensor)
    assert found.reason is None
    assert np.linalg.norm(found.com - solid.com) < 0.01 * solid.bounding_radius
    assert found.com_spread < 0.02 * solid.bounding_radius


def test_several_views_are_one_scan():
    solid, truth = bracket(), moved(2)
    scan = seen(solid, 7, views=3)
    found = register(place(truth, scan.points), solid, sensor=place(truth, scan.sensor))
    assert found.reason is None
    np.testing.assert_allclose(found.com, place(truth, solid.com[None])[0], atol=1e-9)


def test_a_thin_plate_is_not_pulled_to_its_hidden_back():
    """Half a plate is covered by noise as large as it is thick: all points are of the side that is seen."""
    solid = box(0.3, 0.2, 0.006)
    scan = seen(solid, 2)
    towards = scan.sensor[0] - solid.com
    assert abs(towards[2]) > 0.05  # the large face is seen
    rng = np.random.default_rng(0)
    points = scan.points + [0, 0, 0.002] * rng.normal(size=scan.points.shape)
    found = register(points, solid, sensor=scan.sensor)
    assert abs(found.com[2] - solid.com[2]) < 0.0005


def test_the_model_of_another_object_is_refused():
    solid = bracket()
    scan = seen(solid, 1, 0.005)
    sides = np.ptp(solid.vertices, axis=0)
    for other in (box(*sides), can(sides.min() / 2, sides.max())):
        assert register(scan.points, other, sensor=scan.sensor).reason is not None
    assert register(scan.points, solid, sensor=scan.sensor).reason is None


def test_a_small_part_that_fits_in_many_places_is_refused():
    solid = box(0.3, 0.2, 0.1)
    scan = seen(solid, 4, 0.005)
    corner = np.linalg.norm(scan.points - scan.points.mean(axis=0), axis=1)
    near = np.argsort(corner)[:300]
    found = register(scan.points[near], solid, sensor=scan.sensor[near])
    assert found.reason is not None
    assert register(scan.points, solid, sensor=scan.sensor).reason is None


def test_a_face_that_can_slide_tells_no_centre_of_mass():
    """The middle of one face of a long beam."""
    solid = box(1.0, 0.1, 0.1)
    y, x = np.mgrid[-0.05:0.05:24j, -0.4:0.4:80j]
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 0.05)], axis=1)
    found = register(points, solid, sensor=[0, 0, 3.0])
    assert found.com_spread > 0.05 * solid.bounding_radius
    assert found.reason is not None
    assert "other poses fit as well" in found.reason


def test_few_points_are_refused():
    solid = bracket()
    scan = seen(solid, 3)
    found = register(scan.points[:40], solid, sensor=scan.sensor[:40], clean=False)
    assert found.reason is not None
    assert "40 points" in found.reason


def test_units_that_differ_are_told():
    solid = bracket()
    scan = seen(solid, 3)
    with pytest.raises(InputError, match=r"--cad_scale"):
        register(1000 * scan.points, solid, sensor=1000 * scan.sensor)


def test_a_model_in_space_that_was_seen_empty_costs():
    solid = box(0.3, 0.2, 0.1)
    scan = seen(solid, 4)
    surface = CadSurface(solid)
    points, sensors = ((some - surface.centre) / surface.radius for some in (scan.points, scan.sensor[:1]))
    judge = Judge(surface, points, sensors, np.zeros(len(points), np.int64))
    true = judge.fit(Motion(np.eye(3), np.zeros(3)))
    assert true.cost < 1e-12
    assert (true.inliers, true.in_front) == (1, 0)
    assert true.missing < 0.01
    towards = sensors[0] / np.linalg.norm(sensors[0])
    near = judge.fit(Motion(np.eye(3), -0.3 * towards))  # the model is nearer to the sensor
    far = judge.fit(Motion(np.eye(3), 0.3 * towards))
    assert near.in_front > 0.9
    assert far.in_front == 0
    assert min(near.cost, far.cost) > 0.9
    half = points[:, 0] > np.median(points[:, 0])
    part = Judge(surface, points[half], sensors, np.zeros(half.sum(), np.int64))
    assert 0.3 < part.fit(Motion(np.eye(3), np.zeros(3))).missing < 0.6


def test_the_back_of_a_body_and_its_cavities_are_not_seen():
    inner = 0.5 * (BOX - 0.5)
    vertices = np.concatenate([BOX - 0.5, inner])
    hollow = make_solid_record("hollow", vertices, np.concatenate([BOX_FACES, BOX_FACES[:, ::-1] + 8]))
    surface = CadSurface(hollow)
    corner = np.abs(surface.corners).max()
    outside = np.isclose(np.abs(surface.points).max(axis=1), corner)
    assert not outside.all()
    assert np.isclose(np.abs(surface.points[surface.coarse]).max(axis=1), corner).all()
    sensor = np.array([0, 0, 4.0])
    face = np.isclose(surface.points[:, 2], corner)
    np.testing.assert_array_equal(surface.seen(sensor), face)


def test_nearest_points_of_triangles_are_those_of_a_fine_grid():
    rng = np.random.default_rng(0)
    corners, points = rng.normal(size=(200, 3, 3)), 2 * rng.normal(size=(200, 3))
    nearest, inside = closest_on_triangles(points, corners)
    s, t = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 201))
    s, t = s[s + t <= 1], t[s + t <= 1]
    grid = np.einsum("gk,nkd->ngd", np.stack([1 - s - t, s, t], axis=1), corners)
    best = np.linalg.norm(grid - points[:, None], axis=2).min(axis=1)
    gap = np.linalg.norm(nearest - points, axis=1)
    assert (gap <= best + 1e-12).all()
    assert (gap >= best - 0.05).all()
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    across = np.abs(np.einsum("ij,ij->i", points - nearest, flat)) / np.linalg.norm(flat, axis=1)
    assert inside.any()
    np.testing.assert_allclose(across[inside], gap[inside], atol=1e-9)
    assert (across[~inside] < gap[~inside]).all()
