"""The page in a headless Chromium: files are dropped, answers read and seen, nothing else is asked for."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from plumbline.cli import main
from tests.commands.test_serve import address
from tests.helpers import table_scene
from tests.helpers.browser import Browser, needs_chromium
from tests.helpers.drawn import SENSOR, dirty_cloud
from tests.helpers.processes import running
from tests.helpers.serving import write_scene

pytestmark = [needs_chromium, pytest.mark.slow]

SIZE = (1280, 800)
BLUE = {False: (0x00, 0x72, 0xB2), True: (0x56, 0xB4, 0xE9)}
"""The colour of the centre of mass, in light and dark mode."""
MIDDLE = (700, 400)
INNER = "document.getElementById('frame').contentDocument"
STATE = "document.getElementById('state').textContent"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running("-m", "plumbline", "serve", "--port", "0", "--checkpoint", "pretrained") as process:
        yield address(process)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def dirty(tmp_path):
    cloud = dirty_cloud()
    np.savez(tmp_path / "dirty.npz", points=cloud.points, sensor=SENSOR)
    return tmp_path / "dirty.npz"


def answered(browser: Browser, name: str) -> None:
    """Wait until the answer for a file is there and drawn."""
    browser.wait_for(f"{STATE} === 'Answered.' && {INNER}.querySelector('.kicker').textContent === '{name}'")
    browser.settle()
    browser.settle()


def blue(picture: np.ndarray, *, dark: bool) -> int:
    """Pixels of the centre of mass between the form and the numbers."""
    inner = picture[:690, 310:900].astype(int)
    return int((np.abs(inner - BLUE[dark]).max(axis=2) <= 2).sum())


@pytest.mark.parametrize("dark", [False, True])
def test_a_scan_that_is_dropped_is_answered_and_drawn(browser, url, dirty, dark, capsys):
    browser.visit(url, SIZE, dark=dark)
    assert blue(browser.picture(), dark=dark) == 0
    browser.drop(MIDDLE, dirty)
    answered(browser, "dirty.npz")
    assert main(["predict", "--json", "--checkpoint", "pretrained", str(dirty)]) == 0
    com = json.loads(capsys.readouterr().out)["com"]
    shown = browser.value(f"[...{INNER}.querySelectorAll('section td')].map(cell => cell.textContent)")
    assert shown == [f"{value:.3f}" for value in com]
    first = browser.picture()
    assert blue(first, dark=dark) > 30
    browser.drag(MIDDLE, (MIDDLE[0] + 150, MIDDLE[1] + 20))
    assert (browser.picture() != first).any(axis=2).mean() > 0.02, "it turns"
    assert browser.console == []
    addresses = {request for request in browser.requests if not request.startswith(("data:", "about:"))}
    assert addresses == {f"{url}/", f"{url}/view"}


def test_a_depth_image_is_dropped_with_its_camera_and_mask(browser, url, dirty, tmp_path):
    """Onto an earlier answer, which must not be replaced by the file itself."""
    files = write_scene(tmp_path)
    browser.visit(url, SIZE)
    browser.drop(MIDDLE, dirty)
    answered(browser, "dirty.npz")
    browser.drop(MIDDLE, *files.values())
    answered(browser, f"d.png, object {table_scene.BOX}")
    listed = browser.value(f"[...{INNER}.querySelectorAll('option')].map(option => option.textContent)")
    assert listed == [f"d.png, object {number}" for number in (table_scene.BOX, table_scene.CAN)]
    chosen = "['cloud', 'depth', 'intrinsics', 'mask'].map(id => document.getElementById(id).files[0]?.name)"
    assert browser.value(chosen) == [None, "d.png", "K.json", "m.png"]
    assert browser.console == []


def test_why_there_is_no_answer_is_said(browser, url, tmp_path):
    (tmp_path / "<b>.xyz").write_text("nothing of the kind\n")
    browser.visit(url, SIZE)
    browser.drop((100, 150), tmp_path / "<b>.xyz")
    browser.wait_for(f"{STATE} === 'No answer.'")
    assert browser.value(f"{INNER}.querySelector('h1').textContent") == "No answer"
    said = browser.value(f"{INNER}.querySelector('main p').textContent")
    assert said.startswith("<b>.xyz is empty; ")


def test_it_fits_a_narrow_window_and_the_keyboard_reaches_all(browser, url):
    browser.visit(url, (400, 800))
    assert browser.value("document.documentElement.scrollWidth") == 400
    browser.value("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    reached = []
    for _ in range(16):
        browser.press("Tab")
        name = "(({id, name, tagName}) => id || name || tagName)(document.activeElement)"
        reached.append(browser.value(name))
    fields = {"cloud", "depth", "intrinsics", "numbers", "mask", "depth_scale", "table", "sensor", "scale"}
    assert fields | {"clean", "BUTTON", "A"} <= {*reached}
    assert browser.value("document.documentElement.scrollWidth") == 400
