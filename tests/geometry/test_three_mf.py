"""3mf files: every body in its place, with closed-form truth; damaged files are refused."""

import numpy as np
import pytest

from plumbline.errors import InputError, MeshError
from plumbline.geometry.mesh_formats.three_mf import read_3mf
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.surfaces import solid_properties
from tests.helpers.three_mf_files import (
    CORE,
    CORNERS,
    ENCRYPTED_TYPE,
    ROOT,
    box,
    check,
    component,
    composed,
    item,
    mesh,
    model,
    read,
    refusal,
    rels,
    shift,
    write,
)

# ------------------------------------------------------------------------------------------- places


def test_parts_of_two_model_files_with_the_same_number_are_two_parts(tmp_path):
    """The published case: ids count per file, so that both files may call their object 1."""
    path = [f'p:path="/3D/Objects/object_{index}.model"' for index in (1, 2)]
    root = model(composed(3, component(1, None, path[0]), component(1, shift(3), path[1])), item(3))
    members = {
        "3D/Objects/object_1.model": model(box(1)),
        "3D/Objects/object_2.model": model(box(1, size=(1.0, 2.0, 1.0))),
    }
    content = read(tmp_path, root, members)
    check(content, (1, (0.5, 0.5, 0.5)), (2, (3.5, 1, 0.5)))
    assert content.faces.shape == (24, 3)
    volume, com = solid_properties(content.vertices, content.faces)
    assert volume == pytest.approx(3)
    np.testing.assert_allclose(com, (2.5, 5 / 6, 0.5))


def test_transforms_of_nested_components_apply_from_the_inside_out(tmp_path):
    rng = np.random.default_rng(4)
    matrices = []
    for _ in range(3):
        matrix = np.eye(4)
        matrix[:3, :3] = random_rotation(rng) @ np.diag(rng.uniform(0.5, 2, 3))
        matrix[:3, 3] = rng.normal(0, 5, 3)
        matrices.append(matrix)
    resources = box(1) + composed(2, component(1, matrices[2])) + composed(3, component(2, matrices[1]))
    content = read(tmp_path, model(resources, item(3, matrices[0])))
    whole = matrices[0] @ matrices[1] @ matrices[2]
    np.testing.assert_allclose(content.vertices, CORNERS @ whole[:3, :3].T + whole[:3, 3], atol=1e-12)
    check(content, (np.linalg.det(whole[:3, :3]), tuple(whole[:3] @ (0.5, 0.5, 0.5, 1))))


def test_transforms_apply_to_row_vectors(tmp_path):
    # x goes to y, y goes to z, z goes to x, then 10, 20, 30 is added.
    turned = '<item objectid="1" transform=" 0 1 0  0 0 1 1 0 0\n10 20 3e1 "/>'
    content = read(tmp_path, model(box(1, size=(1.0, 2.0, 4.0)), turned))
    np.testing.assert_array_equal(content.vertices.min(0), (10, 20, 30))
    np.testing.assert_array_equal(content.vertices.max(0), (14, 21, 32))


def test_a_mirrored_part_keeps_a_positive_volume(tmp_path):
    flip = np.diag([-1.0, 1, 1, 1])
    resources = box(1) + composed(2, component(1, flip))
    check(read(tmp_path, model(resources, item(2))), (1, (-0.5, 0.5, 0.5)))
    check(read(tmp_path, model(resources, item(2, shift(4) @ flip))), (1, (4.5, 0.5, 0.5)))


def test_an_object_may_be_placed_several_times(tmp_path):
    resources = box(1) + composed(2, component(1), component(1, shift(2))) + box(7)
    content = read(tmp_path, model(resources, item(2) + item(2, shift(0, 5)) + item(1, shift(9))))
    bodies = [(1, (x + 0.5, y + 0.5, 0.5)) for x, y in ((0, 0), (2, 0), (0, 5), (2, 5), (9, 0))]
    check(content, *bodies)


def test_an_object_may_follow_the_one_that_it_is_a_part_of(tmp_path):
    check(read(tmp_path, model(composed(2, component(1)) + box(1), item(2))), (1, (0.5, 0.5, 0.5)))


def test_items_too_refer_to_other_files_whose_own_build_does_not_count(tmp_path):
    other = model(box(5, low=(1.0, 1.0, 1.0)), item(5, shift(100)))
    root = model(box(5), item(5) + item(5, shift(2), 'p:path="/3D/Other%20One.model"'))
    members = {"3D/other one.model": other, "3D/unused.model": "not XML"}
    check(read(tmp_path, root, members), (1, (0.5, 0.5, 0.5)), (1, (3.5, 1.5, 1.5)))


@pytest.mark.parametrize("unit", ["micron", "millimeter", "centimeter", "inch", "foot", "meter"])
def test_the_unit_of_the_root_is_not_applied(tmp_path, unit):
    check(read(tmp_path, model(box(1), item(1), f'unit="{unit}"')), (1, (0.5, 0.5, 0.5)))


def test_a_file_in_another_unit_is_scaled_to_the_root(tmp_path):
    other = model(box(1) + composed(2, component(1, shift(1))), attributes='unit="inch"')
    root = model(box(1), item(1) + item(2, shift(100), 'p:path="/3D/inch.model"'))
    content = read(tmp_path, root, {"3D/inch.model": other})
    check(content, (1, (0.5, 0.5, 0.5)), (25.4**3, (100 + 1.5 * 25.4, 12.7, 12.7)))


# ------------------------------------------------------------------------------------------ package


@pytest.mark.parametrize(
    "target", ["/model/Main.model", "model/Main.model", "/Model/MAIN.model", "./model/main.model"]
)
def test_the_relationships_name_the_root_model(tmp_path, target):
    members = {
        "_rels/.rels": rels(target),
        "model/Main.model": model(box(1), item(1)),
        ROOT: model(box(1), item(1, shift(100))),
    }
    check(read_3mf(write(tmp_path / "x.3mf", members)), (1, (0.5, 0.5, 0.5)))


@pytest.mark.parametrize("name", [ROOT, "3d/3DModel.Model", "3D\\3dmodel.model"])
def test_without_relationships_the_model_is_where_it_usually_is(tmp_path, name):
    check(read_3mf(write(tmp_path / "x.3mf", {name: model(box(1), item(1))})), (1, (0.5, 0.5, 0.5)))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a.txt": ""}, "has no 3D model"),
        ({"_rels/.rels": rels("/3D/none.model")}, "3d/none.model, which is not in the archive"),
        (
            {"_rels/.rels": rels(f"/{ROOT}", "/b.model"), "b.model": model(box(1), item(1))},
            "several root models",
        ),
        ({"_rels/.rels": rels("http://example.com/a.model", more='TargetMode="External"')}, "outside"),
        ({"3d/3DMODEL.model": model(box(1), item(1)), "3D/3dmodel.Model": ""}, "twice"),
        ({"_rels/.rels": rels(f"/{ROOT}")[:-5], ROOT: model(box(1), item(1))}, "is truncated: _rels/.rels"),
    ],
)
def test_packages_without_one_model_are_refused(tmp_path, members, reason):
    with pytest.raises(MeshError, match=reason):
        read_3mf(write(tmp_path / "x.3mf", members))


def test_an_encrypted_part_is_refused_by_name(tmp_path):
    root = model(composed(2, component(1, None, 'p:path="/3D/secret.model"')), item(2))
    members = {
        "3D/secret.model": b"\x93secret",
        "3D/_rels/3dmodel.model.rels": rels("secret.model", kind=ENCRYPTED_TYPE),
    }
    assert "encrypted (3d/secret.model" in refusal(tmp_path, root, members)


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path):
    members = {ROOT: model(box(1), item(1)), "3D/zeros": b"0" * 300_000_000}
    with pytest.raises(InputError, match="unpacks to"):
        read_3mf(write(tmp_path / "x.3mf", members))


def test_a_small_file_cannot_place_an_object_a_billion_times(tmp_path):
    levels = [composed(n, component(n - 1), component(n - 1)) for n in range(2, 32)]
    assert "places more than" in refusal(tmp_path, model(box(1) + "".join(levels), item(31)))


def test_components_may_be_nested_deeper_than_the_recursion_limit(tmp_path):
    levels = [composed(n, component(n - 1, shift(0.5))) for n in range(2, 5001)]
    check(read(tmp_path, model(box(1) + "".join(levels), item(5000))), (1, (2500, 0.5, 0.5)))


# ------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('v3="3"', 'v3="8"'), "vertex 8 of 8"),
        (('v3="3"', 'v3="-1"'), "vertex -1 of 8"),
        (('v3="3"', 'v3="1.0"'), "cannot be read"),
        (('v3="3"', f'v3="{10**30}"'), "cannot be read"),
        (('v3="3"', ""), "no attribute 'v3'"),
        (('x="0.0" ', ""), "no attribute 'x'"),
        (('x="0.0"', 'x=""'), "cannot be read"),
        (('x="0.0"', 'x="0,5"'), "cannot be read"),
        (('x="0.0"', 'x="1_0"'), "underscore"),
        (('x="0.0"', f'x="{"z" * 5000}"'), "cannot be read"),
        (("<vertices>", "<vertices><vertices>"), "outside of <mesh>"),
        (("<mesh>", "<mesh><vertices/>"), "vertices twice"),
        (("<mesh>", "<vendor:box><mesh>"), "outside of <object>"),
        (("<mesh>", "<mesh><vertices/><triangles/></mesh><mesh>"), "twice"),
        (("<mesh>", "<components/><mesh>"), "both a mesh and components"),
        (("</resources>", box(1) + "</resources>"), "two objects have the number 1"),
        (('id="1"', 'id="one"'), "cannot be read"),
        (('id="1"', ""), "no attribute 'id'"),
        (('id="1"', 'id="1" type="thing"'), "'thing' is not a type"),
        (("<build>", '<build><item objectid="7"/>'), "object 7"),
        (("<build>", '<build><item objectid="1" transform="1 0 0"/>'), "3 numbers"),
        (("<build>", '<build><item objectid="1" transform="1 0 0 0 0 0 0 0 1 0 0 0"/>'), "flattens"),
        (("<build>", '<build><item objectid="1" transform="1 0 0 0 nan 0 0 0 1 0 0 0"/>'), "not finite"),
        (("<build>", '<build><item objectid="1" p:path="/3D/none.model"/>'), "3d/none.model"),
        (("<item", "<unknown"), "has no body"),
        (("<build>", "<mc:AlternateContent/><build>"), "alternate content"),
        (("<?xml", "<!DOCTYPE model><?xml"), "not valid XML"),
        (("<model", '<!DOCTYPE model [<!ENTITY e "1">]><model'), "declares an XML entity 'e'"),
        ((f'xmlns="{CORE}"', 'xmlns="http://example.com"'), "not a 3MF model"),
        (
            ("<object", '<object xmlns="http://schemas.microsoft.com/3dmanufacturing/2013/01"'),
            "another version",
        ),
        (("</model>", ""), "is truncated"),
    ],
)
def test_damaged_models_are_refused(tmp_path, change, reason):
    text = model(box(1), item(1))
    assert text.count(change[0])
    assert reason in refusal(tmp_path, text.replace(*change, 1))


def test_an_object_that_contains_itself_is_refused(tmp_path):
    assert "contains itself" in refusal(tmp_path, model(composed(1, component(1)), item(1)))
    circle = composed(1, component(2)) + composed(2, component(3)) + composed(3, component(1))
    assert "contains itself" in refusal(tmp_path, model(box(9) + circle, item(9) + item(2)))


def test_every_truncation_is_refused(tmp_path):
    data = write(tmp_path / "x.3mf", {ROOT: model(box(1), item(1))}).read_bytes()
    for end in range(len(data)):
        (tmp_path / "cut.3mf").write_bytes(data[:end])
        with pytest.raises(MeshError):
            read_3mf(tmp_path / "cut.3mf")


def test_a_damaged_member_is_refused(tmp_path):
    path = write(tmp_path / "x.3mf", {ROOT: model(box(1), item(1))})
    data = bytearray(path.read_bytes())
    data[100:110] = b"0123456789"
    path.write_bytes(data)
    with pytest.raises(MeshError, match="cannot be unpacked"):
        read_3mf(path)


def test_a_draft_and_a_file_in_another_encoding_are_read(tmp_path):
    draft = model(box(1), item(1)).replace(CORE, "http://schemas.microsoft.com/3dmanufacturing/2013/01")
    check(read(tmp_path, draft), (1, (0.5, 0.5, 0.5)))
    wide = model(box(1), item(1)).replace("UTF-8", "UTF-16").encode("utf-16")
    check(read(tmp_path, "", {ROOT: wide}), (1, (0.5, 0.5, 0.5)))


def test_a_file_larger_than_a_piece_of_the_parser_is_read_completely(tmp_path):
    num = 8000
    boxes = mesh(*[((2.0 * index, 0.0, 0.0), (1.0, 1.0, 1.0)) for index in range(num)])
    content = read(tmp_path, model(f'<object id="1">{boxes}</object>' + box(2), item(1) + item(2, shift(-2))))
    assert len(boxes) > 1 << 22
    assert len(content.faces) == 12 * (num + 1)
    np.testing.assert_array_equal(content.vertices[-8:], CORNERS - (2, 0, 0))
    np.testing.assert_array_equal(content.vertices[:-8].reshape(num, 8, 3)[:, 7, 0], 2 * np.arange(num) + 1)
