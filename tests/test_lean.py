"""What a training does not import, and that what is left out stays usable."""

import subprocess
import sys

HEAVY = {"matplotlib", "scipy.signal", "scipy.stats", "scipy.spatial", "trimesh", "torch_geometric", "wandb"}


def printed(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.splitlines()[-1]


def test_the_training_program_loads_nothing_that_it_does_not_need():
    code = f"import sys, plumbline.commands.train; print(sorted({HEAVY!r} & set(sys.modules)))"
    assert printed(code) == "[]"


def test_plain_lightning_would_load_it():
    """The control: without the care of ``training.lean`` plotting and signal processing come along."""
    code = f"import sys, lightning.pytorch; print(sorted({HEAVY!r} & set(sys.modules)))"
    assert {"matplotlib", "scipy.signal"} <= set(eval(printed(code)))


def test_what_was_hidden_is_there_afterwards():
    code = """
import plumbline.training.lean
from lightning_utilities.core.imports import RequirementCache, module_available, package_available
import matplotlib, scipy.signal, torch, torchmetrics
metric = torchmetrics.MeanMetric()
metric.update(torch.tensor([1.0, 2.0]))
found = [package_available("scipy"), module_available("scipy.signal"), bool(RequirementCache("matplotlib"))]
print(found, float(metric.compute()))
"""
    assert printed(code) == "[True, True, True] 1.5"


def test_lightning_that_is_there_already_is_left_alone():
    code = "import lightning.pytorch as a, plumbline.training.lean, lightning.pytorch as b; print(a is b)"
    assert printed(code) == "True"


def test_another_version_of_what_is_relied_on_costs_time_and_nothing_else():
    code = """
from lightning_utilities.core import imports
cached = imports.package_available
imports.package_available = lambda name: cached(name)
import sys, plumbline.training.lean as lean
print(lean.Trainer.__name__, "matplotlib" in sys.modules)
"""
    assert printed(code) == "Trainer True"
