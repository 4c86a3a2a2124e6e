"""The reader of stl files: binary or text, and what is around the triangles."""

import struct

import numpy as np
import pytest

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.stl import read_stl
from plumbline.geometry.meshes import load_mesh

BOX = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
BOX_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 5, 1], [0, 4, 5]]
    + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 7, 3], [1, 5, 7]]
)
CORNERS = BOX[BOX_FACES]


def binary(corners=CORNERS, head=b"", num=None):
    rows = [struct.pack("<12fH", 0, 0, 0, *corner.ravel(), 7) for corner in corners]
    return head.ljust(80, b" ") + struct.pack("<I", len(corners) if num is None else num) + b"".join(rows)


def text(corners=CORNERS, name=" box", facet="facet normal 0 0 0\n  outer loop\n", indent="    "):
    rows = [
        facet + "".join(f"{indent}vertex {x} {y} {z}\n" for x, y, z in corner) + "  endloop\nendfacet\n"
        for corner in corners
    ]
    return f"solid{name}\n{''.join(rows)}endsolid{name}\n".encode()


VARIANTS = {
    "binary": binary(),
    "binary whose header starts with solid": binary(head=b"solid of facets"),
    "binary with a line of an ascii header": binary(head=b"solid a\nfacet normal 0 0 0\n"),
    "binary with padding": binary() + bytes(36),
    "binary with padding of many triangles": binary() + bytes(5000),
    "binary that starts with solid, with padding": binary(head=b"solid\0") + bytes(36),
    "ascii": text(),
    "ascii without a name": text(name=""),
    "ascii with the words of the format as its name": text(name=" facet vertex endloop vertex"),
    "ascii with CR": text().replace(b"\n", b"\r"),
    "ascii with CRLF": text().replace(b"\n", b"\r\n"),
    "ascii in capitals": text().upper(),
    "ascii with tabs and blanks": text(facet="facet\tnormal  0 0 0\n\touter\tloop\n", indent="\t \t"),
    "ascii with normals that are not finite": text(facet="facet normal nan -nan(ind) inf\nouter loop\n"),
    "ascii with exponents": text(CORNERS * 1e-5 / 1e-5, facet="facet normal 1e-5 0 0\nouter loop\n"),
    "ascii of two solids": text(CORNERS[:5], " a") + text(CORNERS[5:], " vertex of b"),
    "ascii without its end": text().replace(b"endsolid box\n", b""),
    "ascii after a mark of utf-8": b"\xef\xbb\xbf" + text(),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(tmp_path, name):
    path = tmp_path / "a.stl"
    path.write_bytes(VARIANTS[name])
    content = read_stl(path)
    np.testing.assert_array_equal(content.vertices[content.faces], CORNERS)
    solid = load_mesh(path, name="a")
    np.testing.assert_allclose(solid.com, [0.5, 0.5, 0.5], atol=1e-15)
    assert solid.volume == pytest.approx(1)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty; export it again"),
        (binary()[:-100], "is truncated: it has 10 of the 12 triangles its header declares"),
        (binary()[:-1], "is truncated: it has 11 of the 12 triangles"),
        (binary(num=2**32 - 1), "is truncated: it has 12 of the 4,294,967,295 triangles"),
        (binary(num=0), "declares no triangles, but 12 follow"),
        (binary([]), "has no faces"),
        (b"solid\nendsolid\n", "has no faces; export it again"),
        (text()[:-60], "a facet does not have three vertices"),
        (text().replace(b"    vertex 0.0 0.0 0.0\n", b"", 1), "a facet does not have three vertices"),
        (text().replace(b"vertex 0.0 0.0 0.0\n", b"vertex 0.0 0.0\n", 1), "does not have three numbers"),
        (text().replace(b"vertex 0.0 0.0 0.0\n", b"vertex 0,0 0.0 0.0\n", 1), "'0,0' where a number"),
        (b"PK\x03\x04" + bytes(500), "declares no triangles, but 8 follow"),
    ],
)
def test_damage_is_refused_in_one_sentence(tmp_path, data, said):
    path = tmp_path / "a.stl"
    path.write_bytes(data)
    with pytest.raises(MeshError) as caught:
        load_mesh(path, name="a")
    assert said in str(caught.value)
    assert str(caught.value).count(str(path)) == 1
    assert "\n" not in str(caught.value)
