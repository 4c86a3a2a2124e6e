"""glTF files: what the scene shows and where; morph targets, skins."""

import numpy as np
import pytest

from tests.helpers.gltf_scenes import BOX, INSTANCING, Scene


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


# ----------------------------------------------------------------------------------------------------- nodes


def test_nodes_are_placed_within_their_parents(scene):
    """A box of 2 x 1 x 1 is turned by 90 degrees about z, and moved by its parent, whose matrix mirrors x."""
    child = scene.node(
        mesh=scene.box(), translation=[10, 0, 0], rotation=[0, 0, 0.5**0.5, 0.5**0.5], scale=[2, 1, 1]
    )
    parent = scene.node(children=[child], matrix=[-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 3, 1])
    content = scene.expect(2, (-9.5, 1, 3.5))
    scene.root |= {"scenes": [{"nodes": [parent]}], "scene": 0}
    scene.expect(2, (-9.5, 1, 3.5))
    assert np.ptp(content.vertices, axis=0) == pytest.approx([1, 2, 1])


def test_rotations_that_were_rounded_do_not_scale(scene):
    scene.node(mesh=scene.box(), rotation=[0, 0, 0.71, 0.71])
    scene.expect(1, (-0.5, 0.5, 0.5))


def test_the_default_scene_is_read(scene):
    for x in (0, 10, 20):
        scene.node(mesh=0, translation=[x, 0, 0])
    scene.box()
    scene.expect(3, (10.5, 0.5, 0.5))
    scene.root["scenes"] = [{"nodes": [0, 1]}, {"nodes": [2]}, {}]
    scene.expect(2, (5.5, 0.5, 0.5), ["1 object that the scene does not show is left out"])
    scene.root["scene"] = 1
    scene.expect(1, (20.5, 0.5, 0.5), ["2 objects that the scene does not show are left out"])


def test_a_tree_that_is_deeper_than_any_recursion(scene):
    for index in range(20_000):
        scene.node(children=[index + 1], translation=[0.5, 0, 0])
    scene.node(mesh=scene.box())
    scene.expect(1, (10_000.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("nodes", "scenes", "reason"),
    [
        ([{"children": [1]}, {"children": [0]}], [], "a node contains itself"),
        ([{"children": [0]}], [], "contains itself"),
        ([{"children": [1]}, {"children": [2]}, {"children": [1]}], [], "node 1 is part of two nodes"),
        ([{"children": [1, 1]}, {}], [], "node 1 is part of two nodes"),
        ([{"children": [1]}, {}], [{"nodes": [0, 1]}], "names node 1, which is part of another node"),
        ([{}], [{"nodes": [0, 0]}], "names a node twice"),
        ([{}], [{"nodes": [1]}], "refers to node 1, but has 1"),
        ([{"children": [1]}], [], "refers to node 1, but has 1"),
        ([{"mesh": 1}], [], "refers to mesh 1, but has 1"),
        ([{"mesh": 0, "rotation": [0, 0, 0, 0]}], [], "not a unit quaternion"),
        ([{"mesh": 0, "rotation": [0, 0, 0, 2]}], [], "not a unit quaternion"),
        ([{"mesh": 0, "matrix": [1] * 16}], [], "not affine"),
        (
            [{"mesh": 0, "matrix": [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1], "scale": [1, 1, 1]}],
            [],
            "differs from it",
        ),
    ],
)
def test_nodes_that_are_not_a_tree_are_refused(scene, nodes, scenes, reason):
    scene.box()
    scene.root |= {"nodes": nodes, **({"scenes": scenes} if scenes else {})}
    scene.refuse(f"^is damaged: .*{reason}.*; export it again$")


def test_instances(scene):
    """A box of 1, one of 8, and one of 1 that is turned about z to lie at negative x; the node moves all."""
    attributes = {
        "TRANSLATION": scene.numbers([[0, 0, 0], [10, 0, 0], [20, 0, 0]]),
        "SCALE": scene.numbers([[1, 1, 1], [2, 2, 2], [1, 1, 1]]),
        "ROTATION": scene.numbers([[0, 0, 0, 127], [0, 0, 0, 127], [0, 0, 127, 0]], "i1", normalized=True),
    }
    extensions = {INSTANCING: {"attributes": attributes}}
    scene.node(mesh=scene.box(), translation=[0, 0, 7], extensions=extensions)
    scene.required(INSTANCING)
    scene.expect(10, ((0.5 + 8 * 11 + 19.5) / 10, (0.5 + 8 - 0.5) / 10, 7 + (0.5 + 8 + 0.5) / 10))
    del attributes["SCALE"], attributes["ROTATION"]
    scene.expect(3, (10.5, 0.5, 7.5))


def test_hidden_nodes_and_coarser_levels_are_left_out(scene):
    mesh = scene.box()
    scene.node(mesh=mesh, extensions={"MSFT_lod": {"ids": [1, 2]}})
    for x in (1, 2, 3, 4):
        scene.node(mesh=mesh, translation=[x, 0, 0])
    scene.root["nodes"][3]["extensions"] = {"KHR_node_visibility": {"visible": False}}
    scene.root["nodes"][4] |= {"scale": [0, 0, 0]}
    scene.required("MSFT_lod", "KHR_node_visibility")
    notes = [
        "1 object that the scene does not show is left out",
        "2 coarser levels of detail are left out",
        "1 object of size 0 is left out",
    ]
    scene.expect(1, (0.5, 0.5, 0.5), notes)
    scene.root["nodes"][1]["extensions"] = {"MSFT_lod": {"ids": [0]}}
    scene.refuse("a coarser level of detail has coarser levels itself")


# --------------------------------------------------------------------------------------- morph targets, skins


def test_morph_targets_with_the_weights_of_the_node_or_of_the_mesh(scene):
    """The first target makes the box longer by 1, the second moves it by 8 along y."""
    longer = {"POSITION": scene.numbers(BOX * (1, 0, 0))}
    moved = {"POSITION": scene.numbers(np.tile([0, 64, 0], (8, 1)), "i1", normalized=False), "NORMAL": 99}
    mesh = scene.box(targets=[longer, moved])
    node = scene.node(mesh=mesh)
    scene.expect(1, (0.5, 0.5, 0.5))
    scene.root["meshes"][mesh]["weights"] = [2, 0]
    scene.expect(3, (1.5, 0.5, 0.5))
    scene.root["nodes"][node]["weights"] = [0, 0.125]
    scene.expect(1, (0.5, 8.5, 0.5))
    scene.node(mesh=mesh)
    scene.expect(4, ((0.5 + 3 * 1.5) / 4, (8.5 + 3 * 0.5) / 4, 0.5))


def skinned(scene, joints, weights, matrices, **transform):
    """A box with two joints: one at the origin, one moved by 10 along x and twice as large."""
    mesh = scene.box()
    attributes = scene.root["meshes"][mesh]["primitives"][0]["attributes"]
    for group, (joint, weight) in enumerate(zip(joints, weights, strict=True)):
        attributes[f"JOINTS_{group}"] = scene.numbers(joint, "u1")
        attributes[f"WEIGHTS_{group}"] = scene.numbers(weight)
    scene.root["skins"] = [{"joints": [2, 1]}]
    if matrices is not None:
        scene.root["skins"][0]["inverseBindMatrices"] = scene.numbers(matrices)
    scene.node(mesh=mesh, skin=0, **transform)
    scene.node(translation=[10, 0, 0], scale=[2, 2, 2])
    scene.node()
    return attributes


def test_skins_place_a_mesh_by_its_joints(scene):
    """The far corners follow joint 1 halfway: x is (1 + 12) / 2, y and z of 0..1 become 0..1.5.

    The transform of the mesh's own node does not count.
    """
    far = BOX[:, :1] > 0
    weight = np.where(far, [0.5, 0.5, 0, 0], [1, 0, 0, 0])
    skinned(scene, [np.tile([0, 1, 77, 0], (8, 1))], [weight], None, translation=[50, 0, 0], scale=[0, 0, 0])
    # The faces at x = 0 and x = 6.5 are squares of side 1 and 1.5, from y = z = 0 on; between them a frustum
    # cut into triangles, whose sides are planar.
    a, b, h = 1, 1.5, 6.5
    volume = h * (a * a + a * b + b * b) / 3
    x = h * (a * a + 2 * a * b + 3 * b * b) / (4 * (a * a + a * b + b * b))
    y = h * (a**3 + a * a * b + a * b * b + b**3) / 8 / volume
    # At 5 + x / 2: a far corner of x = 1 is at (1 + 10 + 2) / 2.
    content = scene.expect(volume, (x, y, y))
    assert content.vertices.max(axis=0) == pytest.approx([6.5, 1.5, 1.5])


def test_skins_undo_the_pose_of_binding(scene):
    """With the inverse of each joint's pose, the mesh is where it was; a second set of joints counts too."""
    inverse = [np.eye(4), np.diag([0.5, 0.5, 0.5, 1])]
    inverse[1][:3, 3] = (-5, 0, 0)
    joints = [np.tile([0, 0, 0, 0], (8, 1)), np.tile([1, 0, 0, 0], (8, 1))]
    weights = [np.tile([0.25, 0, 0, 0], (8, 1)), np.tile([0.75, 0, 0, 0], (8, 1))]
    skinned(scene, joints, weights, [matrix.T for matrix in inverse])
    scene.expect(1, (0.5, 0.5, 0.5))
    scene.root["nodes"][1]["translation"] = [14, 0, 0]
    scene.expect(1, (3.5, 0.5, 0.5))


def test_a_mirrored_skeleton_leaves_the_inside_inside(scene):
    skinned(scene, [np.zeros((8, 4))], [np.tile([1, 0, 0, 0], (8, 1))], None)
    scene.root["nodes"][2] = {"scale": [-1, 1, 1]}
    scene.expect(1, (-0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("joint", "weight", "reason"),
    [
        (2, 1, "a vertex follows joint 2 of 2"),
        (0, 0, "do not sum to 1"),
        (0, 0.9, "do not sum to 1"),
    ],
)
def test_skins_that_are_not_valid_are_refused(scene, joint, weight, reason):
    skinned(scene, [np.full((8, 4), joint)], [np.tile([weight, 0, 0, 0], (8, 1))], None)
    scene.refuse(reason)


def test_a_skin_that_mirrors_a_part_is_refused(scene):
    joints = np.tile(np.where(BOX[:, :1] > 0, 1, 0), (1, 4))
    attributes = skinned(scene, [joints], [np.tile([1, 0, 0, 0], (8, 1))], None)
    scene.root["nodes"][1]["scale"] = [-1, 1, 1]
    scene.refuse("^a skeleton flattens its mesh, or mirrors a part of it")
    scene.root["nodes"][1]["scale"] = [1, 1, 0]
    scene.refuse("^a skeleton flattens its mesh, or mirrors a part of it")
    del attributes["JOINTS_0"]
    scene.refuse("a mesh with a skin has no joints")
