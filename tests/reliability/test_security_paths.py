"""No name in a file points out of its folder, and no file fills the memory when unpacked."""

import json
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from plumbline import files
from plumbline.cli import main
from plumbline.data.pt.cache import open_data
from plumbline.data.pt.samples import write_pt
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.errors import DamagedStoreError, InputError, MeshError
from plumbline.geometry.clouds import read_cloud
from plumbline.geometry.mesh_files import companion_files
from plumbline.geometry.meshes import load_mesh
from plumbline.predictors.checkpoint import load_checkpoint, seal
from plumbline.predictors.inference import predict
from plumbline.records import FEATURE_NAMES
from tests.helpers.preparing import SMALL
from tests.helpers.training_fixtures import random_samples, saved, train
from tests.reliability.malice import assert_refused, plumbline

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], "<f4")
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], "<u4")
SECRET = "4711.25 0.8151"

_opened: list[str] = []
_watching: list[bool] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in ("open", "os.listdir", "os.scandir", "os.mkdir", "socket.connect"):
        _opened.append(str(arguments[0]))


sys.addaudithook(_note)  # for good, so it does nothing but in a test that watches


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Names of all files that this process opens meanwhile."""
    _opened.clear()
    _watching.append(True)
    yield _opened
    _watching.clear()


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    write_store(tmp_path / "packed", random_samples(2, 2), feature_names=list(FEATURE_NAMES))
    return tmp_path / "packed"


# -- packed data sets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["index", "shard"])
@pytest.mark.parametrize(
    "name",
    ["../{}", "{outside}", "x/../../{}", "x/{}", "..", ".", "", "..\\{}", "C:{}", "{}\0", "\0",
     "\ud800", "~/{}", 7],
)  # fmt: skip
def test_a_manifest_names_files_beside_it_only(packed: Path, what: str, name: Any) -> None:
    manifest = json.loads((packed / "manifest.json").read_text())
    item = manifest["index"] if what == "index" else manifest["shards"][0]
    (packed / item["file"]).rename(packed.parent / item["file"])
    if isinstance(name, str):
        name = name.format(item["file"], outside=packed.parent / item["file"])
    item["file"] = name
    (packed / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedStoreError, match=r"not the name of a file in the same folder|TypeError"):
        PackedStore.open(packed)
    assert main(["train", "--data_dir", str(packed)]) == 2


@pytest.mark.skipif(os.name != "posix", reason="makes links")
def test_links_of_a_packed_data_set(packed: Path, tmp_path: Path) -> None:
    """A whole folder may be a link, and a file one to another in its folder, but none leads elsewhere."""
    (tmp_path / "linked").symlink_to(packed)
    assert len(PackedStore.open(tmp_path / "linked")) == 4
    shard = packed / "shard-00000.safetensors"
    shard.rename(packed / "blob")
    shard.symlink_to("blob")
    assert PackedStore.open(tmp_path / "linked").sample(3) is not None
    shard.unlink()
    (packed / "blob").rename(tmp_path / "blob")
    for target in ("../blob", tmp_path / "blob"):
        shard.symlink_to(target)
        with pytest.raises(DamagedStoreError, match="a link that points out of its folder"):
            PackedStore.open(packed)
        shard.unlink()


# -- folders of sample files -------------------------------------------------------------------------------


def test_names_in_the_metadata_read_no_file(tmp_path: Path, opened: list[str]) -> None:
    one, other = random_samples(1, 2)
    (tmp_path / "data").mkdir()
    write_pt(tmp_path / "data" / "mine.pt", one)
    write_pt(tmp_path / "secret.pt", other)
    names = ["mine.pt", "../secret.pt", str(tmp_path / "secret.pt"), "..", "/", "\0", "a/../../secret.pt"]
    entries = [{"filename": name, "object_name": f"object {i}"} for i, name in enumerate(names)]
    (tmp_path / "data" / "dataset_metadata.json").write_text(json.dumps({"files": entries}))
    opened.clear()
    store = open_data(tmp_path / "data")
    assert store.object_names == ["object 0"]
    assert any("mine.pt" in name for name in opened)
    assert not [name for name in opened if "secret" in name]


def test_metadata_of_another_folder_do_not_pass_for_a_finished_data_set(tmp_path: Path) -> None:
    out, flags = tmp_path / "out", ["--format", "pt", *SMALL]
    assert main(["prepare", "--solids", "2", "--out", str(out), *flags]) == 0
    metadata = json.loads((out / "dataset_metadata.json").read_text())
    file = out / metadata["files"][0]["filename"]
    file.rename(tmp_path / file.name)
    for name in (f"../{file.name}", str(tmp_path / file.name), "..", "."):
        metadata["files"][0]["filename"] = name
        (out / "dataset_metadata.json").write_text(json.dumps(metadata))
        assert_refused(plumbline("prepare", "--solids", 2, "--out", out, *flags), "1 file is missing")


@pytest.mark.skipif(os.name != "posix", reason="makes links")
def test_sample_files_may_be_links(tmp_path: Path) -> None:
    """Made by whoever may write into the folder; stores of large files consist of them."""
    (tmp_path / "data").mkdir()
    write_pt(tmp_path / "blob", random_samples(1, 1)[0])
    (tmp_path / "data" / "a.pt").symlink_to("../blob")
    (tmp_path / "again").symlink_to(tmp_path / "data")
    assert len(open_data(tmp_path / "again")) == 1


@pytest.mark.skipif(os.name != "posix", reason="makes links")
def test_a_cache_behind_a_link_removes_nothing_of_anybody_else(tmp_path: Path) -> None:
    home, data = tmp_path / "home", tmp_path / "data"
    for name in ("thesis", "photos/2026", "0123456789abcdef01234567x", ".ssh"):
        (home / name).mkdir(parents=True)
        (home / name / "file").write_text("precious")
    data.mkdir()
    write_pt(data / "a.pt", random_samples(1, 1)[0])
    (data / ".plumbline-cache").symlink_to("../home")
    stale = home / ("0" * 24)
    stale.mkdir()
    assert len(open_data(data)) == 1
    assert sorted(path.parent.name for path in home.rglob("file")) == [
        ".ssh", "0123456789abcdef01234567x", "2026", "thesis",
    ]  # fmt: skip
    assert not stale.exists(), "nothing was removed at all: this test proves nothing"


@pytest.mark.parametrize(
    "name", ["../../evil", "/abs/evil", "C:\\evil", "..", ".hidden", "a/../../../evil", "\x1b[2J"]
)
def test_names_of_objects_do_not_place_files(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).normal(size=(60, 3)) + 5)
    (tmp_path / "labels.csv").write_text(f"file,com_x,com_y,com_z,object_name\nscan.npy,5,5,5,{name}\n")
    before = set(tmp_path.iterdir())
    out = tmp_path / "deep" / "out"
    labels = str(tmp_path / "labels.csv")
    assert main(["prepare", "--labels", labels, "--out", str(out), "--format", "pt", *SMALL]) == 0
    assert set(tmp_path.iterdir()) - before == {tmp_path / "deep"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    assert len(list(out.glob("*.pt"))) == 1
    assert open_data(out).object_names == [name]


def test_labels_are_the_users_own_and_may_name_scans_anywhere(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).normal(size=(60, 3)) + 5)
    (tmp_path / "labels").mkdir()
    for place in ("../scan.npy", tmp_path / "scan.npy"):
        (tmp_path / "labels" / "l.csv").write_text(f"file,com_x,com_y,com_z\n{place},5,5,5\n")
        out = tmp_path / f"out{Path(place).is_absolute()}"
        assert (
            main(["prepare", "--labels", str(tmp_path / "labels" / "l.csv"), "--out", str(out), *SMALL]) == 0
        )


# -- checkpoints -------------------------------------------------------------------------------------------


def test_an_ensemble_holds_its_members_and_names_none(tiny: Path, tmp_path: Path) -> None:
    assert train(tiny, tmp_path / "run", max_epochs=1, ensemble=2).code == 0
    path = tmp_path / "run" / "ensemble.ckpt"
    store = PackedStore.open(tiny)
    before = predict(load_checkpoint(path).model, store, np.arange(4))
    for member in ("member-0", "member-1"):
        (tmp_path / "run" / member).rename(tmp_path / member)
    np.testing.assert_array_equal(predict(load_checkpoint(path).model, store, np.arange(4)), before)
    content = saved(path)
    for model in ("os:system", "../member-0/last.ckpt", "ensemble", 3, None):
        content["plumbline"]["model_args"]["members"][0]["model"] = model
        torch.save(content, tmp_path / "evil.ckpt")
        (tmp_path / "evil.ckpt").write_bytes(seal((tmp_path / "evil.ckpt").read_bytes()))
        with pytest.raises(InputError, match="does not fit the model 'ensemble'"):
            load_checkpoint(tmp_path / "evil.ckpt")


@pytest.mark.skipif(os.name != "posix", reason="makes links")
@pytest.mark.parametrize("name", ["metrics.csv", "config.yaml", "startup.json", "result.json", ".running"])
def test_a_run_folder_writes_through_no_link(tiny: Path, tmp_path: Path, name: str) -> None:
    run, precious = tmp_path / "run", tmp_path / "precious"
    assert train(tiny, run, max_epochs=1).code == 0
    precious.write_text("precious")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to("../precious")
    for resume in ("", None):
        outcome = train(tiny, run, max_epochs=2, resume=resume)
        assert precious.read_text() == "precious"
        assert outcome.code == 2
        assert f"{name} is a link there" in outcome.text


# -- meshes ------------------------------------------------------------------------------------------------


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """A folder of meshes, and next to it what they have no business with."""
    (tmp_path / "meshes").mkdir()
    (tmp_path / "secret.bin").write_bytes(VERTICES.tobytes() + FACES.tobytes())
    (tmp_path / "secret.txt").write_text(SECRET)
    return tmp_path / "meshes"


def gltf(path: Path, uri: str) -> Path:
    views = [{"buffer": 0, "byteOffset": 48 * i, "byteLength": 48} for i in range(2)]
    kinds = [(5126, 4, "VEC3"), (5125, 12, "SCALAR")]
    content = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"uri": uri, "byteLength": 96}], "bufferViews": views,
        "accessors": [
            {"bufferView": i, "componentType": kind, "count": count, "type": form}
            for i, (kind, count, form) in enumerate(kinds)
        ],
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return path


def test_buffers_of_a_gltf_lie_in_its_folder(meshes: Path, opened: list[str]) -> None:
    secret = meshes.parent / "secret.bin"
    (meshes / "link.bin").symlink_to(secret)
    for uri in (
        "../secret.bin",
        "%2e%2e/secret.bin",
        str(secret),
        f"file://{secret}",
        "link.bin",
        "a/../../secret.bin",
    ):
        path = gltf(meshes / "box.gltf", uri)
        assert companion_files(path) == [], uri
        with pytest.raises(MeshError, match="which is not in its folder; put it there"):
            load_mesh(path, name="box")
    with pytest.raises(MeshError, match="which is not in its folder; put it there"):
        load_mesh(gltf(meshes / "box.gltf", "http://127.0.0.1:1/secret.bin"), name="box")
    assert not [name for name in opened if "secret" in name or "127.0.0.1" in name]
    (meshes / "box.bin").write_bytes(secret.read_bytes())
    path = gltf(meshes / "box.gltf", "box.bin")
    assert companion_files(path) == [meshes / "box.bin"]
    assert load_mesh(path, name="box").volume == pytest.approx(1 / 6)
    assert [name for name in opened if "secret.bin" in name], "what is opened is not noticed"


def text_meshes(secret: Path) -> dict[str, str]:
    """Meshes that name files where materials and pictures are named: next to them, or elsewhere."""
    vertices = "".join(f"v {x:g} {y:g} {z:g}\n" for x, y, z in VERTICES)
    faces = "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in FACES)
    dae = trimesh.exchange.dae.export_collada(trimesh.Trimesh(VERTICES, FACES, process=False)).decode()
    image = f'<library_images><image id="i"><init_from>{secret.name}</init_from></image></library_images>'
    return {
        "box.obj": "".join(f"mtllib {place}\n" for place in (secret.name, f"../{secret.name}", secret))
        + f"{vertices}usemtl a\n{faces}",
        "box.ply": trimesh.exchange.ply.export_ply(trimesh.Trimesh(VERTICES, FACES), encoding="ascii")
        .decode()
        .replace("element vertex", f"comment TextureFile {secret.name}\nelement vertex", 1),
        "box.dae": dae.replace("<library_effects", f"{image}<library_effects", 1),
    }


@pytest.mark.parametrize("name", ["box.obj", "box.ply", "box.dae"])
def test_materials_and_pictures_are_not_read(meshes: Path, opened: list[str], name: str) -> None:
    (meshes / name).write_text(text_meshes(meshes.parent / "secret.txt")[name])
    (meshes / "secret.txt").write_text("newmtl a\n")
    opened.clear()
    assert load_mesh(meshes / name, name="box").volume == pytest.approx(1 / 6)
    assert any(name in path for path in opened)
    assert not [path for path in opened if "secret" in path]


def write_3mf(path: Path, head: str = "", more: str = "", members: tuple[tuple[str, str], ...] = ()) -> Path:
    vertices = "".join(f'<vertex x="{x:g}" y="{y:g}" z="{z:g}"/>' for x, y, z in VERTICES)
    faces = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in FACES)
    mesh = f"<mesh><vertices>{vertices}</vertices><triangles>{faces}</triangles></mesh>"
    space = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
    text = (
        f'<?xml version="1.0"?>{head}<model unit="meter" xmlns="{space}"><resources>'
        f'<object id="1" name="{more}">{mesh}</object></resources><build><item objectid="1"/></build></model>'
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("3D/3dmodel.model", text)
        for name, content in members:
            archive.writestr(name, content)
    return path


ENTITY = '<!DOCTYPE x [<!ENTITY e SYSTEM "file://{}">]>'
UNFOLDING = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))


@pytest.mark.parametrize("name", ["box.dae", "box.3mf"])
@pytest.mark.parametrize("doctype", ["outside", "unfolding"])
def test_documents_take_in_no_other_file_and_do_not_unfold(meshes: Path, name: str, doctype: str) -> None:
    head = ENTITY.format(meshes.parent / "secret.txt")
    if doctype == "unfolding":
        head = f'<!DOCTYPE x [<!ENTITY e0 "{"1 " * 100}">{UNFOLDING}<!ENTITY e "&e9;">]>'
    path = meshes / name
    if path.suffix == ".3mf":
        with zipfile.ZipFile(write_3mf(path, head)) as archive:
            text = archive.read("3D/3dmodel.model").decode().replace('x="1"', 'x="&e;"', 1)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("3D/3dmodel.model", text)
    else:
        body = text_meshes(Path("none"))["box.dae"].rpartition("?>")[2]
        start = body.index(">", body.index("<float_array")) + 1
        path.write_text(f'<?xml version="1.0"?>{head}{body[:start]}&e; {body[start:]}')
    with pytest.raises(MeshError) as caught:
        load_mesh(path, name="box")
    assert not [part for part in SECRET.split() if part in str(caught.value)]
    assert len(str(caught.value)) < 500


def test_the_documents_would_take_it_in(meshes: Path) -> None:
    """With a parser that is told to."""
    etree = pytest.importorskip("lxml.etree")
    parser = etree.XMLParser(resolve_entities=True, load_dtd=True)
    text = f"{ENTITY.format(meshes.parent / 'secret.txt')}<a>&e;</a>"
    assert SECRET in etree.tostring(etree.fromstring(text, parser)).decode()


def test_an_archive_places_no_files(meshes: Path) -> None:
    members = (("../../evil.txt", "x"), ("/evil.txt", "x"))
    path = write_3mf(meshes / "box.3mf", more="../../evil", members=members)
    before = sorted(meshes.parent.rglob("*"))
    assert load_mesh(path, name="box").volume == pytest.approx(1 / 6)
    assert sorted(meshes.parent.rglob("*")) == before


# -- archives that unpack to fill the memory ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["bomb.3mf", "bomb.zae", "points.npz"])
def test_archives_that_unpack_to_far_more_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(files, "_SMALL", 1 << 20)
    path = tmp_path / name
    if path.suffix == ".npz":
        np.savez_compressed(path, points=np.zeros((200_000, 3)))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("3D/3dmodel.model", " " * (4 << 20))
    monkeypatch.setattr(zipfile.ZipFile, "open", None)  # whoever unpacks it stumbles
    with pytest.raises(InputError, match=r"unpacks to 0\.0 GB"):
        read_cloud(path) if path.suffix == ".npz" else load_mesh(path, name="bomb")


def test_archives_of_real_numbers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SMALL", 1 << 20)
    points = np.round(np.random.default_rng(0).normal(size=(100_000, 3)), 2)
    np.savez_compressed(tmp_path / "points.npz", points=points)
    assert len(read_cloud(tmp_path / "points.npz")) == 100_000
