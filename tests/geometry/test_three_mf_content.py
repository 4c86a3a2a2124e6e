"""3mf files: what is not the body is left out with a note; unsupported shapes are refused by name."""

import pytest

from tests.helpers.three_mf_files import (
    BAMBU,
    PREFIXES,
    bambu,
    box,
    check,
    component,
    composed,
    item,
    mesh,
    model,
    prusa,
    read,
    refusal,
    shift,
)

BAMBU_MODEL = model(box(1) + box(2) + composed(9, component(1), component(2, shift(5))), item(9))


# --------------------------------------------------------------------------------- what is not the body


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("support", "support"),
        ("solidsupport", "solid support"),
        ("surface", "surface"),
        ("other", "auxiliary"),
    ],
)
def test_what_is_not_the_body_is_left_out_with_a_note(tmp_path, kind, name):
    resources = box(1) + box(2, low=(5.0, 0.0, 0.0), attributes=f'type="{kind}"')
    # The type of a composed object does not count, only those of its components.
    resources += composed(3, component(1), component(2)).replace('id="3"', 'id="3" type="other"')
    body = (1, (0.5, 0.5, 0.5))
    check(read(tmp_path, model(resources, item(3))), body, notes=(f"1 {name} object is left out",))
    twice = model(resources, item(2) + item(3))
    check(read(tmp_path, twice), body, notes=(f"2 {name} objects are left out",))
    if kind != "surface":
        assert f"only {name} objects" in refusal(tmp_path, model(resources, item(2)))


def test_a_support_may_be_of_any_shape(tmp_path):
    lattice = mesh(((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), more="<b:beamlattice/>")
    resources = box(1) + f'<object id="2" type="support">{lattice}</object>'
    notes = ("1 support object is left out",)
    check(read(tmp_path, model(resources, item(1) + item(2))), (1, (0.5, 0.5, 0.5)), notes=notes)
    surface = resources.replace('type="support"', 'type="surface"')
    assert "a beam lattice" in refusal(tmp_path, model(surface, item(1) + item(2)))


def test_a_file_of_surfaces_is_read_with_a_note(tmp_path):
    resources = box(1, attributes='type="surface"') + box(2, attributes='type="support"')
    notes = ("the file holds surfaces only, which are read as the body", "1 support object is left out")
    check(read(tmp_path, model(resources, item(1) + item(2))), (1, (0.5, 0.5, 0.5)), notes=notes)


@pytest.mark.parametrize("value", ["0", "false"])
def test_objects_that_are_not_printed_are_left_out_unless_there_are_no_others(tmp_path, value):
    hidden = item(1, shift(5), f'printable="{value}"')
    body, notes = (1, (0.5, 0.5, 0.5)), ("1 object that the slicer does not print is left out",)
    check(read(tmp_path, model(box(1), item(1, None, 'printable="1"') + hidden)), body, notes=notes)
    notes = ("the slicer prints none of the objects; all are read",)
    check(read(tmp_path, model(box(1), hidden)), (1, (5.5, 0.5, 0.5)), notes=notes)


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
    group = composed(3, component(1), component(1, shift(3))).replace("<components>", f"{mark}<components>")
    assert "modifier with components" in refusal(tmp_path, model(box(1) + group, item(3)))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (bambu((1, "normal_part"), (2, "negative_part")), "negative volume"),
        (bambu((1, "normal_part"), (2, "other_part")), "'other_part'"),
        (bambu((1, "normal_part"), (3, "modifier_part")), "modifier 3 that is missing"),
        (bambu((1, "modifier_part"), number=1), "within another"),
        (prusa((0, 3, "volume_type", "NegativeVolume")), "negative volume"),
        ({BAMBU: "<config>"}, "model_settings.config ends in line 1"),
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
    # Shapes count only within an object that is placed.
    resources += '<v:image3d id="5"/>'
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
    assert "has no mesh in object 1" in refusal(
        tmp_path, model('<object id="1"/>' + box(2), item(1) + item(2))
    )
