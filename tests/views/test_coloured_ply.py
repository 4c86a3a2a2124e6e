"""The ply file for other viewers, read back by a reader that is not ours."""

import io
from dataclasses import replace

import numpy as np
import trimesh

from plumbline.geometry.clouds import load_cloud
from plumbline.geometry.ply import read_ply
from plumbline.views.coloured_ply import coloured_ply
from tests.helpers.drawn import SHAPE, known, scene


def test_every_part_is_there_with_its_colour(tmp_path):
    drawn, file = scene(), tmp_path / "a.ply"
    file.write_bytes(coloured_ply(drawn))
    columns = read_ply(file).elements["vertex"]
    points, part = read_ply(file).vertices(), columns["part"]
    np.testing.assert_array_equal(points[part == 0], drawn.kept)
    np.testing.assert_array_equal(points[part == 1], drawn.left_out)
    np.testing.assert_array_equal(points[part == 2][0], drawn.prediction.com)
    np.testing.assert_allclose(points[part == 2].mean(axis=0), drawn.prediction.com, atol=1e-12)
    away = points[part == 3] - drawn.prediction.com
    squares = np.einsum("ni,ij,nj->n", away, np.linalg.inv(SHAPE), away)
    np.testing.assert_allclose(squares, 6.251388631, rtol=1e-9)
    assert np.abs(away.mean(axis=0)).max() < 0.01, "on all sides"
    colours = np.stack([columns[name] for name in ("red", "green", "blue")], axis=1)
    assert len({(int(p), *map(int, c)) for p, c in zip(part, colours, strict=True)}) == 4


def test_another_reader_sees_the_same():
    drawn = scene()
    cloud = trimesh.load(io.BytesIO(coloured_ply(drawn)), file_type="ply")
    assert isinstance(cloud, trimesh.PointCloud), "no faces: viewers show the points"
    np.testing.assert_allclose(cloud.vertices[: len(drawn.kept)], drawn.kept, atol=1e-12)
    assert cloud.colors[0].tolist() != cloud.colors[len(drawn.kept)].tolist()


def test_without_a_covariance_the_ball_and_without_that_nothing(tmp_path):
    ball = replace(scene(), prediction=replace(known(), covariance=None))
    (tmp_path / "a.ply").write_bytes(coloured_ply(ball))
    found = read_ply(tmp_path / "a.ply")
    surface = found.vertices()[found.elements["vertex"]["part"] == 3]
    np.testing.assert_allclose(np.linalg.norm(surface - known().com, axis=1), 0.4)
    bare = replace(scene(), prediction=replace(known(), covariance=None, radius_90=None))
    (tmp_path / "b.ply").write_bytes(coloured_ply(bare))
    assert 3 not in read_ply(tmp_path / "b.ply").elements["vertex"]["part"]


def test_a_name_cannot_end_the_header(tmp_path):
    (tmp_path / "a.ply").write_bytes(coloured_ply(replace(scene(), name="a\nend_header\n\x1b[2Jb")))
    assert len(read_ply(tmp_path / "a.ply").vertices()) > 3000
    assert b"\x1b" not in (tmp_path / "a.ply").read_bytes()[:400]


def test_read_as_a_scan_it_is_the_points_of_the_scan(tmp_path):
    """And a file with a property of that name by another program keeps all its points."""
    drawn, file = scene(), tmp_path / "a.ply"
    content = coloured_ply(drawn)
    file.write_bytes(content)
    cloud = load_cloud(file)
    np.testing.assert_array_equal(cloud.points, np.concatenate([drawn.kept, drawn.left_out]))
    total = len(read_ply(file).vertices())
    lost = total - len(drawn.kept) - len(drawn.left_out)
    assert cloud.notes == (f"{lost:,} points of the answer that predict --ply drew are left out",)
    file.write_bytes(content.replace(b"comment plumbline", b"comment someothers"))
    assert (len(load_cloud(file).points), load_cloud(file).notes) == (total, ())
