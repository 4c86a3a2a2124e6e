"""`plumbline prepare` killed, repeated, run twice at once: the same bytes, and nothing overwritten."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh

from plumbline.data.prepare import sources as sources_module
from plumbline.data.prepare.sources import Source, cut
from plumbline.data.pt.cache import open_data
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import read_part
from plumbline.records import GraphSettings, ScanSettings
from tests.helpers import ROOT
from tests.helpers.preparing import BOX, BOX_FACES, SMALL, command, digest, prepare, write_meshes, write_off
from tests.helpers.processes import DEADLINE, running
from tests.helpers.training_fixtures import run_python


@pytest.fixture
def meshes(tmp_path) -> Path:
    return write_meshes(tmp_path / "meshes")


# ------------------------------------------------------------------------------------------ same bytes


@pytest.mark.parametrize("layout", ["packed", "pt"])
def test_bytes_do_not_depend_on_workers_or_place_of_the_input(meshes, tmp_path, layout):
    moved = tmp_path / "elsewhere" / "m"
    shutil.copytree(meshes, moved)
    write_off(meshes / "open.off", BOX, BOX_FACES[:-1])
    write_off(moved / "open.off", BOX, BOX_FACES[:-1])
    both = ["--solids", 14, "--format", layout, *SMALL]
    prepare(meshes, "--out", tmp_path / "one", *both, "--workers", 1)
    result = run_python(*command(tmp_path / "two", moved, *both)[1:])
    assert result.returncode == 0, result.stderr
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert len(digest(tmp_path / "one")) == (3 if layout == "packed" else 2 * 17 + 1)


def _wait_for_parts(out: Path, process: subprocess.Popen, num: int) -> None:
    while len(list((out / ".parts").glob("*.part"))) < num:
        assert process.poll() is None, "the command ended before it could be stopped"
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
import plumbline.data.prepare.output_folder as outcome
real, count = os.replace, [0]
def replace(a, b):
    count[0] += str(a).endswith('.pt') and '.parts/pt' in str(a) and '.parts' not in str(b)
    if count[0] == 7: os.kill(os.getpid(), 9)
    real(a, b)
os.replace = replace
""",
    "merging": """
import plumbline.data.store.writer as packing
def finish(self): self._flush(); os.kill(os.getpid(), 9)
packing._Writer.finish = finish
""",
    "cleaning up": """
import plumbline.data.prepare.output_folder as outcome
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
    killed = command(out, *flags, code=KILLED_WHILE[moment])[1:]
    with running(*killed, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        if moment == "scanning":
            _wait_for_parts(out, process, 2)
            process.kill()
        assert process.wait(DEADLINE) == -signal.SIGKILL
    assert any((out / ".parts").glob("*.part"))
    before = {path: path.stat().st_mtime_ns for path in (out / ".parts").glob("*.part")}
    if Path("/proc").is_dir():
        give_up = time.monotonic() + DEADLINE
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
    with running(*command(out, *flags)[1:], start_new_session=True) as process:
        _wait_for_parts(out, process, 3)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=DEADLINE)[0]
    assert process.returncode == 130
    done = len(list((out / ".parts").glob("*.part")))
    assert f"stopped; {done} of 96 objects done and kept" in said
    prepare("--out", out, *flags)
    assert f"{done} are already done" in capsys.readouterr().out
    prepare("--out", tmp_path / "whole", *flags)
    assert digest(out) == digest(tmp_path / "whole")


def test_a_damaged_part_is_made_again(tmp_path):
    flags = ["--solids", 20, *SMALL]
    process = run_python(*command(tmp_path / "out", *flags, code=KILLED_WHILE["merging"])[1:])
    assert process.returncode == -signal.SIGKILL
    part = sorted((tmp_path / "out" / ".parts").glob("*.part"))[1]
    part.write_bytes(part.read_bytes()[:1000])
    prepare("--out", tmp_path / "out", *flags)
    prepare("--out", tmp_path / "whole", *flags)
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


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
    assert "is already complete" in capsys.readouterr().out
    other = {"packed": "pt", "pt": "packed"}[layout]
    for flag, value, said in (
        ("--points", 49, "points 48 there, 49 now"),
        ("--seed", 1, "seed 0 there, 1 now"),
        ("--edge_attr", "none", "edge_attr sh there, none now"),
        ("--solids", 1, "0 solids there, 1 now"),
        ("--format", other, f"format {layout} there, {other} now"),
    ):
        assert prepare(*flags, flag, value, ok=False) == 2
        assert said in capsys.readouterr().err
    assert prepare(*flags, "--no_rotate", ok=False) == 2
    assert "rotate yes there, no now" in capsys.readouterr().err
    write_off(meshes / "box" / "train" / "box_0001.off", BOX * 7)
    assert prepare(*flags, ok=False) == 2
    assert "contents of the input files have changed" in capsys.readouterr().err
    assert digest(out) == before


def test_an_unfinished_data_set_with_other_settings_is_refused(tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--solids", 20, *SMALL]
    run_python(*command(out, *flags, code=KILLED_WHILE["merging"])[1:])
    before = digest(out)
    assert prepare("--out", out, *flags, "--noise", 0.5, ok=False) == 2
    assert (
        "an unfinished data set made with other settings (noise 0.01 there, 0.5 now)"
        in capsys.readouterr().err
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
    with running(*command(out, *flags)[1:], stdout=subprocess.DEVNULL) as process:
        _wait_for_parts(out, process, 1)
        process.send_signal(signal.SIGSTOP)  # or it is done before this process has looked
        assert prepare("--out", out, *flags, ok=False) == 2
        assert "another process is preparing" in capsys.readouterr().err
        process.send_signal(signal.SIGCONT)
        assert process.wait(DEADLINE) == 0
    prepare("--out", tmp_path / "whole", *flags)
    assert digest(out) == digest(tmp_path / "whole")


def test_a_folder_that_was_trained_on_is_finished_too(meshes, tmp_path, capsys):
    flags = [meshes, "--out", tmp_path / "out", "--format", "pt", *SMALL]
    prepare(*flags)
    num_graphs = len(open_data(tmp_path / "out"))
    assert num_graphs == 6
    prepare(*flags)
    assert "is already complete" in capsys.readouterr().out


def test_a_buffer_beside_a_gltf_is_part_of_the_input(tmp_path, capsys):
    small, large = (trimesh.creation.box([1, 1, size]).export(file_type="gltf") for size in (1, 2))
    for name, data in small.items():
        (tmp_path / name).write_bytes(data)
    flags = [tmp_path / "model.gltf", "--out", tmp_path / "out", *SMALL]
    prepare(*flags)
    assert small.keys() == large.keys()
    for name in small.keys() - {"model.gltf"}:
        (tmp_path / name).write_bytes(large[name])
    assert prepare(*flags, ok=False) == 2
    assert "contents of the input files have changed" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["packed", "pt"])
def test_bytes_do_not_depend_on_where_chunks_are_cut(meshes, tmp_path, monkeypatch, layout):
    write_off(meshes / "open.off", BOX, BOX_FACES[:-1])
    flags = [meshes, "--solids", 5, "--format", layout, *SMALL]
    prepare(*flags, "--out", tmp_path / "single")
    monkeypatch.setattr(sources_module, "_FEWEST_CHUNKS", 1)
    chunks = cut([Source("solid", "", "")] * 9, ScanSettings(), GraphSettings(), caster="", folder=tmp_path)
    assert len(chunks) == 2
    prepare(*flags, "--out", tmp_path / "eights")
    assert digest(tmp_path / "single") == digest(tmp_path / "eights")


def test_names_that_hide_files_or_are_not_allowed_lose_nothing(tmp_path):
    (tmp_path / "scans").mkdir()
    np.save(tmp_path / "up.npy", np.random.default_rng(0).normal(size=(60, 3)) + [0, 0, 5])
    names = [".hidden", "_hidden", 'a:b|"c"?', "..", ""]
    lines = [f"../up.npy,0,0,5,{csv_cell(name)}" for name in names]
    (tmp_path / "scans" / "labels.csv").write_text("\n".join(["file,com_x,com_y,com_z,object_name", *lines]))
    prepare(
        "--labels", tmp_path / "scans" / "labels.csv", "--out", tmp_path / "out", "--format", "pt", *SMALL
    )
    assert sorted(open_data(tmp_path / "out").object_names) == sorted([*names[:-1], "../up"])
    assert not [path.name for path in (tmp_path / "out").glob("*.pt") if set(path.name) & set(':|"?')]


def csv_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


# ------------------------------------------------------------------------------------------ accidents


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on open files to set")
def test_thousands_of_parts_need_few_open_files(tmp_path):
    code = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.helpers.random_samples import FEATURES, random_samples
from plumbline.data.store.writer import merge_parts, write_part
folder = Path(sys.argv[1])
samples = random_samples(0, 300)
for i, sample in enumerate(samples):
    write_part(folder / f"{i:03d}.part", [sample])
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
merge_parts(folder / "out", sorted(folder.glob("*.part")), manifest_fields={"feature_names": FEATURES})
"""
    assert run_python("-c", code, str(tmp_path), str(ROOT)).returncode == 0
    assert len(PackedStore.open(tmp_path / "out")) == 300
