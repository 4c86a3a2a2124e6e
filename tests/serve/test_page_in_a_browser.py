"""The page in a headless Chromium: files are dropped, answers read and seen, nothing else is asked for."""

import json
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from plumbline.cli import main
from tests.commands.test_serve import address
from tests.helpers import ROOT, table_scene
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
SAMPLE = ROOT / "examples" / "sample"
FIELDS = ["cloud", "depth", "intrinsics", "mask", "frame_of"]
CHOSEN = f"{FIELDS}.map(id => document.getElementById(id).files[0]?.name)"


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
    inner = picture[:690, 330:900].astype(int)
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
    assert browser.value(CHOSEN) == [None, "d.png", "K.json", "m.png", None]
    assert browser.console == []


def test_why_there_is_no_answer_is_said(browser, url, tmp_path):
    (tmp_path / "<b>.xyz").write_text("nothing of the kind\n")
    browser.visit(url, SIZE)
    browser.drop((100, 150), tmp_path / "<b>.xyz")
    browser.wait_for(f"{STATE} === 'No answer.'")
    assert browser.value(f"{INNER}.querySelector('h1').textContent") == "No answer"
    said = browser.value(f"{INNER}.querySelector('main p').textContent")
    assert said.startswith("<b>.xyz is empty; ")


def test_a_second_scan_is_said_to_be_left_out(browser, url, dirty, tmp_path):
    other = tmp_path / "other.npz"
    other.write_bytes(dirty.read_bytes())
    browser.visit(url, SIZE)
    browser.drop(MIDDLE, dirty, other)
    browser.wait_for(f"{STATE}.startsWith('Answered. Not used: other.npz ')")
    np.savetxt(tmp_path / "points.xyz", dirty_cloud().points + (0, 0, 9))
    browser.drop(MIDDLE, SAMPLE / "camera.json", tmp_path / "points.xyz")
    browser.wait_for(f"{STATE}.startsWith('Answered. Not used: camera.json ')")
    browser.drop(MIDDLE, dirty)
    answered(browser, "dirty.npz")


def test_files_of_a_depth_image_are_recognised_in_any_order(browser, url, tmp_path):
    """By their ends and contents: a picture in colours is no mask if there is one, a matrix no scan."""
    Image.fromarray(np.zeros((240, 320, 3), np.uint8)).save(tmp_path / "a.png")
    Image.open(SAMPLE / "mask.png").save(tmp_path / "b.png")
    depth = np.asarray(Image.open(SAMPLE / "depth.png"))
    np.save(tmp_path / "c.npy", depth)
    camera = json.loads((SAMPLE / "camera.json").read_text("utf-8"))
    np.savetxt(
        tmp_path / "K.txt", [[camera["fx"], 0, camera["cx"]], [0, camera["fy"], camera["cy"]], [0, 0, 1]]
    )
    shutil.copy(SAMPLE / "flange.json", tmp_path / "pose.json")
    browser.visit(url, SIZE)
    browser.drop(MIDDLE, *(tmp_path / name for name in ("a.png", "pose.json", "b.png", "K.txt", "c.npy")))
    browser.wait_for(f"{STATE}.startsWith('Answered. Not used: a.png ')")
    assert browser.value(CHOSEN) == [None, "c.npy", "K.txt", "b.png", "pose.json"]


def test_what_is_missing_is_said_in_the_words_of_the_page_and_not_sent(browser, url):
    browser.visit(url, SIZE)
    browser.requests.clear()
    send = "document.getElementById('form').requestSubmit()"
    browser.value(send)
    assert browser.value(STATE) == "Drop or choose a scan first."
    browser.drop(MIDDLE, SAMPLE / "mask.png")
    browser.wait_for(f"{STATE} === 'Drop or choose a depth image or a scan, too.'")
    browser.drop(MIDDLE, SAMPLE / "depth.png")
    browser.wait_for(f"{STATE} === 'A depth image needs the intrinsics of the camera, too.'")
    browser.value(send)
    browser.settle()
    assert browser.requests == []
    browser.drop(MIDDLE, SAMPLE / "camera.json")
    answered(browser, "depth.png")


@pytest.mark.parametrize(("field", "bad", "said"), [
    ("sensor", "abc", "“position of the sensor” abc: "),
    ("scale", "-1", "“metres per unit of the scan” -1: "),
    ("mass", "heavy", "“mass, kg” heavy: "),
    ("depth_scale", "1", "“metres per unit of the image” describes a depth image: give one with “depth im"),
    ("table", None, "“find the table and what stands on it” looks for the table in a depth image: give "),
])  # fmt: skip
def test_refusals_name_the_fields_of_the_page(browser, url, dirty, field, bad, said):
    browser.visit(url, SIZE)
    given = "one.checked = true" if bad is None else f"one.value = '{bad}'"
    browser.value(f"(one => {{ {given} }})(document.querySelector('[name={field}]'))")
    browser.drop(MIDDLE, dirty)
    browser.wait_for(f"{STATE} === 'No answer.'")
    text = browser.value(f"{INNER}.querySelector('main p').textContent")
    assert text.startswith(said)
    assert "--" not in text


def give_mass(browser: Browser) -> None:
    browser.value("document.getElementById('mass').value = '0.4'")
    browser.value("document.getElementById('mass').closest('details').open = true")


def test_the_payload_is_shown_in_the_frame_of_the_flange(browser, url):
    browser.visit(url, SIZE)
    give_mass(browser)
    browser.drop(MIDDLE, *SAMPLE.glob("*.*"))
    answered(browser, "depth.png")
    shown = browser.value(f"{INNER}.querySelector('aside').textContent")
    assert "Payload" in shown
    assert "in the frame flange" in shown


def test_notes_of_the_payload_are_shown_in_the_words_of_the_page(browser, url, dirty):
    browser.visit(url, SIZE)
    give_mass(browser)
    browser.drop(MIDDLE, dirty)
    answered(browser, "dirty.npz")
    text = browser.value(f"{INNER}.querySelector('aside').textContent")
    assert "give “metres per unit of the scan” if they are not" in text


@pytest.mark.parametrize("size", [SIZE, (390, 844)])
def test_all_that_is_needed_is_in_the_window(browser, url, dirty, size):
    """Without scrolling the frame: status, button and answer; the payload where there is room for it."""
    browser.visit(url, size)
    for name in ("state", "send"):
        assert visible(browser, f"document.getElementById('{name}')")
    browser.drop((size[0] // 2, 100), *SAMPLE.glob("*.*"))
    answered(browser, "depth.png")
    check_frame(browser, size)
    assert visible(browser, f"{INNER}.getElementById('view')", inner=True)
    assert visible(browser, f"{INNER}.querySelector('section table')", inner=True)
    give_mass(browser)
    browser.value("document.getElementById('form').requestSubmit()")
    browser.wait_for(f"{STATE} === 'Answered.' && {INNER}.querySelectorAll('section table').length > 1")
    browser.settle()
    check_frame(browser, size)
    assert visible(browser, f"{INNER}.getElementById('view')", inner=True)
    assert visible(browser, f"{INNER}.querySelector('section table')", inner=True)
    if size == SIZE:
        assert visible(browser, f"{INNER}.querySelectorAll('section table')[1]", inner=True), "the payload"
    browser.value("document.querySelector('[name=sensor]').value = 'abc'")
    browser.drop((size[0] // 2, 100), dirty)
    browser.wait_for(f"{STATE} === 'No answer.'")
    browser.settle()
    check_frame(browser, size)
    assert visible(browser, f"{INNER}.querySelector('main p')", inner=True)
    browser.value("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert visible(browser, "document.getElementById('state')"), "the fields scroll, not the status"


def test_in_a_window_between_the_two_the_answer_is_scrolled_to(browser, url):
    size = (1000, 800)
    browser.visit(url, size)
    browser.drop(MIDDLE, *SAMPLE.glob("*.*"))
    answered(browser, "depth.png")
    check_frame(browser, size)
    assert visible(browser, f"{INNER}.getElementById('view')", inner=True)


def check_frame(browser: Browser, size: tuple[int, int]) -> None:
    """The page in the frame does not scroll; the window does where the parts are stacked, and downward."""
    page = (
        "(one => !one || one.scrollHeight <= one.clientHeight"
        " || getComputedStyle(one).overflowY === 'hidden')"
    )
    assert browser.value(f"{page}({INNER}.documentElement)")
    assert visible(browser, "document.getElementById('state')")
    root = "document.documentElement"
    assert browser.value(f"{root}.scrollWidth") == size[0]
    if size == SIZE:
        assert browser.value(f"{root}.scrollHeight") == size[1]


def visible(browser: Browser, element: str, *, inner: bool = False) -> bool:
    """Whether the whole element is in the window, and above the bar with the button if it is not in it."""
    moved = "document.getElementById('frame').getBoundingClientRect().top" if inner else "0"
    return browser.value(
        "(one => { const bar = document.getElementById('send'), stacked = innerWidth < 1152;"
        " const end = stacked && !bar.contains(one) ? bar.getBoundingClientRect().top : innerHeight;"
        f" const moved = {moved}, {{ top, bottom }} = one.getBoundingClientRect();"
        f" return bottom > top && top + moved > -1 && bottom + moved < end + 1; }})({element})"
    )


def test_it_fits_a_narrow_window_and_the_keyboard_reaches_all(browser, url):
    browser.visit(url, (400, 800))
    assert browser.value("document.documentElement.scrollWidth") == 400
    browser.value("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    reached = []
    for _ in range(20):
        browser.press("Tab")
        name = "(({id, name, tagName}) => id || name || tagName)(document.activeElement)"
        reached.append(browser.value(name))
    fields = {"cloud", "depth", "intrinsics", "numbers", "mask", "depth_scale", "table", "sensor", "scale"}
    assert fields | {"mass", "frame_of", "clean", "BUTTON", "A"} <= {*reached}
    assert browser.value("document.documentElement.scrollWidth") == 400
