"""Scans from ptx files: stations of a laser scanner, their frames and missing returns."""

import numpy as np
import pytest

from plumbline.errors import InputError
from plumbline.geometry.clouds import load_cloud, scan_of

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(1, 2, (60, 3)).round(6)
TURN = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
"""A quarter turn about z, for row vectors."""


def station(points, turn=None, move=(0, 0, 0), *, place=None, columns=None, colours=False):
    """One station as Leica Cyclone writes it: ``points`` in the scanner's frame."""
    turn = np.eye(3) if turn is None else turn
    columns = columns or len(points)
    head = [[columns], [len(points) // columns], move if place is None else place, *turn]
    head += [[*row, 0] for row in turn] + [[*move, 1]]
    rows = [[*row, 0.5, *((9, 8, 7) if colours else ())] for row in points]
    return "".join(" ".join(f"{value:.6g}" for value in row) + "\n" for row in [*head, *rows])


def write(folder, text):
    (folder / "a.ptx").write_bytes(text.encode())
    return folder / "a.ptx"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("colours", [False, True])
def test_a_station_is_moved_into_the_common_frame(tmp_path, end, colours):
    text = station(POINTS, TURN, (10, 20, 3), columns=6, colours=colours)
    cloud = load_cloud(write(tmp_path, text.replace("\n", end)))
    np.testing.assert_allclose(cloud.points, POINTS @ TURN + [10, 20, 3], atol=1e-5)
    np.testing.assert_array_equal(cloud.sensor, [10, 20, 3])
    assert (cloud.dropped, cloud.notes) == (0, ())


def test_the_matrix_is_applied_to_row_vectors(tmp_path):
    """A point of an example of rapidlasso.de, and what its program and CloudCompare make of it."""
    matrix = (
        "-0.955179 0.296021 -0.002106 0\n-0.296023 -0.955180 0.001152 0\n-0.001670 0.001724 0.999997 0\n"
        "3.847211 12.235314 -0.425777 1\n"
    )
    text = f"1\n2\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n{matrix}1.111111 2.111111 3.111 0.111\n0 0 0 0\n"
    cloud = load_cloud(write(tmp_path, text))
    np.testing.assert_allclose(cloud.points, [[2.156, 10.553, 2.685]], atol=6e-4)


def test_the_registered_position_is_in_another_frame(tmp_path):
    """In a frame of the user's own, the matrix alone says where the scanner stood."""
    cloud = load_cloud(write(tmp_path, station(POINTS, place=(7, 8, 9))))
    np.testing.assert_array_equal(cloud.sensor, [0, 0, 0])


def test_missing_returns_are_left_out_before_they_are_moved(tmp_path):
    rows = np.concatenate([POINTS, np.zeros((20, 3))])
    cloud = load_cloud(write(tmp_path, station(rows, TURN, (10, 20, 3), columns=8)))
    np.testing.assert_allclose(cloud.points, POINTS @ TURN + [10, 20, 3], atol=1e-5)
    assert cloud.loss == "20 of 80 rows are missing returns (0 0 0), left out"


def test_several_stations_are_several_views(tmp_path):
    other = np.concatenate([POINTS[:30] - [10, 0, 0], np.zeros((5, 3))])
    text = station(POINTS, columns=6) + "\n" + station(other, move=(10, 0, 0), columns=7)
    cloud = load_cloud(write(tmp_path, text))
    np.testing.assert_allclose(cloud.points, np.concatenate([POINTS, POINTS[:30]]), atol=1e-4)
    scan = scan_of(cloud, None)
    np.testing.assert_array_equal(scan.sensor, np.repeat([[0.0, 0, 0], [10, 0, 0]], [60, 30], axis=0))
    assert np.bincount(scan.view).tolist() == [60, 30]


GOOD = station(POINTS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n", "is truncated: a header has 0 of its 10 lines"),
        ("60\n1\n0 0 0\n", "is truncated: a header has 3 of its 10 lines"),
        (GOOD.rsplit("\n", 3)[0], "is truncated: it has 58 of the 60 points its header declares"),
        (GOOD + "1 2 3 0.5\n", "line 71 is '1 2 3 0.5', where a header needs 1 number"),
        ("1 2 3\n" + GOOD, "line 1 is '1 2 3', where a header needs 1 number"),
        (GOOD.replace("60", "nan", 1), "line 1 is 'nan', where"),
        (GOOD.replace("60", "-60", 1), "is damaged: it declares -60 columns and 1 rows"),
        (GOOD.replace("0 0 0 1\n", "0 0 1 0\n", 1), "the matrix in line 7 is not a rotation"),
        (GOOD.replace(GOOD.splitlines()[30], "a b c"), "line 31 is 'a b c', but x, y, z"),
        (station(np.zeros((60, 3))), "has no points: all 60 rows are missing returns"),
        (GOOD.replace("60", "9" * 400, 1), "line 1 is '9+', where a header needs 1 number"),
        (GOOD.replace("60", "9" * 30, 1), r"it has 60 of the [\d,]{39,} points"),
    ],
)  # fmt: skip
def test_damage_is_refused_in_one_sentence(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as caught:
        load_cloud(write(tmp_path, text))
    assert str(caught.value).count("a.ptx") == 1
    assert "\n" not in str(caught.value)
