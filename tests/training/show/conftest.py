"""A server of W&B for trackers in this process."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.wandb_server import WandbServer, wandb_server


@pytest.fixture
def logged_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody is logged in, and no setting of this machine counts."""
    for name in [name for name in os.environ if name.startswith(("WANDB", "http_proxy", "https_proxy"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(logged_out: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server at which the user is logged in."""
    with wandb_server() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running
