"""The page in a headless Chromium: what is drawn where, without errors, by mouse and by keyboard."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plumbline.views.page import render
from tests.helpers.browser import Browser, needs_chromium
from tests.helpers.drawn import SENSOR, known, scene

pytestmark = [needs_chromium, pytest.mark.slow]

FIELD = np.deg2rad(26)
BLUE = {False: (0x00, 0x72, 0xB2), True: (0x56, 0xB4, 0xE9)}
"""The colour of the centre of mass, in light and dark mode."""
GREEN = (0x00, 0x80, 0x5D)
"""That of the axes of inertia, in light mode."""
SIZES = [((1280, 800), False), ((1280, 800), True), ((400, 800), False)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(tmp_path) -> Path:
    """In a folder whose name has to be escaped in an address."""
    folder = tmp_path / "a b#c%é"
    folder.mkdir()
    (folder / "page.html").write_text(render([scene("first.npz")], "net"), encoding="utf-8")
    return folder / "page.html"


def canvas(browser: Browser) -> dict[str, float]:
    box = "const r = document.getElementById('view').getBoundingClientRect();"
    found = browser.value(
        f"(() => {{ {box} return {{x: r.x, y: r.y, width: r.width, height: r.height}}; }})()"
    )
    assert isinstance(found, dict)
    return found


def projected(page: Path, box: dict[str, float], places: np.ndarray) -> np.ndarray:
    """Where places ``[n, 3]`` are in the window ``[n, 2]``, by a pinhole camera that just holds the scene."""
    (text,) = re.findall(r'id="scenes">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    (data,) = json.loads(text)
    rows, middle = np.array(data["view"]), np.array(data["middle"])
    held = [np.array(data["com"]) + sign * np.array(data["body"]) for sign in (1, -1)]
    for part in ("kept", "left_out"):
        steps = np.frombuffer(base64.b64decode(data[part]["data"]), "<u2").reshape(-1, 3)
        held.append(data[part]["low"] + steps * np.array(data[part]["step"]))
    inside = np.concatenate(held) - middle
    inside = inside[np.linalg.norm(inside, axis=1) <= 1.0001 * data["reach"]]
    line = SENSOR - middle
    inside = np.vstack([inside, 1.28 * data["radius"] * line / np.linalg.norm(line)]) @ rows.T
    sides = np.array([box["width"], box["height"]])
    focal = sides.min() / 2 / np.tan(FIELD / 2)
    distance = (inside[:, 2:] + np.abs(inside[:, :2]) * focal / (sides / 2 - 44)).max()
    seen = (places - middle) @ rows.T
    flat = seen[:, :2] * focal / (distance - seen[:, 2:])
    return np.array([box["x"], box["y"]]) + sides / 2 + flat * [1, -1]


def spot(picture: np.ndarray, colour: tuple[int, int, int], box: dict[str, float]) -> np.ndarray:
    """The middle of the pixels of a colour within a part of the window, x and y."""
    x, y = int(box["x"]), int(box["y"])
    inner = picture[y : y + int(box["height"]), x : x + int(box["width"])].astype(int)
    lines, columns = np.nonzero(np.abs(inner - colour).max(axis=2) <= 2)
    assert len(lines) > 30, "the disc of the centre of mass is not there"
    return np.array([columns.mean() + x + 0.5, lines.mean() + y + 0.5])


@pytest.mark.parametrize(("size", "dark"), SIZES)
def test_the_centre_is_where_a_camera_would_see_it(browser, page, size, dark):
    browser.show(page, size, dark=dark)
    box = canvas(browser)
    found = spot(browser.picture(), BLUE[dark], box)
    (wanted,) = projected(page, box, known().com[None])
    assert np.abs(found - wanted).max() < 1
    elsewhere = projected(page, box, known().com[None] + 0.05)[0]
    assert np.abs(found - elsewhere).max() > 3, "the test can tell"
    width = browser.value("document.documentElement.scrollWidth")
    assert width == size[0], "nothing stands out at the side"
    assert browser.console == []
    assert {address.split(":")[0] for address in browser.requests} <= {"file", "about"}


def test_the_points_are_where_a_camera_would_see_them(browser, page):
    browser.show(page, (1280, 800))
    box, picture = canvas(browser), browser.picture().astype(int)
    places = projected(page, box, scene().kept).astype(int)
    drawn = np.abs(picture - picture[int(box["y"]) + 3, int(box["x"]) + 3]).max(axis=2) > 30
    inside = drawn[places[:, 1], places[:, 0]]
    assert inside.mean() > 0.99
    away = drawn[np.clip(places[:, 1] + 250, 0, 799), places[:, 0]]
    assert away.mean() < 0.7, "the test can tell"


def test_a_window_of_another_size_is_filled_again(browser, page):
    browser.show(page, (1280, 800))
    browser.resize((700, 900))
    box = canvas(browser)
    (wanted,) = projected(page, box, known().com[None])
    assert np.abs(spot(browser.picture(), BLUE[False], box) - wanted).max() < 1


def test_colours_follow_the_system_while_the_page_is_open(browser, page):
    browser.show(page, (1280, 800))
    before = spot(browser.picture(), BLUE[False], canvas(browser))
    browser.prefer(dark=True)
    browser.settle()
    np.testing.assert_allclose(spot(browser.picture(), BLUE[True], canvas(browser)), before, atol=0.5)


def test_dragging_turns_and_the_key_0_turns_back(browser, page):
    browser.show(page, (1280, 800))
    box = canvas(browser)
    first = browser.picture()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    browser.drag((middle[0] + 200, middle[1]), (middle[0] + 320, middle[1]))
    turned = browser.picture()
    assert (turned != first).any(axis=2).mean() > 0.02
    browser.hover(box["x"] + 2, box["y"] + 2)
    browser.value("document.getElementById('view').focus({focusVisible: false})")
    browser.press("0")
    browser.value("document.activeElement.blur()")
    browser.settle()
    assert (browser.picture() == first).all()


def test_everything_is_reached_by_the_keyboard(browser, page):
    browser.show(page, (1280, 800))
    reached = []
    for _ in range(16):
        browser.press("Tab")
        reached.append(
            browser.value(
                "(({id, dataset, tagName, parentElement: p}) =>"
                " id || dataset.look || p.dataset.layer || tagName)(document.activeElement)"
            )
        )
    assert reached[0] == "view"
    assert {
        "kept",
        "left_out",
        "com",
        "body",
        "inertia",
        "sensors",
        "first",
        "lens",
        "x",
        "y",
        "z",
        "in",
        "out",
    } <= {*reached}
    assert "ASIDE" in reached
    browser.value("document.getElementById('view').focus()")
    pictures = [browser.picture()]
    for keys in (["ArrowLeft"] * 3, ["ArrowUp"] * 3, ["+"] * 3, ["-"] * 6):
        browser.press(*keys)
        pictures.append(browser.picture())
        changed = (pictures[-1] != pictures[-2]).any(axis=2).mean()
        assert changed > 0.02, keys


def test_a_layer_can_be_hidden(browser, page):
    browser.show(page, (1280, 800))
    shown = browser.picture()
    browser.value("document.querySelector('[data-layer=inertia] input').click()")
    browser.settle()
    box = canvas(browser)

    def green(picture: np.ndarray) -> int:
        inner = picture[: int(box["height"]), : int(box["width"])].astype(int)
        return int((np.abs(inner - GREEN).max(axis=2) <= 8).sum())

    assert green(shown) > 50
    assert green(browser.picture()) == 0


def test_pointing_at_the_centre_says_its_position(browser, page):
    browser.show(page, (1280, 800))
    (place,) = projected(page, canvas(browser), known().com[None])
    browser.hover(*place)
    said = browser.value(
        "document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent"
    )
    assert said == "centre of mass\n0.100  -0.050  -0.200"


def test_another_scan_is_chosen_from_the_list(browser, tmp_path):
    other = replace(scene("second.npz"), prediction=replace(known(), com=np.array([0.5, 0.4, -0.6])))
    page = tmp_path / "page.html"
    page.write_text(render([scene("first.npz"), other], "net"), encoding="utf-8")
    browser.show(page, (1280, 800))
    first = spot(browser.picture(), BLUE[False], canvas(browser))
    browser.value(
        "(() => { const list = document.getElementById('choice'); list.selectedIndex = 1;"
        " list.dispatchEvent(new Event('change')); })()"
    )
    browser.settle()
    assert np.abs(spot(browser.picture(), BLUE[False], canvas(browser)) - first).max() > 20
    shown = browser.value("[...document.querySelectorAll('section.scan')].filter(s => !s.hidden)"
                          ".map(s => s.querySelector('.kicker').textContent)")  # fmt: skip
    assert shown == ["second.npz"]
    assert browser.console == []
