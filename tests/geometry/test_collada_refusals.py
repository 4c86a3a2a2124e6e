"""Refusals of the reader of dae and zae files; encodings, archives and damage."""

import random
import time
import zipfile

import numpy as np
import pytest

from plumbline.errors import InputError, MeshError
from plumbline.geometry.mesh_formats.collada import read_dae, read_zae
from plumbline.geometry.meshes import load_mesh
from tests.helpers.collada_files import (
    BRICK,
    INPUT,
    PLACED,
    QUADS,
    QUADS_XML,
    SPACE,
    dae,
    geometry,
    mesh,
    skin,
    source,
    words,
    write,
)

HUNG = '<node sid="j"/><node><instance_controller url="#c"/></node>'


NORMAL = '<input semantic="NORMAL" source="#n" offset="1"/>'


def bare(primitives=QUADS_XML, positions=None):
    return dae(geometries=geometry(content=mesh(primitives, positions)))


def node(content):
    return dae(f"<node id='n'>{content}{PLACED}</node>")


def hung(joints=("j",), weights=(((0, 1),),) * 8, **more):
    return dae(HUNG, more=skin(joints, weights, **more))


REFUSED = {
    # missing objects
    "places a geometry '#nope' that is not in the file": dae('<node><instance_geometry url="#nope"/></node>'),
    "places a geometry 'b.dae#g' that is in another file": dae(
        '<node><instance_geometry url="b.dae#g"/></node>'),
    "places a geometry without saying which": dae("<node><instance_geometry/></node>"),
    "places a geometry '#g', but 2 elements have this id": dae(geometries=geometry() * 2),
    "places a node '#nope' that is not in the file": dae('<node><instance_node url="#nope"/></node>'),
    "places a controller '#c' that is not in the file": dae(HUNG),
    # kinds that have a surface and are not read
    r"has curved surfaces \(brep\) in geometry 'g'": dae(geometries=geometry(content="<brep/>")),
    "places a convex hull that is not in the file, 'g'": dae(
        geometries=geometry(content='<convex_mesh convex_hull_of="#h"/>')),
    "has 'nurbs' in geometry 'g', which is not known": bare("<nurbs/>"),
    "has 'mesh mesh' in geometry 'g', which is not known": dae(geometries=geometry(content=mesh() * 2)),
    "has 'instance_geometry' in its visual scene": dae(PLACED),
    "skews node 'n'": node("<skew>45 1 0 0 0 1 0</skew>"),
    "is COLLADA '1.3.0'": dae(root=f'xmlns="{SPACE}" version="1.3.0"'),
    "it contains 'svg', not COLLADA": "<svg/>",
    # transforms
    "a <matrix> of node 'n' has 15 numbers instead of 16": node(f"<matrix>{'1 ' * 15}</matrix>"),
    "the last row of the <matrix> of node 'n'": node("<matrix>1 0 0 0 0 1 0 0 0 0 1 0 5 6 7 1</matrix>"),
    "<translate> has '0,5' where a number is needed": node("<translate>0,5 0 0</translate>"),
    "the <translate> of node 'n' is not finite": node("<translate>0 NaN 0</translate>"),
    "node 'n' turns around an axis without direction": node("<rotate>0 0 0 90</rotate>"),
    "by a matrix that flattens it": node("<scale>1 1 0</scale>"),
    "has 'trnslate' in node 'n', which is not known": node("<trnslate>1 0 0</trnslate>"),
    # sources and primitives
    "<float_array> declares 24 items and has 23": bare().replace(" 3</float_array>", "</float_array>"),
    "source 's' has 24 values, but 9 times 3": bare(positions=source("s", BRICK, "X", "Y", "Z", count=9)),
    "an accessor reads 3 of every 2 values": bare(positions=source("s", BRICK, "X", "Y", "Z", stride=2)),
    "an accessor reads 1 of every 0 values": bare(positions=source("s", BRICK, "X", stride=0, count=8)),
    "positions 's' are not x, y and z": bare(positions=source("s", BRICK, "X", "Y", stride=3)),
    "has count='-8'": bare(positions=source("s", BRICK, "X", "Y", "Z", count=-8)),
    "reads an array '#s-b' that is not in the file": bare().replace(
        'accessor source="#s-a"', 'accessor source="#s-b"'),
    "uses vertices '#u' that is not in the file": bare(QUADS_XML.replace("#v", "#u")),
    "vertices 'v' have 0 inputs of positions": bare().replace("POSITION", "NORMAL"),
    "a <polylist> has 0 inputs of vertices": bare(QUADS_XML.replace("VERTEX", "NORMAL")),
    "a face uses vertex 8 of 8": bare(QUADS_XML.replace("7", "8")),
    "a face uses vertex -1 of 8": bare(QUADS_XML.replace("7", "-1")),
    "a face uses vertex -1 of 8; export it again": bare(
        f"<tristrips>{INPUT}<p>0 1 2 -1 4 5 6</p></tristrips>"
    ),
    "<p> has '1.5' where a whole number is needed": bare(QUADS_XML.replace("7", "1.5")),
    "<polylist> declares 5 items and has 6": bare(QUADS_XML.replace('"6"', '"5"')),
    "do not have 24 corners together": bare(QUADS_XML.replace("4 4 4", "4 4 3")),
    "23 indices do not make whole corners of 2": bare(
        f'<triangles>{INPUT}{NORMAL}<p>{"0 " * 23}</p></triangles>'),
    "23 corners do not make whole triangles": bare(f"<triangles>{INPUT}<p>{'0 ' * 23}</p></triangles>"),
    "a corner has 1000000000 indices": bare(QUADS_XML.replace('offset="0"', 'offset="999999999"')),
    # controllers
    "to joint 'j', which is in the scene 0 times": hung().replace('sid="j"', ""),
    "to joint 'j', which is in the scene 2 times": dae(
        f'<node sid="j"/>{HUNG}', more=skin(["j"], [[(0, 1)]] * 8)),
    "skins a geometry '#h' that is not in the file": hung(target="#h"),
    "the weights of 1 of 8 vertices of skin 'c' do not sum to 1": hung(
        weights=[[(0, 1)]] * 7 + [[(0, 0.5)]]),
    "has weights for 7 of 8 vertices": hung(weights=[[(0, 1)]] * 7),
    "skin 'c' uses joint 1 of 1": hung(weights=[[(1, 1)]] * 8),
    "skin 'c' uses joint -2 of 1": hung(weights=[[(-2, 1)]] * 8),
    "skin 'c' uses joint 0 of 0": hung(joints=[]),
    "has 2 matrices for 1 joints": hung(inverse=[np.eye(4)] * 2),
    "mirrors a part of skin 'c'": hung(
        ["j", "j"], [[(0, 1)]] * 4 + [[(1, 1)]] * 4, inverse=[np.eye(4), np.diag([-1, 1, 1, 1])]),
    "the last row of a matrix of skin 'c' is not 0 0 0 1": hung(inverse=[np.ones((4, 4))]),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_refusals_say_what_is_wrong(tmp_path, reason, capfd):
    with pytest.raises(MeshError, match=reason) as caught:
        read_dae(write(tmp_path, REFUSED[reason]))
    assert str(tmp_path) not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert capfd.readouterr() == ("", "")


def test_what_a_material_is_called_does_not_matter(tmp_path):
    """Two boxes, of volume 1 and 2; the material of one is not in the file, nor is any picture."""
    small, large = np.array(BRICK) / [1, 2, 3], np.array(BRICK) / [1, 1, 3] + [3, 0, 0]
    both = geometry("g", mesh(positions=source("s", small, "X", "Y", "Z")))
    both += geometry("h", mesh(positions=source("s", large, "X", "Y", "Z")))
    lost = "<technique_common><instance_material symbol='m' target='#lost'/></technique_common>"
    bound = f"<bind_material>{lost}</bind_material>"
    images = "<library_images><image id='i'><init_from>lost.png</init_from></image></library_images>"
    other = f'<node><instance_geometry url="#h">{bound}</instance_geometry></node>'
    text = dae(f"<node>{PLACED}</node>{other}", both, images)
    np.testing.assert_allclose(load_mesh(write(tmp_path, text), name="a").com, [2.5, 5 / 6, 0.5])
    hangs = dae(f"<node>{PLACED}</node>{HUNG}", both, skin(["j"], [[(0, 1)]] * 8, target="#h"))
    np.testing.assert_allclose(load_mesh(write(tmp_path, hangs), name="a").com, [2.5, 5 / 6, 0.5])


# --------------------------------------------------------------------------------------------- text

NAMED = dae(f'<node id="größe">{PLACED}</node>')
PREFIXED = dae(root=f'xmlns:c="{SPACE}" version="1.5.0"').replace("<", "<c:").replace("<c:/", "</c:")
TEXTS = {
    "utf-8 with its mark": b"\xef\xbb\xbf" + NAMED.encode(),
    "utf-16": NAMED.encode("utf-16"),
    "latin-1": b'<?xml version="1.0" encoding="ISO-8859-1"?>' + NAMED.encode("latin-1"),
    "windows-1252": b"<?xml version='1.0' encoding='windows-1252'?>" + NAMED.encode("cp1252"),
    "gbk": b'<?xml version="1.0" encoding="GBK"?>' + NAMED.replace("größe", "大小").encode("gbk"),
    "1.5": dae(root='xmlns="http://www.collada.org/2008/03/COLLADASchema" version="1.5.0"'),
    "a prefix": PREFIXED,
    "no namespace": dae(root=""),
    "comments within numbers": NAMED.replace(" 3</float_array>", "<!-- 4 -->\r\n\t3 </float_array>"),
    "a document type": f'<!DOCTYPE COLLADA SYSTEM "none.dtd">{NAMED}',
    "urls with escapes and without #": dae(
        '<node><instance_geometry url="big%20one"/></node>', geometry("big one")),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_encodings_and_namespaces(tmp_path, name):
    np.testing.assert_array_equal(read_dae(write(tmp_path, TEXTS[name])).vertices, BRICK)


UNFOLDING = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))


@pytest.mark.parametrize("declared", ['<!ENTITY e0 "7 ">' + UNFOLDING, '<!ENTITY e9 SYSTEM "secret.txt">',
                                      '<!ENTITY % p SYSTEM "secret.txt"> %p;'])  # fmt: skip
def test_entities_are_refused_at_once(tmp_path, declared):
    (tmp_path / "secret.txt").write_text("7")
    start = time.perf_counter()
    with pytest.raises(MeshError, match="declares an XML entity"):
        read_dae(write(tmp_path, f"<!DOCTYPE COLLADA [{declared}]>{bare(QUADS_XML.replace('7', '&e9;'))}"))
    assert time.perf_counter() - start < 5


NO_XML = [
    *((b"", "truncated"), (b"<COLLADA", "truncated"), (NAMED[:-9].encode(), "truncated")),
    *((b"\0" * 99, "damaged"), (b'<?xml version="1.0" encoding="none"?><COLLADA/>', "damaged")),
    (b'<?xml version="1.0" encoding="gbk"?>\xff\xff', "damaged"),
]


@pytest.mark.parametrize(("data", "kind"), NO_XML)
def test_text_that_is_not_xml_is_refused(tmp_path, data, kind):
    with pytest.raises(MeshError, match=f"^is {kind}: .*; export it again$"):
        read_dae(write(tmp_path, data))


# ----------------------------------------------------------------------------------------- archives


def pack(folder, **members):
    path = folder / "a.zae"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def manifest(root):
    return f'<?xml version="1.0" encoding="utf-8"?><dae_root>\n{root}</dae_root>'


def test_archives(tmp_path):
    box, wrong = dae(), "<svg/>"
    for members in (
        {"a__dae": box, "a__png": b""},
        {"manifest__xml": manifest("./in%20here/a.dae#show"), "in here/a__dae": box, "b__dae": wrong},
        {"manifest__xml": manifest("a.xml"), "a__xml": box, "b__dae": wrong},
    ):
        np.testing.assert_array_equal(read_zae(pack(tmp_path, **members)).vertices, BRICK)
    for members, reason in (
        ({"a__dae": box, "b__dae": box}, "has no manifest and 2 dae files"),
        ({"a__png": b""}, "has no manifest and 0 dae files"),
        (
            {"manifest__xml": manifest("b.dae"), "a__dae": box},
            "names 'b.dae' in its manifest, which is not in it",
        ),
        ({"manifest__xml": manifest(""), "a__dae": box}, "names '' in its manifest"),
        ({"manifest__xml": "<dae", "a__dae": box}, "its manifest ends in line 1"),
        ({"a__dae": "0 " * 150_000_000}, "unpacks to 0.3 GB"),
    ):
        with pytest.raises(InputError, match=reason):
            read_zae(pack(tmp_path, **members))


def test_archives_that_are_damaged(tmp_path):
    data = bytearray(pack(tmp_path, a__dae=dae()).read_bytes())
    path = tmp_path / "b.zae"
    far = bytearray(data)
    far[-6:-2] = (len(data) * 9).to_bytes(4, "little")  # where the list of members begins
    for damaged in (b"", data[:-30], data[:60] + b"\0" * 20 + data[80:], far):
        path.write_bytes(damaged)
        with pytest.raises(
            MeshError, match=r"^(cannot be read as zae|is truncated or damaged): .*; export it again$"
        ):
            read_zae(path)


# ------------------------------------------------------------------------------------------- damage


def damage(text, rng):
    """Remove, change or repeat a few pieces of a text."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(text))
        end = min(len(text), start + rng.choice([1, 1, 2, 5, 30, 200]))
        new = rng.choice(
            ["", "", "0", "-1", "9" * 30, "nan", "1e308", "#", '"', "<p>", "é", text[start:end] * 2]
        )
        text = text[:start] + new + text[end:]
    return text


def test_damaged_files_are_read_or_refused(tmp_path, capfd):
    """No other error is raised, and nothing is printed."""
    rng = random.Random(0)
    holed = f"<polygons>{INPUT}<ph><p>{words(QUADS[0])}</p><h>4 6 7</h></ph></polygons>"
    moved = node("<rotate>0 0 1 90</rotate><lookat>1 2 3 4 5 6 0 0 1</lookat>")
    seeds = [hung(), bare(holed), bare(), moved]
    refused = 0
    for _ in range(400):
        try:
            read_dae(write(tmp_path, damage(rng.choice(seeds), rng).encode("utf-8")))
        except MeshError:
            refused += 1
    assert 200 < refused < 400
    assert capfd.readouterr() == ("", "")
