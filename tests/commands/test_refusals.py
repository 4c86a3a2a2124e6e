"""What a newcomer gets wrong is answered with one sentence that can be acted on, and exit code 2."""

import os
import shlex
from pathlib import Path

import pytest
import trimesh

from plumbline.data.pt.cache import open_data
from plumbline.data.pt.samples import write_pt
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.verify import verify
from plumbline.data.store.writer import write_store
from plumbline.errors import InputError, MeshError
from plumbline.geometry.clouds import read_cloud
from plumbline.geometry.meshes import load_mesh
from tests.helpers.preparing import BOX, BOX_FACES, SMALL, prepare, write_meshes, write_off
from tests.helpers.random_samples import FEATURES, random_samples
from tests.helpers.refusals import refused


@pytest.fixture
def packed(tmp_path) -> Path:
    write_store(tmp_path / "packed", random_samples(0, 20), feature_names=FEATURES)
    return tmp_path / "packed"


def make_folder(file: Path) -> None:
    """In the place of a file: what cannot be read, also for who may read everything."""
    file.unlink()
    file.mkdir()


# ------------------------------------------------------------------------------------- no permission


@pytest.mark.parametrize("name", ["manifest.json", "index.safetensors"])
def test_what_cannot_be_read_in_a_packed_data_set(packed, capsys, monkeypatch, name):
    if name != "manifest.json":  # its size is that of the manifest, so only opening it fails
        deny(monkeypatch, packed / name)
    else:
        make_folder(packed / name)
    assert f"{packed / name} cannot be read" in refused(capsys, "check", packed)


def deny(monkeypatch, path: Path) -> None:
    import builtins

    original = builtins.open

    def no_entry(file, *args, **kwargs):
        if Path(str(file)) == path:
            raise PermissionError(13, "Permission denied", str(file))
        return original(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", no_entry)


def test_shards_that_cannot_be_read(packed, monkeypatch):
    store = PackedStore.open(packed)
    deny(monkeypatch, packed / "shard-00000.safetensors")
    with pytest.raises(InputError, match=r"shard-00000.safetensors cannot be read: Permission denied"):
        store.sample(0)
    with pytest.raises(InputError, match=r"shard-00000.safetensors cannot be read: Permission denied"):
        verify(store, deep=True)


@pytest.mark.parametrize("verb", [("check",), ("train", "--data_dir")])
def test_a_data_folder_that_cannot_be_read(tmp_path, capsys, monkeypatch, verb):
    def no_entry(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "iterdir", no_entry)
    assert "data cannot be read: Permission denied" in refused(capsys, *verb, tmp_path / "data")


def test_metadata_of_sample_files_that_cannot_be_read(tmp_path, capsys):
    write_pt(tmp_path / "a.pt", random_samples(0, 1)[0])
    (tmp_path / "dataset_metadata.json").mkdir()
    assert "dataset_metadata.json cannot be read: Is a directory" in refused(capsys, "check", tmp_path)


def test_a_cache_that_cannot_be_read_is_made_elsewhere(tmp_path, monkeypatch):
    """Someone else's, in a folder that everybody reads."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    write_pt(tmp_path / "data" / "a.pt", random_samples(0, 1)[0])
    theirs = open_data(tmp_path / "data").path
    original, access = os.open, os.access

    def no_entry(file, *args, **kwargs):
        if str(file).startswith(str(theirs)):
            raise PermissionError(13, "Permission denied", str(file))
        return original(file, *args, **kwargs)

    monkeypatch.setattr(os, "open", no_entry)
    monkeypatch.setattr(os, "access", lambda path, how: Path(path) != theirs.parent and access(path, how))
    assert len(open_data(tmp_path / "data")) == 1


def test_labels_that_cannot_be_read(tmp_path, capsys, monkeypatch):
    labels = tmp_path / "labels.csv"
    labels.write_text("file,com_x,com_y,com_z\n")

    def no_entry(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", no_entry)
    sentence = refused(capsys, "prepare", "--labels", labels, "--out", tmp_path / "out")
    assert f"{labels} cannot be read: Permission denied" in sentence


def test_an_out_folder_that_cannot_be_read(tmp_path, capsys, monkeypatch):
    def no_entry(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(Path, "iterdir", no_entry)
    sentence = refused(capsys, "prepare", "--solids", 3, "--out", tmp_path / "out")
    assert "out cannot be read: Permission denied" in sentence


# ----------------------------------------------------------------------------------- not a data set


def test_a_missing_or_empty_folder_gets_the_command_that_fills_it(tmp_path):
    for path in (tmp_path / "my data", tmp_path / "missing"):
        command = f"`plumbline prepare --solids 200 --out {shlex.quote(str(path))}`"
        with pytest.raises(InputError) as caught:
            open_data(path)
        assert command in str(caught.value)
        path.mkdir()
        with pytest.raises(InputError) as caught:
            open_data(str(path))
        assert command in str(caught.value)


def test_a_file_or_a_folder_of_other_files_is_not_to_be_prepared_into(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"notes.txt is a file, not a data set"):
        open_data(tmp_path / "notes.txt")
    with pytest.raises(InputError, match=r"found neither manifest.json .*--out data/NAME`"):
        open_data(tmp_path)


def test_a_folder_of_meshes_gets_the_command_that_prepares_them(tmp_path):
    write_off(tmp_path / "m" / "deep" / "box.off", BOX)
    path = tmp_path / "m"
    with pytest.raises(InputError) as caught:
        open_data(path)
    command = f"with `plumbline prepare {shlex.quote(str(path))} --out data/NAME`"
    assert str(caught.value) == f"{path} holds 1 mesh, not a data set: prepare it {command}"
    write_off(tmp_path / "m" / "crate.off", BOX)
    with pytest.raises(InputError, match=r"holds 2 meshes, not a data set: prepare them with"):
        open_data(path)


def test_a_folder_of_scans_gets_the_commands_that_take_scans(tmp_path, capsys):
    folder = tmp_path / "my scans"
    folder.mkdir()
    trimesh.PointCloud(BOX).export(folder / "cloud.ply")
    predict = f"`plumbline predict '{folder}'` predicts"
    prepare = "`plumbline prepare --labels CSV --out data/NAME` makes a data set from"
    table = " and a table of centres of mass\n"
    one = f"{folder} holds 1 scan, not a data set: {predict} its centre of mass, and {prepare} it{table}"
    assert one in refused(capsys, "check", folder)
    for name in ("a.npz", "b.pcd", "deep/c.NPY", "d.xyz", "e.las", "f.laz", "notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    many = f"{folder} holds 7 scans, not a data set: {predict} their centres of mass, and {prepare} them"
    assert many + table in refused(capsys, "check", folder)
    trimesh.Trimesh(BOX, BOX_FACES).export(folder / "mesh.ply")
    assert "my scans holds 1 mesh, not a data set" in refused(capsys, "check", folder)


@pytest.mark.parametrize("moved", [False, True])
def test_an_unfinished_data_set_is_to_be_finished(tmp_path, moved):
    """Also where some of the documented files are in their place already."""
    (tmp_path / ".parts").mkdir()
    if moved:
        write_pt(tmp_path / "a.pt", random_samples(0, 1)[0])
    with pytest.raises(InputError, match=r"did not finish: run the same `plumbline prepare` command again"):
        open_data(tmp_path)
    if moved:
        (tmp_path / "dataset_metadata.json").write_text("{}")
        assert len(open_data(tmp_path)) == 1


# ---------------------------------------------------------------------------------- damaged, or wrong


@pytest.mark.parametrize("layout", ["packed", "pt"])
def test_preparing_into_a_damaged_data_set_says_what_to_do(tmp_path, capsys, layout):
    out = tmp_path / "out"
    flags = [write_meshes(tmp_path / "m"), "--out", out, "--format", layout, *SMALL]
    prepare(*flags)
    victim = next(iter(sorted(out.glob("shard-*" if layout == "packed" else "*.pt"))))
    victim.unlink()
    sentence = refused(capsys, "prepare", *flags)
    assert victim.name in sentence
    assert "choose another folder, or delete this one" in sentence


def test_a_mesh_or_a_scan_that_is_missing_is_said_to_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MeshError, match=r"^mug.stl does not exist"):
        load_mesh("mug.stl", name="mug")
    Path("mug.stl").mkdir()
    with pytest.raises(MeshError, match=r"^mug.stl is a folder"):
        load_mesh("mug.stl", name="mug")
    with pytest.raises(InputError, match=r"^mug.xyz does not exist"):
        read_cloud("mug.xyz")
    Path("mug.xyz").mkdir()
    with pytest.raises(InputError, match=r"^mug.xyz is a folder"):
        read_cloud("mug.xyz")


@pytest.mark.parametrize("name", ["scan.pcd", "scan.xyz", "scan.npy", "labels.csv", "scan.ply"])
def test_scans_given_as_meshes_are_sent_to_labels(tmp_path, capsys, name):
    header = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    (tmp_path / name).write_text(header + "end_header\n0 0 0\n0 0 1\n0 1 0\n")
    capsys.readouterr()
    assert prepare(tmp_path / name, "--out", tmp_path / "out", *SMALL, ok=False) == 2
    output = capsys.readouterr()
    assert "--labels" in output.out + output.err
    if name != "scan.ply":  # which may be a mesh, and is found out later
        (tmp_path / "folder").mkdir()
        (tmp_path / name).rename(tmp_path / "folder" / name)
        assert "--labels" in refused(capsys, "prepare", tmp_path / "folder", "--out", tmp_path / "out")
