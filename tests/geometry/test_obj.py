"""The reader of obj files: what writers put between vertices and faces, and damage."""

import numpy as np
import pytest

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.obj import read_obj
from plumbline.geometry.meshes import load_mesh

BOX = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def lines(corner="{}", vertex="v {} {} {}", first=1, size=1.0):
    """A box of six quads; ``corner`` writes the number of a vertex, ``first`` is that of the first one."""
    rows = [vertex.format(*row) for row in (BOX * size).tolist()]
    return rows + ["f " + " ".join(corner.format(i + first) for i in side) for side in SIDES.tolist()]


def write(folder, text, end="\n"):
    path = folder / "a.obj"
    text = text if isinstance(text, str) else "\n".join(text)
    path.write_bytes(text.replace("\n", end).encode("latin-1"))
    return path


VARIANTS = {
    "plain": lines(),
    "texture": lines("{}/1"),
    "texture and normal": lines("{}/1/1"),
    "normal": lines("{}//1"),
    "weights": lines(vertex="v {} {} {} 1.0"),
    "colours": lines(vertex="v {} {} {} 0.1 0.2 0.3"),
    "some colours": ["v 0 0 0 1 1 1", *lines()[1:]],
    "tabs and blanks": lines(vertex="\tv\t{}  {}\t{} "),
    "comments": ["# plain", *lines("{}", "v {} {} {} # corner"), "# f 1 2 99"],
    "continued lines": [line.replace(" ", " \\\n", 2) for line in lines()],
    "groups, materials, lines, points": [
        "mtllib Gerät.mtl", "o a", *lines()[:8], "usemtl lost", "g b c", "s off", *lines()[8:], "l 1 2", "p 3"
    ],
    "texture coordinates and normals between": ["vt 0 0", "vn 0 0 1", "vp 1", *lines()],
    "relative to the end": lines(first=-8),
    "no end of the last line": "\n".join(lines()).rstrip("\n"),
    "mark of utf-8": "\xef\xbb\xbf" + "\n".join(lines()),
    "two corners only": [*lines(), "f 1 2"],
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_variants(tmp_path, name, end):
    content = read_obj(write(tmp_path, VARIANTS[name], end))
    np.testing.assert_array_equal(content.vertices, BOX)
    expected = np.concatenate([SIDES[:, [0, 1, 2]], SIDES[:, [0, 2, 3]]])
    assert sorted(content.faces.tolist()) == sorted(expected.tolist())


def test_relative_numbers_count_from_their_own_line(tmp_path):
    """Two boxes, one after the other, each numbered from its end."""
    other = [line.replace("v ", "v 1") if line[0] == "v" else line for line in lines(first=-8)]
    solid = load_mesh(write(tmp_path, lines(first=-8) + other), name="a")
    np.testing.assert_allclose(solid.com, [5.5, 0.5, 0.5])
    assert solid.volume == pytest.approx(2)


def test_numbers_of_any_form(tmp_path):
    path = write(tmp_path, "v 1e-3 -.5 +2.\nv 1E2 0 0\nv 0 0 -1.5e+1\nf 1 2 3\n")
    np.testing.assert_array_equal(read_obj(path).vertices, [[1e-3, -0.5, 2], [100, 0, 0], [0, 0, -15]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n", "uses vertex 3 of 3"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -4\n", "uses vertex -1 of 3"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "a face uses vertex 0, but the first is 1"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 2.5\n", "not a whole number"),
        ("v 0 0 0\nv 1 0\nv 0 1 0\nf 1 2 3\n", "a vertex has fewer than three numbers"),
        ("v 0 0 0\nv 1 0 0 5\nv 0 1\nf 1 2 3\n", "a vertex has fewer than three numbers"),
        ("v 0 0 0\nv 1 zero 0\nv 0 1 0\nf 1 2 3\n", "'zero' where a number is needed"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 drei\n", "'drei' where a number is needed"),
        ("\n".join(lines()) + "\ncstype bspline\nsurf 0 1 0 1 1 2 3 4\n", "has free-form surfaces (surf)"),
        ("v\0 1 2 3", "is not a text file"),
        ("", "is empty; export it again"),
        ("# only a comment", "cannot be read as obj: it holds no vertices and no faces; export it again"),
        ("v 0 0 0\nv 1 0 0\nl 1 2", "has no faces; give a mesh (scans are for plumbline predict, or for"),
        ("{\"text\": 1}\n", "holds no vertices and no faces"),
    ],
)  # fmt: skip
def test_damage_is_refused_in_one_sentence(tmp_path, text, said):
    path = write(tmp_path, text)
    with pytest.raises(MeshError) as caught:
        load_mesh(path, name="a")
    assert said in str(caught.value)
    assert str(caught.value).count(str(path)) == 1
    assert "\n" not in str(caught.value)
