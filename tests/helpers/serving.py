"""The application of ``plumbline serve`` without a network, and its requests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from plumbline.predictors.predictor import Predictor
from plumbline.serve.app import make_app
from plumbline.serve.limits import Limits
from tests.helpers import table_scene as scene
from tests.helpers.depth_files import write_camera, write_depth, write_mask

HOST = "http://127.0.0.1:8000"
LIMITS = Limits(body=8_000_000, points=200_000, requests=64, seconds=120)


@contextmanager
def serving(predictor: Predictor, *, batch_size: int = 64, **limits: float) -> Iterator[TestClient]:
    """A client of an application with some limits of its own."""
    app = make_app(predictor, replace(LIMITS, **limits), host="127.0.0.1", batch_size=batch_size)
    with TestClient(app, base_url=HOST, raise_server_exceptions=False) as client:
        yield client


def parts(**fields: object) -> dict[str, Any]:
    """Fields as ``httpx`` wants them; paths are sent as files, with their names."""
    files = {
        name: (value.name, value.read_bytes()) for name, value in fields.items() if isinstance(value, Path)
    }
    texts = {name: str(value) for name, value in fields.items() if not isinstance(value, Path)}
    # Without a file httpx would send an urlencoded form.
    return {"files": {**files, **{name: (None, text) for name, text in texts.items()}}}


def write_scene(folder: Path) -> dict[str, Path]:
    """The box and the can on a table as files: depth, intrinsics and mask."""
    depth, labels = scene.see_scene()
    return {
        "depth": write_depth(folder / "d.png", depth),
        "intrinsics": write_camera(folder / "K.json", scene.CAMERA, width=scene.COLUMNS, height=scene.ROWS),
        "mask": write_mask(folder / "m.png", np.where(labels == scene.TABLE, 0, labels)),
    }


class Gate:
    """Holds calls of a function until it is opened, and counts what they are given."""

    def __init__(self, function: Any) -> None:
        self._function, self._open = function, threading.Event()
        self.held = threading.Event()
        self.sizes: list[int] = []

    def __call__(self, batch: Any) -> Any:
        self.sizes.append(len(batch))
        self.held.set()
        assert self._open.wait(100)
        return self._function(batch)

    def open(self) -> None:
        """Let all calls pass."""
        self._open.set()
