"""``plumbline predict --html`` and ``--ply``: what is written, and what is refused before anything is."""

import re
from functools import partial

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.geometry.ply import read_ply
from tests.helpers import scanned
from tests.helpers.drawn import SENSOR, dirty_cloud
from tests.helpers.refusals import refused
from tests.helpers.scanned import simulate, write_scan
from tests.views.test_page import embedded, unpacked

HULL = ("--model", "convex_hull")


@pytest.fixture
def ask(capsys):
    return partial(scanned.predict, capsys)


@pytest.fixture
def dirty(tmp_path):
    cloud = dirty_cloud()
    np.savez(tmp_path / "dirty.npz", points=cloud.points, sensor=SENSOR)
    return tmp_path / "dirty.npz"


def test_both_show_the_answer_and_what_was_left_out(ask, dirty, tmp_path):
    page, ply = tmp_path / "a b.html", tmp_path / "a.ply"
    code, (line,), err = ask(dirty, *HULL, "--html", page, "--ply", ply)
    assert (code, err) == (0, f"page     {page}\npoints   {ply}\n")
    (drawn,) = embedded(page.read_text(encoding="utf-8"))
    assert drawn["com"] == line["com"]
    assert [len(unpacked(drawn[part])) for part in ("kept", "left_out")] == [3000, 90]
    vertices = read_ply(ply)
    part = vertices.elements["vertex"]["part"]
    assert np.bincount(part)[:2].tolist() == [3000, 90]
    assert vertices.vertices()[part == 2][0].tolist() == line["com"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b.html", "a.ply", "dirty.npz"]


def test_without_cleaning_nothing_is_left_out(ask, dirty, tmp_path):
    page = tmp_path / "a.html"
    ask(dirty, *HULL, "--clean", "off", "--html", page)
    (drawn,) = embedded(page.read_text(encoding="utf-8"))
    assert len(unpacked(drawn["kept"])) == 3090
    assert drawn["left_out"]["data"] == ""


def test_the_answers_are_the_same_with_a_page_and_the_page_the_same_again(ask, dirty, tmp_path):
    page, again = tmp_path / "a.html", tmp_path / "b.html"
    alone = ask(dirty, *HULL)
    assert ask(dirty, *HULL, "--html", page)[:2] == alone[:2]
    ask(dirty, *HULL, "--html", again)
    assert page.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_each_answer_is_drawn_with_its_own_points(ask, tmp_path, batch_size):
    scans = [simulate(number, points=100 + number) for number in range(5)]
    files = [write_scan(tmp_path / f"{number}.npz", scan) for number, scan in enumerate(scans)]
    (tmp_path / "broken.npz").write_bytes(b"no scan")
    order = [*files[:2], tmp_path / "broken.npz", *files[2:]]
    page = tmp_path / "a.html"
    code, lines, _ = ask(*order, *HULL, "--batch_size", batch_size, "--clean", "off", "--html", page)
    assert code == 1
    text = page.read_text(encoding="utf-8")
    assert [drawn["com"] for drawn in embedded(text)] == [line["com"] for line in lines if "com" in line]
    for drawn, scan in zip(embedded(text), scans, strict=True):
        np.testing.assert_allclose(unpacked(drawn["kept"]), scan.points, atol=1e-4)
    assert re.findall(r"<option>.*?(\d)\.npz</option>", text) == [*"01234"]
    assert "1 scan without an answer" in text


def test_the_page_says_the_payload_and_the_notes_of_each_scan_that_was_asked_for(ask, tmp_path):
    files = [write_scan(tmp_path / f"{number}.npz", simulate(number)) for number in (3, 4)]
    (tmp_path / "T.json").write_text(
        '{"frame": "tool0", "matrix": [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]}'
    )
    page = tmp_path / "a.html"
    words = ["--checkpoint", "pretrained", "--mass", 0.4, "--frame", tmp_path / "T.json", "--html", page]
    _, lines, _ = ask(*files, *words)
    for line, part in zip(lines, page.read_text("utf-8").split('<section class="scan"')[1:], strict=True):
        shown = part.split("<h2>Payload</h2>")[1].split("in the frame tool0</p>")[0]
        numbers = [float(number) for number in re.findall(r"<td>([^<]+)</td>", shown)]
        np.testing.assert_allclose(numbers[:3], line["payload"]["com"], atol=5e-3)
        inertia = np.array(line["payload"]["inertia"])
        expected = [*np.diag(inertia), inertia[0, 1], inertia[0, 2], inertia[1, 2]]
        np.testing.assert_allclose(numbers[3:], expected, atol=6e-3 * np.abs(inertia).max())
        assert "its coordinates are taken for metres" in part


def test_if_no_scan_has_an_answer_no_page_is_written(tmp_path, capsys):
    (tmp_path / "broken.npz").write_bytes(b"no scan")
    page = tmp_path / "a.html"
    assert main(["predict", str(tmp_path / "broken.npz"), *HULL, "--html", str(page)]) == 2
    assert f"note: --html {page} is not written: no scan has an answer" in capsys.readouterr().err
    assert not page.exists()


def test_what_cannot_be_written_is_refused_before_predicting(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write_scan(tmp_path / "a.npz", simulate(0))
    other = write_scan(tmp_path / "b.npz", simulate(1))
    with monkeypatch.context() as patch:
        patch.setattr("plumbline.commands.predict.choose_predictor", None)
        for flag, end in {"--html": "html", "--ply": "ply"}.items():
            (tmp_path / f"d.{end}").mkdir()
            assert f"{flag} d.{end} is a folder; name a file" in refused(
                capsys, "predict", file, flag, f"d.{end}"
            )
            (tmp_path / f"e.{end}").hardlink_to(file)
            assert f"{flag} e.{end}: this is one of the files that are read" in refused(
                capsys, "predict", file, flag, f"e.{end}"
            )
            assert f"{flag} b/c.{end}: there is no folder b" in refused(
                capsys, "predict", file, flag, f"b/c.{end}"
            )
            (tmp_path / f"link.{end}").symlink_to("c.jsonl")
            assert f"{flag} link.{end}: --out writes to this place" in refused(
                capsys, "predict", file, "--out", "./c.jsonl", flag, f"link.{end}"
            )
        bag, image = ("--bag", "rec"), ("--depth", "d.png", "--intrinsics", "9,9,2,2")
        for flag, end in {"--out": "jsonl", "--html": "html", "--ply": "ply"}.items():
            for folder, *given in (("--bag_out", *bag), ("--write_cleaned", *image)):
                assert f"{flag} c.{end}: {folder} writes to this place" in refused(
                    capsys, "predict", *given, folder, f"./c.{end}", flag, f"c.{end}"
                )
        (tmp_path / "objects").mkdir()
        assert "--ply objects/d.ply: --write_cleaned writes ply files to this folder" in refused(
            capsys, "predict", *image, "--write_cleaned", "./objects", "--ply", "objects/d.ply"
        )
    assert "--ply c.ply: the file shows one scan, and these are 2; name one, or use --html" in refused(
        capsys, "predict", file, other, "--ply", "c.ply"
    )
    assert "--html c.html: a page shows at most 200 scans, and these are 201; name fewer" in refused(
        capsys, "predict", *[file] * 201, "--html", "c.html"
    )


@pytest.mark.parametrize(
    ("flag", "name", "ends"),
    [
        ("--html", "a.ply", ".html or .htm"),
        ("--html", "page", ".html or .htm"),
        ("--ply", "a.txt", ".ply"),
        ("--out", "a.csv", ".jsonl or .json"),
        ("--out", "a.npz", ".jsonl or .json"),
    ],
)
def test_a_name_that_promises_another_format_is_refused(tmp_path, capsys, monkeypatch, flag, name, ends):
    monkeypatch.chdir(tmp_path)
    file = write_scan(tmp_path / "a.npz", simulate(0))
    said = refused(capsys, "predict", file, *HULL, flag, name)
    assert said == f"error: {flag} {name}: its name must end in {ends}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_table_is_followed_by_what_was_written(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_scan(tmp_path / "a.npz", simulate(0))
    names = ["P.HTML", "p.ply", "answers.jsonl"]
    words = ["predict", "a.npz", *HULL, "--html", names[0], "--ply", names[1], "--out", names[2]]
    assert main(words) == 0
    out, err = capsys.readouterr()
    said = ["", "numbers  answers.jsonl", "page     P.HTML", "points   p.ply"]
    assert out.splitlines()[-4:] == said
    assert not any(line in err for line in said[1:])
    assert all((tmp_path / name).is_file() for name in names)
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err.splitlines()[-3:]) == (1, said[1:])


def test_a_full_disk_is_said_after_the_answers(tmp_path, capsys, monkeypatch):
    file, page = write_scan(tmp_path / "a.npz", simulate(0)), tmp_path / "a.html"
    page.write_text("the earlier page")

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("plumbline.views.files.write_atomically", full)
    assert main(["predict", str(file), *HULL, "--html", str(page)]) == 2
    out, err = capsys.readouterr()
    assert "centre of mass by convex_hull" in out
    assert err.splitlines()[-1] == f"error: --html {page}: cannot be written (No space left on device)"
    assert page.read_text() == "the earlier page"
