"""Ray casting: both backends against closed forms and against each other."""

import importlib.util

import numpy as np
import pytest
import trimesh

from plumbline.errors import InputError
from plumbline.geometry.raycast import Caster

BACKENDS = ("embree", "numpy")


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rays_at(rng, num, away=2.5, spread=0.7):
    """Rays from all around towards points near the origin."""
    origins = away * unit(rng.standard_normal((num, 3)))
    return origins, unit(spread * rng.standard_normal((num, 3)) - origins)


def surface_distance(corners, points):
    """Distance of each point to its triangle, float64: out of the plane, and out of the edges."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normal = unit(np.cross(b - a, c - a))
    out = np.abs(((points - a) * normal).sum(1))
    for start, end in ((a, b), (b, c), (c, a)):
        inward = unit(np.cross(normal, end - start))
        out = np.maximum(out, -((points - start) * inward).sum(1))
    return out


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("size", "offset"), [(1.0, 0.0), (1e-4, 3.0), (2e4, -1e5)])
def test_box_in_closed_form_at_any_size_and_place(backend, size, offset):
    rng = np.random.default_rng(1)
    box = trimesh.creation.box(extents=[2, 2, 2])
    origins, directions = rays_at(rng, 3000, away=4.0)
    caster = Caster(size * box.vertices + offset, box.faces, backend)
    distance, face = caster.first_hits(size * origins + offset, directions)
    with np.errstate(divide="ignore"):
        slabs = np.sort(np.stack([(-1 - origins) / directions, (1 - origins) / directions]), axis=0)
    near, far = slabs[0].max(1), slabs[1].min(1)
    expected = np.where(near <= far, near, np.inf)
    assert 0.3 < np.isfinite(expected).mean() < 1
    np.testing.assert_allclose(distance, size * expected, rtol=1e-9, atol=1e-11 * abs(offset))
    assert ((face >= 0) == np.isfinite(distance)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_hits_lie_on_the_hit_face(backend):
    mesh = trimesh.creation.torus(1.0, 0.4, major_sections=40, minor_sections=20)
    origins, directions = rays_at(np.random.default_rng(2), 5000)
    distance, face = Caster(mesh.vertices, mesh.faces, backend).first_hits(origins, directions)
    hit = face >= 0
    points = origins[hit] + distance[hit, None] * directions[hit]
    assert hit.mean() > 0.5
    assert surface_distance(mesh.triangles[face[hit]], points).max() < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_rays_at_edges_end_on_the_face_they_name(backend):
    """Float32 alone cannot tell on which side of the edge these pass."""
    rng = np.random.default_rng(6)
    mesh = trimesh.creation.icosphere(subdivisions=3)
    edges = mesh.vertices[mesh.edges_unique]
    share = rng.random((len(edges), 1))
    aims = share * edges[:, 0] + (1 - share) * edges[:, 1] + 1e-8 * rng.standard_normal((len(edges), 3))
    origins = aims + 1.5 * unit(aims + 0.3 * rng.standard_normal(aims.shape))
    directions = unit(aims - origins)
    distance, face = Caster(mesh.vertices, mesh.faces, backend).first_hits(origins, directions)
    assert (face >= 0).all()
    points = origins + distance[:, None] * directions
    assert surface_distance(mesh.triangles[face], points).max() < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_rays_that_start_on_the_surface_never_go_backwards(backend):
    mesh = trimesh.creation.icosphere(subdivisions=3)
    rng = np.random.default_rng(7)
    origins = mesh.triangles_center + 1e-9 * rng.standard_normal((len(mesh.faces), 3))
    distance, _ = Caster(mesh.vertices, mesh.faces, backend).first_hits(origins, mesh.face_normals)
    assert (distance > 0).all()


def test_backends_agree():
    mesh = trimesh.creation.torus(1.0, 0.4, major_sections=40, minor_sections=20)
    origins, directions = rays_at(np.random.default_rng(3), 20000)
    embree, numpy = (Caster(mesh.vertices, mesh.faces, b).first_hits(origins, directions) for b in BACKENDS)
    same = (embree[1] >= 0) == (numpy[1] >= 0)
    # Rays that graze the outline within float32 rounding may differ.
    assert (~same).sum() <= 2
    both = same & (embree[1] >= 0)
    close = np.isclose(embree[0][both], numpy[0][both], rtol=1e-9)
    assert (~close).sum() <= 2
    assert (embree[1][both] == numpy[1][both]).mean() > 0.999


@pytest.mark.parametrize("backend", BACKENDS)
def test_closed_surface_has_no_cracks(backend):
    """Rays aimed exactly at vertices and edges of a sphere never slip through to its far side."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    middles = ball.vertices[ball.edges_unique].mean(axis=1)
    aims = 0.999 * np.concatenate([ball.vertices, middles])
    origins = np.broadcast_to([0.3, -2.0, 1.7], aims.shape)
    directions = unit(aims - origins)
    _, face = Caster(ball.vertices, ball.faces, backend).first_hits(origins, directions)
    assert (face >= 0).all()
    assert ((ball.face_normals[face] * directions).sum(1) < 1e-6).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nearest_of_many_layers_from_both_sides(backend):
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    vertices = np.concatenate([square + [0, 0, z] for z in (0.0, 1.0, 2.0)])
    faces = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * i for i in range(3)])
    caster = Caster(vertices, faces, backend)
    z = np.array([-1.0, 0.4, 1.4, 3.0, 3.0])
    origins = np.stack([np.full(5, 0.3), np.full(5, 0.2), z], axis=1)
    directions = np.array([[0, 0, 1], [0, 0, 1], [0, 0, -1], [0, 0, -1], [0, 0, 1]], float)
    distance, face = caster.first_hits(origins, directions)
    np.testing.assert_allclose(distance, [1, 0.6, 0.4, 1, np.inf])
    assert (face // 2).tolist() == [0, 1, 1, 2, -1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_moving_mesh_and_rays_together_changes_nothing(backend):
    rng = np.random.default_rng(4)
    mesh = trimesh.creation.torus(1.0, 0.4, major_sections=24, minor_sections=12)
    origins, directions = rays_at(rng, 2000)
    still, face = Caster(mesh.vertices, mesh.faces, backend).first_hits(origins, directions)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    for sign in (1, -1):
        matrix, shift = sign * turn, np.array([5.0, -3.0, 2.0])
        moved = Caster(mesh.vertices @ matrix.T + shift, mesh.faces, backend)
        distance, other = moved.first_hits(origins @ matrix.T + shift, directions @ matrix.T)
        same = face == other
        assert same.mean() > 0.999
        np.testing.assert_allclose(distance[same], still[same], rtol=1e-11)


def test_numpy_chunks_change_nothing(monkeypatch):
    mesh = trimesh.creation.icosphere(subdivisions=2)
    origins, directions = rays_at(np.random.default_rng(5), 500)
    whole = Caster(mesh.vertices, mesh.faces, "numpy").first_hits(origins, directions)
    monkeypatch.setattr("plumbline.geometry.raycast._PAIRS_PER_CHUNK", 7 * len(mesh.faces))
    parts = Caster(mesh.vertices, mesh.faces, "numpy").first_hits(origins, directions)
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-12)
    np.testing.assert_array_equal(parts[1], whole[1])


def test_face_normals_are_unit_and_outward():
    ball = trimesh.creation.icosphere(subdivisions=2)
    normals = Caster(ball.vertices, ball.faces, "numpy").face_normals(np.arange(len(ball.faces)))
    np.testing.assert_allclose(normals, ball.face_normals, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_faces_without_area_are_never_hit(backend):
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0.5, 1], [0.5, 0.5, 1]], float)
    faces = np.array([[3, 4, 3], [0, 1, 2], [0, 1, 1]])
    distance, face = Caster(vertices, faces, backend).first_hits(
        np.array([[0.2, 0.2, 5.0], [0.5, 0.5, 5.0]]), np.array([[0, 0, -1.0], [0, 0, -1.0]])
    )
    assert face[0] == 1
    assert distance[0] == pytest.approx(5)
    assert face[1] in (-1, 1)


def test_empty_mesh_and_missing_package_are_refused(monkeypatch):
    with pytest.raises(InputError, match="without faces"):
        Caster(np.zeros((3, 3)), np.zeros((0, 3), int))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    triangle = np.eye(3), np.array([[0, 1, 2]])
    assert Caster(*triangle).backend == "numpy"
    with pytest.raises(InputError, match="pip install embreex"):
        Caster(*triangle, backend="embree")
