"""Random meshes: the label moves with the body, survives every file format, and is never silently wrong."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plumbline.errors import MeshError
from plumbline.geometry.meshes import load_mesh, make_solid_record
from plumbline.geometry.rotations import random_rotation
from plumbline.records import Float, Int, Solid

Mesh = tuple[Float, Int]

SPHERE = trimesh.creation.icosphere(subdivisions=1)
SEEDS = st.integers(0, 2**32 - 1)
LAWS = settings(derandomize=True, deadline=None, max_examples=150)


@st.composite
def bodies(draw: st.DrawFn) -> Mesh:
    """A star of 42 vertices anywhere near the origin: the lengths of its rays vary by up to four times."""
    rays = draw(arrays(np.float64, len(SPHERE.vertices), elements=st.floats(0.5, 2)))
    move = draw(arrays(np.float64, 3, elements=st.floats(-2, 2)))
    return SPHERE.vertices * rays[:, None] + move, np.array(SPHERE.faces, np.int64)


def label(mesh: Mesh) -> Solid:
    return make_solid_record("body", *mesh)


@LAWS
@given(body=bodies(), seed=SEEDS, size=st.sampled_from([1e-6, 1e-3, 1.0, 1e3]), mirrored=st.booleans())
def test_the_label_moves_turns_mirrors_and_grows_with_the_body(
    body: Mesh, seed: int, size: float, mirrored: bool
) -> None:
    rng = np.random.default_rng(seed)
    linear = random_rotation(rng) * size * (np.array([-1, 1, 1]) if mirrored else 1)
    move = rng.normal(size=3) * size
    before, after = label(body), label((body[0] @ linear.T + move, body[1]))
    tolerance = 1e-9 * before.bounding_radius * size
    np.testing.assert_allclose(after.com, linear @ before.com + move, rtol=0, atol=tolerance)
    assert after.volume == pytest.approx(before.volume * size**3, rel=1e-9)
    assert after.bounding_radius == pytest.approx(before.bounding_radius * size, rel=1e-9)


# -- another way to write the same body --------------------------------------------------------------------


def shuffled(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    vertices, faces = mesh
    return vertices, rng.permutation(faces)


def corners_turned(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    vertices, faces = mesh
    places = (np.arange(3) + rng.integers(3, size=(len(faces), 1))) % 3
    return vertices, np.take_along_axis(faces, places, axis=1)


def inside_out(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    return mesh[0], mesh[1][:, ::-1]


def renumbered(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    vertices, faces = mesh
    order = rng.permutation(len(vertices))
    return vertices[order], np.argsort(order)[faces]


def soup(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    vertices, faces = mesh
    return vertices[faces.ravel()], np.arange(faces.size).reshape(-1, 3)


def some_vertices_twice(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    vertices, faces = mesh
    other = rng.random(faces.shape) < 0.3
    return np.concatenate([vertices, vertices]), faces + other * len(vertices)


def loose_vertices(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    vertices, faces = mesh
    return np.concatenate([rng.normal(size=(5, 3)) * 100, vertices]), faces + 5


def slivers(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    vertices, faces = mesh
    a, b = rng.integers(len(vertices), size=2)
    return vertices, np.concatenate([[[a, b, b]], faces, [[a, a, a]]])


SAME = [shuffled, corners_turned, inside_out, renumbered, soup, some_vertices_twice, loose_vertices, slivers]

# -- a mesh that is no body any more -----------------------------------------------------------------------


def a_face_turned(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    vertices, faces = mesh[0], mesh[1].copy()
    real = np.flatnonzero((faces != np.roll(faces, 1, axis=1)).all(axis=1))
    place = rng.choice(real)
    faces[place] = faces[place, ::-1]
    return vertices, faces


def a_face_missing(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    real = np.flatnonzero((mesh[1] != np.roll(mesh[1], 1, axis=1)).all(axis=1))
    return mesh[0], np.delete(mesh[1], rng.choice(real), axis=0)


def a_face_twice(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    real = np.flatnonzero((mesh[1] != np.roll(mesh[1], 1, axis=1)).all(axis=1))
    return mesh[0], np.concatenate([mesh[1], mesh[1][rng.choice(real)][None]])


def a_corner_elsewhere(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    vertices, faces = mesh
    real = np.flatnonzero((faces != np.roll(faces, 1, axis=1)).all(axis=1))
    place, faces = rng.choice(real), faces.copy()
    faces[place, 0] = len(vertices)
    return np.concatenate([vertices, vertices[mesh[1][place, :1]] + 1e-3]), faces


def half_turned(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    faces = mesh[1].copy()
    faces[: len(faces) // 2] = faces[: len(faces) // 2, ::-1]
    return mesh[0], faces


NO_BODY = [a_face_turned, a_face_missing, a_face_twice, a_corner_elsewhere, half_turned]
WRITTEN = st.lists(st.sampled_from(SAME), max_size=5)


@LAWS
@given(body=bodies(), ways=WRITTEN, seed=SEEDS)
def test_the_same_body_written_otherwise_has_the_same_label(body: Mesh, ways: list, seed: int) -> None:
    rng, other = np.random.default_rng(seed), body
    for way in ways:
        other = way(other, rng)
    before, after = label(body), label(other)
    np.testing.assert_allclose(after.com, before.com, rtol=0, atol=1e-9 * before.bounding_radius)
    assert after.volume == pytest.approx(before.volume, rel=1e-9)
    a, b, c = after.vertices[after.faces.T] - after.com
    assert np.einsum("fd,fd->f", a, np.cross(b, c)).sum() > 0, "faces look outwards"


@LAWS
@given(body=bodies(), ways=WRITTEN, fault=st.sampled_from(NO_BODY), more=WRITTEN, seed=SEEDS)
def test_a_fault_of_one_face_is_never_labelled(
    body: Mesh, ways: list, fault: object, more: list, seed: int
) -> None:
    rng, other = np.random.default_rng(seed), body
    for way in (*ways, fault, *more):
        other = way(other, rng)  # type: ignore[operator]
    with pytest.raises(MeshError, match="the mesh has no inside"):
        label(other)


# -- files -------------------------------------------------------------------------------------------------

FORMATS = ["obj", "off", "stl", "stl_ascii", "ply", "ply_ascii", "glb", "gltf", "dae", "3mf"]
NEEDS = {"dae": ["collada"], "3mf": ["lxml", "networkx"]}


def write(path: Path, mesh: trimesh.Trimesh, form: str) -> None:
    if form == "gltf":
        for name, data in mesh.export(file_type="gltf").items():
            (path.parent / name.replace("model.gltf", path.name)).write_bytes(data)
    elif form == "ply_ascii":
        path.write_bytes(trimesh.exchange.ply.export_ply(mesh, encoding="ascii"))
    else:
        mesh.export(path, file_type=form)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_that_can_be_written_gives_the_same_label(
    form: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for package in NEEDS.get(form, []):
        pytest.importorskip(package)
    path = tmp_path_factory.mktemp("mesh") / f"body.{form.partition('_')[0]}"

    @settings(LAWS, max_examples=15)
    @given(body=bodies())
    def law(body: Mesh) -> None:
        assume(len(np.unique(body[0].astype(np.float32), axis=0)) == len(body[0]))
        write(path, trimesh.Trimesh(*body, process=False), form)
        expected, found = label(body), load_mesh(path, name="body")
        np.testing.assert_allclose(found.com, expected.com, rtol=0, atol=1e-6 * expected.bounding_radius)
        assert found.volume == pytest.approx(expected.volume, rel=1e-5)

    law()
