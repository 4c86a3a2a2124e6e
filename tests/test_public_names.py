"""The public names as a type checker sees them: those that are there, with their types, and no others."""

import ast
import re
import sys
from pathlib import Path

import pytest

import plumbline
from tests.helpers import ROOT
from tests.helpers.training_fixtures import run_python

SCRIPT = """\
import plumbline
reveal_type(plumbline.load_predictor("carve").predict([[0, 0, 1]]).com)
reveal_type(plumbline.train(max_epochs=1).best_checkpoint)
reveal_type(plumbline.make_dataset("data", solids=3).rejected)
reveal_type(plumbline.evaluate("run").table)
plumbline.load_predictr
plumbline.make_dataset("data", solid=3)
"""
MYPY = """\
[mypy]
ignore_missing_imports = True
[mypy-torch.*,lightning.*,matplotlib.*,trimesh.*]
follow_imports = skip
"""


def test_a_type_checker_is_told_the_names_that_are_imported_at_run_time() -> None:
    tree = ast.parse((ROOT / "src" / "plumbline" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    told = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        for name in node.names:
            assert name.asname == name.name, f"{name.name}: only `import X as X` exports it"
            told[name.name] = node.module.removeprefix("plumbline.")
    assert told == plumbline._HOME


@pytest.mark.slow
def test_a_users_script_is_checked_with_our_types(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(MYPY, encoding="utf-8")
    options = (
        f"--python-executable={sys.executable}",
        f"--cache-dir={tmp_path / 'cache'}",
        "--no-color-output",
    )
    config = f"--config-file={tmp_path / 'mypy.ini'}"
    done = run_python("-m", "mypy", config, *options, str(tmp_path / "script.py"))
    types = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(types) == 4, done.stdout + done.stderr
    assert re.fullmatch(r"numpy\.ndarray\[.*numpy\.floating\[.*", types[0])
    assert types[1] == "pathlib.Path | None"
    assert re.fullmatch(r"(builtins\.)?tuple\[plumbline\.records\.Rejected, \.\.\.\]", types[2])
    assert types[3] == "plumbline.evaluation.table.Table"
    errors = re.findall(r":(\d+): error: .*\[(.*)\]$", done.stdout, re.MULTILINE)
    assert errors == [("6", "attr-defined"), ("7", "call-arg")]
