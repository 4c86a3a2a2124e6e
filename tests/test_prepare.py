"""`plumbline prepare`: the same bytes whatever happens on the way, true labels, honest refusals."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.data.packed import PackedStore
from plumbline.data.packing import read_part
from plumbline.data.pool import write_chunks
from plumbline.data.preparation import Chunk, Source, write_chunk
from plumbline.geometry.meshes import load_mesh, open_reason

SMALL = ["--samples", "2", "--points", "48", "--k", "6", "--workers", "2"]

BOX = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
BOX_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def write_off(path: Path, vertices, faces=BOX_FACES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["OFF", f"{len(vertices)} {len(faces)} 0"]
    lines += [" ".join(map(repr, row)) for row in np.asarray(vertices, float).tolist()]
    lines += ["3 " + " ".join(map(str, row)) for row in faces.tolist()]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def meshes(tmp_path) -> Path:
    """Three closed meshes in ModelNet-like folders, one of them with a space and an umlaut in its name."""
    folder = tmp_path / "meshes"
    sheared = BOX @ np.array([[1, 0.4, 0], [0, 1, 0], [0.3, 0, 2]])
    wedge = BOX.copy()
    wedge[[1, 5], 1] = 0.7
    write_off(folder / "box" / "train" / "box_0001.off", BOX * [1, 2, 3] + 5)
    write_off(folder / "crate" / "train" / "sheared.off", sheared)
    write_off(folder / "Möbel alt" / "wedge.off", wedge - 2)
    return folder


def prepare(*args, ok: bool = True) -> int:
    code = main(["prepare", *map(str, args)])
    assert not ok or code == 0
    return code


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a folder, hidden ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def command(out: Path, *args, code: str = "") -> list[str]:
    """A command line for a process of its own; ``code`` runs before the command."""
    start = f"import sys, os, signal\n{code}\nfrom plumbline.cli import main\nsys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", start, "prepare", "--out", str(out), *map(str, args)]


# ------------------------------------------------------------------------------------------ same bytes


@pytest.mark.parametrize("layout", ["packed", "pt"])
def test_bytes_do_not_depend_on_workers_or_place_of_the_input(meshes, tmp_path, layout):
    moved = tmp_path / "elsewhere" / "m"
    shutil.copytree(meshes, moved)
    write_off(meshes / "open.off", BOX, BOX_FACES[:-1])
    write_off(moved / "open.off", BOX, BOX_FACES[:-1])
    both = ["--solids", 14, "--format", layout, *SMALL]
    prepare(meshes, "--out", tmp_path / "one", *both, "--workers", 1)
    result = subprocess.run(command(tmp_path / "two", moved, *both), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert len(digest(tmp_path / "one")) == (3 if layout == "packed" else 2 * 17 + 1)


def _wait_for_parts(out: Path, process: subprocess.Popen, num: int) -> None:
    give_up = time.monotonic() + 30
    while len(list((out / ".parts").glob("*.part"))) < num:
        assert process.poll() is None, "the command ended before it could be stopped"
        assert time.monotonic() < give_up
        time.sleep(0.005)


def _alive(group: int) -> list[int]:
    """Processes of a group that are not just waiting to be collected."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


KILLED_WHILE = {
    "scanning": "",
    "moving the files": """
import plumbline.data.outcome as outcome
real, count = os.replace, [0]
def replace(a, b):
    count[0] += str(a).endswith('.pt') and '.parts/pt' in str(a) and '.parts' not in str(b)
    if count[0] == 7: os.kill(os.getpid(), 9)
    real(a, b)
os.replace = replace
""",
    "merging": """
import plumbline.data.packing as packing
def finish(self): self._flush(); os.kill(os.getpid(), 9)
packing._Writer.finish = finish
""",
    "cleaning up": """
import plumbline.data.outcome as outcome
def clean(out): os.kill(os.getpid(), 9)
outcome.clean = clean
""",
}


@pytest.mark.parametrize("moment", ["scanning", "moving the files", "merging", "cleaning up"])
def test_killed_and_run_again_gives_the_same_bytes(tmp_path, moment):
    layout = "pt" if moment == "moving the files" else "packed"
    num = 96 if moment == "scanning" else 20
    flags = ["--solids", num, "--format", layout, *SMALL]
    out = tmp_path / "killed"
    process = subprocess.Popen(
        command(out, *flags, code=KILLED_WHILE[moment]), stdout=subprocess.DEVNULL, start_new_session=True
    )
    if moment == "scanning":
        _wait_for_parts(out, process, 2)
        process.kill()
    assert process.wait(30) == -signal.SIGKILL
    assert any((out / ".parts").glob("*.part"))
    before = {path: path.stat().st_mtime_ns for path in (out / ".parts").glob("*.part")}
    if Path("/proc").is_dir():
        give_up = time.monotonic() + 10
        while _alive(process.pid):
            assert time.monotonic() < give_up, "workers outlive the command"
            time.sleep(0.02)
    kept = read_part(next(iter(before))).arrays["target"][0].copy()
    prepare("--out", out, *flags)
    prepare("--out", tmp_path / "whole", *flags)
    assert digest(out) == digest(tmp_path / "whole")
    assert np.isfinite(kept).all()


def test_parts_are_reused(tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--solids", 96, *SMALL]
    process = subprocess.Popen(
        command(out, *flags), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    _wait_for_parts(out, process, 3)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=30)[0]
    assert process.returncode == 130
    done = len(list((out / ".parts").glob("*.part")))
    assert f"stopped; {done * 8} of 96 objects are done" in said
    prepare("--out", out, *flags)
    assert f"{done * 8} are done already" in capsys.readouterr().out
    prepare("--out", tmp_path / "whole", *flags)
    assert digest(out) == digest(tmp_path / "whole")


def test_a_damaged_part_is_made_again(tmp_path):
    flags = ["--solids", 20, *SMALL]
    process = subprocess.run(command(tmp_path / "out", *flags, code=KILLED_WHILE["merging"]), check=False)
    assert process.returncode == -signal.SIGKILL
    part = sorted((tmp_path / "out" / ".parts").glob("*.part"))[1]
    part.write_bytes(part.read_bytes()[:1000])
    prepare("--out", tmp_path / "out", *flags)
    prepare("--out", tmp_path / "whole", *flags)
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


def test_adding_an_object_leaves_the_others_as_they_are(meshes, tmp_path):
    prepare(meshes, "--out", tmp_path / "before", *SMALL)
    write_off(meshes / "another.off", BOX)
    prepare(meshes, "--solids", 2, "--out", tmp_path / "after", *SMALL, "--samples", 3)
    before, after = by_object(tmp_path / "before"), by_object(tmp_path / "after")
    assert len(before) == 3
    assert len(after) == 6
    for name, samples in before.items():
        assert len(after[name]) == 3, "more scans were asked for"
        for one, other in zip(samples, after[name], strict=False):
            assert_same(one, other)


def by_object(folder: Path) -> dict[str, list]:
    store = PackedStore.open(folder)
    result: dict[str, list] = {}
    for i in range(len(store)):
        sample = store.sample(i)
        result.setdefault(sample.object_name, []).append(sample)
    return result


def assert_same(one, other) -> None:
    for name in ("node_features", "in_degree", "edge_source", "target", "edge_attr", "pos"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("object_name", "bounding_radius", "origin", "scale", "num_views"):
        assert getattr(one, name) == getattr(other, name), name


# ------------------------------------------------------------------------------------- what is in it


def test_targets_are_the_true_centres_of_mass_in_metres(meshes, tmp_path):
    prepare(meshes, "--out", tmp_path / "out", *SMALL, "--no_rotate", "--scale", 0.01, "--normalise", "unit")
    samples = by_object(tmp_path / "out")
    assert sorted(samples) == ["Möbel alt/wedge", "box/train/box_0001", "crate/train/sheared"]
    for name, scans in samples.items():
        solid = load_mesh(meshes / f"{name}.off", name=name, scale=0.01)
        assert len(scans) == 2
        for scan in scans:
            com = scan.origin + scan.scale * scan.target
            np.testing.assert_allclose(com, solid.com, atol=1e-6 * solid.bounding_radius)
            assert scan.bounding_radius * scan.scale == pytest.approx(solid.bounding_radius, rel=1e-9)
            points = scan.origin + scan.scale * scan.pos.astype(float)
            away = np.linalg.norm(points - solid.bounding_centre, axis=1)
            assert away.max() < 1.1 * solid.bounding_radius
    box = samples["box/train/box_0001"][0]
    np.testing.assert_allclose(box.origin + box.scale * box.target, [0.055, 0.06, 0.065], rtol=1e-12)


@pytest.mark.parametrize("edge_attr", ["sh", "displacement", "none"])
def test_documented_files_equal_the_packed_store(meshes, tmp_path, edge_attr):
    from plumbline.data.samples import read_pt

    flags = [meshes, "--edge_attr", edge_attr, "--views", "1-2", *SMALL]
    prepare(*flags, "--out", tmp_path / "packed")
    prepare(*flags, "--out", tmp_path / "pt", "--format", "pt")
    metadata = json.loads((tmp_path / "pt" / "dataset_metadata.json").read_text())
    assert {file["filename"] for file in metadata["files"]} == {
        p.name for p in (tmp_path / "pt").glob("*.pt")
    }
    assert "Möbel alt__wedge_sample1.pt" in {file["filename"] for file in metadata["files"]}
    packed = by_object(tmp_path / "packed")
    for file in metadata["files"]:
        number = int(file["filename"].rpartition("_sample")[2].removesuffix(".pt"))
        sample = read_pt(tmp_path / "pt" / file["filename"])
        assert sample.object_name == file["object_name"]
        assert_same(sample, packed[file["object_name"]][number])


def test_names_that_would_collide_as_files_are_kept_apart(tmp_path):
    from plumbline.data.samples import read_pt

    write_off(tmp_path / "m" / "a" / "b.off", BOX)
    write_off(tmp_path / "m" / "a__B.off", BOX)
    prepare(tmp_path / "m", "--out", tmp_path / "pt", "--format", "pt", *SMALL)
    files = json.loads((tmp_path / "pt" / "dataset_metadata.json").read_text())["files"]
    assert len({file["filename"].casefold() for file in files}) == 4
    for file in files:
        assert read_pt(tmp_path / "pt" / file["filename"]).object_name == file["object_name"]


def test_views_are_drawn_from_the_range(tmp_path):
    prepare("--solids", 12, "--views", "1-3", "--out", tmp_path / "out", *SMALL)
    assert set(PackedStore.open(tmp_path / "out").num_views.tolist()) == {1, 2, 3}


def test_open_meshes_are_listed_with_the_reason_and_left_out(meshes, tmp_path, capsys):
    write_off(meshes / "open.off", BOX, BOX_FACES[:-1])
    (meshes / "broken.ply").write_text("ply\nthis is no mesh\n")
    prepare(meshes, "--out", tmp_path / "out", *SMALL)
    store = PackedStore.open(tmp_path / "out")
    assert set(store.object_names) == {"Möbel alt/wedge", "box/train/box_0001", "crate/train/sheared"}
    reasons = {item.source: item.reason for item in store.rejected}
    assert set(reasons) == {"open.off", "broken.ply"}
    assert open_reason(BOX_FACES[:-1]) in reasons["open.off"]
    said = capsys.readouterr().out
    assert f"open.off: {reasons['open.off']}" in said
    assert "rejected  2" in said
    prepare(meshes, "--out", tmp_path / "shell", "--target", "shell", *SMALL)
    shell = PackedStore.open(tmp_path / "shell")
    assert "open" in shell.object_names
    assert [item.source for item in shell.rejected] == ["broken.ply"]


def test_nothing_left_is_refused_and_leaves_nothing(tmp_path, capsys):
    write_off(tmp_path / "m" / "open.off", BOX, BOX_FACES[:-1])
    assert prepare(tmp_path / "m", "--out", tmp_path / "out", *SMALL, ok=False) == 2
    assert "all 1 inputs were rejected" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------ real scans


def test_real_scans_with_labels(tmp_path):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 3)) * [0.1, 0.2, 0.3] + [0, 0, 2]
    np.save(tmp_path / "view a.npy", points)
    np.save(tmp_path / "few.npy", points[:40])
    np.save(tmp_path / "none.npy", points[:5])
    (tmp_path / "labels.csv").write_text(
        "file,com_x,com_y,com_z,object_name,sensor_x,sensor_y,sensor_z,bounding_radius\n"
        "view a.npy,0.01,0.02,2.03,cup,0,0,-1,0.9\n"
        "few.npy,0.01,0.02,2.03,cup,,,,\n"
        "none.npy,0,0,0,,,,,\n"
    )
    prepare("--labels", tmp_path / "labels.csv", "--out", tmp_path / "out", *SMALL)
    store = PackedStore.open(tmp_path / "out")
    assert store.object_names == ["cup"]
    assert [item.source for item in store.rejected] == ["none.npy"]
    assert "5 points" in store.rejected[0].reason
    first, second = store.sample(0), store.sample(1)
    assert (len(first.pos), len(second.pos)) == (48, 40)
    for sample, sensor in ((first, [0, 0, -1]), (second, [0, 0, 0])):
        np.testing.assert_allclose(
            sample.origin + sample.scale * sample.target, [0.01, 0.02, 2.03], atol=1e-12
        )
        world = sample.origin + sample.scale * sample.pos.astype(float)
        nearest = np.linalg.norm(world[:, None] - points, axis=2).min(axis=1)
        assert nearest.max() < 1e-6
        towards = sensor - world
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        np.testing.assert_allclose(sample.node_features[:, 3:6], towards, atol=1e-5)
    assert first.bounding_radius * first.scale == pytest.approx(0.9)


def test_real_sensors(shared_meshes, tmp_path):
    import csv

    with open(shared_meshes / "real_scans" / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:6]
    with open(tmp_path / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "com_x", "com_y", "com_z", "object_name", "bounding_radius"])
        for row in rows:
            path = shared_meshes / "real_scans" / row["scan"]
            values = [row[name] for name in ("com_x", "com_y", "com_z", "object", "bounding_radius")]
            writer.writerow([path, *values])
    prepare("--labels", tmp_path / "labels.csv", "--out", tmp_path / "out")
    store = PackedStore.open(tmp_path / "out")
    assert len(store) == len(rows)
    for i, row in enumerate(rows):
        sample = store.sample(i)
        com = [float(row[name]) for name in ("com_x", "com_y", "com_z")]
        np.testing.assert_allclose(sample.origin + sample.scale * sample.target, com, atol=1e-9)
        assert np.linalg.norm(sample.target) < 2 * sample.bounding_radius
        towards, normal = sample.node_features[:, 3:6], sample.node_features[:, 6:9]
        assert (np.einsum("nd,nd->n", towards, normal) >= -1e-6).all()
        assert len(sample.pos) == 256


# ------------------------------------------------------------------------- what is there is respected


@pytest.mark.parametrize("layout", ["packed", "pt"])
def test_a_finished_data_set_is_left_alone(meshes, tmp_path, capsys, layout):
    out = tmp_path / "out"
    flags = [meshes, "--out", out, "--format", layout, *SMALL]
    prepare(*flags)
    before, times = digest(out), {path: path.stat().st_mtime_ns for path in out.iterdir()}
    capsys.readouterr()
    prepare(*flags, "--workers", 1)
    assert digest(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times
    assert "finished already" in capsys.readouterr().out
    other = {"packed": "pt", "pt": "packed"}[layout]
    for flag, value, said in (
        ("--points", 49, "--points 48 there, 49 now"),
        ("--seed", 1, "--seed 0 there, 1 now"),
        ("--edge_attr", "none", "--edge_attr sh there, none now"),
        ("--solids", 1, "0 solids there, 1 now"),
        ("--format", other, f"--format {layout} there, {other} now"),
    ):
        assert prepare(*flags, flag, value, ok=False) == 2
        assert said in capsys.readouterr().err
    assert prepare(*flags, "--no_rotate", ok=False) == 2
    assert "--rotate yes there, no now" in capsys.readouterr().err
    write_off(meshes / "box" / "train" / "box_0001.off", BOX * 7)
    assert prepare(*flags, ok=False) == 2
    assert "contents of the input files have changed" in capsys.readouterr().err
    assert digest(out) == before


def test_an_unfinished_data_set_with_other_settings_is_refused(tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--solids", 20, *SMALL]
    subprocess.run(command(out, *flags, code=KILLED_WHILE["merging"]), check=False)
    before = digest(out)
    assert prepare("--out", out, *flags, "--noise", 0.5, ok=False) == 2
    assert (
        "an unfinished data set made in another way (--noise 0.01 there, 0.5 now)" in capsys.readouterr().err
    )
    assert digest(out) == before


def test_other_peoples_files_are_respected(meshes, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("42")
    assert prepare(meshes, "--out", out, *SMALL, ok=False) == 2
    assert "thesis.tex" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]
    assert prepare(meshes, "--out", out / "thesis.tex", *SMALL, ok=False) == 2
    assert "is a file" in capsys.readouterr().err
    (out / "thesis.tex").rename(out / "mug_sample0.pt")
    assert prepare(meshes, "--out", out, *SMALL, ok=False) == 2
    assert "no record of how it was made" in capsys.readouterr().err


def test_two_at_once_are_kept_apart(tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--solids", 96, *SMALL]
    process = subprocess.Popen(command(out, *flags), stdout=subprocess.DEVNULL)
    _wait_for_parts(out, process, 1)
    assert prepare("--out", out, *flags, ok=False) == 2
    assert "another process is preparing" in capsys.readouterr().err
    assert process.wait(60) == 0
    prepare("--out", tmp_path / "whole", *flags)
    assert digest(out) == digest(tmp_path / "whole")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["--solids", "3", "--views", "3-1"], "--views 3-1"),
        (["--solids", "3", "--views", "1.5"], "--views 1.5"),
        (["--solids", "3", "--distance", "0.5"], "outside the object"),
        (["--solids", "3", "--k", "300"], "--k 300"),
        (["--solids", "3", "--points", "3"], "--points 3: must be at least 16"),
        (["--solids", "3", "--target", "shel"], "did you mean shell?"),
        (["--solids", "3", "--vews", "2"], "did you mean --views?"),
        (["--labels", "nowhere.csv"], "nowhere.csv does not exist"),
        ([], "nothing to prepare"),
    ],
)
def test_bad_flags_are_refused_in_a_sentence(tmp_path, capsys, flags, said):
    assert prepare("--out", tmp_path / "out", *flags, ok=False) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------ accidents


def _write_or_die(chunk: Chunk, settings, dead=()) -> int:
    for position, source in enumerate(chunk.sources):
        if source.index == 5 and position not in dead:
            os.kill(os.getpid(), signal.SIGKILL)
    return write_chunk(chunk, settings, dead)


def _settings() -> dict:
    return {
        "target": "solid", "scale": 1.0, "samples": 1, "views": (1, 1), "points": 48, "sampling": "farthest",
        "pattern": "grid", "rays": 400, "distance": (2.0, 3.0), "noise": 0.01, "grazing": 80.0,
        "pose_error": 0.0, "rotate": True, "k": 6, "normalise": "unit", "seed": 0,
    }  # fmt: skip


def test_an_object_that_kills_its_process_is_the_only_one_lost(tmp_path):
    sources = [Source("solid", f"built-in solid {i}", f"solids/{i}", index=i) for i in range(12)]
    chunks = [Chunk(tmp_path / f"{i}.part", tuple(sources[i : i + 3])) for i in range(0, 12, 3)]
    written = dict(write_chunks(chunks, _settings(), workers=2, work=_write_or_die))
    assert {chunk.path.stem: num for chunk, num in written.items()} == {"0": 3, "3": 2, "6": 3, "9": 3}
    parts = [read_part(chunk.path) for chunk in chunks]
    assert [item.source for part in parts for item in part.rejected] == ["built-in solid 5"]
    assert "died" in parts[1].rejected[0].reason
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.part", "3.part", "6.part", "9.part"]
