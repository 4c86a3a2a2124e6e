"""Simulated scans: what is measured, from where, and how chance enters."""

import dataclasses
import math

import numpy as np
import pytest
import trimesh

from plumbline.errors import InputError
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.scans import _draw_view
from plumbline.geometry.sensors import look_at, ray_directions
from plumbline.records import Solid
from tests.helpers.scans import scan_of, scan_settings


def solid(mesh, name="shape"):
    centre = mesh.bounds.mean(axis=0)
    radius = float(np.linalg.norm(mesh.vertices - centre, axis=1).max())
    vertices, faces = np.array(mesh.vertices), np.array(mesh.faces)
    return Solid(name, vertices, faces, np.array(mesh.center_mass), centre, radius, float(mesh.volume))


def shapes():
    bent = trimesh.creation.torus(1.0, 0.3, major_sections=40, minor_sections=16)
    bent.apply_translation([0.4, -2.0, 5.0])
    return {
        "torus": solid(bent),
        "block": solid(trimesh.creation.box(extents=[0.02, 0.05, 0.03])),
        "plate": solid(trimesh.creation.box(extents=[300.0, 200.0, 0.5])),
        "rod": solid(trimesh.creation.cylinder(radius=0.004, height=1.0, sections=12)),
    }


SHAPES = shapes()
BALL = solid(trimesh.creation.icosphere(subdivisions=4, radius=0.5))


def scan(thing, seed=0, backend="embree", **changed):
    return scan_of(thing, seed, backend=backend, **{"points": 128, "noise": 0.0, "rays": 900} | changed)


def away_and_direction(scan):
    offset = scan.points - scan.sensor
    away = np.linalg.norm(offset, axis=1)
    return away, offset / away[:, None]


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("pattern", ["grid", "lidar"])
@pytest.mark.parametrize("name", SHAPES)
def test_every_point_is_on_the_surface_and_the_first_hit(name, pattern, rotate):
    thing = SHAPES[name]
    # The numpy caster is the judge: it shares nothing with Embree but the plane of the triangle.
    judge = Caster(thing.vertices, thing.faces, "numpy")
    for seed in range(3):
        result = scan(thing, seed, pattern=pattern, rotate=rotate, views=2)
        turn = random_rotation(np.random.default_rng(seed)) if rotate else np.eye(3)
        points, sensor = result.points @ turn, result.sensor @ turn
        away = np.linalg.norm(points - sensor, axis=1)
        first, face = judge.first_hits(sensor, (points - sensor) / away[:, None])
        assert (face >= 0).all()
        np.testing.assert_allclose(away, first, rtol=1e-9)
        out = ((points - thing.vertices[thing.faces[face, 0]]) * judge.face_normals(face)).sum(axis=1)
        assert np.abs(out).max() < 1e-9 * thing.bounding_radius
        np.testing.assert_allclose(result.com, turn @ thing.com, rtol=1e-12, atol=1e-15)
        assert result.bounding_radius == thing.bounding_radius


def test_same_generator_same_bits_and_different_seeds_differ():
    first, second, other = (scan(BALL, seed, views=2, noise=0.01) for seed in (3, 3, 4))
    for field in ("points", "sensor", "view", "com"):
        assert getattr(first, field).tobytes() == getattr(second, field).tobytes()
    assert not np.allclose(first.points, other.points)


@pytest.mark.parametrize("pattern", ["grid", "lidar"])
def test_both_casters_use_the_same_chances(pattern):
    for seed in range(5):
        settings = {"seed": seed, "pattern": pattern, "views": 2, "noise": 0.01, "pose_error": 1.0}
        embree, numpy = (scan(SHAPES["torus"], backend=name, **settings) for name in ("embree", "numpy"))
        np.testing.assert_allclose(embree.points, numpy.points, atol=1e-9)
        np.testing.assert_array_equal(embree.sensor, numpy.sensor)


def test_counts_views_and_sensors():
    one, three = scan(BALL, points=200), scan(BALL, points=200, views=3)
    assert one.points.shape == three.points.shape == one.sensor.shape == (200, 3)
    assert set(one.view) == {0}
    assert set(three.view) == {0, 1, 2}
    assert len(np.unique(one.sensor, axis=0)) == 1
    for view in range(3):
        assert len(np.unique(three.sensor[three.view == view], axis=0)) == 1
    away = np.linalg.norm(three.sensor - BALL.bounding_centre, axis=1) / BALL.bounding_radius
    assert ((away >= 2) & (away <= 3)).all()


def test_one_view_sees_the_near_side_and_many_views_see_around():
    def around(result):
        return np.linalg.norm(result.points.mean(axis=0)) / BALL.bounding_radius

    assert np.mean([around(scan(BALL, seed)) for seed in range(8)]) > 0.5
    assert np.mean([around(scan(BALL, seed, views=6)) for seed in range(8)]) < 0.3


def test_sensors_stand_in_all_directions_and_objects_turn():
    block = SHAPES["block"]
    directions = np.array([scan(block, seed, points=16, rays=64).sensor[0] for seed in range(300)])
    away = np.linalg.norm(directions, axis=1) / block.bounding_radius
    np.testing.assert_allclose(np.quantile(away, [0, 0.5, 1]), [2, 2.5, 3], atol=0.1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert np.linalg.norm(directions.mean(axis=0)) < 0.2
    np.testing.assert_allclose(directions.T @ directions / 300, np.eye(3) / 3, atol=0.08)
    still, turned = scan(SHAPES["torus"], rotate=False), scan(SHAPES["torus"])
    np.testing.assert_array_equal(still.com, SHAPES["torus"].com)
    assert np.linalg.norm(turned.com - still.com) > 0.1


def test_sensors_aim_a_little_past_the_centre_and_roll():
    rng = np.random.default_rng(0)
    views = [_draw_view(BALL, rng, scan_settings()) for _ in range(500)]
    axes = np.array([view.turn for view in views])
    np.testing.assert_allclose(axes.transpose(0, 2, 1) @ axes, np.tile(np.eye(3), (500, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(axes), 1, atol=1e-12)
    to_centre = BALL.bounding_centre - [view.position for view in views]
    miss = np.linalg.norm(np.cross(axes[:, :, 2], to_centre), axis=1) / BALL.bounding_radius
    assert np.sqrt((miss**2).mean() / 2) == pytest.approx(0.05, rel=0.1)
    assert ((axes[:, :, 2] * to_centre).sum(axis=1) > 0).all()
    level = np.array([look_at(turn[:, 2], 0.0) for turn in axes])
    cosine, sine = ((axes[:, :, 0] * level[:, :, axis]).sum(axis=1) for axis in (0, 1))
    turns = np.arctan2(sine, cosine) / (2 * math.pi) % 1
    np.testing.assert_allclose(
        np.quantile(turns, [0, 0.25, 0.5, 0.75, 1]), [0, 0.25, 0.5, 0.75, 1], atol=0.06
    )


def test_noise_is_along_the_ray_with_the_given_spread():
    sigma, errors = 0.02, []
    for seed in range(20):
        clean, noisy = (
            scan(BALL, seed, points=400, sampling="random", noise=noise) for noise in (0.0, sigma)
        )
        (near, ray), (far, same_ray) = away_and_direction(clean), away_and_direction(noisy)
        np.testing.assert_allclose(ray, same_ray, atol=1e-12)
        errors.append((far - near) / BALL.bounding_radius)
    errors = np.concatenate(errors)
    assert abs(errors.mean()) < 4 * sigma / math.sqrt(len(errors))
    assert abs(errors.std() / sigma - 1) < 0.05
    assert (np.abs(errors) < sigma).mean() == pytest.approx(0.683, abs=0.02)


def test_grazing_returns_get_lost():
    def facing(grazing):
        values = []
        for seed in range(20):
            result = scan(BALL, seed, points=500, sampling="random", rays=1600, grazing=grazing)
            values.append(-(away_and_direction(result)[1] * result.points / BALL.bounding_radius).sum(1))
        return np.concatenate(values)

    # On a sphere the share of returns at angle a below the limit is the same function up to a factor;
    # beyond it, it falls by cos(a) / cos(limit).
    every, some = facing(90.0), facing(60.0)
    cut = math.cos(math.radians(60))
    odds = np.minimum(1.0, every / cut)
    assert (every < cut).mean() > 0.1
    assert (some < cut).mean() == pytest.approx(odds[every < cut].sum() / odds.sum(), abs=0.015)
    assert (some < cut / 4).mean() < 0.3 * (every < cut / 4).mean()


def test_pose_error_moves_whole_views_rigidly_and_not_the_sensor():
    settings = {"views": 2, "sampling": "random", "points": 400}
    angles, shifts = [], []
    for seed in range(15):
        clean = scan(BALL, seed, rotate=False, **settings)
        moved = scan(BALL, seed, rotate=False, pose_error=2.0, **settings)
        np.testing.assert_array_equal(clean.sensor, moved.sensor)
        for view in range(2):
            mine = clean.view == view
            sensor = clean.sensor[mine][0]
            before, after = clean.points[mine] - sensor, moved.points[mine] - sensor
            u, _, vt = np.linalg.svd((after - after.mean(0)).T @ (before - before.mean(0)))
            turn = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
            shift = after.mean(0) - turn @ before.mean(0)
            np.testing.assert_allclose(before @ turn.T + shift, after, atol=1e-10)
            angles.append(math.acos(min(1.0, (np.trace(turn) - 1) / 2)))
            shifts.append(shift / BALL.bounding_radius)
    assert np.sqrt(np.mean(np.square(angles)) / 3) == pytest.approx(math.radians(2), rel=0.2)
    assert np.std(shifts) == pytest.approx(0.02, rel=0.2)


def test_thin_objects_are_looked_at_with_more_rays():
    for seed in range(5):
        assert len(scan(SHAPES["rod"], seed, points=256, rays=256).points) == 256
        assert len(scan(SHAPES["plate"], seed, points=256, rays=256).points) == 256


def test_hairs_give_what_there_is_and_nothing_is_refused_by_name():
    hair = solid(trimesh.creation.cylinder(radius=1e-4, height=1.0, sections=8), "hair")
    few = scan(hair, points=2000, rays=400)
    assert 16 <= len(few.points) < 2000
    thread = dataclasses.replace(hair, name="things/thread", vertices=hair.vertices * [1e-6, 1e-6, 1])
    with pytest.raises(InputError, match=r"things/thread.*fewer than 16 hits"):
        scan(thread, rays=64)


def test_random_and_farthest_sampling_choose_from_the_same_hits():
    every = {row.tobytes() for row in scan(BALL, points=250, sampling="random").points}
    kept = {}
    for sampling in ("farthest", "random"):
        kept[sampling] = {row.tobytes() for row in scan(BALL, points=64, sampling=sampling).points}
        assert len(kept[sampling]) == 64
    # The random 64 are the first 64 of the random 250; farthest-point sampling starts from 256 of them.
    assert kept["random"] < every
    assert len(kept["farthest"] & every) >= 58
    assert kept["farthest"] != kept["random"]


@pytest.mark.parametrize("pattern", ["grid", "lidar"])
@pytest.mark.parametrize("half_angle", [0.05, 0.4, 1.2])
def test_patterns_cover_their_cone(pattern, half_angle):
    rays = ray_directions(pattern, half_angle=half_angle, rays=1600, rng=np.random.default_rng(0))
    assert 1500 <= len(rays) <= 1700
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1, rtol=1e-12)
    rng = np.random.default_rng(1)
    height = rng.uniform(math.cos(half_angle), 1, 2000)
    angle = rng.uniform(0, 2 * math.pi, 2000)
    ring = np.sqrt(1 - height**2)
    cone = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)
    gap = np.arccos(np.clip((cone @ rays.T).max(axis=1), -1, 1)).max()
    spacing = 2 * (math.tan(half_angle) if pattern == "grid" else half_angle) / 28
    assert gap < spacing


def test_grid_is_square_and_draws_nothing_lidar_rings_are_level_and_random():
    def rays_twice(pattern, num):
        rngs = (np.random.default_rng(seed) for seed in (0, 1))
        return [ray_directions(pattern, half_angle=0.3, rays=num, rng=rng) for rng in rngs]

    grids = rays_twice("grid", 100)
    np.testing.assert_array_equal(*grids)
    image = grids[0][:, :2] / grids[0][:, 2:]
    assert len(np.unique(image[:, 0].round(12))) == len(np.unique(image[:, 1].round(12))) == 10
    lidars = rays_twice("lidar", 200)
    assert not np.allclose(*lidars)
    for rays in lidars:
        assert len(np.unique(rays[:, 1].round(12))) == 10
        azimuth = np.arctan2(rays[:, 0], rays[:, 2]).reshape(10, 20)
        np.testing.assert_allclose(np.diff(azimuth, axis=1), 0.03, atol=1e-12)
        assert len(np.unique(azimuth[:, 0].round(9))) == 10


def test_impossible_sensors_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="field of view"):
        ray_directions("grid", half_angle=2.0, rays=100, rng=rng)
    with pytest.raises(InputError, match="choose grid or lidar"):
        ray_directions("sonar", half_angle=0.3, rays=100, rng=rng)
