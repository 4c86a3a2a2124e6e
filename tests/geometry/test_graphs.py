"""Neighbours, normals and labelled graphs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from plumbline.errors import InputError
from plumbline.geometry.carving import carve, convex_hull
from plumbline.geometry.graphs import LEADERS, SPACING_NEIGHBOUR, build_sample
from plumbline.geometry.harmonics import spherical_harmonics
from plumbline.geometry.neighbours import nearest_neighbours
from plumbline.geometry.normals import estimate_surface
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.sampling import farthest_points
from plumbline.geometry.solids import make_solid
from plumbline.geometry.tables import lowest_plane, move_plane
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Scan, Solid
from tests.helpers.scans import scan_of

SETTINGS = {"k": 8, "edge_attr": "sh", "sh_degree": 2, "normalise": "unit", "object_name": "thing"}


def cloud(num=200, seed=0):
    return np.random.default_rng(seed).standard_normal((num, 3))


def make_scan(seed=0, points=200, noise=0.005, views=2):
    mesh = trimesh.creation.torus(1.0, 0.4, major_sections=60, minor_sections=30)
    mesh.apply_translation([3.0, 1.0, -2.0])
    vertices, faces, centre = np.array(mesh.vertices), np.array(mesh.faces), np.array([3.0, 1.0, -2.0])
    solid = Solid("torus", vertices, faces, centre + [0.1, 0, 0], centre, 1.4, float(mesh.volume))
    return scan_of(solid, seed, views=views, points=points, noise=noise)


def move(scan, matrix, shift):
    return Scan(scan.points @ matrix.T + shift, scan.sensor @ matrix.T + shift, scan.view,
                matrix @ scan.com + shift, scan.bounding_radius)  # fmt: skip


def to_sensor(scan):
    towards = scan.sensor - scan.points
    return towards / np.linalg.norm(towards, axis=1, keepdims=True)


# ----------------------------------------------------------------------------------------- neighbours


def plain_neighbours(points, k):
    """Sorted by distance, then by index, never the point itself."""
    rows = []
    for i, point in enumerate(points):
        square = ((points - point) ** 2).sum(1)
        others = [j for j in range(len(points)) if j != i]
        rows.append(sorted(others, key=lambda j: (square[j], j))[:k])
    return np.array(rows)


@pytest.mark.parametrize("k", [1, 7, 16])
def test_neighbours_equal_the_plain_definition(k):
    points = cloud(100)
    np.testing.assert_array_equal(nearest_neighbours(points, k), plain_neighbours(points, k))


@pytest.mark.parametrize("k", [1, 4, 5, 6, 13])
def test_exact_ties_are_ordered_by_index(k):
    lattice = np.stack(np.meshgrid(*[np.arange(5.0)] * 3), axis=-1).reshape(-1, 3)
    lattice = lattice[np.random.default_rng(0).permutation(len(lattice))]
    np.testing.assert_array_equal(nearest_neighbours(lattice, k), plain_neighbours(lattice, k))


@pytest.mark.parametrize("k", [1, 3, 10])
def test_duplicates_are_neighbours_but_never_oneself(k):
    points = np.concatenate([np.zeros((8, 3)), cloud(20), np.zeros((5, 3))])
    index = nearest_neighbours(points, k)
    assert (index != np.arange(len(points))[:, None]).all()
    np.testing.assert_array_equal(index, plain_neighbours(points, k))


@pytest.mark.parametrize("num", [2, 3, 5])
def test_more_neighbours_than_points(num):
    index = nearest_neighbours(cloud(num), 16)
    assert index.shape == (num, num - 1)
    np.testing.assert_array_equal(index, plain_neighbours(cloud(num), 16))


def test_no_graph_from_one_point():
    with pytest.raises(InputError, match="at least two points"):
        nearest_neighbours(np.zeros((1, 3)), 3)


# -------------------------------------------------------------------------------------------- normals


def test_normals_of_a_sphere_point_out():
    mesh = trimesh.creation.icosphere(subdivisions=4)
    vertices, faces = np.array(mesh.vertices), np.array(mesh.faces)
    ball = Solid("ball", vertices, faces, np.zeros(3), np.zeros(3), 1.0, 4.18)
    scan = scan_of(ball, 0, points=512, noise=0.0)
    normals = estimate_surface(scan.points, to_sensor(scan)).normal
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-12)
    assert ((normals * to_sensor(scan)).sum(1) >= 0).all()
    angle = np.degrees(np.arccos(np.clip((normals * scan.points).sum(1), -1, 1)))
    assert np.median(angle) < 3
    assert np.quantile(angle, 0.95) < 10


def test_normals_and_curvature_equal_the_plain_eigenvectors_and_values():
    scan = make_scan()
    towards = to_sensor(scan)
    index = nearest_neighbours(scan.points, 16)
    surface = estimate_surface(scan.points, towards)
    for i, (normal, curvature) in enumerate(zip(*surface, strict=True)):
        values, axes = np.linalg.eigh(np.cov(scan.points[[i, *index[i]]].T))
        np.testing.assert_allclose(normal, axes[:, 0] * np.sign(axes[:, 0] @ towards[i]), atol=1e-6)
        assert curvature == pytest.approx(values[0] / values.sum(), abs=1e-6)
    assert 0.01 < surface.curvature.max() <= 1 / 3


def test_normals_turn_with_the_scan():
    scan, rng = make_scan(), np.random.default_rng(1)
    still = estimate_surface(scan.points, to_sensor(scan)).normal
    for sign in (1, -1):
        matrix = sign * random_rotation(rng)
        moved = move(scan, matrix, np.array([4.0, -1, 2]))
        turned = estimate_surface(moved.points, to_sensor(moved)).normal
        np.testing.assert_allclose(turned, still @ matrix.T, atol=1e-10)


def test_normals_of_lines_and_spots_face_the_sensor():
    towards = np.tile([0.6, 0.0, 0.8], (30, 1))
    line = np.linspace(0, 1, 30)[:, None] * [1.0, 0, 0]
    np.testing.assert_allclose(
        estimate_surface(line, towards).normal, np.tile([0, 0, 1.0], (30, 1)), atol=1e-5
    )
    np.testing.assert_allclose(estimate_surface(np.ones((30, 3)), towards).normal, towards, atol=1e-6)
    pair = estimate_surface(np.array([[0.0, 0, 0], [0, 0, 1]]), towards[:2]).normal
    np.testing.assert_allclose(pair, np.tile([1.0, 0, 0], (2, 1)), atol=1e-5)


def test_normals_of_a_plane_are_exact_at_any_scale():
    for size in (1e-6, 1.0, 1e6):
        points = size * cloud(100) * [1, 1, 0] + [0, 0, 5 * size]
        normals = estimate_surface(points, np.tile([0.0, 0, -1], (100, 1))).normal
        np.testing.assert_allclose(normals, np.tile([0.0, 0, -1], (100, 1)), atol=1e-7)


# --------------------------------------------------------------------------------------------- graphs


def order_of(sample, scan):
    """``[N]`` which point of the scan each node is."""
    world = sample.origin + sample.scale * sample.pos.astype(np.float64)
    away, order = cKDTree(scan.points).query(world)
    assert away.max() < 1e-5
    assert len(set(order.tolist())) == len(order)
    return order


def test_columns_degrees_and_edges():
    scan = make_scan()
    sample = build_sample(scan, **SETTINGS)
    order = order_of(sample, scan)
    points, towards = scan.points[order], to_sensor(scan)[order]
    assert sample.node_features.shape == (200, len(FEATURE_NAMES))
    assert (sample.in_degree == 8).all()
    source, target = sample.edge_index
    assert (source != target).all()
    assert len({*zip(source.tolist(), target.tolist(), strict=True)}) == 1600
    np.testing.assert_allclose(sample.origin + sample.scale * sample.pos, points, atol=1e-6)
    np.testing.assert_array_equal(source.reshape(200, 8), nearest_neighbours(points, 8))
    np.testing.assert_allclose(sample.node_features[:, 3:6], towards, atol=1e-6)
    surface = estimate_surface(points, towards)
    np.testing.assert_allclose(sample.node_features[:, 6:9], surface.normal, atol=1e-6)
    np.testing.assert_allclose(sample.node_features[:, 9], surface.curvature, atol=1e-6)
    fourth = points[nearest_neighbours(points, SPACING_NEIGHBOUR)[:, -1]]
    spacing = np.linalg.norm(fourth - points, axis=1) / sample.scale
    np.testing.assert_allclose(sample.node_features[:, 10], spacing, atol=1e-6)
    np.testing.assert_allclose(sample.origin + sample.scale * sample.target, scan.com, atol=1e-12)
    assert sample.bounding_radius * sample.scale == pytest.approx(1.4)
    assert (sample.object_name, sample.num_views) == ("thing", 2)
    types = {
        "node_features": "f4", "in_degree": "i4", "edge_source": "i4", "target": "f8", "edge_attr": "f4",
        "vectors": "f4",
    }  # fmt: skip
    assert {name: getattr(sample, name).dtype for name in types} == {n: np.dtype(t) for n, t in types.items()}


def test_the_first_nodes_are_in_farthest_point_order_and_the_others_in_that_of_the_scan():
    scan = make_scan()
    order = order_of(build_sample(scan, **SETTINGS), scan)
    np.testing.assert_array_equal(order[:LEADERS], farthest_points(scan.points, LEADERS))
    assert (np.diff(order[LEADERS:]) > 0).all()


@pytest.mark.parametrize("normalise", ["unit", "none"])
def test_vectors_and_depths_are_those_of_the_carved_scan(normalise):
    scan = make_scan()
    sample = build_sample(scan, **SETTINGS | {"normalise": normalise}, dtype=np.float64)
    hull = convex_hull(scan.points)
    carved = carve(scan.points, scan.sensor, scan.view, hull)
    mean = scan.points.mean(axis=0)
    rows = dict(zip(VECTOR_NAMES, sample.vectors, strict=True))
    np.testing.assert_allclose(sample.scale * rows["hull"], hull.centre - mean, atol=1e-12)
    np.testing.assert_allclose(sample.scale * rows["carve"], carved.centre - mean, atol=1e-12)
    np.testing.assert_allclose(rows["view"], to_sensor(scan).mean(axis=0), atol=1e-12)
    depth = carved.depth[order_of(sample, scan)]
    np.testing.assert_allclose(sample.scale * sample.node_features[:, 11], depth, atol=1e-12)
    assert depth.max() > 0.5


def test_flat_scans_have_no_hull():
    points = cloud(50) * [1, 1, 0]
    scan = Scan(points, np.tile([0, 0, 9.0], (50, 1)), np.zeros(50, np.int64), None, None)
    sample = build_sample(scan, **SETTINGS)
    assert (sample.vectors[:2] == 0).all()
    assert sample.vectors[2, 2] > 0.9
    assert (sample.node_features[:, 11] == 0).all()


def test_stored_frames():
    scan = make_scan()
    unit, centre, none = (
        build_sample(scan, **SETTINGS | {"normalise": n}) for n in ("unit", "centre", "none")
    )
    points = scan.points[order_of(none, scan)]
    np.testing.assert_allclose(unit.pos.mean(axis=0), 0, atol=1e-6)
    assert (unit.pos**2).sum(1).mean() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(centre.pos, points - scan.points.mean(axis=0), atol=1e-6)
    assert (none.origin, none.scale, centre.scale) == ((0.0, 0.0, 0.0), 1.0, 1.0)
    np.testing.assert_array_equal(none.pos, points.astype(np.float32))
    np.testing.assert_array_equal(none.target, scan.com)
    for sample in (unit, centre):
        np.testing.assert_array_equal(sample.edge_source, none.edge_source)
        np.testing.assert_allclose(sample.node_features[:, 3:10], none.node_features[:, 3:10], atol=1e-4)
        lengths = sample.scale * sample.node_features[:, 10:]
        np.testing.assert_allclose(lengths, none.node_features[:, 10:], atol=1e-4)
        np.testing.assert_allclose(sample.scale * sample.vectors[:2], none.vectors[:2], atol=1e-4)


def test_edge_attributes_run_from_the_node_to_its_neighbour():
    scan = make_scan()
    sample = build_sample(scan, **SETTINGS | {"edge_attr": "displacement"})
    source, target = sample.edge_index
    vector = sample.pos[source] - sample.pos[target]
    np.testing.assert_allclose(sample.edge_attr, vector, atol=1e-6)
    for degree in (0, 1, 3):
        sh = build_sample(scan, **SETTINGS | {"sh_degree": degree}).edge_attr
        assert sh.shape == (1600, (degree + 1) ** 2)
        np.testing.assert_allclose(sh, spherical_harmonics(vector, degree), atol=1e-4)
    assert build_sample(scan, **SETTINGS | {"edge_attr": "none"}).edge_attr is None


def moved_scan(scan, rng, mirror, size, normalise):
    """The scan turned, perhaps mirrored, resized, shifted, and with its points in another order."""
    matrix = mirror * random_rotation(rng)
    shift = 3 * rng.standard_normal(3) if normalise != "none" else np.zeros(3)
    order = rng.permutation(len(scan.points))
    resized = move(scan, size * matrix, shift)
    moved = Scan(resized.points[order], resized.sensor[order], resized.view[order], resized.com,
                 size * scan.bounding_radius, move_plane(scan.table, matrix, shift, size))  # fmt: skip
    return moved, matrix, order


def solid_scan(index, views, noise):
    solid = make_solid(11, index)
    return scan_of(solid, index, views=views, points=150, noise=noise, pattern="lidar")


@pytest.mark.parametrize("mirror", [1, -1])
@pytest.mark.parametrize("normalise", ["unit", "centre", "none"])
@pytest.mark.parametrize("index", [None, *range(5)])
def test_the_graph_moves_with_the_scan(index, normalise, mirror):
    """Rotation, mirror, translation, scale and order of the raw points, in float64."""
    scan = make_scan() if index is None else solid_scan(index, 1 + index % 3, 0.02)
    settings = SETTINGS | {"edge_attr": "displacement", "normalise": normalise, "dtype": np.float64}
    scan = replace(scan, table=lowest_plane(scan, np.array([0.48, -0.6, 0.64])))
    rng, size = np.random.default_rng(5), 2.7
    other, matrix, order = moved_scan(scan, rng, mirror, size, normalise)
    still, moved = build_sample(scan, **settings), build_sample(other, **settings)
    growth = size * still.scale / moved.scale
    assert growth == pytest.approx(1 if normalise == "unit" else size, rel=1e-12)
    # Nodes are matched by their positions in the scan.
    before, after = order_of(still, scan), order[order_of(moved, other)]
    place = np.argsort(before)[after]
    units = np.array([*[growth] * 3, *[1] * 7, growth, growth])
    features = still.node_features[place] * units
    features[:, :9] = (features[:, :9].reshape(-1, 3) @ matrix.T).reshape(-1, 9)
    np.testing.assert_allclose(moved.node_features, features, atol=1e-10 * size)
    vectors = still.vectors @ matrix.T * np.array([growth, growth, 1, growth])[:, None]
    np.testing.assert_allclose(moved.vectors, vectors, atol=1e-10 * size)
    np.testing.assert_array_equal(
        place[moved.edge_source.reshape(-1, 8)], still.edge_source.reshape(-1, 8)[place]
    )
    edges = still.edge_attr.reshape(-1, 8, 3)[place].reshape(-1, 3)
    np.testing.assert_allclose(moved.edge_attr, growth * edges @ matrix.T, atol=1e-10 * size)
    np.testing.assert_allclose(moved.target, growth * matrix @ still.target, atol=1e-10 * size)
    np.testing.assert_array_equal(place[:LEADERS], np.arange(LEADERS))


def test_few_points_duplicates_and_unknown_truth():
    points = np.array([[0.0, 0, 1], [0, 0, 1], [0, 0, 1], [1, 0, 1]])
    scan = Scan(points, np.zeros((4, 3)), np.zeros(4, np.int64), None, None)
    sample = build_sample(scan, **SETTINGS)
    assert (sample.in_degree == 3).all()
    assert np.isnan(sample.target).all()
    assert math.isnan(sample.bounding_radius)
    assert np.isfinite(sample.node_features).all()
    assert np.isfinite(sample.edge_attr).all()


@pytest.mark.parametrize("away", [0, 1e3, 1e5, 1e9])
def test_positions_that_float32_would_blur_are_refused_unless_they_are_centred(away):
    scan = move(make_scan(), np.eye(3), np.array([away, 0, 0]))
    for normalise in ("unit", "centre"):
        here, there = (
            build_sample(each, **SETTINGS | {"normalise": normalise}) for each in (make_scan(), scan)
        )
        np.testing.assert_allclose(there.pos, here.pos, atol=2e-6)
    if away <= 1e3:
        kept = build_sample(scan, **SETTINGS | {"normalise": "none"})
        np.testing.assert_allclose(kept.pos, scan.points, atol=1e-4)
        return
    with pytest.raises(InputError, match=r"thing: the scan lies .* use --normalise centre or unit"):
        build_sample(scan, **SETTINGS | {"normalise": "none"})


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0, 0, 1]], "1 points; a graph needs at least two"),
        ([[0, 0, 1], [0, np.nan, 1]], "not finite"),
        ([[0, 0, 1], [0, 0, 1]], "all points of the scan coincide"),
        ([[0, 0, 0], [0, 0, 1]], "1 points lie at the sensor"),
    ],
)
def test_useless_scans_are_refused_by_name(points, message):
    points = np.array(points, float)
    scan = Scan(points, np.zeros_like(points), np.zeros(len(points), np.int64), None, None)
    with pytest.raises(InputError, match=f"thing: .*{message}"):
        build_sample(scan, **SETTINGS)
