"""Fixtures that many test files share."""

import os
import signal
from pathlib import Path

import pytest

# Tests run side by side, one process per core; threads of their own would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What a CI service, a job of a cluster or a terminal says must not reach the programs that tests start.
_FOREIGN = ("WANDB", "SLURM", "FORCE_COLOR", "NO_COLOR", "TTY_", "COLUMNS", "LINES", "CLICOLOR")
for _name in [name for name in os.environ if name.startswith(_FOREIGN)]:
    del os.environ[_name]
# A shell that starts the tests in the background has them ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_meshes() -> Path:
    """The folder of real meshes that lies beside a checkout of the project, if there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "meshes"
    if not folder.is_dir():
        pytest.skip("no folder of real meshes (../shared/meshes) beside this checkout")
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints, by model, that can answer for scans: barely trained on built-in solids."""
    from scanned import make_checkpoint

    folder = tmp_path_factory.mktemp("trained")
    return {model: make_checkpoint(folder, model) for model in ("gcn", "ept")}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed data set that trains in a blink."""
    from training_fixtures import write_tiny

    return write_tiny(tmp_path_factory.mktemp("tiny"))
