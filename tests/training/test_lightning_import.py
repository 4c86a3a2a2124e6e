"""What a training does not import, and that what is left out stays usable."""

import subprocess
import sys
from pathlib import Path

from tests.helpers.training_fixtures import differences, flags, saved

HEAVY = {"matplotlib", "scipy.signal", "scipy.stats", "scipy.spatial", "trimesh", "torch_geometric", "wandb"}


def printed(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    return result.stdout.splitlines()[-1]


def test_the_training_program_loads_nothing_that_it_does_not_need():
    code = f"import sys, plumbline.training.run; print(sorted({HEAVY!r} & set(sys.modules)))"
    assert printed(code) == "[]"


def test_plain_lightning_would_load_it():
    """The control: without the care of ``training.lean`` plotting and signal processing come along."""
    code = f"import sys, lightning.pytorch; print(sorted({HEAVY!r} & set(sys.modules)))"
    assert {"matplotlib", "scipy.signal"} <= set(eval(printed(code)))


def test_what_was_hidden_is_there_afterwards():
    code = """
import plumbline.training.lightning_import
from lightning_utilities.core.imports import RequirementCache, module_available, package_available
import matplotlib, scipy.signal, torch, torchmetrics
metric = torchmetrics.MeanMetric()
metric.update(torch.tensor([1.0, 2.0]))
found = [package_available("scipy"), module_available("scipy.signal"), bool(RequirementCache("matplotlib"))]
print(found, float(metric.compute()))
"""
    assert printed(code) == "[True, True, True] 1.5"


def test_lightning_that_is_there_already_is_left_alone():
    code = (
        "import lightning.pytorch as a, plumbline.training.lightning_import, lightning.pytorch as b; "
        "print(a is b)"
    )
    assert printed(code) == "True"


def test_another_version_of_what_is_relied_on_costs_time_and_nothing_else():
    code = """
from lightning_utilities.core import imports
cached = imports.package_available
imports.package_available = lambda name: cached(name)
import sys, plumbline.training.lightning_import as lean
print(lean.Trainer.__name__, "matplotlib" in sys.modules)
"""
    assert printed(code) == "Trainer True"


COMPILER = "torch._dynamo.eval_frame"


def test_a_training_does_not_load_the_compiler(tiny: Path, tmp_path: Path) -> None:
    arguments = ["train", *flags(tiny, tmp_path / "without", max_epochs=2)]
    code = (
        f"import sys; from plumbline.cli import main; main({arguments!r}); print({COMPILER!r} in sys.modules)"
    )
    assert printed(code) == "False"
    other = ["train", *flags(tiny, tmp_path / "with", max_epochs=2)]
    code = f"import torch._dynamo; {code.replace(repr(arguments), repr(other))}"
    assert printed(code) == "True"
    one, two = (saved(tmp_path / name / "last.ckpt") for name in ("without", "with"))
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert differences(one[part], two[part]) == [], part


def test_plain_lightning_would_load_the_compiler() -> None:
    assert printed(f"import sys, lightning.pytorch; print({COMPILER!r} in sys.modules)") == "True"


def test_the_compiler_is_there_for_whoever_wants_it() -> None:
    code = """
import inspect, sys
import plumbline.training.lightning_import
import torch
from lightning.pytorch.utilities.compile import OptimizedModule
inspect.getmodule(torch.ones)  # looks at every module there is
print(COMPILER in sys.modules, isinstance(torch.nn.Linear(2, 2), OptimizedModule))
compiled = torch.compile(torch.nn.Linear(2, 2), backend="eager")
compiled(torch.ones(1, 2)).sum().backward()
torch.optim.Adam(compiled.parameters()).step()
from torch._dynamo.utils import counters
print(COMPILER in sys.modules, isinstance(compiled, OptimizedModule), counters["stats"]["unique_graphs"] > 0)
"""
    lines = subprocess.run(
        [sys.executable, "-c", f"COMPILER = {COMPILER!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout.splitlines()
    assert lines == ["False False", "True True True"]


def test_lightning_that_wants_more_of_the_compiler_gets_it() -> None:
    code = f"""
import sys, torch, torch.compiler
torch.compiler.disable = lambda fn, **_: torch._dynamo.optimize and fn
from plumbline.training.lightning_import import Trainer
print(Trainer.__name__, {COMPILER!r} in sys.modules)
"""
    assert printed(code) == "Trainer True"
