"""The reader of dae and zae files: everything in the scene is read in its place."""

import time

import numpy as np
import pytest

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.collada import read_dae
from plumbline.geometry.meshes import load_mesh
from plumbline.geometry.surfaces import inspect_edges, solid_properties
from tests.helpers.collada_files import (
    BRICK,
    CENTRE,
    INPUT,
    PLACED,
    QUADS,
    QUADS_XML,
    dae,
    geometry,
    mesh,
    names,
    skin,
    source,
    words,
    write,
)


def measure(content):
    """Volume and centre of a closed mesh with consistent winding."""
    assert inspect_edges(content.faces).reason is None
    volume, centre = solid_properties(content.vertices, content.faces)
    return [volume, *centre]


def check(folder, text, volume=6.0, centre=CENTRE, notes=()):
    content = read_dae(write(folder, text))
    np.testing.assert_allclose(measure(content), [volume, *centre], atol=1e-12)
    assert content.notes == tuple(notes)


# -------------------------------------------------------------------------------------- primitives


def lists(rows, tag="p"):
    return "".join(f"<{tag}>{words(row)}</{tag}>" for row in rows)


TRIANGLES = [[q[0], *pair] for q in QUADS for pair in (q[1:3], q[2:4])]
PRIMITIVES = {
    "triangles": f'<triangles count="12">{INPUT}<p>{words(TRIANGLES)}</p></triangles>',
    "triangles in two elements": f'<triangles count="4">{INPUT}<p>{words(TRIANGLES[:4])}</p></triangles>'
    f'<triangles material="none">{INPUT}<p>{words(TRIANGLES[4:])}</p></triangles>'
    f'<triangles count="0">{INPUT}</triangles>',
    "polylist": QUADS_XML,
    "polygons": f'<polygons count="6">{INPUT}{lists(QUADS)}</polygons>',
    "strips": f'<tristrips count="4">{INPUT}{lists([[0, 2, 4, 6, 5, 7, 1, 3, 0, 2]])}'
    f"{lists([[0, 4, 1, 5], [2, 3, 6, 7]])}<p></p></tristrips>",
    "fans": f'<trifans count="6">{INPUT}{lists(QUADS)}</trifans>',
    "lines too": f'{QUADS_XML}<lines count="1">{INPUT}<p>0 7</p></lines>'
    f'<linestrips count="1">{INPUT}<p>0 7</p></linestrips>',
    "other inputs": f'<triangles count="12"><input semantic="NORMAL" source="#none" offset="0"/>'
    '<input semantic="TEXCOORD" source="none" offset="2" set="1"/>'
    '<input semantic="VERTEX" source="#v" offset="1"/>'
    '<input semantic="COLOR" source="#none" offset="1"/>'
    f"<p>{words([[99, corner, 98] for corner in np.ravel(TRIANGLES)])}</p></triangles>",
}  # fmt: skip


@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitives(tmp_path, name):
    check(tmp_path, dae(geometries=geometry(content=mesh(PRIMITIVES[name]))))
    check(tmp_path, dae(geometries=geometry(content=mesh(PRIMITIVES[name], tag="convex_mesh"))))


def test_a_mesh_of_two_sets_of_vertices(tmp_path):
    """The second brick names its positions themselves, as some programs do."""
    beside = source("t", np.add(BRICK, [4, 0, 0]), "X", "Y", "Z")
    both = mesh(f"{beside}{QUADS_XML}{QUADS_XML.replace('#v', '#t')}")
    check(tmp_path, dae(geometries=geometry(content=both)), 12, [2.5, 1, 1.5])


@pytest.mark.parametrize("turn", [1, -1])
def test_polygons_with_holes(tmp_path, turn):
    """A square tube of height 1, 4 wide, with a hole of 2 by 1 off its middle."""
    outer, inner = [[0, 0], [4, 0], [4, 4], [0, 4]], [[1, 1], [3, 1], [3, 2], [1, 2]]
    vertices = [[x, y, z] for z in (0, 1) for x, y in outer + inner]
    around = [[i, (i + 1) % 4, 8 + (i + 1) % 4, 8 + i] for i in range(4)]
    within = [[4 + (i + 1) % 4, 4 + i, 12 + i, 12 + (i + 1) % 4] for i in range(4)]
    upper = f"<ph><p>8 9 10 11</p><h>{words([12, 13, 14, 15][::turn])}</h></ph>"
    holed = f"{upper}<ph><p>3 2 1 0</p><h>4 5 6 7</h></ph>"
    polygons = f'<polygons count="10">{INPUT}{lists(around + within)}{holed}</polygons>'
    tube = mesh(polygons, source("s", vertices, "X", "Y", "Z"))
    hole = np.array([2, 1.5, 0.5])
    check(tmp_path, dae(geometries=geometry(content=tube)), 14, (16 * np.array([2, 2, 0.5]) - 2 * hole) / 14)
    outside = tube.replace("4 5 6 7</h>", "4 5 14 7</h>").replace("1 1 0", "9 9 0")
    with pytest.raises(MeshError, match="has a polygon whose holes do not lie within it"):
        read_dae(write(tmp_path, dae(geometries=geometry(content=outside))))


ROWS = np.array(BRICK)
FILLED = np.full((8, 5), 77.0)
FILLED[:, [1, 3, 4]] = ROWS
FOUR = np.column_stack([ROWS, np.ones(8)])
SOURCES = {
    "names in another order": source("s", ROWS[:, [2, 0, 1]], "Z", "X", "Y"),
    "values without a name": source("s", FILLED, "", "X", "", "Y", "Z"),
    "an offset": source("s", [5, 5, *ROWS.ravel()], "X", "Y", "Z", count=8, offset=2),
    "more than x, y, z": source("s", FOUR, "X", "Y", "Z", "W"),
    "a stride of its own": source("s", FOUR.ravel()[:-1], "X", "Y", "Z", stride=4, count=8),
    "other names": source("s", ROWS, "A", "B", "C"),
    "no names": source("s", ROWS, stride=3),
    "whole numbers": source("s", ROWS, "X", "Y", "Z").replace("float_array", "int_array"),
    "rows that no face uses": source("s", [*BRICK, [np.nan] * 3], "X", "Y", "Z"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_sources(tmp_path, name):
    path = write(tmp_path, dae(geometries=geometry(content=mesh(positions=SOURCES[name]))))
    np.testing.assert_array_equal(read_dae(path).vertices[:8], BRICK)
    assert load_mesh(path, name="a").volume == pytest.approx(6)


# ------------------------------------------------------------------------------------------- scene


TURN = "<rotate>0 0 2 90</rotate>"
NODES = {
    "translate": (f"<translate>1 2 3</translate>{PLACED}", 6, [1.5, 3, 4.5]),
    "rotate": (f"{TURN}{PLACED}", 6, [-1, 0.5, 1.5]),
    "rotate about nothing": (f"<rotate>0 0 0 0</rotate>{PLACED}", 6, CENTRE),
    "scale": (f"<scale>2 3 4</scale>{PLACED}", 144, [1, 3, 6]),
    "mirrored": (f"<scale>-1 1 1</scale>{PLACED}", 6, [-0.5, 1, 1.5]),
    "matrix": (f"<matrix>0 0 1 5  1 0 0 6  0 1 0 7  0 0 0 1</matrix>{PLACED}", 6, [6.5, 6.5, 8]),
    "lookat": (f"<lookat>1 2 3  1 9 3  0 4 4</lookat>{PLACED}", 6, [1.5, 0.5, 4]),
    "in their order": (f"<translate>1 0 0</translate>{TURN}<scale>2 1 1</scale>{PLACED}", 12, [0, 1, 1.5]),
    "nested": (
        f"<translate>1 0 0</translate><node>{TURN}<node><scale>2 1 1</scale>{PLACED}</node></node>",
        12, [0, 1, 1.5]),
    "an order of its own": (f"{PLACED}<translate>1 0 0</translate>", 6, [1.5, 1, 1.5]),
    "twice": (f"<node>{PLACED}</node><node><translate>8 0 0</translate>{PLACED}</node>", 12, [4.5, 1, 1.5]),
    "a node from the library": (
        '<translate>1 0 0</translate><instance_node url="#lib"/><instance_node url="#lib"/>',
        12, [1.5, 3, 1.5]),
    "what has no surface": (
        f'<instance_light url="#no"/><instance_camera url="#no"/><extra><odd/></extra>{PLACED}', 6, CENTRE),
}  # fmt: skip
"""The content of a node, and the volume and centre of what it places."""
LIBRARY = (
    f'<library_nodes><node id="lib"><translate>0 2 0</translate><node>{PLACED}</node></node></library_nodes>'
)


@pytest.mark.parametrize("name", NODES)
def test_nodes(tmp_path, name):
    node, volume, centre = NODES[name]
    check(tmp_path, dae(f"<node>{node}</node>", more=LIBRARY), volume, centre)


def test_the_scene_that_is_shown(tmp_path):
    """Unit and up-axis are not applied; what the scene does not show is left out with a note."""
    asset = '<asset><unit meter="0.01"/><up_axis>X_UP</up_axis></asset>'
    hidden = "<library_visual_scenes><visual_scene id='hidden'/></library_visual_scenes>"
    check(tmp_path, dae(more=hidden).replace("<library", f"{asset}<library", 1))
    check(tmp_path, dae(scene=None))
    lone = dae(scene=None).partition("<library_visual")[0] + "</COLLADA>"
    check(tmp_path, lone, notes=["the file has no scene; its only geometry is read in its own frame"])
    spline = geometry("curve", "<spline/>")
    more = geometry() + spline + geometry("a") + geometry("b")
    nodes = f'<node>{PLACED}<instance_geometry url="#curve"/></node>'
    said = ["1 geometry has no surface: 'curve'", "2 geometries are not in the scene and left out: 'a', 'b'"]
    check(tmp_path, dae(nodes, more), notes=said)
    for text, reason in {
        dae(scene=None, more=hidden): "has 2 visual scenes and does not say which it shows",
        dae(scene="#gone"): "shows a scene '#gone' that is not in the file",
        dae(nodes=""): "a scene that places none of its geometries",
        lone.replace("</library", f"{geometry('h')}</library"): "has 2 geometries and no scene",
        dae(f"<node>{asset}{PLACED}</node>", more="<library_nodes><asset><unit/></asset></library_nodes>"):
            "different units",
    }.items():  # fmt: skip
        with pytest.raises(MeshError, match=reason):
            read_dae(write(tmp_path, text))


def test_trees_of_any_depth_are_read_and_endless_ones_refused(tmp_path):
    deep = "<node><translate>1 0 0</translate>" * 5000 + PLACED + "</node>" * 5000
    check(tmp_path, dae(deep), centre=[5000.5, 1, 1.5])
    steps = [
        "".join([f'<node id="n{i + 1}">', *[f'<instance_node url="#n{i}"/>'] * 9, "</node>"])
        for i in range(20)
    ]
    for nodes, reason in {
        '<node id="a"><node><instance_node url="#a"/></node></node>': "node 'a' contains itself",
        f'<node id="n0">{PLACED}</node>{"".join(steps)}': "places more than 500,000 objects",
    }.items():
        start = time.perf_counter()
        with pytest.raises(MeshError, match=reason):
            read_dae(write(tmp_path, dae(nodes)))
        assert time.perf_counter() - start < 20


# ------------------------------------------------------------------------------------- controllers


def shift(*by):
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix


HUNG = '<instance_controller url="#c">{}</instance_controller>'
SKELETON = (
    '<node id="hip-id" sid="hip" type="JOINT"><translate>0 0 10</translate>'
    '<node id="knee-id" sid="knee" type="JOINT"><translate>0 5 0</translate></node></node>'
)


@pytest.mark.parametrize("rooted", [True, False])
@pytest.mark.parametrize("by", ["sid", "id"])
def test_skins(tmp_path, by, rooted):
    """The upper end of the brick follows one joint, the lower one both; its node does not move it."""
    upper = [z == 3 for _, _, z in BRICK]
    weights = [[(1, 1)] if up else [(0, 0.25), (1, 0.75)] for up in upper]
    joints, tag = (["hip", "knee"], "Name_array") if by == "sid" else (["hip-id", "knee-id"], "IDREF_array")
    inverse, shape = [shift(0, 0, -10), shift(0, 0, -9)], np.diag([2, 1, 1, 1])
    hung = HUNG.format("<skeleton>#hip-id</skeleton>" if rooted else "")
    nodes = f"{SKELETON}<node><translate>100 0 0</translate>{hung}</node>"
    content = read_dae(write(tmp_path, dae(nodes, more=skin(joints, weights, tag, shape, inverse))))
    moved = [[0, 5, 1] if up else [0, 3.75, 0.75] for up in upper]
    np.testing.assert_allclose(content.vertices, np.array(BRICK) * [2, 1, 1] + moved)
    assert measure(content)[0] > 0
    assert content.notes == ()


def test_skins_that_are_mirrored_or_without_joints(tmp_path):
    on = '<node sid="m"><scale>-1 1 1</scale></node>'
    nodes = f"{on}<node>{HUNG.format('')}</node>"
    check(tmp_path, dae(nodes, more=skin(["m"], [[(0, 1)]] * 8)), centre=[-0.5, 1, 1.5])
    check(tmp_path, dae(nodes, more=skin(["m"], [[(-1, 1)]] * 8, shape=shift(3, 0, 0))), centre=[3.5, 1, 1.5])


@pytest.mark.parametrize(("method", "volume", "centre"), [
    ("NORMALIZED", 0.75 * 8, [0.5, 1, 1.5]), ("RELATIVE", 1.25**3 * 6, [0.625, 1.25, 1.875])])  # fmt: skip
def test_morphs(tmp_path, method, volume, centre):
    """The target is as large as the base: blended with it, or a quarter of it added."""
    morph = (
        f'<library_controllers><controller id="c"><morph source="#g" method="{method}">'
        + names("t", "IDREF_array", "h") + source("w", [0.25], "MORPH_WEIGHT")
        + '<targets><input semantic="MORPH_TARGET" source="#t"/><input semantic="MORPH_WEIGHT" source="#w"/>'
        "</targets></morph></controller></library_controllers>"
    )  # fmt: skip
    both = geometry() + geometry("h")
    nodes = f"<node><translate>1 0 0</translate>{HUNG.format('')}</node>"
    check(tmp_path, dae(nodes, both, morph), volume, np.add(centre, [1, 0, 0]))
    worn = morph.replace('id="c"', 'id="m"') + skin(["hip"], [[(0, 1)]] * 8, target="#m")
    check(tmp_path, dae(SKELETON + nodes, both, worn), volume, np.add(centre, [0, 0, 10]))
