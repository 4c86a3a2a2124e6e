"""3mf files: every body in its place, with closed-form truth; what is no body is noted; the rest refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from plumbline.errors import InputError, MeshError
from plumbline.geometry.mesh_formats.parts import MeshContent
from plumbline.geometry.mesh_formats.three_mf import read_3mf
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.surfaces import solid_properties

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
PRODUCTION = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
ALTERNATIVES = "http://schemas.microsoft.com/3dmanufacturing/production/alternatives/2021/04"
MATERIAL = "http://schemas.microsoft.com/3dmanufacturing/material/2015/02"
SLICE = "http://schemas.microsoft.com/3dmanufacturing/slice/2015/07"
LATTICE = "http://schemas.microsoft.com/3dmanufacturing/beamlattice/2017/02"
BOOLEAN = "http://schemas.3mf.io/3dmanufacturing/booleanoperations/2023/07"
DISPLACEMENT = "http://schemas.3mf.io/3dmanufacturing/displacement/2023/10"
VOLUMETRIC = "http://schemas.3mf.io/3dmanufacturing/volumetric/2022/01"
COMPATIBILITY = "http://schemas.openxmlformats.org/markup-compatibility/2006"
PREFIXES = {
    "p": PRODUCTION,
    "pa": ALTERNATIVES,
    "m": MATERIAL,
    "s": SLICE,
    "b": LATTICE,
    "bo": BOOLEAN,
    "d": DISPLACEMENT,
    "v": VOLUMETRIC,
    "mc": COMPATIBILITY,
    "vendor": "http://example.com/vendor",
}
MODEL_TYPE = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
ENCRYPTED_TYPE = "http://schemas.openxmlformats.org/package/2006/relationships/encryptedfile"
ROOT = "3D/3dmodel.model"
BAMBU, PRUSA = "Metadata/model_settings.config", "Metadata/Slic3r_PE_model.config"
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 5, 1], [0, 4, 5]]
    + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 7, 3], [1, 5, 7]]
)


def mesh(*boxes: tuple[tuple[float, ...], tuple[float, ...]], more: str = "") -> str:
    """The mesh of axis-aligned boxes, each (lower corner, size)."""
    vertices, triangles = [], []
    for index, (low, size) in enumerate(boxes):
        vertices += [
            f'<vertex x="{x!r}" y="{y!r}" z="{z!r}"/>' for x, y, z in (low + CORNERS * size).tolist()
        ]
        triangles += [f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in (FACES + 8 * index).tolist()]
    lists = f"<vertices>{''.join(vertices)}</vertices><triangles>{''.join(triangles)}</triangles>"
    return f"<mesh>{lists}{more}</mesh>"


def box(number: int, *, low=(0.0, 0.0, 0.0), size=(1.0, 1.0, 1.0), attributes: str = "") -> str:
    return f'<object id="{number}" {attributes}>{mesh((low, size))}</object>'


def composed(number: int, *components: str) -> str:
    return f'<object id="{number}"><components>{"".join(components)}</components></object>'


def placed(tag: str, number: int, matrix=None, more: str = "") -> str:
    """An item or component; ``matrix`` [4, 4] acts on columns."""
    text = "" if matrix is None else " ".join(map(repr, np.asarray(matrix, float)[:3].T.ravel().tolist()))
    return f'<{tag} objectid="{number}" {f"transform={chr(34)}{text}{chr(34)}" if text else ""} {more}/>'


def item(number: int, matrix=None, more: str = "") -> str:
    return placed("item", number, matrix, more)


def component(number: int, matrix=None, more: str = "") -> str:
    return placed("component", number, matrix, more)


def shift(x: float, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def model(resources: str, build: str = "", attributes: str = 'unit="millimeter"') -> str:
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in PREFIXES.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><model {attributes} xmlns="{CORE}" {spaces}>'
        f"<resources>{resources}</resources><build>{build}</build></model>"
    )


def rels(*targets: str, kind: str = MODEL_TYPE, more: str = "") -> str:
    links = "".join(
        f'<Relationship Target="{target}" Id="r{index}" Type="{kind}" {more}/>'
        for index, target in enumerate(targets)
    )
    return (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f"{links}</Relationships>"
    )


def write(path: Path, members: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def read(folder: Path, root: str, members: dict[str, str | bytes] | None = None) -> MeshContent:
    return read_3mf(write(folder / "x.3mf", {"_rels/.rels": rels(f"/{ROOT}"), ROOT: root, **(members or {})}))


def refusal(folder: Path, root: str, members: dict[str, str | bytes] | None = None) -> str:
    with pytest.raises(MeshError) as caught:
        read(folder, root, members)
    text = str(caught.value)
    assert str(folder) not in text
    assert len(text) < 400
    return text


def check(
    content: MeshContent, *bodies: tuple[float, tuple[float, ...]], notes: tuple[str, ...] = ()
) -> None:
    """Check the volume and the centre of mass against bodies, each (volume, centre)."""
    volumes = np.array([volume for volume, _ in bodies])
    centre = volumes @ np.array([centre for _, centre in bodies]) / volumes.sum()
    volume, com = solid_properties(content.vertices, content.faces)
    assert volume == pytest.approx(volumes.sum(), rel=1e-9)
    np.testing.assert_allclose(com, centre, rtol=1e-9, atol=1e-9)
    assert content.notes == notes


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


def test_the_numbers_of_a_transform_are_rows_that_points_multiply_from_the_left(tmp_path):
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


def test_an_object_is_placed_as_often_as_the_file_says(tmp_path):
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
        ({"a.txt": ""}, "holds no 3D model"),
        ({"_rels/.rels": rels("/3D/none.model")}, "3d/none.model, which is not in the archive"),
        (
            {"_rels/.rels": rels(f"/{ROOT}", "/b.model"), "b.model": model(box(1), item(1))},
            "several root models",
        ),
        ({"_rels/.rels": rels("http://example.com/a.model", more='TargetMode="External"')}, "outside"),
        ({"3d/3DMODEL.model": model(box(1), item(1)), "3D/3dmodel.Model": ""}, "twice"),
        ({"_rels/.rels": rels(f"/{ROOT}")[:-5], ROOT: model(box(1), item(1))}, "cannot be read as 3mf"),
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


def test_few_bytes_cannot_place_an_object_a_billion_times(tmp_path):
    levels = [composed(n, component(n - 1), component(n - 1)) for n in range(2, 32)]
    assert "places more than" in refusal(tmp_path, model(box(1) + "".join(levels), item(31)))


def test_components_may_be_nested_deeper_than_calls_of_python(tmp_path):
    levels = [composed(n, component(n - 1, shift(0.5))) for n in range(2, 5001)]
    check(read(tmp_path, model(box(1) + "".join(levels), item(5000))), (1, (2500, 0.5, 0.5)))


# --------------------------------------------------------------------------------- what is no body


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("support", "support"),
        ("solidsupport", "solid support"),
        ("surface", "surface"),
        ("other", "auxiliary"),
    ],
)
def test_what_is_no_body_is_left_out_with_a_note(tmp_path, kind, name):
    resources = box(1) + box(2, low=(5.0, 0.0, 0.0), attributes=f'type="{kind}"')
    # The type of a composed object does not count, only those of its components.
    resources += composed(3, component(1), component(2)).replace('id="3"', 'id="3" type="other"')
    body = (1, (0.5, 0.5, 0.5))
    check(read(tmp_path, model(resources, item(3))), body, notes=(f"1 {name} object is left out",))
    twice = model(resources, item(2) + item(3))
    check(read(tmp_path, twice), body, notes=(f"2 {name} objects are left out",))
    if kind != "surface":
        assert f"only {name} objects" in refusal(tmp_path, model(resources, item(2)))


def test_a_file_of_surfaces_is_read_with_a_note(tmp_path):
    resources = box(1, attributes='type="surface"') + box(2, attributes='type="support"')
    notes = ("the file holds surfaces only, which are read as the body", "1 support object is left out")
    check(read(tmp_path, model(resources, item(1) + item(2))), (1, (0.5, 0.5, 0.5)), notes=notes)


@pytest.mark.parametrize("value", ["0", "false"])
def test_objects_that_are_not_printed_are_left_out_unless_there_are_no_others(tmp_path, value):
    hidden = item(1, shift(5), f'printable="{value}"')
    body, notes = (1, (0.5, 0.5, 0.5)), ("1 object is left out: the slicer does not print it",)
    check(read(tmp_path, model(box(1), item(1, None, 'printable="1"') + hidden)), body, notes=notes)
    notes = ("the slicer prints none of the objects; all are read",)
    check(read(tmp_path, model(box(1), hidden)), (1, (5.5, 0.5, 0.5)), notes=notes)


def bambu(*parts: tuple[int, str], number: int = 9) -> dict[str, str | bytes]:
    listed = "".join(
        f'<part id="{part}" subtype="{kind}"><metadata key="name" value="x"/></part>' for part, kind in parts
    )
    return {
        BAMBU: f'<config><object id="{number}"><metadata key="name" value="x"/>{listed}</object></config>'
    }


BAMBU_MODEL = model(box(1) + box(2) + composed(9, component(1), component(2, shift(5))), item(9))


@pytest.mark.parametrize(
    ("subtype", "name"),
    [
        ("modifier_part", "modifier"),
        ("support_enforcer", "support enforcer"),
        ("support_blocker", "support blocker"),
    ],
)
def test_modifiers_of_bambu_studio_are_left_out_with_a_note(tmp_path, subtype, name):
    notes = (f"1 {name} object is left out",)
    for parts in (((1, "normal_part"), (2, subtype)), ((2, subtype), (1, "normal_part"))):
        check(read(tmp_path, BAMBU_MODEL, bambu(*parts)), (1, (0.5, 0.5, 0.5)), notes=notes)
    everything = read(tmp_path, BAMBU_MODEL, bambu((1, "normal_part"), (2, "normal_part")))
    check(everything, (1, (0.5, 0.5, 0.5)), (1, (5.5, 0.5, 0.5)))


def test_parts_that_share_a_mesh_are_told_apart_by_their_order(tmp_path):
    root = model(box(1) + composed(9, component(1), component(1, shift(5))), item(9))
    notes = ("1 modifier object is left out",)
    members = bambu((1, "modifier_part"), (1, "normal_part"))
    check(read(tmp_path, root, members), (1, (5.5, 0.5, 0.5)), notes=notes)
    members = bambu((1, "normal_part"), (7, "normal_part"), (1, "modifier_part"))
    assert "body and modifier" in refusal(tmp_path, root, members)


def prusa(*volumes: tuple[int, int, str, str]) -> dict[str, str | bytes]:
    listed = "".join(
        f'<volume firstid="{first}" lastid="{last}">'
        f'<metadata type="volume" key="{key}" value="{value}"/></volume>'
        for first, last, key, value in volumes
    )
    whole = '<metadata type="object" key="modifier" value="1"/>'
    return {PRUSA: f'<config><object id="1">{whole}{listed}</object></config>'}


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("volume_type", "ParameterModifier", "modifier"),
        ("volume_type", "SupportEnforcer", "support enforcer"),
        ("volume_type", "SupportBlocker", "support blocker"),
        ("modifier", "1", "modifier"),
    ],
)
def test_modifiers_of_prusaslicer_are_left_out_with_a_note(tmp_path, key, value, name):
    boxes = mesh(((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), ((5.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    root = model(f'<object id="1">{boxes}</object>', item(1))
    members = prusa((0, 11, "volume_type", "ModelPart"), (12, 23, key, value))
    check(read(tmp_path, root, members), (1, (0.5, 0.5, 0.5)), notes=(f"1 {name} object is left out",))
    members = prusa((0, 11, key, value), (12, 23, "name", "x"))
    check(read(tmp_path, root, members), (1, (5.5, 0.5, 0.5)), notes=(f"1 {name} object is left out",))
    assert f"{name} has triangles 12 to 24 of 24" in refusal(tmp_path, root, prusa((12, 24, key, value)))


@pytest.mark.parametrize(
    "mark",
    [
        '<metadatagroup><metadata name="cura:infill_mesh">True</metadata></metadatagroup>',
        '<settings xmlns="http://software.ultimaker.com/xml/cura/3mf/2015/10">'
        '<setting key="anti_overhang_mesh">True</setting></settings>',
    ],
)
def test_modifiers_of_cura_are_left_out_with_a_note(tmp_path, mark):
    modifier = box(2).replace("<mesh>", f"{mark}<mesh>")
    resources = box(1) + modifier + composed(3, component(1), component(2, shift(3)))
    notes = ("1 modifier object is left out",)
    check(read(tmp_path, model(resources, item(3))), (1, (0.5, 0.5, 0.5)), notes=notes)
    off = model(resources.replace("True", "False"), item(3))
    check(read(tmp_path, off), (1, (0.5, 0.5, 0.5)), (1, (3.5, 0.5, 0.5)))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (bambu((1, "normal_part"), (2, "negative_part")), "negative volume"),
        (bambu((1, "normal_part"), (2, "other_part")), "'other_part'"),
        (bambu((1, "normal_part"), (3, "modifier_part")), "modifier 3 that is not there"),
        (bambu((1, "modifier_part"), number=1), "within another"),
        (prusa((0, 3, "volume_type", "NegativeVolume")), "negative volume"),
        ({BAMBU: "<config>"}, "cannot be read as 3mf"),
    ],
)
def test_settings_of_slicers_that_change_the_body_are_refused(tmp_path, members, reason):
    assert reason in refusal(tmp_path, BAMBU_MODEL, members)


# --------------------------------------------------------------------------------------- extensions


def test_colours_and_elements_of_vendors_do_not_matter(tmp_path):
    resources = (
        '<m:colorgroup id="4"><m:color color="#FF0000"/></m:colorgroup>'
        '<object id="1" pid="4" pindex="0" vendor:key="1"><vendor:thing><vendor:mesh/></vendor:thing>'
        + mesh(((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), more="<vendor:marks/>").replace(
            'v3="', 'pid="4" p1="0" v3="'
        )
        + "</object>"
    )
    root = model(resources, item(1), 'requiredextensions="m p s b bo d v"')
    check(read(tmp_path, root), (1, (0.5, 0.5, 0.5)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("</mesh>", "<b:beamlattice><b:beams/></b:beamlattice></mesh>"), "a beam lattice"),
        (("<mesh>", '<bo:booleanshape objectid="7"/><mesh>'), "a boolean operation"),
        (("<mesh>", "<d:displacementmesh/><mesh>"), "a displacement map"),
        (("<mesh>", '<v:levelset functionid="3"/><mesh>'), "a volumetric shape"),
        (('id="1"', 'id="1" s:meshresolution="lowres"'), "reduced resolution"),
        (('id="1"', 'id="1" pa:modelresolution="obfuscated"'), "reduced resolution"),
        (
            ("<mesh>", '<pa:alternatives><pa:alternative objectid="7"/></pa:alternatives><mesh>'),
            "alternative shape",
        ),
    ],
)
def test_shapes_of_extensions_are_refused_by_name_where_they_are_placed(tmp_path, change, reason):
    special = box(1).replace(*change)
    assert reason in refusal(tmp_path, model(special, item(1)))
    nested = model(special + composed(2, component(1)), item(2))
    assert reason in refusal(tmp_path, nested)
    check(read(tmp_path, model(special + box(2), item(2))), (1, (0.5, 0.5, 0.5)))


def test_alternatives_of_less_resolution_do_not_matter(tmp_path):
    lower = '<pa:alternatives><pa:alternative objectid="7" modelresolution="lowres"/></pa:alternatives><mesh>'
    check(read(tmp_path, model(box(1).replace("<mesh>", lower), item(1))), (1, (0.5, 0.5, 0.5)))


@pytest.mark.parametrize("required", ["vendor", "m vendor", "undeclared"])
def test_an_unknown_extension_is_refused_if_it_is_required(tmp_path, required):
    name = PREFIXES.get(required.split()[-1], "undeclared")
    assert name in refusal(tmp_path, model(box(1), item(1), f'requiredextensions="{required}"'))


def test_slices_without_a_mesh_are_refused(tmp_path):
    empty = "<mesh><vertices/><triangles/></mesh>"
    root = model(f'<object id="1" s:slicestackid="4">{empty}</object>' + box(2), item(1) + item(2))
    assert "slices in place of a mesh" in refusal(tmp_path, root)
    assert "without a mesh" in refusal(tmp_path, model('<object id="1"/>' + box(2), item(1) + item(2)))


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
        (("<mesh>", "<components/><mesh>"), "twice"),
        (("</resources>", box(1) + "</resources>"), "object 1 twice"),
        (('id="1"', 'id="one"'), "cannot be read"),
        (('id="1"', ""), "no attribute 'id'"),
        (('id="1"', 'id="1" type="thing"'), "'thing' is not a type"),
        (("<build>", '<build><item objectid="7"/>'), "object 7"),
        (("<build>", '<build><item objectid="1" transform="1 0 0"/>'), "3 numbers"),
        (("<build>", '<build><item objectid="1" transform="1 0 0 0 0 0 0 0 1 0 0 0"/>'), "flattens"),
        (("<build>", '<build><item objectid="1" transform="1 0 0 0 nan 0 0 0 1 0 0 0"/>'), "not finite"),
        (("<build>", '<build><item objectid="1" p:path="/3D/none.model"/>'), "3d/none.model"),
        (("<item", "<unknown"), "holds no mesh"),
        (("<build>", "<mc:AlternateContent/><build>"), "alternate content"),
        (("<?xml", "<!DOCTYPE model><?xml"), "cannot be read"),
        (("<model", "<!DOCTYPE model><model"), "document type"),
        ((f'xmlns="{CORE}"', 'xmlns="http://example.com"'), "not a 3MF model"),
        (
            ("<object", '<object xmlns="http://schemas.microsoft.com/3dmanufacturing/2013/01"'),
            "another version",
        ),
        (("</model>", ""), "cannot be read"),
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
