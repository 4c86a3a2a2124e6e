"""Fixtures that many test files share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_meshes() -> Path:
    """The folder of real meshes that lies beside a checkout of the project, if there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "meshes"
    if not folder.is_dir():
        pytest.skip("no folder of real meshes (../shared/meshes) beside this checkout")
    return folder
