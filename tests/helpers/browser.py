"""A headless Chromium that is driven through a pipe, by its own protocol: no driver, no network port."""

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
_PATIENCE = 120.0
"""Seconds after which a silent browser is given up."""
_START = """
import os, sys
take, give = map(int, sys.argv[1:3])
os.dup2(take, 3), os.dup2(give, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page of a headless browser, with what it wrote to its console and what it asked the network for.

    Attributes:
        console: messages of the console, uncaught errors among them.
        requests: addresses that the page asked for.
    """

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        ours, theirs = os.pipe(), os.pipe()
        # Chromium reads from 3 and writes to 4, which may be taken by the pipes themselves.
        take, give = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (ours[0], theirs[1]))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
                 "--force-color-profile=srgb", f"--user-data-dir={folder}", "about:blank"]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(take), str(give), CHROMIUM, *flags], pass_fds=(take, give),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (ours[0], theirs[1], take, give):
            os.close(end)
        self._out, self._in = ours[1], theirs[0]
        self._rest, self._number, self._session = b"", 0, None
        self.console: list[str] = []
        self.requests: list[str] = []
        targets = self._ask("Target.getTargets")["targetInfos"]
        (page,) = [target["targetId"] for target in targets if target["type"] == "page"]
        self._session = self._ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, AssertionError):
            self._session = None
            self._ask("Browser.close")
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def show(self, page: Path, size: tuple[int, int], *, dark: bool = False, density: float = 1.0) -> None:
        """Load a file in a window of a size, in light or dark mode, and wait until it is drawn."""
        self.visit(page.resolve().as_uri(), size, dark=dark, density=density)

    def visit(self, url: str, size: tuple[int, int], *, dark: bool = False, density: float = 1.0) -> None:
        """The same for an address."""
        self._ask("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1],
                  deviceScaleFactor=density, mobile=False)  # fmt: skip
        self.prefer(dark=dark)
        self._ask("Page.navigate", url=url)
        while self.value("document.readyState") != "complete":
            time.sleep(0.05)
        self.settle()

    def prefer(self, *, dark: bool) -> None:
        """Switch between light and dark mode."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])

    def resize(self, size: tuple[int, int]) -> None:
        """Give the window another size."""
        self._ask("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1,
                  mobile=False)  # fmt: skip
        self.settle()

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript and wait for its result."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def settle(self) -> None:
        """Wait until frames that were asked for are drawn, and the fine one after them."""
        frames = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.value(f"{frames}.then(() => new Promise(done => setTimeout(done, 300))).then(() => {frames})")

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, in what has the focus."""
        for key in keys:
            for kind in ("keyDown", "keyUp"):
                text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
                code = {"Tab": 9}.get(key, 0)
                self._ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)
        self.settle()

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        """Move the mouse with its button down."""
        for kind, (x, y) in (("mousePressed", begin), ("mouseMoved", end), ("mouseReleased", end)):
            buttons = 0 if kind == "mouseReleased" else 1
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=buttons,
                      clickCount=1)  # fmt: skip
        self.settle()

    def drop(self, place: tuple[float, float], *files: Path) -> None:
        """Drop files onto a place in the window, as from a file manager."""
        data = {"items": [], "files": [str(file.resolve()) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self._ask("Input.dispatchDragEvent", type=kind, x=place[0], y=place[1], data=data)

    def wait_for(self, expression: str) -> Any:
        """Evaluate JavaScript until its result is true, and return that."""
        deadline = time.monotonic() + _PATIENCE
        while not (found := self.value(expression)):
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)
        return found

    def hover(self, x: float, y: float) -> None:
        """Move the mouse with no button down."""
        self._ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def picture(self) -> np.ndarray:
        """What the window shows, ``[H, W, 3]`` uint8."""
        data = base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def _ask(self, method: str, **params: object) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self._hear(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], _PATIENCE)[0], "the browser says nothing"
            piece = os.read(self._in, 1 << 16)
            assert piece, "the browser has ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _hear(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self.console.append(json.dumps(params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
