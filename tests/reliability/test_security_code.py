"""No code in a file is ever executed: data, checkpoints, scans, labels, settings."""

import contextlib
import json
import pickle
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from plumbline.cli import main
from plumbline.data.pt.cache import open_data
from plumbline.data.pt.samples import read_pt, write_pt
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.errors import InputError, SampleError
from plumbline.geometry.clouds import read_cloud
from plumbline.geometry.mesh_files import companion_files
from plumbline.predictors.checkpoint import read_checkpoint, seal
from plumbline.records import FEATURE_NAMES
from tests.helpers.training_fixtures import flags, random_samples, saved, train
from tests.reliability.malice import HOW, Touch, assert_refused, plumbline, unpickle

SAID = "and reading that could run code|which cannot be read safely"
"""How a sample that would run code is refused."""


pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore::FutureWarning")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """What must not be there afterwards."""
    return tmp_path / "trace"


def assert_loaded(trace: Path, unsafe: Callable[[], Any]) -> None:
    """The payload was not run, and is run by who trusts it: without that a test would prove nothing."""
    assert not trace.exists(), "the payload was run"
    with contextlib.suppress(Exception):  # it runs before what is left of it is found to be no data
        unsafe()
    assert trace.exists(), "the payload is harmless"
    trace.unlink()


def unsafe_load(path: Path) -> Callable[[], Any]:
    return lambda: torch.load(path, weights_only=False)


# -- sample files ------------------------------------------------------------------------------------------


def sample_content(**more: Any) -> dict[str, Any]:
    return {
        "node_features": torch.arange(12.0).reshape(4, 3),
        "edge_index": torch.tensor([[3, 0, 1], [1, 1, 0]]),
        "target": torch.ones(3),
        **more,
    }


@pytest.mark.parametrize("wrapped", ["zip", "legacy", "raw", "metadata", "key"])
@pytest.mark.parametrize("how", HOW)
def test_sample_files(tmp_path: Path, trace: Path, how: str, wrapped: str) -> None:
    payload, path = Touch(trace, how), tmp_path / "evil.pt"
    if wrapped == "raw":
        path.write_bytes(pickle.dumps(payload))
    elif wrapped == "metadata":
        torch.save(sample_content(metadata={"origin": payload}), path)
    elif wrapped == "key":
        torch.save({payload: 0, **sample_content()}, path)
    else:
        torch.save(sample_content(extra=payload), path, _use_new_zipfile_serialization=wrapped == "zip")
    with pytest.raises(SampleError, match=SAID):
        read_pt(path)
    assert_loaded(trace, unsafe_load(path))


def test_a_folder_of_sample_files_is_used_without_the_evil_ones(tmp_path: Path, trace: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for i, how in enumerate(HOW):
        torch.save(sample_content(extra=Touch(trace, how)), data / f"evil{i}.pt")
    with pytest.raises(InputError, match=f"none of the 3 .pt files .*({SAID})"):
        open_data(data)
    for i, sample in enumerate(random_samples(1, 2)):
        write_pt(data / f"good{i}.pt", sample)
    store = open_data(data)
    assert len(store) == 2
    assert [item.source for item in store.rejected] == ["evil0.pt", "evil1.pt", "evil2.pt"]
    assert_loaded(trace, unsafe_load(data / "evil0.pt"))
    (data / "good0.pt").unlink()
    (data / "good1.pt").unlink()
    done = plumbline("train", *flags(data, tmp_path / "run"))
    assert_refused(done, "could run code")
    assert_loaded(trace, unsafe_load(data / "evil2.pt"))


@pytest.mark.parametrize("name", ["dataset_metadata.json", "manifest.json"])
def test_descriptions_that_are_pickles(tmp_path: Path, trace: Path, name: str) -> None:
    write_pt(tmp_path / "good.pt", random_samples(1, 1)[0])
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Touch(trace)))
    with pytest.raises(InputError, match=f"{name} is .*not JSON"):
        open_data(tmp_path)
    assert_loaded(trace, lambda: unpickle(path))


@pytest.mark.parametrize("name", ["index.safetensors", "shard-00000.safetensors"])
def test_packed_files_that_are_pickles(tmp_path: Path, trace: Path, name: str) -> None:
    write_store(tmp_path / "data", random_samples(2, 2), feature_names=list(FEATURE_NAMES))
    path = tmp_path / "data" / name
    path.write_bytes(pickle.dumps(Touch(trace)))
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    for item in (manifest["index"], *manifest["shards"]):
        item["bytes"] = (tmp_path / "data" / item["file"]).stat().st_size
    (tmp_path / "data" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"{name} is damaged"):
        PackedStore.open(tmp_path / "data").sample(0)
    assert_loaded(trace, lambda: unpickle(path))


def test_a_description_nested_too_deep_to_read(tmp_path: Path) -> None:
    deep = "[" * 100_000
    for name in ("dataset_metadata.json", "manifest.json"):
        (tmp_path / name).write_text(deep)
        with pytest.raises(InputError, match=f"{name} is .*not JSON"):
            open_data(tmp_path)
    (tmp_path / "manifest.json").unlink()
    assert main(["train", "--data_dir", str(tmp_path)]) == 2
    (tmp_path / "deep.yaml").write_text(f"lr: {deep[:1200]}")
    assert main(["train", "--config", str(tmp_path / "deep.yaml")]) == 2
    (tmp_path / "box.gltf").write_text(deep)
    assert companion_files(tmp_path / "box.gltf") == []


# -- checkpoints -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert train(tiny, folder, max_epochs=1).code == 0
    return folder


def write_sealed(path: Path, content: Any) -> Path:
    """A checkpoint whose checksum is right, as whoever means harm would write it."""
    torch.save(content, path)
    path.write_bytes(seal(path.read_bytes()))
    return path


@pytest.mark.parametrize("place", ["config", "data", "rng", "state_dict", "optimizer_states", "all"])
@pytest.mark.parametrize("how", HOW)
def test_checkpoints(run: Path, tmp_path: Path, trace: Path, how: str, place: str) -> None:
    content, payload = saved(run / "last.ckpt"), Touch(trace, how)
    if place == "all":
        content = payload  # type: ignore[assignment]
    elif place in content:
        content[place] = payload
    else:
        content["plumbline"][place] = payload
    path = write_sealed(tmp_path / "last.ckpt", content)
    with pytest.raises(InputError, match=r"not a readable checkpoint .*which this program never loads"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(payload))
    with pytest.raises(InputError, match="not a readable checkpoint"):
        read_checkpoint(path)
    assert_loaded(trace, lambda: unpickle(path))


def verbs(checkpoint: Path, data: Path, scan: Path) -> dict[str, list[object]]:
    """Every command that reads a checkpoint."""
    return {
        "predict": ["predict", scan, "--checkpoint", checkpoint],
        "evaluate": ["evaluate", checkpoint, "--data_dir", data],
        "resume": ["train", *flags(data, checkpoint.parent, max_epochs=3), "--resume", checkpoint],
        "check": ["check", "--equivariance", checkpoint],
        "benchmark": ["benchmark", "--solids", 2, "--checkpoint", checkpoint, "--out", scan.parent / "bench"],
    }


@pytest.mark.parametrize("verb", ["predict", "evaluate", "resume", "check", "benchmark"])
def test_every_command_refuses_a_checkpoint_with_code(
    run: Path, tiny: Path, tmp_path: Path, trace: Path, verb: str
) -> None:
    content = saved(run / "last.ckpt")
    content["plumbline"]["config"] = Touch(trace, "nested")
    path = write_sealed(tmp_path / "last.ckpt", content)
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).normal(size=(50, 3)))
    done = plumbline(*verbs(path, tiny, tmp_path / "scan.npy")[verb])
    assert_refused(done, str(path), "which this program never loads")
    assert_loaded(trace, unsafe_load(path))


@pytest.mark.parametrize("verb", ["evaluate", "resume"])
def test_a_class_that_a_checkpoint_names_is_not_imported(
    run: Path, tiny: Path, tmp_path: Path, trace: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Plain values that an earlier Lightning took for something to import and to call."""
    (tmp_path / "evil_module.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    content = saved(run / "last.ckpt")
    content["hyper_parameters"] = {"_instantiator": "evil_module.run", "_class_path": "evil_module.run"}
    content["hparams_name"] = "kwargs"
    content["callbacks"]["evil_module.run"] = {"_target_": "evil_module.run"}
    path = write_sealed(tmp_path / "last.ckpt", content)
    done = plumbline(*verbs(path, tiny, path)[verb], PYTHONPATH=f"{tmp_path}:{':'.join(sys.path)}")
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "evil_module", raising=False)
    assert_loaded(trace, lambda: __import__("evil_module"))


# -- scans, labels -----------------------------------------------------------------------------------------


def write_scan(path: Path, payload: Touch) -> Path:
    evil = np.array([[payload] * 3] * 20, dtype=object)
    if path.suffix == ".npy":
        np.save(path, evil)
    elif path.stem == "points":
        np.savez(path, points=evil)
    elif path.stem == "sensor":
        np.savez(path, points=np.eye(3), sensor=evil)
    else:
        path.write_bytes(pickle.dumps(payload))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "scan.npy",
        "points.npz",
        "sensor.npz",
        "raw.npz",
        "raw.csv",
        "raw.ply",
        "raw.pcd",
        "raw.las",
        "raw.xyz",
    ],
)
@pytest.mark.parametrize("how", HOW)
def test_scans(tmp_path: Path, trace: Path, how: str, name: str) -> None:
    path = write_scan(tmp_path / name, Touch(trace, how))
    with pytest.raises(InputError, match=name):
        read_cloud(path)

    def trusting() -> None:
        loaded = np.load(path, allow_pickle=True)
        list(loaded.values()) if path.suffix == ".npz" else loaded

    assert_loaded(trace, trusting if path.stem != "raw" else lambda: unpickle(path))


def test_scans_and_labels_by_the_command_line(tmp_path: Path, trace: Path) -> None:
    scans = [write_scan(tmp_path / name, Touch(trace)) for name in ("scan.npy", "points.npz")]
    done = plumbline("predict", *scans, "--model", "carve")
    assert done.returncode == 2
    assert done.stderr.count("error: ") == done.stderr.count("\n") == 2
    labels = tmp_path / "labels.csv"
    labels.write_text("file,com_x,com_y,com_z\n" + "".join(f"{scan.name},0,0,0\n" for scan in scans))
    done = plumbline("prepare", "--labels", labels, "--out", tmp_path / "out")
    assert_refused(done, "there is nothing to prepare")
    assert "scan.npy: " in done.stdout
    assert "points.npz: " in done.stdout
    assert "2 inputs were rejected" in done.stderr
    labels.write_bytes(pickle.dumps(Touch(trace)))
    assert_refused(plumbline("prepare", "--labels", labels, "--out", tmp_path / "out"), str(labels))
    labels.write_text(f"file,com_x,com_y,com_z\n=cmd|'/C touch {trace}'!A1,__import__('os'),0,0\n")
    assert_refused(plumbline("prepare", "--labels", labels, "--out", tmp_path / "out"), "line 2")
    assert_loaded(trace, lambda: list(np.load(scans[1], allow_pickle=True).values()))


# -- settings ----------------------------------------------------------------------------------------------

TAGS = {
    "a value": 'lr: !!python/object/apply:os.system ["touch {}"]',
    "a name": 'wandb_name: !!python/object/apply:os.system ["touch {}"]',
    "a list": "wandb_tags: !!python/object/apply:subprocess.check_output [[touch, {}]]",
    "an item": 'wandb_tags: [!!python/object/apply:os.system ["touch {}"]]',
    "the whole": '!!python/object/apply:os.system ["touch {}"]',
    "a key": '? !!python/object/apply:os.system ["touch {}"]\n: 1',
    "the recipe": 'recipe: !!python/object/new:os.system ["touch {}"]',
    "an unknown key": 'colour: !!python/object/apply:os.system ["touch {}"]',
}


@pytest.mark.parametrize("where", TAGS)
def test_settings(tmp_path: Path, trace: Path, capsys: pytest.CaptureFixture[str], where: str) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text(TAGS[where].format(shlex.quote(str(trace))))
    assert main(["train", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --config {path}")
    assert error.count("\n") == 1
    assert_loaded(trace, lambda: yaml.load(path.read_text(), yaml.UnsafeLoader))


@pytest.mark.parametrize("text", ["model: {class_path: os.system}", "class_path: os.system", "/etc/hostname"])
def test_settings_that_name_classes_and_files(tmp_path: Path, text: str) -> None:
    (tmp_path / "evil.yaml").write_text(text)
    assert_refused(plumbline("train", "--config", tmp_path / "evil.yaml"), "--config")


def test_settings_take_nothing_from_the_environment(tmp_path: Path) -> None:
    """Neither by a variable of a flag's name nor by a text that asks for one."""
    text = (
        "wandb_name: ${oc.env:SECRET_TOKEN}\nwandb_project: $SECRET_TOKEN\nwandb_tags: ['${SECRET_TOKEN}']\n"
    )
    (tmp_path / "evil.yaml").write_text(text)
    named = dict.fromkeys(("LR", "lr", "PLUMBLINE_LR", "PLUMBLINE_TRAIN__LR", "JSONARGPARSE_LR"), "0.123")
    done = plumbline(
        "train", "--config", tmp_path / "evil.yaml", "--print_config", SECRET_TOKEN="made-up", **named
    )
    assert done.returncode == 0, done.stderr
    settings = yaml.safe_load(done.stdout)
    assert settings["wandb_name"] == "${oc.env:SECRET_TOKEN}"
    assert settings["lr"] == 1e-3
    assert "made-up" not in done.stdout


@pytest.mark.parametrize("flag", ["lr", "recipe", "wandb_name", "wandb_tags"])
def test_settings_that_would_unfold_to_fill_the_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    value = "&a0 [x, x]"
    for level in range(1, 40):
        value = f"&a{level} [{value}, *a{level - 1}]"
    (tmp_path / "bomb.yaml").write_text(f"{flag}: {value}\n")
    assert main(["train", "--config", str(tmp_path / "bomb.yaml")]) == 2
    error = capsys.readouterr().err
    assert "bomb.yaml, line 1: write 'flag: value'" in error
    assert len(error) < 500
