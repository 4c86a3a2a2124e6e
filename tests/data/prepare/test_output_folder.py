"""The output folder: whose it is, and what makes a finished data set another one."""

import json
import os
import shutil
from pathlib import Path

import pytest

import plumbline
from plumbline.data.prepare import dataset, output_folder
from plumbline.data.prepare.output_folder import workplace
from plumbline.data.prepare.sources import GENERATOR
from plumbline.errors import InputError
from tests.helpers.preparing import SMALL, digest, prepare, write_meshes


@pytest.fixture
def meshes(tmp_path) -> Path:
    return write_meshes(tmp_path / "meshes")


@pytest.mark.parametrize("layout", ["packed", "pt"])
def test_a_data_set_of_another_version_is_finished(meshes, tmp_path, monkeypatch, capsys, layout):
    flags = [meshes, "--out", tmp_path / "out", "--format", layout, *SMALL]
    prepare(*flags)
    before = digest(tmp_path / "out")
    monkeypatch.setattr(plumbline, "__version__", "99.0")
    capsys.readouterr()
    prepare(*flags)
    assert "is already complete" in capsys.readouterr().out
    assert digest(tmp_path / "out") == before


@pytest.mark.parametrize("layout", ["packed", "pt"])
def test_a_data_set_of_another_generator_is_refused(meshes, tmp_path, monkeypatch, capsys, layout):
    flags = [meshes, "--format", layout, *SMALL]
    prepare(*flags, "--out", tmp_path / "first")
    recorded = {"packed": "manifest.json", "pt": "dataset_metadata.json"}[layout]
    monkeypatch.setattr(dataset, "GENERATOR", 99)
    assert prepare(*flags, "--out", tmp_path / "first", ok=False) == 2
    assert f"made with other settings (generator {GENERATOR} there, 99 now)" in capsys.readouterr().err
    prepare(*flags, "--out", tmp_path / "second")
    prepare(*flags, "--out", tmp_path / "second")
    assert "is already complete" in capsys.readouterr().out
    made = json.loads((tmp_path / "second" / recorded).read_text())
    assert made["provenance"]["generator"] == 99
    del made["provenance"]["generator"]  # as in the data sets of the first release
    (tmp_path / "second" / recorded).write_text(json.dumps(made))
    assert prepare(*flags, "--out", tmp_path / "second", ok=False) == 2
    assert "generator 1 there, 99 now" in capsys.readouterr().err


def test_what_another_process_finished_meanwhile_is_left_alone(meshes, tmp_path, monkeypatch, capsys):
    """It ends between our look and our lock."""
    flags = [meshes, *SMALL]
    prepare(*flags, "--out", tmp_path / "theirs")
    original = output_folder.sole_owner

    def lock(file):
        for path in (tmp_path / "theirs").iterdir():
            shutil.copy2(path, tmp_path / "ours" / path.name)
        return original(file)

    monkeypatch.setattr(output_folder, "sole_owner", lock)
    prepare(*flags, "--out", tmp_path / "ours")
    assert "is already complete" in capsys.readouterr().out
    assert digest(tmp_path / "ours") == digest(tmp_path / "theirs")


@pytest.mark.parametrize("instead", ["nothing", "another"])
def test_a_lock_on_a_file_that_is_gone_keeps_nobody_out(tmp_path, monkeypatch, instead):
    original = os.open

    def open_and_lose(path, *args):
        descriptor = original(path, *args)
        if Path(path).name == "lock":
            Path(path).unlink()
            if instead == "another":
                os.close(original(path, os.O_RDWR | os.O_CREAT))
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    with pytest.raises(InputError, match="another process is preparing"), workplace(tmp_path / "out", {}):
        pass
