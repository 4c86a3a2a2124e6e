"""Meshes in ply files: faces of any length, strips, and what is refused."""

import numpy as np
import pytest

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.ply_meshes import read_ply_mesh
from plumbline.geometry.meshes import load_mesh
from plumbline.geometry.surfaces import open_reason
from tests.helpers.point_files import ORDERS, Column, ply_bytes, ply_points

FORMS = sorted(ORDERS)
PYRAMID = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]])
SIDES = [[3, 2, 1, 0], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]


def write(folder, elements, form="binary_little_endian"):
    path = folder / "a.ply"
    path.write_bytes(ply_bytes(elements, form))
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["vertex_indices", "vertex_index"])
def test_faces_of_any_length(tmp_path, form, name):
    """A pyramid of one quad and four triangles, as Blender and MeshLab write it."""
    faces = [Column(name, "u4", [[2], *SIDES, [0, 1]], "u1")]
    path = write(tmp_path, {"vertex": ply_points(PYRAMID), "face": faces}, form)
    solid, content = load_mesh(path, name="a"), read_ply_mesh(path)
    np.testing.assert_allclose(solid.com, [0.5, 0.5, 0.25], atol=1e-15)
    assert solid.volume == pytest.approx(1 / 3)
    assert content.faces.dtype == np.int64
    assert content.faces.tolist() == [[3, 2, 1], [3, 1, 0], *SIDES[1:]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strip", [[0, 1, 2, 3, 0, 1], [0, 1, 2, 3, -1, 2, 3, 0, 1, -1]])
def test_strips(tmp_path, form, strip):
    """A tetrahedron as one strip, and as two that are separated by -1."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    strips = [Column("vertex_indices", "i4", [strip], "i4")]
    faces = read_ply_mesh(write(tmp_path, {"vertex": ply_points(corners), "tristrips": strips}, form)).faces
    assert sorted(map(sorted, faces.tolist())) == [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]
    assert open_reason(faces) is None


def test_texture_coordinates_of_corners_split_no_vertex(tmp_path, capfd):
    """MeshLab writes them and names a picture, which is not needed."""
    corners = [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]]
    faces = [
        Column("vertex_indices", "i4", corners, "u1"),
        Column("texcoord", "f4", np.random.default_rng(0).random((4, 6)).tolist(), "u1"),
    ]
    vertices = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    path = tmp_path / "a.ply"
    comments = [b"comment TextureFile lost.png"]
    path.write_bytes(ply_bytes({"vertex": ply_points(vertices), "face": faces}, "ascii", comments=comments))
    assert len(read_ply_mesh(path).vertices) == 4
    np.testing.assert_allclose(load_mesh(path, name="a").com, [0.25, 0.25, 0.25])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wrong", [1.5, np.nan, 1e300])
def test_a_face_of_half_a_vertex(tmp_path, wrong):
    faces = [Column("vertex_indices", "f8", [[0, 1, wrong]], "u1")]
    with pytest.raises(MeshError, match="not a whole number"):
        read_ply_mesh(write(tmp_path, {"vertex": ply_points(PYRAMID), "face": faces}))


@pytest.mark.parametrize(("wrong", "said"), [(5, "vertex 5 of 5"), (-1, "vertex -1 of 5")])
@pytest.mark.parametrize("element", ["face", "tristrips"])
def test_a_face_of_a_missing_vertex(tmp_path, element, wrong, said):
    faces = [Column("vertex_indices", "i4", [[0, 1, wrong, 2]], "u1")]
    path = write(tmp_path, {"vertex": ply_points(PYRAMID), element: faces})
    if element == "tristrips" and wrong < 0:  # ends a strip
        assert len(read_ply_mesh(path).faces) == 0
        return
    with pytest.raises(MeshError, match=said):
        read_ply_mesh(path)
