"""Named bodies with densities: exact labels, the same in every format; bodies that have no mass refused."""

import numpy as np
import pytest
import trimesh

from plumbline.errors import InputError, MeshError
from plumbline.geometry.mesh_formats.parts import face_runs
from plumbline.geometry.mesh_formats.reading import read_mesh
from plumbline.geometry.meshes import load_mesh, make_solid_record
from plumbline.geometry.named_bodies import body_names
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rotations import random_directions, random_rotation
from tests.geometry.test_meshes import lathe
from tests.helpers import collada_files
from tests.helpers.gltf_scenes import Scene
from tests.helpers.named_meshes import FORMATS, block, flipped, joined, write_bodies
from tests.helpers.three_mf_files import box, component, composed, item, model, read, shift

CUBES = {"light": block((0, 0, 0), (1, 1, 1)), "heavy": block((1, 0, 0), (2, 1, 1))}
WEIGHTS = {"light": 1000.0, "heavy": 3000.0}


@pytest.mark.parametrize("form", FORMATS)
def test_two_cubes_have_their_exact_centre_and_inertia_in_every_format(form, tmp_path):
    path = write_bodies(tmp_path, form, CUBES)
    solid = load_mesh(path, name="x", densities=WEIGHTS)
    np.testing.assert_allclose(solid.com, (1.25, 0.5, 0.5), rtol=0, atol=1e-12)
    across = 1 / 6 + 0.25 * 0.75**2 + 0.75 * 0.25**2
    np.testing.assert_allclose(solid.inertia, np.diag([1 / 6, across, across]), rtol=0, atol=1e-12)
    assert solid.volume == pytest.approx(2, rel=1e-12)
    uniform = load_mesh(path, name="x")
    np.testing.assert_allclose(uniform.com, (1, 0.5, 0.5), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(solid.vertices[solid.faces], uniform.vertices[uniform.faces])
    assert solid.bounding_radius == uniform.bounding_radius


@pytest.mark.parametrize("form", FORMATS)
def test_equal_densities_give_the_uniform_label(form, tmp_path):
    path = write_bodies(tmp_path, form, CUBES)
    solid, uniform = load_mesh(path, name="x", densities=dict.fromkeys(CUBES, 7.0)), load_mesh(path, name="x")
    np.testing.assert_allclose(solid.com, uniform.com, rtol=0, atol=1e-12)
    np.testing.assert_allclose(solid.inertia, uniform.inertia, rtol=0, atol=1e-12)


def test_the_scale_moves_the_label_but_not_the_inertia_per_size(tmp_path):
    solid = load_mesh(write_bodies(tmp_path, "o.obj", CUBES), name="x", scale=0.1, densities=WEIGHTS)
    np.testing.assert_allclose(solid.com, (0.125, 0.05, 0.05), rtol=0, atol=1e-13)
    assert solid.inertia[0, 0] == pytest.approx(0.01 / 6, rel=1e-12)


def test_a_hammer_balances_near_its_steel_head(tmp_path):
    """A wooden handle through the eye of a steel head, both with the faces between them."""
    head = joined(*(block((-3, y, 8), (3, y + 1, 10)) for y in (-2, 1)), block((-3, -1, 8), (-1, 1, 10)),
                  block((1, -1, 8), (3, 1, 10)))  # fmt: skip
    path = write_bodies(tmp_path, "o.obj", {"head": head, "handle": block((-1, -1, 0), (1, 1, 10))})
    mass = np.array([7850.0 * 40, 700.0 * 40])
    expected = (mass @ [9, 5]) / mass.sum()
    solid = load_mesh(path, name="x", densities={"head": 7850.0, "handle": 700.0})
    np.testing.assert_allclose(solid.com, (0, 0, expected), rtol=0, atol=1e-12)
    assert load_mesh(path, name="x").com[2] == pytest.approx(7)


# ------------------------------------------------------------------------------------- bottles


def cylinder(radius, low, high):
    return lathe([(0, low), (radius, low), (radius, high), (0, high)], 64)


def bottle(level):
    """A closed glass with a cavity, and its content up to a level."""
    glass = joined(cylinder(1, 0, 3), flipped(cylinder(0.5, 0.5, 2.5)))
    return {"glass": glass, "content": cylinder(0.5, 0.5, level)}


@pytest.mark.parametrize("level", [2.5, 1.3])
@pytest.mark.parametrize("turn", ["as it is", "content inside out", "glass inside out", "soup"])
def test_a_bottle_with_its_content(level, turn, tmp_path):
    bodies = bottle(level)
    if turn == "soup":
        bodies = {
            name: (vertices[faces].reshape(-1, 3), np.arange(faces.size).reshape(-1, 3))
            for name, (vertices, faces) in bodies.items()
        }
    elif turn != "as it is":
        bodies[turn.split()[0]] = flipped(bodies[turn.split()[0]])
    path = write_bodies(tmp_path, "o.obj", bodies)
    solid = load_mesh(path, name="x", densities={"glass": 2500.0, "content": 1000.0})
    area = 32 * np.sin(2 * np.pi / 64)  # of the polygon in the unit circle
    outer, cavity, content = 3 * area, 2 * area / 4, (level - 0.5) * area / 4
    moment = 2500 * (outer - cavity) * 1.5 + 1000 * content * (0.5 + level) / 2
    np.testing.assert_allclose(
        solid.com, (0, 0, moment / (2500 * (outer - cavity) + 1000 * content)), rtol=0, atol=1e-12
    )
    assert solid.volume == pytest.approx(outer - cavity + content, rel=1e-12)


def test_sensors_see_the_outside_of_a_bottle_only(tmp_path):
    path = write_bodies(tmp_path, "o.obj", bottle(2.5))
    solid = load_mesh(path, name="x", densities={"glass": 2500.0, "content": 1000.0})
    outside = make_solid_record("x", *cylinder(1, 0, 3))
    towards = random_directions(np.random.default_rng(0), 500)
    start = solid.bounding_centre - 5 * towards
    seen, face = Caster(solid.vertices, solid.faces).first_hits(start, towards)
    expected, _ = Caster(outside.vertices, outside.faces).first_hits(start, towards)
    assert (face >= 0).all()
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-9)
    a, b, c = solid.vertices[solid.faces[face]].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    assert (np.einsum("rd,rd->r", normals, towards) < 0).all(), "they are wound outwards"


def test_content_of_another_tessellation_that_stays_clear_of_the_glass_is_accepted(tmp_path):
    bodies = bottle(2.5)
    bodies["content"] = lathe([(0, 0.5), (0.49, 0.5), (0.49, 2), (0, 2)], 24)
    assert load_mesh(write_bodies(tmp_path, "o.obj", bodies), name="x", densities={"glass": 2, "content": 1})


@pytest.mark.parametrize("seed", range(4))
def test_rounded_coordinates_of_surfaces_that_touch_are_no_overlap(seed, tmp_path):
    turn = random_rotation(np.random.default_rng(seed))
    bodies = {
        name: ((vertices @ turn.T).astype(np.float32).astype(float), faces)
        for name, (vertices, faces) in bottle(1.3).items()
    }
    solid = load_mesh(write_bodies(tmp_path, "o.obj", bodies), name="x", densities={"glass": 2, "content": 1})
    assert np.linalg.norm((solid.com @ turn)[:2]) < 1e-6


# ------------------------------------------------------------------------------------- names


def test_faces_of_one_name_are_one_body_wherever_they_are_in_the_file(tmp_path):
    one, other = block((0, 0, 0), (1, 1, 1)), block((1, 0, 0), (2, 1, 1))
    vertices, faces = joined(one, other)
    lines = ["v " + " ".join(map(repr, row)) for row in vertices.tolist()]
    for row, name in zip((faces + 1).tolist(), ["my  light "] * 12 + ["heavy"] * 12, strict=True):
        lines.append(f"g {name}\nf " + " ".join(map(str, row)))
    (tmp_path / "a.obj").write_text("\n".join([*lines[:8], *lines[8:16], *lines[16::2], *lines[17::2]]))
    solid = load_mesh(tmp_path / "a.obj", name="x", densities={"my light": 1000.0, "heavy": 3000.0})
    np.testing.assert_allclose(solid.com, (1.25, 0.5, 0.5), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("o one", "o two"), ["one", "two"]),
        (("o one\ng a", "o two\ng b"), ["one", "two"]),
        (("o one\ng a", "g b"), ["a", "b"]),
        (("o one", ""), ["one"]),
        (("g", "g b c"), ["", "b c"]),
        (("", "o two"), ["", "two"]),
        (("", ""), [""]),
        (("o Möbel", "o Möbel"), ["Möbel"]),
    ],
)
def test_objects_name_the_bodies_of_obj_files_or_else_groups(words, names, tmp_path):
    vertices = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
    text = f"{vertices}{words[0]}\nf 1 2 3 4\n{words[1]}\nf 4 3 2 1\nf 1 3 4\n"
    (tmp_path / "a.obj").write_text(text, encoding="utf-8")
    content = read_mesh(tmp_path / "a.obj")
    assert body_names(content) == names
    if len(names) == 2:
        assert [tuple(run) for run in content.runs] == [(names[0], 0, 2), (names[1], 2, 5)]


def test_names_of_nodes_go_before_names_of_meshes_in_gltf(tmp_path):
    scene = Scene(tmp_path)
    mesh = scene.box()
    scene.root["meshes"][mesh]["name"] = "brick"
    scene.node(mesh=mesh, name="left")
    scene.node(mesh=mesh)
    scene.node(mesh=mesh, name=7)
    assert [tuple(run) for run in scene.read().runs] == [("left", 0, 12), ("brick", 12, 36)]


def test_names_go_before_ids_in_collada(tmp_path):
    plain = collada_files.geometry()
    named = plain.replace('id="g"', 'id="h" name="brick"')
    nodes = "".join(
        f'<node {node}><instance_geometry url="#{url}"/></node>'
        for node, url in (('id="n" name="left"', "g"), ('id="m"', "g"), ('id="o"', "h"), ("", "g"))
    )
    path = collada_files.write(tmp_path, collada_files.dae(nodes, plain + named))
    assert [run.body for run in read_mesh(path).runs] == ["left", "m", "brick", "g"]


def test_components_of_3mf_have_their_own_name_or_that_around_them(tmp_path):
    parts = box(1, attributes='name="wheel"') + box(2)
    whole = composed(3, component(1), component(2, shift(3))).replace('id="3"', 'id="3" name="cart"')
    content = read(tmp_path, model(parts + whole, item(3) + item(2, shift(6))))
    assert [tuple(run) for run in content.runs] == [("wheel", 0, 12), ("cart", 12, 24), ("", 24, 36)]


def test_runs_of_empty_parts_are_left_out():
    assert face_runs(["a", "b", "a", "a "], [2, 0, 3, 1]) == (("a", 0, 6),)
    assert face_runs(["", "b"], [0, 4]) == (("b", 0, 4),)


def test_a_file_without_names_has_one_body(tmp_path):
    trimesh.Trimesh(*block((0, 0, 0), (1, 1, 1))).export(tmp_path / "a.stl")
    solid = load_mesh(tmp_path / "a.stl", name="x", densities={"": 5.0})
    np.testing.assert_allclose(solid.com, 0.5, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------- refusals


def lidless(mesh):
    return mesh[0], mesh[1][2:]


@pytest.mark.parametrize(
    ("bodies", "reason"),
    [
        (
            {"light": CUBES["light"], "heavy": lidless(CUBES["heavy"])},
            "'heavy': the mesh has no inside: open at 4 boundary edges; repair it, since a body with a "
            "density must be closed",
        ),
        (
            {"light": CUBES["light"], "heavy": block((0.5, 0, 0), (2, 1, 1))},
            r"bodies 'light' and 'heavy' overlap around \(0.75, 0.5, 0.5\) m",
        ),
        ({"light": CUBES["light"], "heavy": CUBES["light"]}, "bodies 'light' and 'heavy' overlap"),
        (
            {"light": block((0, 0, 0), (3, 3, 3)), "heavy": block((1, 1, 1), (2, 2, 2))},
            r"bodies 'light' and 'heavy' overlap around \(1.5, 1.5, 1.5\) m, .* cut a cavity into one",
        ),
        (
            {"light": block((0, 0, 0), (3, 3, 3)), "heavy": flipped(block((1, 1, 1), (2, 2, 2)))},
            "bodies 'light' and 'heavy' overlap",
        ),
        ({"light": joined(*[CUBES["light"]] * 2), "heavy": CUBES["heavy"]}, "'light': .* twice"),
        ({"light": CUBES["light"], "other": CUBES["heavy"]}, "'other' has no density"),
    ],
)
def test_bodies_without_a_mass_of_their_own_are_refused(bodies, reason, tmp_path):
    with pytest.raises(MeshError, match=reason):
        load_mesh(write_bodies(tmp_path, "o.obj", bodies), name="x", densities=WEIGHTS)


@pytest.mark.parametrize("density", [0, -1.0, np.inf, np.nan])
def test_a_density_is_finite_and_above_0(density, tmp_path):
    path = write_bodies(tmp_path, "o.obj", CUBES)
    with pytest.raises(InputError, match="the density of 'heavy' must be above 0"):
        load_mesh(path, name="x", densities=WEIGHTS | {"heavy": density})


def test_a_shell_has_no_densities(tmp_path):
    with pytest.raises(InputError, match="a shell has no densities"):
        load_mesh(write_bodies(tmp_path, "o.obj", CUBES), name="x", target="shell", densities=WEIGHTS)
