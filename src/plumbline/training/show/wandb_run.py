"""Weights & Biases: whether it is usable, and a run that never delays a training."""

import netrc
import os
import ssl
import threading
import time
from collections.abc import Mapping
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from plumbline.training.records import TrainSettings
from plumbline.training.show.metrics_file import Row

_PROBE_SECONDS = 2.0
_START_SECONDS = 4.5  # for everything W&B does before training
_FINISH_SECONDS = 15.0
_ABANDON_SECONDS = 2.0
_HOST = "https://api.wandb.ai"


class WandbPlan(NamedTuple):
    """Whether and how W&B can be used.

    Attributes:
        mode: "online", "offline", or "off".
        sentence: describes the mode, and why it is not online.
        chosen: whether the user requested this mode.
    """

    mode: str
    sentence: str
    chosen: bool = False


def plan_wandb(environment: Mapping[str, str] = os.environ) -> WandbPlan:
    """Check, in at most about two seconds, whether W&B is installed, logged in and reachable.

    This must be known before ``wandb.init``: after a failure online, the same process cannot start an
    offline run.
    """
    if find_spec("wandb") is None:
        return WandbPlan("off", "W&B is not installed (pip install wandb)")
    asked = environment.get("WANDB_MODE", "").lower()
    if asked in ("disabled", "off"):
        return WandbPlan("off", "W&B is turned off (WANDB_MODE)")
    if asked in ("offline", "dryrun"):
        return WandbPlan("offline", "W&B records offline (WANDB_MODE)", chosen=True)
    url = environment.get("WANDB_BASE_URL", _HOST)
    host = urlsplit(url).hostname or ""
    if not environment.get("WANDB_API_KEY") and not _in_netrc(host, environment):
        return WandbPlan("offline", "not logged in to W&B (wandb login); it records offline")
    if not _reachable(url):
        return WandbPlan("offline", f"W&B at {host} is not reachable; it records offline")
    return WandbPlan("online", f"W&B at {host}")


def _in_netrc(host: str, environment: Mapping[str, str]) -> bool:
    named = environment.get("NETRC")
    for path in [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if netrc.netrc(path).authenticators(host) is not None:
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _reachable(url: str) -> bool:
    """Whether the server responds, through the proxy if one is set. Any response counts."""
    answered: list[bool] = []

    def ask() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=_PROBE_SECONDS).close()
            answered.append(True)
        except HTTPError:
            answered.append(True)
        except URLError as error:
            # A server responds; W&B may be able to verify its certificate.
            answered.append(isinstance(error.reason, ssl.SSLError))
        except (OSError, HTTPException):
            pass

    # In a thread: looking up the name has no time limit of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return any(answered)


class WandbRun:
    """A run of Weights & Biases.

    Args:
        mode: "online" or "offline".
        settings: settings of the training; W&B makes ``wandb/`` in its run folder.
        config: description of the run, including the data set.
    """

    def __init__(self, mode: str, settings: TrainSettings, config: dict[str, Any]) -> None:
        began = time.monotonic()
        os.environ.setdefault("WANDB_SILENT", "true")
        # W&B's reports about itself would wait for an unreachable server when the program ends.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._online = mode == "online"
        self._run = wandb.init(
            project=settings.wandb_project,
            name=settings.wandb_name,
            tags=list(settings.wandb_tags) or None,
            config=config,
            dir=str(settings.checkpoint_dir),
            mode=mode,  # type: ignore[arg-type]
            settings=wandb.Settings(
                init_timeout=max(1.0, _START_SECONDS - _PROBE_SECONDS - (time.monotonic() - began)),
                finish_timeout=_FINISH_SECONDS,
                finish_timeout_raises=False,
                silent=True,
                console="off",
            ),
        )
        self._run.define_metric("epoch")

    @property
    def place(self) -> str:
        """URL of the run, or the command that uploads it."""
        if self._online and self._run.url:
            return self._run.url
        return f"wandb sync {Path(self._run.dir).parent}"

    def log(self, row: Row, step: int) -> None:
        """Pass the row to W&B's own process, which sends it."""
        self._run.log(dict(row), step=step)

    def finish(self, exit_code: int) -> None:
        """End the run; wait a bounded time for the rest to be sent."""
        thread = threading.Thread(target=self._run.finish, kwargs={"exit_code": exit_code}, daemon=True)
        thread.start()
        thread.join(_FINISH_SECONDS + 5)
        if thread.is_alive():
            abandon_wandb(useless=False)
            raise TimeoutError(f"not everything was sent in time; later: {self.place}")


def abandon_wandb(*, useless: bool) -> None:
    """Remove W&B's exit hook, which would wait for the server before the program ends.

    Args:
        useless: also end W&B's own process, which has nothing to send but would keep our output open.
    """
    import wandb

    # Private, so with care: without it the process ends by itself, some seconds later.
    connection = getattr(wandb.setup(), "_connection", None)
    process = getattr(getattr(connection, "_proc", None), "_process", None)
    thread = threading.Thread(target=wandb.teardown, daemon=True)
    thread.start()
    thread.join(_ABANDON_SECONDS)
    if useless and process is not None:
        process.kill()
        thread.join(_ABANDON_SECONDS)
