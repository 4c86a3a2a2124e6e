"""Meshes of several bodies: cavities, duplicates, bodies that touch, lie in each other or overlap."""

import numpy as np
import pytest

from plumbline.errors import MeshError
from plumbline.geometry.bodies import cancel_opposite_faces, count_double_faces
from plumbline.geometry.meshes import make_solid_record
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.surfaces import inspect_edges, is_in_hull, winding_numbers
from tests.geometry.test_meshes import BOX, BOX_FACES, cap, joined, plane_box

OTHER_CUT = np.array(
    [[0, 1, 2], [1, 3, 2], [4, 6, 5], [5, 6, 7], [0, 5, 1], [0, 4, 5]]
    + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 7, 3], [1, 5, 7]]
)
"""The faces of a box whose sides at x = 0 and 1 are cut along the other diagonals."""


def soup(mesh):
    """Every face with three vertices of its own, as in an stl file."""
    vertices, faces = mesh
    return vertices[faces].reshape(-1, 3), np.arange(faces.size).reshape(-1, 3)


def split_sides(mesh):
    """Each flat side with vertices of its own, as flat-shaded exporters write it."""
    vertices, faces = mesh
    return vertices[faces.reshape(-1, 6)].reshape(-1, 3), np.arange(faces.size).reshape(-1, 3)


def flipped(mesh):
    return mesh[0], mesh[1][:, ::-1]


def notched():
    """An L of volume 11, and a block of volume 9 in its notch."""
    outline = [(0, 0), (6, 0), (6, 1), (1, 1), (1, 6), (0, 6)]
    vertices = np.array([(x, y, z) for z in (0, 1) for x, y in outline], float)
    bottom = np.array([[0, 2, 1], [0, 3, 2], [0, 4, 3], [0, 5, 4]])
    sides = [[i, (i + 1) % 6, (i + 1) % 6 + 6] for i in range(6)]
    sides += [[i, (i + 1) % 6 + 6, i + 6] for i in range(6)]
    return (vertices, np.concatenate([bottom, bottom[:, ::-1] + 6, sides])), plane_box((2, 2, 0), (5, 5, 1))


def turned(mesh, seed):
    """In a random pose: rounding makes bodies overlap or gap by a last bit where they touch."""
    if seed is None:
        return mesh
    rng = np.random.default_rng(seed)
    return mesh[0] @ random_rotation(rng).T + rng.normal(size=3), mesh[1]


def com_of(mesh, seed=None):
    """The centre of mass, turned back."""
    solid = make_solid_record("x", *turned(mesh, seed))
    if seed is None:
        return solid.com
    rng = np.random.default_rng(seed)
    linear = random_rotation(rng)
    return (solid.com - rng.normal(size=3)) @ linear


# ------------------------------------------------------------------------------- touching: accepted

HALF = plane_box((0, 0, 0), (1, 1, 1))
TOUCHING = {
    "edge": (joined(HALF, plane_box((1, 1, 0), (2, 2, 1))), 2, (1, 1, 0.5)),
    "corner": (joined(HALF, plane_box((1, 1, 1), (2, 2, 2))), 2, (1, 1, 1)),
    "face": (joined(HALF, plane_box((1, 0, 0), (3, 1, 1))), 3, (1.5, 0.5, 0.5)),
    "face cut otherwise": (joined(HALF, (BOX + [1, 0, 0], OTHER_CUT)), 2, (1, 0.5, 0.5)),
    "part of a face": (joined(plane_box((0, 0, 0), (1, 3, 3)), plane_box((1, 1, 1), (2, 2, 2))), 10,
                       (0.6, 1.5, 1.5)),
    "four around an edge": (joined(*(plane_box((x, y, 0), (x + 1, y + 1, 1)) for x in (0, 1)
                                     for y in (0, 1))), 4, (1, 1, 0.5)),
    "cavity that touches its wall": (
        joined(plane_box((0, 0, 0), (2, 2, 2)), flipped(plane_box((0, 0.5, 0.5), (1, 1.5, 1.5)))),
        7, ((8 - 0.5) / 7, 1, 1),
    ),
    "body that fills a cavity": (
        joined(plane_box((0, 0, 0), (2, 2, 2)), flipped(plane_box((0.5, 0.5, 0.5), (1.5, 1.5, 1.5))),
               plane_box((0.5, 0.5, 0.5), (1.5, 1.5, 1.5))),
        8, (1, 1, 1),
    ),
    "chessboard": (joined(*(plane_box((x, y, z), (x + 1, y + 1, z + 1)) for x in range(4) for y in range(4)
                            for z in range(4) if (x + y + z) % 2)), 32, (2, 2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("form", [tuple, soup, split_sides], ids=["shared", "soup", "split"])
@pytest.mark.parametrize("name", TOUCHING)
def test_bodies_that_touch_have_an_inside(name, form):
    mesh, volume, com = TOUCHING[name]
    solid = make_solid_record("x", *form(mesh))
    assert solid.volume == pytest.approx(volume, rel=1e-12)
    np.testing.assert_allclose(solid.com, com, atol=1e-12)
    np.testing.assert_allclose(com_of(form(mesh), seed=1), com, atol=1e-12)
    mirror = make_solid_record("x", *form(flipped(mesh)))  # inside out as a whole: turned
    np.testing.assert_allclose(mirror.com, com, atol=1e-12)
    assert mirror.volume == pytest.approx(volume, rel=1e-12)


def test_flat_faces_back_to_back_are_harmless():
    vertices = np.concatenate([BOX, [[0.5, 0, 0], [3, 0, 0]]])
    slivers = np.concatenate([BOX_FACES, [[0, 8, 4], [0, 4, 8]]])
    fin = np.concatenate([BOX_FACES, [[0, 9, 7], [0, 7, 9]]])
    for faces in (slivers, fin, slivers[::-1]):
        for mesh in ((vertices, faces), soup((vertices, faces))):
            solid = make_solid_record("x", *mesh)
            np.testing.assert_allclose(solid.com, (0.5, 0.5, 0.5), atol=1e-14)


def test_overlapping_bodies_that_share_an_edge_are_refused():
    """Winding number 2 in between: the overlap would count twice, and the mesh was never closed."""
    mesh = soup(joined(plane_box((0, 0, 0), (2, 2, 2)), plane_box((0, 0, 0), (1, 1, 2))))
    with pytest.raises(
        MeshError, match="no inside: more than two faces meet at 1 edge, and its bodies overlap"
    ):
        make_solid_record("x", *mesh)
    opposite = soup(joined(plane_box((0, 0, 0), (1, 1, 1)), flipped(plane_box((1, 1, 0), (1.5, 1.5, 1)))))
    with pytest.raises(MeshError, match="no inside: more than two faces meet at 1 edge"):
        make_solid_record("x", *opposite)


def test_opposite_faces_are_cancelled_in_pairs():
    faces = np.array([[0, 1, 2], [2, 1, 0], [1, 2, 0], [3, 4, 5], [4, 5, 3], [6, 7, 8], [8, 7, 6]])
    left = cancel_opposite_faces(faces)
    assert left.tolist() == [[1, 2, 0], [3, 4, 5], [4, 5, 3]]
    assert cancel_opposite_faces(BOX_FACES) is BOX_FACES
    assert count_double_faces(faces) == 2
    assert count_double_faces(BOX_FACES) == 0


# ------------------------------------------------------------------------------------- cavities, doubles


@pytest.mark.parametrize("form", [tuple, soup], ids=["shared", "soup"])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_an_inside_out_body_in_the_notch_of_another_is_no_cavity(form, seed):
    first, second = notched()
    np.testing.assert_allclose(com_of(form(joined(first, second)), seed), (2.6, 2.6, 0.5), atol=1e-12)
    for mesh in (joined(first, flipped(second)), joined(flipped(first), second)):
        with pytest.raises(MeshError, match=r"1 body of the mesh is inside out .* around \("):
            make_solid_record("x", *turned(form(mesh), seed))


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_an_inside_out_body_that_shares_a_vertex_with_another_is_refused(seed):
    """As one file with common vertices, the two are one body for whoever goes from vertex to vertex."""
    shared = np.concatenate([BOX_FACES, np.where(BOX_FACES == 0, 7, BOX_FACES + 8)])
    vertices = np.concatenate([2 * BOX - 1, 0.5 * BOX + 1])
    assert com_of((vertices, shared), seed) == pytest.approx((8 * 0 + 0.125 * 1.25) / 8.125)
    shared[12:] = shared[12:, ::-1]
    with pytest.raises(MeshError, match="1 body of the mesh is inside out"):
        com_of((vertices, shared), seed)


def test_a_cavity_that_touches_the_outside_in_a_vertex():
    shared = np.concatenate([BOX_FACES, np.where(BOX_FACES == 0, 0, BOX_FACES + 8)[:, ::-1]])
    vertices = np.concatenate([BOX, 0.2 + 0.3 * BOX])
    a, b, c = vertices[shared].transpose(1, 0, 2)
    six = np.einsum("fd,fd->f", a, np.cross(b, c))
    solid = make_solid_record("x", vertices, shared)
    assert solid.volume == pytest.approx(six.sum() / 6)
    np.testing.assert_allclose(solid.com, six @ (a + b + c) / (4 * six.sum()))


def test_a_cavity_that_sticks_out_is_refused():
    host = plane_box((0, 0, 0), (4, 4, 4))
    for corners in (((1, 1, 1), (2, 2, 5)), ((-0.1, 1, 1), (3, 2, 2))):
        with pytest.raises(MeshError, match="inside out"):
            make_solid_record("x", *joined(host, flipped(plane_box(*corners))))


def test_a_body_in_a_cavity_and_a_cavity_in_it():
    boxes = [plane_box((s, s, s), (8 - s, 8 - s, 8 - 1.5 * s)) for s in range(4)]
    mesh = joined(*(flipped(box) if i % 2 else box for i, box in enumerate(boxes)))
    volumes = np.array([(8 - 2 * s) ** 2 * (8 - 2.5 * s) * (-1) ** s for s in range(4)])
    middles = np.array([(4, 4, 4 - s / 4) for s in range(4)])
    np.testing.assert_allclose(com_of(mesh), volumes @ middles / volumes.sum(), atol=1e-12)
    np.testing.assert_allclose(com_of(soup(mesh), 3), volumes @ middles / volumes.sum(), atol=1e-12)


@pytest.mark.parametrize("seed", [None, 0])
def test_a_body_that_is_there_twice_is_refused(seed):
    two = (plane_box((0, 0, 0), (1, 1, 1)), plane_box((3, 0, 0), (4, 2, 1)))
    np.testing.assert_allclose(com_of(joined(*two), seed), (2.5, 5 / 6, 0.5), atol=1e-12)
    with pytest.raises(MeshError, match=r"the mesh holds a body twice, around \("):
        make_solid_record("x", *turned(joined(*two, two[0]), seed))
    with pytest.raises(MeshError, match="12 faces occur twice"):
        make_solid_record("x", *turned(soup(joined(*two, two[0])), seed))
    nearly = two[0][0] + 1e-7 * np.random.default_rng(0).normal(size=(8, 3))  # from another export
    with pytest.raises(MeshError, match=r"holds a body twice|lies inside another"):
        make_solid_record("x", *turned(joined(*two, (nearly, BOX_FACES)), seed))
    with pytest.raises(MeshError, match="holds a body twice"):
        make_solid_record("x", *turned(joined(*two, (BOX, OTHER_CUT)), seed))


@pytest.mark.parametrize("form", [tuple, soup], ids=["shared", "soup"])
@pytest.mark.parametrize("seed", [None, 0])
def test_a_body_inside_another_and_wound_like_it_is_refused(form, seed):
    mesh = joined(plane_box((0, 0, 0), (4, 4, 4)), plane_box((0.5, 1, 1), (1.5, 3, 3)))
    with pytest.raises(MeshError, match="lies inside another and is wound like it"):
        make_solid_record("x", *turned(form(mesh), seed))
    ball = cap(np.pi)
    with pytest.raises(MeshError, match="lies inside another and is wound like it"):
        make_solid_record("x", *turned(joined(ball, (0.3 * ball[0] + 0.1, ball[1])), seed))


def test_bodies_that_overlap_partly_are_a_documented_limit():
    mesh = joined(plane_box((0, 0, 0), (2, 2, 2)), plane_box((1, 1, 1), (3, 3, 3)))
    np.testing.assert_allclose(com_of(mesh), (1.5, 1.5, 1.5), atol=1e-12)


def test_a_centre_of_mass_outside_the_hull_is_refused():
    """A self-crossing surface of one body, whose lobes are wound oppositely."""
    ring = np.array([(0, 0), (4, 0), (4, 2), (0, 2)], float)
    vertices = np.array([(x, y, z) for z in (0, 1) for x, y in ring])
    vertices[[1, 2, 5, 6]] = vertices[[2, 1, 6, 5]]  # a bow tie
    vertices[[0, 4], 1] -= 0.2
    faces = [[0, 3, 2], [0, 2, 1], [4, 5, 6], [4, 6, 7]]
    faces += [[i, (i + 1) % 4, (i + 1) % 4 + 4] for i in range(4)] + [
        [i, (i + 1) % 4 + 4, i + 4] for i in range(4)
    ]
    with pytest.raises(MeshError, match="centre of mass would lie outside its convex hull"):
        make_solid_record("x", vertices, np.array(faces))


# --------------------------------------------------------------------------------------------- tools


def test_winding_numbers_agree_with_boxes():
    rng = np.random.default_rng(0)
    boxes, inside = [], 0
    points = rng.uniform(-1, 3, (3000, 3))
    for _ in range(8):
        low = rng.uniform(-0.5, 1.5, 3)
        high = low + rng.uniform(0.2, 1, 3)
        turn = rng.choice([-1, 1])
        boxes.append(plane_box(low, high) if turn > 0 else flipped(plane_box(low, high)))
        inside = inside + turn * ((points > low) & (points < high)).all(axis=1)
    np.testing.assert_array_equal(winding_numbers(points, *joined(*boxes)), inside)
    np.testing.assert_array_equal(winding_numbers(points[:1], *joined(*boxes)), inside[:1])


def test_a_point_is_in_the_hull_or_not():
    rng = np.random.default_rng(0)
    for scale in (np.ones(3), np.array([1, 1, 1e-5])):
        vertices = rng.uniform(-1, 1, (500, 3)) * scale
        weights = rng.dirichlet(np.full(500, 0.01), 50)
        assert all(is_in_hull(weight @ vertices, vertices) for weight in weights)
        away = rng.normal(size=(50, 3)) / scale
        reach = (vertices @ away.T).max(axis=0)
        for direction, far in zip(away, reach, strict=True):
            assert not is_in_hull(direction * far * 1.01 / (direction @ direction), vertices)


def test_edges_that_balance_have_no_boundary():
    assert inspect_edges(np.concatenate([BOX_FACES, BOX_FACES])) == (
        "more than two faces meet at 18 edges",
        True,
    )
    assert inspect_edges(BOX_FACES[1:]) == ("open at 3 boundary edges", False)
