"""Fixtures that many test files share."""

import os
import signal
from pathlib import Path

import pytest

pytest.register_assert_rewrite("plumbline.testing")

# Tests run side by side, one process per core; threads of their own would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What a CI service, a job of a cluster or a terminal says must not reach the programs that tests start.
_FOREIGN = ("WANDB", "SLURM", "FORCE_COLOR", "NO_COLOR", "TTY_", "COLUMNS", "LINES", "CLICOLOR")
for _name in [name for name in os.environ if name.startswith(_FOREIGN)]:
    del os.environ[_name]
# A shell that starts the tests in the background has them ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

SLOW = (
    "commands", "training", "reliability", "serve",
    "test_api.py", "test_cli.py", "test_examples.py", "test_own_baselines.py", "test_own_losses.py",
    "test_own_networks.py", "test_own_trackers.py", "test_pretrained_recipe.py", "test_public_names.py",
    "test_recipes_of_contributing.py", "test_started_processes.py",
    "data/prepare", "models/test_model_flags.py", "predictors/test_upgrades.py", "console/test_terminal.py",
)  # fmt: skip
"""Folders and files whose tests run the whole program or train; ``make test-fast`` leaves them out.

A single slow test elsewhere is marked ``@pytest.mark.slow``.
"""


def slow_by_its_place(path: Path) -> bool:
    """Whether a file or folder of tests is listed in SLOW, or stands in a folder that is."""
    place = path.relative_to(Path(__file__).parent)
    return any(place.is_relative_to(name) for name in SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out even the imports of what ``make test-fast`` leaves out."""
    return True if "not slow" in config.option.markexpr and slow_by_its_place(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is slow by its place."""
    for item in items:
        if slow_by_its_place(item.path):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_meshes() -> Path:
    """The folder of real meshes that lies next to a checkout of the project, if there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "meshes"
    if not folder.is_dir():
        pytest.skip("no folder of real meshes (../shared/meshes) next to this checkout")
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints, by model, that can answer for scans: barely trained on built-in solids."""
    from tests.helpers.scanned import make_checkpoint

    folder = tmp_path_factory.mktemp("trained")
    return {model: make_checkpoint(folder, model) for model in ("gcn", "ept")}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed data set that trains in a blink."""
    from tests.helpers.training_fixtures import write_tiny

    return write_tiny(tmp_path_factory.mktemp("tiny"))
