"""A network in the user's own file: trained, resumed, evaluated, used, checked and measured like ours."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import plumbline
from plumbline import own_parts
from tests.helpers import ROOT
from tests.helpers.scanned import simulate, write_scan
from tests.helpers.training_fixtures import run_python, saved

PAGE = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
(NETWORK,) = re.findall(r"```python network\n(.*?)```", PAGE, re.DOTALL)
(TESTS,) = re.findall(r"```python network tests\n(.*?)```", PAGE, re.DOTALL)
NAME = "my_network.py:MyNetwork"
FLAGS = ["--batch_size", "8", "--accelerator", "cpu", "--loader", "resident"]


def command(verb: str, *words: object, folder: Path) -> tuple[int, str]:
    """A command in a process of its own, in a folder of its own. Exit code and output."""
    done = run_python("-m", "plumbline", verb, *map(str, words), cwd=folder)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a network, a scan, and a run of two epochs, the second of them resumed."""
    folder = tmp_path_factory.mktemp("own project")
    plumbline.make_dataset(
        folder / "data",
        solids=8,
        scan=plumbline.ScanSettings(samples=2, points=plumbline.Range(48)),
        workers=1,
    )
    (folder / "my_network.py").write_text(NETWORK)
    write_scan(folder / "scan.npz", simulate(0))
    words = [
        "--model",
        "my_network.py:MyNetwork",
        "--width",
        6,
        "--data_dir",
        "data",
        "--checkpoint_dir",
        "run",
        *FLAGS,
    ]
    code, said = command("train", *words, "--max_epochs", 1, folder=folder)
    assert code == 0, said
    code, said = command("train", *words, "--max_epochs", 2, "--resume", folder=folder)
    assert code == 0, said
    assert "after 1 epoch" in said
    return folder


@pytest.fixture
def moved(project: Path, tmp_path: Path) -> Path:
    """A copy of the project whose network may be changed."""
    return Path(shutil.copytree(project, tmp_path / "copy"))


def test_it_has_its_arguments_and_its_digest(project: Path) -> None:
    ours = saved(project / "run" / "last.ckpt")["plumbline"]
    assert ours["model_args"]["width"] == 6
    assert ours["model_sha256"] == own_parts.find(str(project / NAME)).sha256
    assert ours["epochs_done"] == 2


def test_every_command_uses_it(project: Path) -> None:
    code, said = command("predict", "scan.npz", "--checkpoint", "run", "--json", folder=project)
    assert code == 0, said
    com = json.loads(said)["com"]
    trained = plumbline.load_checkpoint(project / "run" / "last.ckpt", model=str(project / NAME))
    predictor = plumbline.load_predictor(project / "run", model=type(trained.model))
    scan = plumbline.load_cloud(project / "scan.npz")
    np.testing.assert_allclose(predictor.predict(scan).com, com, rtol=1e-5)
    for verb, *words in (
        ["evaluate", "run"],
        ["check", "--equivariance", "run"],
        ["benchmark", "--solids", 1, "--samples", 1, "--checkpoint", "run", "--out", "bench", "--workers", 1],
    ):
        code, said = command(verb, *words, folder=project)
        assert code == 0, said
        assert "my_network.py:MyNetwork" in said


def test_a_changed_file_is_refused_unless_it_is_given(moved: Path) -> None:
    (moved / "my_network.py").write_text(NETWORK.replace("nn.ReLU()", "nn.Tanh()"))
    for verb, words in (
        ("predict", ["scan.npz", "--checkpoint", "run"]),
        ("evaluate", ["run"]),
        ("check", ["--equivariance", "run"]),
        ("benchmark", ["--solids", 1, "--checkpoint", "run", "--out", "bench"]),
    ):
        code, said = command(verb, *words, folder=moved)
        assert code == 2, said
        assert "my_network.py has changed since the training; to use it anyway, give it: --model" in said
    code, said = command("predict", "scan.npz", "--checkpoint", "run", "--model", NAME, folder=moved)
    assert code == 0, said
    again = ["--config", "run/config.yaml", "--resume", "--max_epochs", 3]
    code, said = command("train", *again, folder=moved)
    assert code == 2
    assert "my_network.py has changed since" in said
    code, said = command("train", *again, "--allow_mismatch", folder=moved)
    assert code == 0, said
    assert "--allow_mismatch: my_network.py has changed since" in said


def test_a_file_that_has_moved_is_named(moved: Path) -> None:
    os.rename(moved / "my_network.py", moved / "yours.py")
    code, said = command("evaluate", "run", folder=moved)
    assert code == 2
    assert "give the network with --model path/to/file.py:ClassName" in said
    code, said = command("evaluate", "run", "--model", "yours.py:MyNetwork", folder=moved)
    assert code == 0, said


def test_a_checkpoint_cannot_have_another_file_run(moved: Path) -> None:
    """Neither a file that nobody trained with nor one that has changed: only its digest opens a file."""
    trace = moved / "trace"
    (moved / "my_network.py").write_text(NETWORK + f"\nopen({str(trace)!r}, 'w').close()\n")
    assert command("predict", "scan.npz", "--checkpoint", "run", folder=moved)[0] == 2
    assert not trace.exists()
    code, _ = command("predict", "scan.npz", "--checkpoint", "run", "--model", NAME, folder=moved)
    assert code == 0
    assert trace.exists(), "the control: the file leaves a trace when it is run"


def test_the_documented_tests_pass(project: Path) -> None:
    (project / "test_my_network.py").write_text(TESTS)
    done = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_network.py", cwd=project)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b10 passed", done.stdout)


def test_ours_need_no_file(trained: dict[str, Path], project: Path) -> None:
    with pytest.raises(
        plumbline.InputError, match="holds 'gcn', a network of this package: leave --model out"
    ):
        plumbline.load_checkpoint(trained["gcn"], model=str(project / NAME))


def test_from_python_a_class_is_enough(project: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        NETWORK
        + f"""
import asyncio, json, threading
import plumbline

def fit(folder):
    return plumbline.train(
        model=MyNetwork, width=6, data_dir={str(project / "data")!r}, checkpoint_dir=folder, batch_size=8,
        max_epochs=1, accelerator="cpu", loader="resident",
    )

async def within_a_loop():
    return fit("third")

if __name__ == "__main__":
    results = [fit("first")]
    thread = threading.Thread(target=lambda: results.append(fit("second")))
    thread.start()
    thread.join()
    results.append(asyncio.run(within_a_loop()))
    losses = [result.metrics["val_loss"] for result in results]
    assert losses[0] == losses[1] == losses[2], losses
    predictor = plumbline.load_predictor(results[0].best_checkpoint)
    cloud = plumbline.load_cloud({str(project / "scan.npz")!r})
    split = plumbline.evaluate(results[0].best_checkpoint).split
    print(json.dumps([predictor.predict(cloud).com.tolist(), split]))
"""
    )
    done = run_python(str(script), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    com, split = json.loads(done.stdout)
    assert np.isfinite(com).all()
    assert split == "val"


def test_a_class_without_a_file_is_refused() -> None:
    namespace: dict[str, object] = {"__name__": "nowhere"}
    exec(NETWORK, namespace)
    with pytest.raises(plumbline.InputError, match=r"write it into a \.py file"):
        plumbline.train(model=namespace["MyNetwork"])
