"""The reader of off files: their many headers, colours, and damage."""

import numpy as np
import pytest

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.off import read_off
from plumbline.geometry.meshes import load_mesh

PYRAMID = ["0 0 0", "1 0 0", "1 1 0", "0 1 0", "0.5 0.5 1"]
SIDES = ["4 3 2 1 0", "3 0 1 4", "3 1 2 4", "3 2 3 4", "3 3 0 4"]


def off(head="OFF\n5 5 8", vertex="{}", face="{}"):
    rows = [vertex.format(row) for row in PYRAMID] + [face.format(row) for row in SIDES]
    return "\n".join([head, *rows]) + "\n"


def write(folder, text):
    path = folder / "a.off"
    path.write_bytes(text.encode("latin-1"))
    return path


VARIANTS = {
    "plain": off(),
    "no number of edges": off("OFF\n5 5"),
    "counts on the first line": off("OFF 5 5 8"),
    "counts glued to the word, as in ModelNet": off("OFF5 5 8"),
    "no word": off("5 5 8"),
    "comments and empty lines": "# Gerät\n\n" + off("OFF # plain\n\n# counts\n5 5 8\n"),
    "colours of vertices": off("COFF\n5 5 8", vertex="{} 255 0 0 255"),
    "normals": off("NOFF\n5 5 8", vertex="{} 0 0 1"),
    "texture, colours and normals": off("STCNOFF\n5 5 8", vertex="{} 0 0 1 1 0 0 1 0.5 0.5"),
    "colours of faces": off(face="{} 255 0 0"),
    "colours of some faces": off().replace("3 1 2 4\n", "3 1 2 4 0.1 0.2 0.3 1\n"),
    "carriage returns": off().replace("\n", "\r\n"),
    "mark of utf-8": "\xef\xbb\xbf" + off(),
    "lines behind": off() + "\nthe end\n",
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(tmp_path, name):
    path = write(tmp_path, VARIANTS[name])
    content = read_off(path)
    np.testing.assert_array_equal(content.vertices, [list(map(float, row.split())) for row in PYRAMID])
    assert content.faces.tolist() == [[3, 2, 1], [3, 1, 0], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
    np.testing.assert_allclose(load_mesh(path, name="a").com, [0.5, 0.5, 0.25])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n", "does not start with OFF and its counts"),
        ("OFF\n", "does not start with OFF and its counts"),
        ("solid a\n", "does not start with OFF and its counts"),
        ("OFF BINARY\n\0\0\0\5", "is a binary off file"),
        (off("4OFF\n5 5 8", vertex="{} 1"), "three-dimensional"),
        (off("nOFF\n3\n5 5 8"), "three-dimensional"),
        (off("OFF\n5 6 8"), "it has 10 of the 11 lines its header declares"),
        (off("OFF\n999999999999999999 1 0"), "is truncated"),
        (off(f"OFF\n{'9' * 5000} 1 0"), "does not start with OFF and its counts"),
        (off().replace("3 3 0 4", f"{'3' * 5000} 3 0 4"), "where a face is needed"),
        (off().replace("0.5 0.5 1", "0.5 0.5"), "different numbers of columns"),
        (off().replace("0.5 0.5 1", "0.5 half 1"), "'half' where a number is needed"),
        (off().replace("3 3 0 4", "3 3 0"), "'3 3 0' where a face is needed"),
        (off().replace("3 3 0 4", "3 3 0 5"), "uses vertex 5 of 5"),
        (off().replace("3 3 0 4", "3 3 0 0.5"), "not a whole number"),
        ("OFF\n5 0 0\n" + "\n".join(PYRAMID), "has no faces"),
        ("OFF\n0 0 0\n", "has no faces"),
    ],
)
def test_damage_is_refused_in_one_sentence(tmp_path, text, said):
    path = write(tmp_path, text)
    with pytest.raises(MeshError) as caught:
        load_mesh(path, name="a")
    assert said in str(caught.value)
    assert str(caught.value).count(str(path)) == 1
    assert "\n" not in str(caught.value)
