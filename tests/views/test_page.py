"""The page without a browser: what is embedded in it, what it escapes, that it asks for nothing."""

import base64
import hashlib
import html
import json
import re
from dataclasses import replace

import numpy as np

from plumbline.payload.frames import make_frame
from plumbline.views.page import MOST_POINTS, render
from plumbline.views.scene import uncertainty
from tests.helpers.drawn import known, scene

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J".npz'


def embedded(page: str) -> list[dict]:
    (text,) = re.findall(r'<script type="application/json" id="scenes">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def unpacked(packed: dict) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(packed["data"]), "<u2").reshape(-1, 3)
    return packed["low"] + steps * np.array(packed["step"])


def test_the_embedded_points_are_those_of_the_scan():
    drawn = scene()
    (found,) = embedded(render([drawn], "net"))
    for name, points in (("kept", drawn.kept), ("left_out", drawn.left_out)):
        gap = np.abs(unpacked(found[name]) - points).max(axis=0)
        assert (gap <= np.ptp(points, axis=0) / 65535 * 0.501 + 1e-15).all()
        assert gap.max() > 0 or name == "left_out"
    assert found["com"] == drawn.prediction.com.tolist()
    np.testing.assert_array_equal(found["body"], uncertainty(drawn.prediction))
    assert found["sensors"] == [[0, 0, -4]]


def test_a_scan_far_from_the_origin_loses_nothing():
    shift = np.array([5e5, 4e6, 300.0])
    drawn = scene()
    far = replace(drawn, kept=drawn.kept + shift, left_out=drawn.left_out[:0], sensors=drawn.sensors + shift,
                  prediction=replace(known(), com=known().com + shift))  # fmt: skip
    (found,) = embedded(render([far], "net"))
    assert np.abs(unpacked(found["kept"]) - far.kept).max() < 2.1 / 65535
    assert found["left_out"]["data"] == ""


def test_a_plane_of_points_has_no_step_across():
    flat = scene()
    flat = replace(flat, kept=flat.kept * [1, 1, 0] + [0, 0, 7])
    (found,) = embedded(render([flat], "net"))
    assert (unpacked(found["kept"])[:, 2] == 7).all()


def test_the_numbers_stand_at_the_side():
    page = render([scene()], "the best model")
    text = html.unescape(re.sub(r"<[^>]+>", "|", page))
    for said in ("a.npz", "0.100", "-0.050", "-0.200", "expected error||0.200", "90 % within||0.400",
                 "volume||4.00", "novelty||0.50", "a note", "a warning", "the best model",
                 "512 used of 3,090; 90 stray, left out (2.9 %)", "1 position, from the file",
                 "0.300, 0.400, 0.500, per unit mass"):  # fmt: skip
        assert said in text, said
    assert "<dt>drawn" not in page
    bare = replace(known(), expected_error=None, radius_90=None, covariance=None, volume=None, inertia=None,
                   novelty=None, notes=(), warnings=())  # fmt: skip
    page = render([replace(scene(), prediction=bare)], "carve")
    for absent in ("expected error", "90 % within", "<dt>volume", "novelty", "None", "nan"):
        assert absent not in page.split("<aside")[1].split("<script")[0], absent


def test_the_payload_stands_in_its_frame():
    frame = make_frame(np.array([[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]), "tool<0>")
    asked = known().moved(frame)
    drawn = replace(scene(), asked=asked, payload=asked.payload(0.4))
    page = render([drawn, scene()], "net")
    first, second = page.split('<section class="scan"')[1:]
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", first)).split())
    for said in ("0.100 -0.050 -0.200 in the frame and unit of the file", "Payload mass 0.4 kg",
                 "centre of mass, m x y z 1.050 2.100 2.800", "ixx iyy izz 0.160 0.120 0.200",
                 "ixy ixz iyz 0.000 0.000 0.000 in the frame tool<0> Details expected"):  # fmt: skip
        assert said in text, said
    assert "Payload" not in second
    assert "Details" not in second
    unknown = replace(drawn, payload=replace(drawn.payload, inertia=None))
    page = render([unknown], "net")
    assert "mass</dt><dd>0.4 kg" in page
    assert "ixx" not in page
    moved = html.unescape(re.sub(r"<[^>]+>", " ", render([replace(drawn, payload=None)], "net")))
    assert re.search(r"In the frame tool<0>\s+x\s+y\s+z\s+1.050\s+2.100\s+2.800", moved)
    assert "Payload" not in moved


def test_a_flag_in_a_sentence_does_not_break_at_its_dashes():
    answer = replace(known(), warnings=("give --scale, or --mass",))
    page = render([replace(scene(), prediction=answer)], "net", ["no --sensor"])
    for flag in ("--scale", "--mass", "--sensor"):
        assert f"<code>{flag}</code>" in page


def test_metres_are_named_where_they_are_known():
    answer = replace(known(), unit="metres", sensor="the camera")
    text = html.unescape(render([replace(scene(), prediction=answer)], "net"))
    for said in ("0.200 m<", "4.00 m³", "0.500 m²", "in metres, in the frame of the camera"):
        assert said in text, said


def test_names_and_sentences_are_escaped():
    answer = replace(known(), notes=(EVIL,), warnings=(EVIL,))
    page = render([replace(scene(), name=EVIL, prediction=answer)] * 2, EVIL, [EVIL])
    assert EVIL not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert len(re.findall(r"<script", page)) == 2
    assert page.count(html.escape("</script><script>alert(1)")) == 11, (
        "option, name, note, warning, model, refusal"
    )


def test_nothing_is_loaded_and_only_the_own_script_may_run():
    page = render([scene()], "net")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert policy == f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'"
    written = page.replace(json.dumps(embedded(page), separators=(",", ":")), "")
    assert len(written) < len(page)
    assert re.findall(r"https?:|//[a-z]|url\(|@import|\ssrc=|\shref=", written) == []
    assert " style=" not in page, "the policy forbids it"


def test_a_page_is_small_and_the_same_each_time():
    drawn = scene()
    many = replace(drawn, kept=np.random.default_rng(0).normal(size=(300_000, 3)),
                   prediction=replace(known(), num_points=300_090))  # fmt: skip
    page = render([many], "net")
    assert len(page.encode()) < 1_000_000
    (found,) = embedded(page)
    assert len(unpacked(found["kept"])) + len(unpacked(found["left_out"])) == MOST_POINTS
    assert "100,000 of 300,090 points, chosen at random" in page
    assert render([many], "net") == page
    several = render([many] * 20, "net")
    assert len(several.encode()) < 1_100_000
    assert {len(unpacked(one["kept"])) for one in embedded(several)} == {MOST_POINTS // 20 - 90}


def test_several_scans_have_a_list():
    page = render([scene("a.npz"), scene("b.npz")], "net", ["c.npz is damaged"])
    assert "<option>a.npz</option><option>b.npz</option>" in page
    assert len(re.findall(r'<section class="scan">', page)) == 1
    assert len(re.findall(r'<section class="scan" hidden>', page)) == 1
    assert "1 scan without an answer" in page
    assert "c.npz is damaged" in page
    assert "<select" not in render([scene()], "net")
