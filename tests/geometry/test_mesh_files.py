"""Finding meshes: their names, their companions, and files that are not meshes."""

import base64
import json
import os
import subprocess
import sys

import pytest

from plumbline.errors import InputError
from plumbline.geometry.mesh_files import companion_files, find_meshes
from plumbline.geometry.mesh_formats.reading import MESH_SUFFIXES


def test_names_are_relative_unique_and_sorted(tmp_path):
    for name in (
        "a/mug.ply",
        "a/mug.obj",
        "a/deep/er/cup.stl",
        "a/.hidden/x.ply",
        "a/notes.txt",
        "a/._mug.ply",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("b/deep/er/cup.stl", "c/b/deep/er/cup.stl", "b/jar.v2.glb"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [m.name for m in find_meshes([tmp_path / "a"])] == ["deep/er/cup", "mug.obj", "mug.ply"]
    assert [m.name for m in find_meshes([tmp_path / "a/mug.ply"])] == ["mug"]
    two = [m.name for m in find_meshes([tmp_path / "b", str(tmp_path / "a"), tmp_path / "a"])]
    assert two == ["a/deep/er/cup", "a/mug.obj", "a/mug.ply", "b/deep/er/cup", "b/jar.v2"]
    same_folder_name = find_meshes([tmp_path / "b", tmp_path / "c" / "b"])
    names = [m.name for m in same_folder_name]
    assert len(set(names)) == len(names) == 3
    assert any(name.endswith("c/b/deep/er/cup.stl") for name in names)


def test_finding_nothing_is_an_error(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_meshes([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="no mesh found"):
        find_meshes([tmp_path])
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="not a mesh"):
        find_meshes([tmp_path / "notes.txt"])
    assert {".obj", ".off", ".stl", ".ply", ".glb"} <= MESH_SUFFIXES


def test_importing_loads_no_heavy_package():
    code = (
        "import sys, plumbline.geometry.meshes; assert not {'trimesh', 'scipy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_links_to_a_file_the_first_by_name_counts(tmp_path, monkeypatch, turned):
    """In whatever order the file system lists them."""
    (tmp_path / "mug.ply").touch()
    (tmp_path / "cup.ply").symlink_to(tmp_path / "mug.ply")
    original = os.walk

    def walk(*args, **kwargs):
        for parent, folders, members in original(*args, **kwargs):
            yield parent, folders, sorted(members, reverse=turned)

    monkeypatch.setattr(os, "walk", walk)
    assert [mesh.name for mesh in find_meshes([tmp_path])] == ["cup"]


def test_companions_of_a_gltf_are_the_files_that_hold_its_numbers(tmp_path):
    inline = "data:application/octet-stream;base64," + base64.b64encode(b"1234").decode()
    uris = ["the%20mug.bin", inline, "parts/lid.bin", "gone.bin"]
    gltf = tmp_path / "mug.gltf"
    gltf.write_text(json.dumps({"buffers": [*({"uri": uri} for uri in uris), {"byteLength": 0}]}))
    for name in ("the mug.bin", "parts/lid.bin", "other.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert companion_files(gltf) == [tmp_path / "the mug.bin", tmp_path / "parts/lid.bin"]
    gltf.rename(tmp_path / "mug.ply")
    assert companion_files(tmp_path / "mug.ply") == []
    for text in ("", "[]", "{}", '{"buffers": 3}', '{"buffers": [{"uri": 3}]}', '{"buffers": [null]}'):
        gltf.write_text(text)
        assert companion_files(gltf) == []
