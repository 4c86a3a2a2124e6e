"""The rules of the house, read off the source: layers, heavy imports, sizes, the tree in docs/design.md."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SLOW

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "plumbline"
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS = {
    "arrays": 0,
    "errors": -1,
    "quantities": -2,
    "kinds": -1,
    "records": -1,
    "console": 0,
    "cores": 0,
    "memory": 0,
    "files": 0,
    "locks": 0,
    "own_parts": 0,
    "processes": 0,
    "writing": 0,
    "reporting": -1,
    "rigid": 0,
    "spaces": 0,
    "geometry": 1,
    "payload": 1,
    "data": 2,
    "models": 3,
    "predictors": 4,
    "evaluation": 5,
    "ros": 5,
    "config": 6,
    "training": 6,
    "views": 6,
    "sweeping": 6,
    "serve": 7,
    "commands": 8,
    "cli": 9,
    "api": 10,
    "testing": 11,
}
ROOMS = {
    "data": {
        **{"store": 0, "pt": 2, "describe": 3, "prepare": 3},
        **dict.fromkeys(("split", "split_file", "missing", "batches"), 1),
    },
    "training": {
        **dict.fromkeys(("lightning_import", "randomness", "allocator", "warning_filters"), 0),
        **{"records": 0, "process_state": 1, "distributed": 1, "optim": 1, "sides": 1, "metric_sums": 2},
        **{"persistence": 2, "loop": 3, "show": 4},
        **{"phases": 5, "run": 6, "lightning_parts": 6},
    },
}
"""Layers within the two big layers."""
USING_A_MODEL = ("predict", "evaluate", "check", "benchmark", "serve")
"""Commands that never import anything of training."""

OWNERS = {
    "trimesh": set(),
    "embreex": {"geometry/raycast.py"},
    "manifold3d": {"geometry/solids/", "geometry/polygons.py", "geometry/named_bodies.py"},
    "laspy": {"geometry/clouds.py"},
    "torch": {"data/batches/", "data/pt/", "models/", "testing.py",
              "training/",
              "predictors/checkpoint.py", "predictors/device.py", "predictors/inference.py",
              "evaluation/evaluate.py", "commands/benchmark.py"},
    "lightning": {"training/lightning_import.py"},
    "wandb": {"training/show/wandb_run.py"},
    "tensorboard": {"training/show/tensorboard.py"},
    "matplotlib": {"evaluation/plots.py", "sweeping/plot.py"},
    "optuna": {"sweeping/study.py"},
    "argparse": {"cli.py"},
    "fastapi": {"serve/"},
    "starlette": {"serve/"},
    "uvicorn": {"serve/"},
    "yaml": {"cli.py", "config/yaml_files.py", "data/split_file.py", "geometry/intrinsics.py",
             "training/persistence/run_folder.py"},
    "rosbags": {"ros/bags.py"},
    "distributed": {"data/prepare/cluster.py", "data/prepare/cluster_tasks.py"},
    "torch_geometric": set(),
    "e3nn": {"models/steerable.py"},
}  # fmt: skip

MAX_LINES = 400
"""Above it, a file probably holds two subjects. One that holds one all the same is listed with the reason."""
LONG: dict[str, str] = {
    "tests/test_cli.py": "one subject: how a command line is read and refused",
    "tests/test_document.py": "one subject: the document, in its order",
}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(path: Path) -> list[tuple[str, int]]:
    """Every imported module of a file, with its line, wherever in the file it stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: imports are absolute"
            assert node.module is not None
            found.append((node.module, node.lineno))
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def test_every_file_belongs_to_a_layer():
    parts = {name_of(path).split("/")[0].removesuffix(".py") for path in FILES}
    assert parts - {"__init__", "__main__"} == set(LAYERS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path):
    own = name_of(path).split("/")[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    for module, line in imports(path):
        parts = module.split(".")
        if parts[0] != "plumbline" or len(parts) == 1 or parts[1] not in LAYERS:
            continue
        other = parts[1]
        allowed = other == own or LAYERS[other] < LAYERS[own]
        assert allowed, f"{name_of(path)}:{line}: {own} must not import {module}"
        if own == "commands" and other == "training":
            assert path.stem not in USING_A_MODEL, f"{name_of(path)}:{line}: using a model is not training"
        if own == "commands" and other == "commands" and len(parts) > 2:
            pytest.fail(f"{name_of(path)}:{line}: commands never import each other ({module})")
        if LAYERS[own] >= 1 and own not in ("cli", "config", "commands", "serve"):
            assert other != "config", f"{name_of(path)}:{line}: config objects stop at the commands"


@pytest.mark.parametrize("layer", ROOMS)
def test_rooms_within_a_layer_are_layered_too(layer):
    rooms, folder = ROOMS[layer], PACKAGE / layer
    found = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert found - {"__init__", "__pycache__"} == set(rooms)
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        for module, line in imports(path):
            parts = module.split(".")
            if (
                parts[:2] != ["plumbline", layer]
                or len(parts) < 3
                or parts[2] not in rooms
                or own == "__init__"
            ):
                continue
            allowed = parts[2] == own or rooms[parts[2]] < rooms[own]
            assert allowed, f"{name_of(path)}:{line}: {layer}/{own} must not import {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_imports_have_one_owner(path):
    for module, line in imports(path):
        package = module.split(".")[0]
        package = {"pytorch_lightning": "lightning"}.get(package, package)
        if package in OWNERS:
            mine = any(name_of(path).startswith(owner) for owner in OWNERS[package])
            assert mine, (
                f"{name_of(path)}:{line}: {package} belongs to {sorted(OWNERS[package]) or 'the tests'}"
            )


def test_long_files_have_a_reason():
    files = [*FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in files}
    assert {name for name, length in lengths.items() if length > MAX_LINES} == set(LONG)
    assert all(LONG.values())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_is_swallowed_and_no_pickle_is_run(path):
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{name_of(path)}:{node.lineno}: bare except"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            safe = {word.arg: ast.unparse(word.value) for word in node.keywords}.get("weights_only")
            assert safe == "True", f"{name_of(path)}:{node.lineno}: torch.load without weights_only=True"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dump", "json.dumps"):
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert given.get("allow_nan") == "False", f"{name_of(path)}:{node.lineno}: NaN is not JSON"
    assert "import pickle" not in text
    assert "allow_pickle=True" not in text


def test_what_is_marked_slow_by_its_place_is_there():
    assert [name for name in SLOW if not (ROOT / "tests" / name).exists()] == []


def test_the_tree_in_the_design_equals_the_files():
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    block = re.search(r"```tree\n(.*?)```", design, re.DOTALL)
    assert block, "docs/design.md has no ```tree block"
    folders: list[str] = []
    listed = set()
    for line in block[1].splitlines():
        if not line.strip():
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        name, *phrase = line.split()
        assert phrase, f"tree in docs/design.md: {name} has no phrase"
        folders = folders[:depth]
        if name.endswith("/"):
            folders.append(name)
        else:
            listed.add("".join(folders) + name)
    actual = {f"src/plumbline/{name_of(path)}" for path in FILES if path.name != "__init__.py"}
    actual |= {"train_gnn_optimized.py", "src/plumbline/__init__.py", "src/plumbline/models/__init__.py",
               "src/plumbline/geometry/solids/__init__.py"}  # fmt: skip
    assert listed == actual


@pytest.mark.parametrize(
    "code", ["import plumbline", "from plumbline.cli import main; main(['--help'])",
             "from plumbline.cli import main; main(['train', '--batchsize', '3'])",
             "import plumbline.commands.prepare, plumbline.data.store.reader"],
)  # fmt: skip
def test_light_commands_load_no_torch(code):
    check = (
        f"{code}\nimport sys; print(sorted({{'torch', 'lightning', 'trimesh', 'wandb'}} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=300
    )
    assert result.stdout.splitlines()[-1] == "[]"
