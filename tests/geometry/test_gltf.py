"""glTF files: bodies with known truth, in every encoding of the format."""

import numpy as np
import pytest

from plumbline.geometry.meshes import make_solid_record
from tests.helpers.gltf_scenes import BOX, DRACO, FACES, TYPES, Scene


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


# ------------------------------------------------------------------------------------------- published cases


def test_a_part_that_needs_draco_is_refused(scene):
    scene.node(mesh=scene.box())
    empty = scene.declare(componentType=5126, count=8, type="VEC3")
    scene.node(mesh=scene.mesh({"attributes": {"POSITION": empty}, "extensions": {DRACO: {"bufferView": 0}}}))
    scene.root["extensionsUsed"] = [DRACO]
    scene.refuse(f"^needs the glTF extension {DRACO}, which is not supported; export it without compression$")
    scene.required(DRACO)
    scene.refuse(f"^needs the glTF extension {DRACO}")


def test_normalised_numbers_are_fractions(scene):
    """As gltf-transform's ``quantize`` writes them: a box of 7..8, 0..1, 0..1."""
    position = scene.numbers(np.where(BOX > 0, 32767, -32767), "i2", normalized=True)
    indices = scene.numbers(FACES.ravel(), "u2")
    mesh = scene.mesh({"attributes": {"POSITION": position}, "indices": indices})
    scene.node(mesh=mesh, translation=[7.5, 0.5, 0.5], scale=[0.5, 0.5, 0.5])
    scene.required("KHR_mesh_quantization")
    scene.expect(1, (7.5, 0.5, 0.5))


def test_boxes_that_touch_are_three(scene):
    mesh = scene.box()
    for x in range(3):
        scene.node(mesh=mesh, translation=[x, 0, 0])
    content = scene.expect(3, (1.5, 0.5, 0.5))
    assert make_solid_record("x", content.vertices, content.faces).volume == pytest.approx(3)


# --------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("kind", "normalized", "low", "high", "expected"),
    [
        ("i1", True, -128, 127, (-1, 1)),
        ("i1", True, -127, 127, (-1, 1)),
        ("u1", True, 0, 51, (0, 0.2)),
        ("i2", True, -32768, 0, (-1, 0)),
        ("u2", True, 0, 65535, (0, 1)),
        ("i1", False, -128, 127, (-128, 127)),
        ("u1", False, 0, 255, (0, 255)),
        ("i2", False, -32768, 32767, (-32768, 32767)),
        ("u2", False, 1, 65535, (1, 65535)),
        ("u4", False, 0, 1 << 31, (0, 1 << 31)),
        ("f4", False, 0.25, 1.5, (0.25, 1.5)),
    ],
)
def test_numbers_of_every_type(scene, kind, normalized, low, high, expected):
    values = np.where(BOX > 0, high, low).astype(kind)
    position = scene.numbers(values, kind, **({"normalized": True} if normalized else {}))
    indices = scene.numbers(FACES.ravel(), "u1")
    scene.node(mesh=scene.mesh({"attributes": {"POSITION": position}, "indices": indices}))
    content = scene.read()
    np.testing.assert_allclose(content.vertices, np.where(BOX > 0, expected[1], expected[0]), rtol=1e-12)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4"])
@pytest.mark.parametrize("first", [0, 7])
def test_strided_numbers_with_an_offset(scene, kind, first):
    """Vertices between normals in one view, and indices after others."""
    rows = np.full((8, 7), 99, np.float32)
    rows[:, 2:5] = BOX
    view = scene.view(rows.tobytes(), byteStride=28)
    position = scene.declare(bufferView=view, byteOffset=8, componentType=5126, count=8, type="VEC3")
    data = np.concatenate([np.zeros(first), FACES.ravel()]).astype(kind)
    indices = scene.declare(
        bufferView=scene.view(data.tobytes()),
        byteOffset=first * data.itemsize,
        componentType=TYPES[kind],
        count=36,
        type="SCALAR",
    )
    scene.node(mesh=scene.mesh({"attributes": {"POSITION": position}, "indices": indices}))
    scene.expect(1, (0.5, 0.5, 0.5))


@pytest.mark.parametrize("base", [True, False])
def test_sparse_numbers_replace_others_or_zeros(scene, base):
    """The box is moved by 5 along x at its 4 far corners, or made of zeros and 7 corners."""
    moved = BOX + (BOX[:, :1] > 0) * np.array([5, 0, 0])
    rows = np.flatnonzero(BOX[:, 0]) if base else np.arange(1, 8)
    sparse = {
        "count": len(rows),
        "indices": {"bufferView": scene.view(bytes(2) + rows.astype("<u2").tobytes()), "byteOffset": 2},
        "values": {"bufferView": scene.view(moved[rows].astype("<f4").tobytes())},
    }
    sparse["indices"]["componentType"] = 5123
    shape = {"componentType": 5126, "count": 8, "type": "VEC3", "sparse": sparse}
    position = scene.numbers(BOX, sparse=sparse) if base else scene.declare(**shape)
    indices = scene.numbers(FACES.ravel(), "u2")
    scene.node(mesh=scene.mesh({"attributes": {"POSITION": position}, "indices": indices}))
    scene.expect(6, (3, 0.5, 0.5))


def test_normalised_sparse_numbers_are_replaced_before_they_become_fractions(scene):
    values = np.where(BOX > 0, 127, 0)
    sparse = {
        "count": 1,
        "indices": {"bufferView": scene.view(b"\7"), "componentType": 5121},
        "values": {"bufferView": scene.view(bytes([127, 127, 127]))},
    }
    values[7] = 0
    position = scene.numbers(values, "i1", normalized=True, sparse=sparse)
    indices = scene.numbers(FACES.ravel(), "u2")
    scene.node(mesh=scene.mesh({"attributes": {"POSITION": position}, "indices": indices}))
    scene.expect(1, (0.5, 0.5, 0.5))


def test_many_primitives_share_the_vertices_of_a_file(scene):
    """Each takes those that it uses, so that the memory grows with the faces alone."""
    position = scene.numbers(np.concatenate([np.full((5000, 3), 9), BOX]))
    for face in FACES:
        indices = scene.numbers(face + 5000, "u4")
        scene.node(mesh=scene.mesh({"attributes": {"POSITION": position}, "indices": indices}))
    assert len(scene.expect(1, (0.5, 0.5, 0.5)).vertices) == 36


# ------------------------------------------------------------------------------------------------ primitives


def tetrahedron_strip():
    """Six corners of a strip that goes around a tetrahedron of volume 1/6: 4 faces, wound outwards."""
    corners = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
    return corners, [0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize("indexed", [True, False])
def test_strips_wind_alternately(scene, indexed):
    corners, strip = tetrahedron_strip()
    position = scene.numbers(corners if indexed else corners[strip])
    indices = {"indices": scene.numbers(strip, "u1")} if indexed else {}
    scene.node(mesh=scene.mesh({"attributes": {"POSITION": position}, "mode": 5, **indices}))
    scene.expect(1 / 6, (0.25, 0.25, 0.25))


@pytest.mark.parametrize("indexed", [True, False])
def test_fans_turn_around_their_first_corner(scene, indexed):
    """Three quads of a box meet at each of two opposite corners."""
    fans = [[0, 1, 3, 2, 6, 4, 5, 1], [7, 6, 2, 3, 1, 5, 4, 6]]
    for fan in fans:
        position = scene.numbers(BOX if indexed else BOX[fan])
        indices = {"indices": scene.numbers(fan, "u1")} if indexed else {}
        scene.node(mesh=scene.mesh({"attributes": {"POSITION": position}, "mode": 6, **indices}))
    scene.expect(1, (0.5, 0.5, 0.5))


def test_triangles_without_indices(scene):
    position = scene.numbers(BOX[FACES.ravel()])
    scene.node(mesh=scene.mesh({"attributes": {"POSITION": position}}))
    scene.expect(1, (0.5, 0.5, 0.5))


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_points_and_lines_are_left_out(scene, mode):
    """They are named if a mesh has nothing else."""
    lines = {"attributes": {"POSITION": scene.numbers(BOX)}, "mode": mode}
    mesh = scene.box()
    scene.root["meshes"][mesh]["primitives"].append(lines)
    scene.node(mesh=mesh)
    scene.expect(1, (0.5, 0.5, 0.5))
    scene.node(mesh=scene.mesh(lines))
    scene.expect(1, (0.5, 0.5, 0.5), ["1 object of points or lines is left out"])
