"""glTF files: where their numbers are, which extensions they need, and refusals."""

import base64
import contextlib
import json
import random
import re
import struct
from urllib.parse import quote

import numpy as np
import pytest

from plumbline.errors import MeshError
from plumbline.geometry.mesh_files import companion_files
from plumbline.geometry.mesh_formats.gltf import read_gltf
from plumbline.geometry.surfaces import solid_properties
from tests.helpers.gltf_scenes import BOX, DRACO, FACES, INSTANCING, MESHOPT, Scene, glb


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


@pytest.fixture
def box(scene):
    """A scene of one box."""
    scene.node(mesh=scene.box())
    return scene


def volume(path):
    content = read_gltf(path)
    return pytest.approx(solid_properties(content.vertices, content.faces)[0])


def reason(path):
    with pytest.raises(MeshError) as caught:
        read_gltf(path)
    said = str(caught.value)
    assert "\n" not in said
    assert str(path.parent) not in said
    return said


# --------------------------------------------------------------------------------------------------- buffers


@pytest.mark.parametrize("name", ["a b.bin", "Würfel 立方.bin", "parts/deep/a.bin", "50%.bin", "a+b.bin"])
@pytest.mark.parametrize("encoded", [True, False])
def test_buffers_in_the_folder_or_below(box, tmp_path, name, encoded):
    path = box.write("gltf")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(box.data + b"more")
    box.root["buffers"][0]["uri"] = quote(name) if encoded else name
    path.write_text(json.dumps(box.root), encoding="utf-8")
    assert volume(path) == 1
    assert companion_files(path) == [tmp_path / name]
    (tmp_path / name).write_bytes(box.data[:-1])
    assert reason(path).startswith(
        f"is truncated: its buffer {name!r} has {len(box.data) - 1} of the {len(box.data)} bytes"
    )
    (tmp_path / name).unlink()
    assert reason(path) == f"needs the file {name!r}, which is not in its folder; put it there"
    assert companion_files(path) == []


def test_buffers_of_a_glb_may_be_in_other_files(box, tmp_path):
    box.write("glb")
    box.root["buffers"] = [{"byteLength": 0}, {"uri": "a.bin", "byteLength": len(box.data)}]
    for view in box.root["bufferViews"]:
        view["buffer"] = 1
    (tmp_path / "a.bin").write_bytes(box.data)
    path = tmp_path / "b.glb"
    path.write_bytes(glb((b"JSON", json.dumps(box.root).encode())))
    assert volume(path) == 1
    assert companion_files(path) == [tmp_path / "a.bin"]


@pytest.mark.parametrize(
    "uri", ["../a.bin", "%2e%2e/a.bin", "/etc/passwd", "file:///etc/passwd", "http://a/b"]
)
def test_buffers_elsewhere_are_never_read(box, tmp_path, uri):
    (tmp_path.parent / "a.bin").write_bytes(box.data)
    path = box.write("gltf")
    box.root["buffers"][0]["uri"] = uri
    path.write_text(json.dumps(box.root))
    assert "is not in its folder; put it there" in reason(path)


@pytest.mark.parametrize("uri", ["", ".", "\0", "%00", "\ud800", "a" * 5000, "a\nb", "%ff"])
def test_names_that_no_file_has(box, uri):
    path = box.write("gltf")
    box.root["buffers"][0]["uri"] = uri
    path.write_text(json.dumps(box.root))
    reason(path).encode()
    assert companion_files(path) == []


def test_buffers_within_the_json(box):
    path = box.write("gltf")
    text = base64.b64encode(box.data).decode()
    for uri in (
        f"data:;base64,{text}",
        f"data:application/gltf-buffer;charset=x;base64,{quote(text, safe='')}",
        "data:application/octet-stream," + quote(box.data),
    ):
        box.root["buffers"][0]["uri"] = uri
        path.write_text(json.dumps(box.root))
        assert volume(path) == 1
    for uri, said in (
        (f"data:;base64,{text[:-4]}", "is truncated: a data URI has 165 of the 168 bytes"),
        (f"data:;base64,{text[:-1]}", "not base64"),
        (f"data:;base64,{text[:9]}é{text[9:]}", "not base64"),
        ("data:", "has no data"),
    ):
        box.root["buffers"][0]["uri"] = uri
        path.write_text(json.dumps(box.root))
        assert said in reason(path)


def test_chunks_of_a_glb(box):
    path = box.write("glb")
    text, data = json.dumps(box.root).encode(), box.data
    path.write_bytes(
        glb((b"abcd", b"first"), (b"JSON", text), (b"wxyz", b""), (b"BIN\0", data), (b"BIN\0", b""))
    )
    assert volume(path) == 1
    whole = glb((b"JSON", text), (b"BIN\0", data))
    path.write_bytes(whole + b"padding")
    assert volume(path) == 1
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert reason(path).startswith(("is truncated", "cannot be read as glb: it does not start"))
    alone = glb((b"JSON", text))
    path.write_bytes(alone + whole[len(alone) :])
    assert "buffer 0 has no data" in reason(path), "the file ends where its header says"
    path.write_bytes(whole[: len(alone)] + struct.pack("<I", 1 << 31) + whole[len(alone) + 4 :])
    assert reason(path).startswith("is truncated or damaged: a chunk of 2147483648 bytes is declared in ")
    path.write_bytes(glb((b"JSON", text), (b"BIN\0", data[:-4])))
    assert "its binary chunk has 164 of the 168 bytes its header declares" in reason(path)
    path.write_bytes(glb((b"BIN\0", data)))
    assert reason(path) == "is damaged: it has no JSON chunk; export it again"
    path.write_bytes(whole)
    path = path.rename(path.with_suffix(".gltf"))
    assert volume(path) == 1


def test_other_versions_are_refused_by_name(box):
    said = "is glTF 1.0; convert it to 2.0"
    path = box.write("glb")
    path.write_bytes(glb((b"JSON", b"{}"), version=1))
    assert reason(path) == said
    path.write_bytes(glb((b"JSON", b"{}"), version=3))
    assert "its header declares version 3, not 2" in reason(path)
    for asset, expected in (
        ({"version": "1.0"}, said),
        ({"version": "3.0"}, "is glTF 3.0; export it as glTF 2.0"),
        ({"version": "2.0", "minVersion": "2.1"}, "is glTF 2.1; export it as glTF 2.0"),
        ({}, '"version" is missing; export it again'),
        ({"version": 2.0}, '"version" is 2.0, not text; export it again'),
    ):
        box.root["asset"] = asset
        assert reason(box.write("gltf")).endswith(expected)
    path.write_text(json.dumps({"meshes": {"a": {}}, "nodes": {}}))
    path = path.rename(path.with_suffix(".gltf"))
    assert reason(path) == said


# ------------------------------------------------------------------------------------------------ extensions


def test_extensions_of_materials_change_nothing(box):
    box.required(
        *("KHR_materials_unlit", "KHR_materials_variants", "KHR_texture_transform", "KHR_texture_basisu"),
        *("EXT_texture_webp", "KHR_lights_punctual", "KHR_xmp_json_ld", "KHR_mesh_quantization"),
    )
    box.root |= {"images": [{"uri": "../gone.png"}], "textures": 3, "materials": None}
    box.expect(1, (0.5, 0.5, 0.5))


@pytest.mark.parametrize("name", [DRACO, MESHOPT, "KHR_meshopt_compression", "EXT_other", "a b\n", "\ud800"])
def test_an_extension_that_is_required_and_unknown_is_refused(box, name):
    box.required("KHR_materials_unlit", name)
    said = reason(box.write("gltf"))
    assert said.startswith("needs the glTF extension ")
    assert name in said or repr(name) in said
    said.encode()
    del box.root["extensionsRequired"]
    box.expect(1, (0.5, 0.5, 0.5))


def test_compressed_primitives_are_read_from_their_fallback(box):
    primitive = box.root["meshes"][0]["primitives"][0]
    primitive["extensions"] = {"KHR_materials_variants": {}, DRACO: {"bufferView": 0, "attributes": {}}}
    box.expect(1, (0.5, 0.5, 0.5))
    position, indices = box.root["accessors"]
    for accessor in (position, indices):
        view = accessor.pop("bufferView")
        box.refuse(
            f"^needs the glTF extension {DRACO}, which is not supported; export it without compression$"
        )
        accessor["sparse"] = {"count": 0, "indices": {}, "values": {}}
        box.refuse(f"^needs the glTF extension {DRACO}")
        del accessor["sparse"]
        accessor["bufferView"] = view
    del primitive["attributes"]["POSITION"]
    box.refuse(f"^needs the glTF extension {DRACO}")
    del primitive["extensions"]
    box.refuse("primitives without vertices, or with numbers that are not in the file")


@pytest.mark.parametrize("name", [MESHOPT, "KHR_meshopt_compression"])
def test_compressed_buffers_are_read_from_their_fallback(box, name):
    for view in box.root["bufferViews"]:
        view["extensions"] = {name: {"buffer": 1, "byteLength": 5, "byteStride": 12, "count": 8}}
    box.root["buffers"].append({"byteLength": 5})
    box.expect(1, (0.5, 0.5, 0.5))
    box.root["buffers"].reverse()
    box.root["buffers"][1] = {"byteLength": 168, "extensions": {name: {"fallback": True}}}
    for view in box.root["bufferViews"]:
        view["buffer"] = 1
    box.refuse(f"^needs the glTF extension {name}, which is not supported; export it without compression$")
    for view in box.root["bufferViews"]:
        view["buffer"] = 0
    box.root["buffers"][0] |= {"extensions": {name: {"fallback": True}}}
    with pytest.raises(MeshError, match=f"^needs the glTF extension {name}"):
        box.read("glb")


# ------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("accessors 0 count", 9, "9 elements of 12 bytes are declared in 96 bytes"),
        ("accessors 0 count", 1 << 50, "elements of 12 bytes are declared"),
        ("accessors 0 count", 1 << 80, '"count" is a huge number, not a whole number'),
        ("accessors 0 count", -1, '"count" is -1, not a whole number of 0 or more'),
        ("accessors 0 count", 7.5, '"count" is 7.5, not a whole number'),
        ("accessors 0 count", True, '"count" is True, not a whole number'),
        ("accessors 0 count", None, '"count" is null, not a whole number'),
        ("accessors 0 count", 7, "is damaged: a face uses vertex 7 of 7"),
        ("accessors 0 byteOffset", 4, "8 elements of 12 bytes are declared in 96 bytes"),
        ("accessors 0 type", "VEC4", "has the type 'VEC4', not VEC3"),
        ("accessors 0 type", {}, '"type" is an object, not text'),
        ("accessors 0 componentType", 5130, "unknown component type 5130"),
        ("accessors 0 normalized", 1, '"normalized" is 1, not true or false'),
        ("accessors 0 bufferView", 2, "refers to buffer view 2, but has 2"),
        ("accessors 1 componentType", 5126, "indices of the component type 5126, not unsigned"),
        ("accessors 1 componentType", 5122, "indices of the component type 5122, not unsigned"),
        ("accessors 1 count", 35, "35 corners of triangles, not a multiple of 3"),
        ("bufferViews 0 byteStride", 8, "a stride of 8 bytes for elements of 12"),
        ("bufferViews 0 byteStride", 16, "8 elements of 12 bytes are declared in 96 bytes"),
        ("bufferViews 0 byteLength", 169, "buffer view 0 ends after its buffer of 168 bytes"),
        ("bufferViews 0 byteOffset", 1 << 52, "buffer view 0 ends after its buffer of 168 bytes"),
        ("bufferViews 0 buffer", 1, "refers to buffer 1, but has 1"),
        ("meshes 0 primitives 0 mode", 7, "the unknown mode 7"),
        ("meshes 0 primitives 0 indices", 2, "refers to accessor 2, but has 2"),
        ("meshes 0 primitives 0 targets", [{"POSITION": 1}], None),
        ("meshes 0 weights", [1, 2], None),
        ("meshes 0 weights", ["1"], '"weights" is a list of 1, not numbers'),
        ("meshes", [3], '"meshes" is not a list of objects'),
        ("nodes 0 mesh", "0", "\"mesh\" is '0', not a whole number"),
        ("nodes 0 scale", [1, 1], '"scale" is a list of 2, not 3 numbers'),
        ("nodes 0 scale", [1, 1, 10**400], "a number that is not finite"),
        ("nodes 0 translation", "abc", "\"translation\" is 'abc', not 3 numbers"),
        ("nodes 0 scale", [1, 0, 1], "a part is placed by a matrix that flattens it"),
        ("nodes 0 skin", 0, "refers to skin 0, but has 0"),
        ("nodes 0 extensions", {INSTANCING: {"attributes": {}}}, "lists of unequal length"),
        ("scene", 0, "refers to scene 0, but has 0"),
        ("nodes", {}, '"nodes" is an object, not a list'),
        ("extensionsRequired", [3], "not a list of texts"),
    ],
)
def test_values_of_the_wrong_type_or_out_of_range(box, place, value, said):
    *keys, last = [int(key) if key.isdigit() else key for key in place.split()]
    record = box.root
    for key in keys:
        record = record[key]
    record[last] = value
    if said is None:
        box.expect(1, (0.5, 0.5, 0.5))
    else:
        assert said in reason(box.write("gltf"))


@pytest.mark.parametrize("text", ["", "[]", "3", "[" * 100_000, '{"a": NaN}', "{", "\xff", '{"a":' * 100_000])
def test_json_of_any_shape(tmp_path, text):
    (tmp_path / "a.gltf").write_bytes(text.encode("latin-1"))
    said = r"is (truncated or )?damaged: its JSON (cannot be read|is not an object); export it again"
    assert re.fullmatch(said, reason(tmp_path / "a.gltf"))
    (tmp_path / "a.glb").write_bytes(glb((b"JSON", text.encode("latin-1"))))
    assert re.fullmatch(said, reason(tmp_path / "a.glb"))


@pytest.mark.parametrize(("kind", "last"), [("u1", 255), ("u2", 65535), ("u4", (1 << 32) - 1)])
def test_restarts_of_a_strip_are_refused(scene, kind, last):
    """For any number of vertices."""
    position = scene.numbers(np.resize(BOX, (65536, 3)))
    indices = scene.numbers([0, 1, 2, last, 3, 4, 5], kind)
    scene.node(mesh=scene.mesh({"attributes": {"POSITION": position}, "indices": indices, "mode": 5}))
    scene.refuse(f"a face uses the index {last}, which is reserved")


def test_sparse_numbers_beyond_the_others_are_refused(box):
    places = {"bufferView": box.view(bytes([8])), "componentType": 5121}
    sparse = {"indices": places, "values": {"bufferView": 0}, "count": 1}
    box.root["accessors"][0]["sparse"] = sparse
    box.refuse("a sparse accessor replaces element 8 of 8")


def test_morph_targets_of_another_size_are_refused(scene):
    scene.node(mesh=scene.box(targets=[{"POSITION": scene.numbers(BOX[:4])}]), weights=[1])
    scene.refuse("POSITION has 4 elements for 8 vertices")
    scene.root["nodes"][0]["weights"] = [1, 1]
    scene.refuse("a mesh has 2 weights for 1 morph targets")


def test_a_small_file_that_would_fill_the_memory_is_refused(scene):
    count = 1 << 40
    empty = scene.declare(componentType=5126, count=count, type="VEC3")
    custom = scene.declare(componentType=5126, count=count, type="SCALAR")
    scene.node(mesh=scene.box(), extensions={INSTANCING: {"attributes": {"_ID": custom}}})
    scene.refuse("^unfolds to 140,737.5 GB or more, far more than a valid file of its size")
    scene.root["nodes"][0]["extensions"][INSTANCING]["attributes"] = {"TRANSLATION": empty}
    scene.refuse("^unfolds to ")
    sparse = {"indices": {"bufferView": 1, "componentType": 5121}, "values": {"bufferView": 0}, "count": 1}
    [primitive] = scene.root["meshes"][0]["primitives"]
    primitive["attributes"]["POSITION"] = scene.declare(
        componentType=5126, count=count, type="VEC3", sparse=sparse
    )
    del scene.root["nodes"][0]["extensions"]
    scene.refuse("^unfolds to ")


def test_copies_that_would_fill_the_memory_are_refused(scene):
    indices = scene.numbers(np.tile(FACES.ravel(), 20_000), "u2")
    mesh = scene.mesh({"attributes": {"POSITION": scene.numbers(BOX)}, "indices": indices})
    custom = scene.declare(componentType=5126, count=10_000, type="SCALAR")
    scene.node(mesh=mesh, extensions={INSTANCING: {"attributes": {"_ID": custom}}})
    scene.refuse("^unfolds to 1.1 GB or more")


def test_damaged_values_and_bytes_are_read_or_refused(box):
    """No other error is raised."""
    draw = random.Random(0)
    values = [None, True, -1, 0, 1, 3.5, 1e300, 1 << 70, "", "a", [], {}, [[]], [0], {"a": 0}, [None] * 3]
    box.node(children=[], translation=[0, 0, 1], rotation=[0, 0, 0, 1], scale=[1, 1, 1], weights=[0])
    text = json.dumps(box.root)
    for suffix in ("glb", "gltf"):
        whole = box.write(suffix).read_bytes()
        for turn in range(400):
            if turn % 2:
                data = bytearray(whole)
                for _ in range(draw.randint(1, 3)):
                    data[draw.randrange(len(data))] = draw.randrange(256)
                data = data[: draw.choice([len(data), draw.randrange(len(data))])]
                path = box.folder / f"b.{suffix}"
                path.write_bytes(data)
            else:
                box.root = json.loads(text)
                owner = box.root
                while isinstance(owner, dict | list) and owner:
                    key = draw.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))
                    if draw.random() < 0.3 or not isinstance(owner[key], dict | list) or not owner[key]:
                        owner[key] = draw.choice(values)
                        break
                    owner = owner[key]
                try:
                    path = box.write(suffix)
                except (AttributeError, IndexError, KeyError, TypeError):  # the writer needs its buffer
                    continue
            with contextlib.suppress(MeshError):
                read_gltf(path)
