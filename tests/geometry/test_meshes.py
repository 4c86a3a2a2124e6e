"""Meshes: the truth about bodies whose truth is known, the laws it obeys, and what is refused."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from plumbline.errors import InputError, MeshError
from plumbline.geometry.mesh_files import find_meshes
from plumbline.geometry.meshes import load_mesh, make_solid_record
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.spheres import bounding_sphere
from plumbline.geometry.surfaces import open_reason, shell_centroid, solid_properties, winding_numbers

BOX = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
BOX_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 5, 1], [0, 4, 5]]
    + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 7, 3], [1, 5, 7]]
)


def lathe(profile, segments=256):
    """Revolve (radius, z) points that start and end on the axis, independently of the project."""
    angle = np.arange(segments) * 2 * np.pi / segments
    rings = [[(r * np.cos(a), r * np.sin(a), z) for a in angle] for r, z in profile[1:-1]]
    vertices = np.concatenate([[(0, 0, profile[0][1])], *rings, [(0, 0, profile[-1][1])]])
    left = 1 + np.arange(len(rings) * segments).reshape(len(rings), segments)
    right = np.roll(left, -1, axis=1)
    south, north = np.zeros(segments, int), np.full(segments, len(vertices) - 1)
    faces = [np.stack([south, right[0], left[0]], -1), np.stack([left[-1], right[-1], north], -1)]
    faces.append(np.stack([left[:-1], right[:-1], right[1:]], -1).reshape(-1, 3))
    faces.append(np.stack([left[:-1], right[1:], left[1:]], -1).reshape(-1, 3))
    return vertices, np.concatenate(faces)


def cap(polar):
    """The part of the unit sphere within an angle of +z, closed by a flat bottom."""
    angles = np.linspace(polar, 0, 128)[1 if polar == np.pi else 0 : -1]
    return lathe([(0, np.cos(polar)), *zip(np.sin(angles), np.cos(angles), strict=True), (0, 1)])


def blob(rng):
    """A lopsided star-shaped body somewhere near the origin."""
    vertices, faces = lathe([(0, -1), (0.7, -0.7), (1, 0), (0.7, 0.7), (0, 1)], 24)
    swollen = vertices * np.exp(0.4 * np.sin(vertices @ rng.normal(0, 1.5, (3, 1)) + 1))
    return swollen + rng.normal(0, 1, 3), faces


def joined(*meshes):
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in meshes])
    faces = [faces + start for (_, faces), start in zip(meshes, starts, strict=False)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces)


def torus(num=256):
    mesh = trimesh.creation.torus(2.0, 0.5, major_sections=num, minor_sections=num)
    return np.array(mesh.vertices), np.array(mesh.faces)


def plane_box(*corners):
    """The box between two corners."""
    low, high = np.array(corners, float)
    return low + BOX * (high - low), BOX_FACES


CLOSED_FORMS = {
    "box": (plane_box((0, 0, 0), (1, 2, 3)), 6, (0.5, 1, 1.5), 1e-14),
    "sphere": (cap(np.pi), np.pi * 4 / 3, (0, 0, 0), 1e-3),
    "hemisphere": (cap(np.pi / 2), np.pi * 2 / 3, (0, 0, 3 / 8), 1e-3),
    "cone": (lathe([(0, 0), (1, 0), (0, 4)]), np.pi * 4 / 3, (0, 0, 1), 1e-3),
    "torus": (torus(), 2 * np.pi**2 * 2 * 0.5**2, (0, 0, 0), 1e-3),
    "L of two touching boxes": (
        joined(plane_box((0, 0, 0), (2, 1, 1)), plane_box((0, 1, 0), (1, 3, 1))),
        4,
        (0.75, 1.25, 0.5),
        1e-14,
    ),
    "box with an off-centre cavity": (
        joined(plane_box((0, 0, 0), (2, 2, 2)), (BOX + [0.1, 0.2, 0.9], BOX_FACES[:, ::-1])),
        7,
        ((8 - 0.6) / 7, (8 - 0.7) / 7, (8 - 1.4) / 7),
        1e-14,
    ),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_volume_and_centre_of_mass_of_closed_forms(name):
    (vertices, faces), volume, com, tolerance = CLOSED_FORMS[name]
    solid = make_solid_record(name, vertices, faces)
    assert solid.volume == pytest.approx(volume, rel=tolerance)
    np.testing.assert_allclose(solid.com, com, atol=tolerance)


def test_cone_is_exact_for_its_own_polygon():
    """Any pyramid has its centre of mass at a quarter of its height, however coarse its base."""
    solid = make_solid_record("pyramid", *lathe([(0, 0), (1, 0), (0, 4)], 5))
    np.testing.assert_allclose(solid.com, (0, 0, 1), atol=1e-15)
    assert solid.volume == pytest.approx(4 / 3 * 2.5 * np.sin(2 * np.pi / 5), rel=1e-15)


def test_agrees_with_a_count_of_random_points():
    """An independent method: a star-shaped body is sampled by rejection along its radius."""
    rng = np.random.default_rng(0)
    vertices, faces = blob(rng)
    middle = vertices.mean(axis=0)
    mesh = trimesh.Trimesh(vertices, faces)
    low, high = mesh.bounds
    points = rng.uniform(low, high, (20000, 3))
    a, b, c = (vertices - middle)[faces.T]
    inverse = np.linalg.inv(np.stack([a, b, c], -1))
    inside = np.zeros(len(points), bool)
    for cone in inverse:
        weights = (points - middle) @ cone.T
        inside |= (weights.min(axis=1) >= 0) & (weights.sum(axis=1) <= 1)
    volume, com = solid_properties(vertices, faces)
    assert volume == pytest.approx(inside.mean() * np.prod(high - low), rel=0.03)
    np.testing.assert_allclose(com, points[inside].mean(axis=0), atol=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_rigid_motion_mirror_and_scale_laws(seed):
    rng = np.random.default_rng(seed)
    vertices, faces = blob(rng)
    volume, com = solid_properties(vertices, faces)
    shell = shell_centroid(vertices, faces)
    centre, radius = bounding_sphere(vertices)
    for linear in (random_rotation(rng), np.diag([-1, 1, 1]) @ random_rotation(rng), 7.5 * np.eye(3)):
        shift = rng.normal(0, 1, 3)
        moved = vertices @ linear.T + shift
        new_volume, new_com = solid_properties(moved, faces)
        size = abs(np.linalg.det(linear)) ** (1 / 3)
        np.testing.assert_allclose(new_volume, volume * np.linalg.det(linear), rtol=1e-12)
        np.testing.assert_allclose(new_com, linear @ com + shift, atol=1e-12 * size * radius)
        np.testing.assert_allclose(
            shell_centroid(moved, faces), linear @ shell + shift, atol=1e-12 * size * radius
        )
        new_centre, new_radius = bounding_sphere(moved)
        np.testing.assert_allclose(new_radius, size * radius, rtol=1e-12)
        np.testing.assert_allclose(new_centre, linear @ centre + shift, atol=1e-9 * size * radius)


def test_far_from_the_origin_no_digits_are_lost():
    vertices, faces = blob(np.random.default_rng(1))
    vertices = np.round(vertices * 2**20) / 2**20  # so that the shift itself rounds nothing
    shift = np.array([2.0**20, -(2.0**21), 2.0**19])
    volume, com = solid_properties(vertices, faces)
    far_volume, far_com = solid_properties(vertices + shift, faces)
    assert far_volume == pytest.approx(volume, rel=1e-12)
    np.testing.assert_allclose(far_com - shift, com, atol=1e-9)


# -------------------------------------------------------------------------------------------- shells


def test_last_bits_do_not_hang_on_the_number_of_threads():
    code = """
import numpy as np
from plumbline.geometry.surfaces import shell_centroid, solid_properties
vertices = np.random.default_rng(0).normal(size=(100_000, 3))
faces = np.random.default_rng(1).integers(0, 100_000, (200_000, 3))
print(solid_properties(vertices, faces)[1].tobytes().hex(), shell_centroid(vertices, faces).tobytes().hex())
"""
    said = set()
    for threads in ("1", "2", "7"):
        env = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        said.add(
            subprocess.run(
                [sys.executable, "-c", code], env=env, check=True, capture_output=True, timeout=300
            ).stdout
        )
    assert len(said) == 1


def test_shell_of_an_open_box_and_an_open_cone():
    open_box = BOX_FACES[[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]  # without the two faces at z = 1
    np.testing.assert_allclose(shell_centroid(BOX, open_box), (0.5, 0.5, 2 / 5), atol=1e-15)
    vertices, faces = lathe([(0, 0), (1, 0), (0, 3)], 512)
    slope = faces[512:]
    np.testing.assert_allclose(shell_centroid(vertices, slope), (0, 0, 1), atol=1e-12)


def test_shell_target_takes_open_meshes_and_says_so_by_their_volume(tmp_path):
    path = tmp_path / "sheet.ply"
    trimesh.Trimesh(BOX, BOX_FACES[:10], process=False).export(path)
    solid = load_mesh(path, name="sheet", target="shell", scale=2.0)
    np.testing.assert_allclose(solid.com, (1, 1, 0.8), atol=1e-12)
    assert solid.volume == 0.0
    trimesh.Trimesh(BOX, BOX_FACES, process=False).export(path)
    assert load_mesh(path, name="box", target="shell").volume == pytest.approx(1)
    with pytest.raises(MeshError, match="no area"):
        shell_centroid(np.zeros((3, 3)), np.array([[0, 1, 2]]))


# ------------------------------------------------------------------------------------------ refusals


def test_open_reason_counts_what_is_wrong():
    assert open_reason(BOX_FACES) is None
    assert open_reason(BOX_FACES[:, ::-1]) is None
    assert open_reason(BOX_FACES[1:]) == "open at 3 boundary edges"
    flipped = BOX_FACES.copy()
    flipped[0] = flipped[0, ::-1]
    assert open_reason(flipped) == "faces are wound against each other across 3 edges"
    fin = np.concatenate([BOX_FACES, [[0, 1, 8]]])
    assert open_reason(fin) == "open at 2 boundary edges, more than two faces meet at 1 edge"
    assert open_reason(np.concatenate([BOX_FACES, BOX_FACES])) == "more than two faces meet at 18 edges"
    assert open_reason(np.zeros((0, 3), int)) == "there are no faces"


@pytest.mark.parametrize("drop", range(12))
def test_any_missing_or_flipped_face_is_refused(drop):
    with pytest.raises(MeshError, match="open at 3 boundary edges"):
        make_solid_record("x", BOX, np.delete(BOX_FACES, drop, axis=0))
    flipped = BOX_FACES.copy()
    flipped[drop] = flipped[drop, ::-1]
    with pytest.raises(MeshError, match="wound against each other across 3 edges"):
        make_solid_record("x", BOX, flipped)


def test_inside_out_is_turned():
    vertices, faces = blob(np.random.default_rng(2))
    right, turned = make_solid_record("a", vertices, faces), make_solid_record("b", vertices, faces[:, ::-1])
    np.testing.assert_allclose(turned.com, right.com, atol=1e-14)
    assert right.volume > 0
    assert turned.volume == pytest.approx(right.volume, rel=1e-14)
    assert solid_properties(turned.vertices, turned.faces)[0] > 0


def test_a_body_inside_out_beside_another_is_refused():
    beside = joined((2 * BOX, BOX_FACES), (0.5 * BOX + [1.8, 0, 0], BOX_FACES[:, ::-1]))
    with pytest.raises(MeshError, match="inside out"):
        make_solid_record("x", *beside)


def test_bodies_that_touch_along_an_edge_stay_two_bodies():
    solid = make_solid_record("x", *joined((BOX, BOX_FACES), (BOX + [1, 1, 0], BOX_FACES)))
    assert solid.volume == pytest.approx(2)


def test_triangle_soup_slivers_and_loose_vertices_are_harmless():
    soup, faces = BOX[BOX_FACES].reshape(-1, 3), np.arange(36).reshape(12, 3)
    solid = make_solid_record(
        "soup", np.concatenate([soup, [[9, 9, 9]]]), np.concatenate([faces, [[0, 0, 1]]])
    )
    assert len(solid.vertices) == 8
    np.testing.assert_allclose(solid.com, (0.5, 0.5, 0.5), atol=1e-15)
    assert solid.bounding_radius == pytest.approx(np.sqrt(3) / 2, rel=1e-12)


@pytest.mark.parametrize(
    ("vertices", "faces", "reason"),
    [
        (BOX, np.zeros((0, 3), int), "no faces"),
        (np.where(BOX[3] == BOX, np.nan, BOX), BOX_FACES, "not finite"),
        (np.where(BOX > 0.5, np.inf, BOX), BOX_FACES, "not finite"),
        (BOX * 1e13, BOX_FACES, r"1e\+13 m is too large"),
        (BOX * 1e100, BOX_FACES, r"1e\+100 m is too large"),
        (BOX * 1e160, BOX_FACES, r"1e\+160 m is too large"),
        (BOX * [1, 1, 0], BOX_FACES, "no volume"),
        (BOX * [1, 1, 1e-14], BOX_FACES, "no volume"),
        (BOX[:7], BOX_FACES, "faces use vertices 0 to 7, but there are only 7"),
        (BOX, BOX_FACES - 1, "faces use vertices -1 to 6"),
        (BOX[:, :2], BOX_FACES, "must be"),
    ],
)
def test_meshes_without_a_trustworthy_centre_are_refused(vertices, faces, reason):
    with pytest.raises(MeshError, match=reason):
        make_solid_record("x", vertices, faces)


BROKEN_FILES = {
    "empty.stl": b"",
    "text.obj": b"not a mesh at all\n",
    "noise.glb": bytes(range(256)) * 4,
    "huge.stl": b"\0" * 80 + b"\xff\xff\xff\x7f" + b"\0" * 50,
    "huge.ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\n"
    b"property float y\nproperty float z\nelement face 1\nproperty list uchar int vertex_indices\n"
    b"end_header\n\0\0",
    "points.ply": b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
    b"property float z\nend_header\n0 0 0\n",
    "index.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99\n",
    "cut.off": b"OFF\n8 12 0\n0 0 0\n",
    "nan.obj": b"v 0 0 0\nv nan 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n",
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_broken_files_are_refused_in_one_sentence_that_names_them(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(BROKEN_FILES[name])
    with pytest.raises(MeshError) as caught:
        load_mesh(path, name="x")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_scale_and_target_must_make_sense(tmp_path):
    path = tmp_path / "box.off"
    trimesh.Trimesh(BOX, BOX_FACES).export(path)
    for scale in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="scale"):
            load_mesh(path, name="x", scale=scale)
    with pytest.raises(InputError, match="target"):
        load_mesh(path, name="x", target="hollow")


# --------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("suffix", ["obj", "off", "stl", "ply", "glb", "gltf", "3mf"])
def test_every_format_gives_the_same_centre(suffix, tmp_path):
    if suffix == "3mf":
        pytest.importorskip("lxml")
        pytest.importorskip("networkx")
    vertices, faces = blob(np.random.default_rng(3))
    expected = make_solid_record("x", vertices * 0.001, faces)
    path = tmp_path / "deep" / f"Blob.{suffix.upper() if suffix == 'stl' else suffix}"
    path.parent.mkdir()
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    if suffix == "gltf":
        for name, data in mesh.export(file_type="gltf").items():
            (path.parent / name.replace("model.gltf", path.name)).write_bytes(data)
    else:
        mesh.export(path, file_type=suffix)
    [found] = find_meshes([tmp_path])
    assert found.name == "deep/Blob"
    solid = load_mesh(found.path, name=found.name, scale=0.001)
    np.testing.assert_allclose(solid.com, expected.com, atol=1e-6 * expected.bounding_radius)
    assert solid.volume == pytest.approx(expected.volume, rel=1e-5)
    assert solid.name == "deep/Blob"


def test_a_scene_is_one_mesh_with_its_parts_in_place(tmp_path):
    scene = trimesh.Scene()
    box = trimesh.Trimesh(BOX, BOX_FACES)
    mirror = np.diag([-1.0, 1, 1, 1])
    mirror[:3, 3] = (5, 0, 0)
    scene.add_geometry(box, transform=np.diag([2.0, 2, 2, 1]))
    scene.add_geometry(box, transform=mirror)
    scene.export(tmp_path / "scene.glb")
    solid = load_mesh(tmp_path / "scene.glb", name="scene")
    assert solid.volume == pytest.approx(9)
    np.testing.assert_allclose(solid.com, ((8 * 1 + 4.5) / 9, 8.5 / 9, 8.5 / 9), atol=1e-6)


def test_texture_seams_are_joined(tmp_path):
    lines = [f"v {x} {y} {z}" for x, y, z in BOX] + [f"vt {i / 36} 0.5" for i in range(36)]
    lines += [
        "f " + " ".join(f"{v + 1}/{3 * i + k + 1}" for k, v in enumerate(f)) for i, f in enumerate(BOX_FACES)
    ]
    (tmp_path / "seams.obj").write_text("\n".join(lines))
    assert load_mesh(tmp_path / "seams.obj", name="x").volume == pytest.approx(1)


def test_real_meshes_agree_with_their_manifest(shared_meshes):
    with (shared_meshes / "dev" / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in np.random.default_rng(5).choice(rows, 60, replace=False):
        solid = load_mesh(shared_meshes / "dev" / row["file"], name=row["name"])
        radius = float(row["bounding_radius"])
        com = [float(row[f"com_{axis}"]) for axis in "xyz"]
        np.testing.assert_allclose(solid.com, com, atol=1e-6 * radius, err_msg=row["file"])
        assert solid.volume == pytest.approx(float(row["volume"]), rel=1e-6)
        # The manifest's sphere encloses too, but is not always the smallest.
        assert solid.bounding_radius <= radius * (1 + 1e-6)
        assert solid.bounding_radius >= 0.7 * radius


def test_counts_of_one_are_not_plural():
    vertices, faces = trimesh.creation.box().vertices.copy(), trimesh.creation.box().faces
    vertices[0, 0] = np.nan
    with pytest.raises(MeshError, match=r"^1 vertex is not finite"):
        make_solid_record("a", vertices, faces)
    vertices[3, 0] = np.nan
    with pytest.raises(MeshError, match=r"^2 vertices are not finite"):
        make_solid_record("a", vertices, faces)


# ------------------------------------------------------------------------------------------- inertia


def test_inertia_of_closed_forms():
    """Per unit mass: a box of sides a, b, c has (b^2 + c^2) / 12 about x, a ball 2/5 r^2."""
    box = make_solid_record("box", *plane_box((3, 4, 5), (4, 6, 8)))
    np.testing.assert_allclose(box.inertia, np.diag([13, 10, 5]) / 12, atol=1e-14)
    ball = make_solid_record("ball", *cap(np.pi))
    np.testing.assert_allclose(ball.inertia, 0.4 * np.eye(3), atol=1e-3)
    cone = make_solid_record("cone", *lathe([(0, 0), (1, 0), (0, 4)]))
    across = 3 / 20 + 3 / 80 * 16
    np.testing.assert_allclose(cone.inertia, np.diag([across, across, 0.3]), atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_inertia_turns_and_grows_with_the_body_and_a_shift_leaves_it(seed):
    rng = np.random.default_rng(seed)
    vertices, faces = blob(rng)
    before = make_solid_record("x", vertices, faces)
    turn = np.diag([-1, 1, 1]) @ random_rotation(rng)
    after = make_solid_record("x", 3 * vertices @ turn.T + rng.normal(size=3), faces)
    np.testing.assert_allclose(after.inertia, 9 * turn @ before.inertia @ turn.T, atol=1e-11)
    moments = np.linalg.eigvalsh(before.inertia)
    assert moments[2] < moments[0] + moments[1], "the triangle inequality of real bodies"


def test_inertia_agrees_with_a_count_of_random_points():
    vertices, faces = blob(np.random.default_rng(0))
    solid = make_solid_record("x", vertices, faces)
    points = np.random.default_rng(1).uniform(vertices.min(axis=0), vertices.max(axis=0), (40000, 3))
    inside = points[winding_numbers(points, solid.vertices, solid.faces) == 1] - solid.com
    second = inside.T @ inside / len(inside)
    np.testing.assert_allclose(solid.inertia, np.trace(second) * np.eye(3) - second, atol=0.02)
