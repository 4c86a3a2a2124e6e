"""W&B's own settings decide: wrong ones, logins, modes, ids; and what a flag says reaches it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plumbline.training.records import DOCUMENTED_PROJECT
from tests.helpers.offline_runs import recorded
from tests.helpers.trackers import Logging
from tests.helpers.training_fixtures import metric_rows
from tests.helpers.wandb_server import KEY, WandbServer

pytestmark = pytest.mark.usefixtures("logged_out")


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        ({"wandb_tags": ["x" * 80]}, {}, "run_tags: Tag 'xxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxx' is 80 "
         "characters. Tags must be between 1 and 64 characters"),
        ({"wandb_project": "a/b"}, {}, "Invalid project name 'a/b': cannot contain characters "
         r"'/,\\,#,?,%,:', found '/'"),
        ({}, {"WANDB_MODE": "odd"}, "mode: Input should be 'online', 'offline', 'shared', 'disabled', "
         "'dryrun' or 'run'"),
        ({}, {"WANDB_INIT_TIMEOUT": "soon"}, "init_timeout: Input should be a valid number, unable to parse "
         "string as a number"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_said_once_in_wandbs_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: dict[str, Any],
    environment: dict[str, str],
    words: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    logging = Logging(tmp_path / "run", **flags)
    logging.log(range(3))
    said = logging.finish()
    assert [sentence for sentence in said if "W&B c" in sentence] == [f"W&B cannot be used: {words}"]
    assert len(metric_rows(tmp_path / "run")) == 3


def test_without_a_login_wandb_says_what_to_do(tmp_path: Path) -> None:
    logging = Logging(tmp_path / "run")
    said = logging.until_said("W&B failed")
    assert said.startswith("W&B failed (No API key configured. Use `wandb login` to log in); all rows")
    logging.finish()


@pytest.mark.parametrize("by", ["wandb offline", "WANDB_MODE"])
def test_offline_by_choice(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "WANDB_MODE":
        monkeypatch.setenv("WANDB_MODE", "offline")
    else:
        subprocess.run([sys.executable, "-m", "wandb", "offline"], check=True)
    logging = Logging(tmp_path / "run")
    logging.log(range(3))
    said = logging.finish()
    assert said[-1].startswith("W&B records offline, as it is set to; upload with: wandb sync ")
    assert recorded(tmp_path / "run").steps == [0, 1, 2]
    assert not server.asked.is_set()
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_disabled_by_choice(tmp_path: Path, server: WandbServer) -> None:
    subprocess.run([sys.executable, "-m", "wandb", "disabled"], check=True)
    logging = Logging(tmp_path / "run")
    logging.log(range(3))
    assert logging.finish()[-1] == "W&B is disabled (by wandb disabled or WANDB_MODE)"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.csv"]
    assert not server.asked.is_set()


@pytest.mark.parametrize("by", ["netrc", "token"])
def test_logins_of_every_kind_are_known(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """That of a server of one's own with a port, and a token of an identity provider."""
    monkeypatch.delenv("WANDB_API_KEY")
    if by == "netrc":
        monkeypatch.delenv("WANDB_BASE_URL")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        login = ["wandb", "login", "--host", server.url, KEY]
        subprocess.run([sys.executable, "-m", *login], check=True, capture_output=True)
        assert f"machine {server.url.removeprefix('http://')}\n" in (tmp_path / "netrc").read_text()
    else:
        (tmp_path / "token").write_text("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSIsImV4cCI6OTk5OTk5OTk5OX0.c2ln")
        monkeypatch.setenv("WANDB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setenv("WANDB_CREDENTIALS_FILE", str(tmp_path / "credentials.json"))
    logging = Logging(tmp_path / "run", wandb_entity="team", wandb_name="n", wandb_tags=["a"])
    logging.until_said(f"W&B run: {server.url}/team/{DOCUMENTED_PROJECT}/runs/")
    logging.log(range(3))
    logging.finish()
    run = server.runs[logging.trackers.kept["wandb_id"]]
    assert (len(run["history"]), run["entity"], run["displayName"], run["tags"]) == (3, "team", "n", ["a"])


def test_an_id_of_the_environment_comes_first(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent of W&B sets it, and finds the run by it."""
    monkeypatch.setenv("WANDB_RUN_ID", "ofagent1")
    logging = Logging(tmp_path / "run")
    logging.log(range(3))
    logging.finish()
    assert (list(server.runs), logging.trackers.kept) == (["ofagent1"], {"wandb_id": "ofagent1"})
