"""The payload as a body: what is refused, and how it moves from frame to frame."""

import json

import numpy as np
import pytest

from plumbline.errors import InputError
from plumbline.geometry.rotations import random_rotation
from plumbline.payload.frames import Frame, make_frame, read_frame
from plumbline.payload.record import Payload, check_inertia, size_reason
from tests.helpers.bodies import masses_of, payload_of


def moved_points(points: np.ndarray, frame: Frame) -> np.ndarray:
    return points @ frame.rotation.T + frame.translation


def random_frame(seed: int) -> Frame:
    rng = np.random.default_rng(seed)
    return Frame(random_rotation(rng), rng.normal(size=3), "tool0")


@pytest.mark.parametrize("seed", range(5))
def test_a_moved_payload_is_the_payload_of_the_moved_body(seed):
    points, masses = masses_of(seed)
    frame = random_frame(seed)
    moved = payload_of(points, masses).moved(frame)
    expected = payload_of(moved_points(points, frame), masses)
    np.testing.assert_allclose(moved.com, expected.com, atol=1e-10)
    np.testing.assert_allclose(moved.inertia, expected.inertia, atol=1e-10)
    assert moved.mass == expected.mass
    assert moved.frame == "tool0"
    np.testing.assert_array_equal(moved.inertia, moved.inertia.T)
    turned_back = payload_of(moved_points(points, frame._replace(rotation=frame.rotation.T)), masses)
    assert not np.allclose(moved.inertia, turned_back.inertia, atol=1e-3), "the control"


def test_the_covariance_moves_as_that_of_moved_points():
    draws = np.random.default_rng(1).normal(size=(50, 3)) @ np.diag([1, 2, 3])
    frame = random_frame(2)
    payload = Payload(1.0, draws.mean(axis=0), covariance=np.cov(draws.T))
    np.testing.assert_allclose(
        payload.moved(frame).covariance, np.cov(moved_points(draws, frame).T), atol=1e-10
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_inertia_about_a_point_is_that_of_the_masses_around_it(seed):
    points, masses = masses_of(seed)
    point = np.array([0.3, -2.0, 0.7])
    away = points - point
    expected = sum(m * ((a @ a) * np.eye(3) - np.outer(a, a)) for m, a in zip(masses, away, strict=True))
    found = payload_of(points, masses).inertia_about(point)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_numbers_that_no_body_has_are_refused():
    plate = np.diag([1.0, 2.0, 3.0])
    check_inertia(plate)  # an infinitely thin plate: the third is the sum of the others
    with pytest.raises(
        InputError, match=r"principal moments of inertia 1, 2, 3\.01: .* none larger than the sum"
    ):
        check_inertia(np.diag([1.0, 2.0, 3.01]))
    turn = random_rotation(np.random.default_rng(3))
    with pytest.raises(InputError, match="none larger than the sum"):
        Payload(1.0, np.zeros(3), turn @ np.diag([1.0, 2.0, 3.01]) @ turn.T)
    with pytest.raises(InputError, match="above 0"):
        check_inertia(np.diag([0.0, 1.0, 1.0]))
    with pytest.raises(InputError, match="symmetric"):
        check_inertia(plate + np.eye(3, k=1) * 1e-3)
    with pytest.raises(InputError, match="3 x 3 finite"):
        check_inertia(np.full((3, 3), np.nan))
    for mass in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="the mass of a payload must be above 0 kg"):
            Payload(mass, np.zeros(3))
    with pytest.raises(InputError, match="3 finite numbers"):
        Payload(1.0, np.array([0.0, np.nan, 0.0]))


def test_an_unknown_inertia_is_said():
    payload = Payload(2.0, np.ones(3))
    assert payload.to_dict() == {"mass": 2.0, "com": [1.0, 1.0, 1.0]}
    with pytest.raises(InputError, match="the inertia of this payload is not known"):
        payload.inertia_about(np.zeros(3))


def test_a_frame_is_read_with_its_name(tmp_path):
    frame = random_frame(5)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = frame.rotation, frame.translation
    (tmp_path / "flange.json").write_text(json.dumps(matrix.tolist()))
    (tmp_path / "b.json").write_text(json.dumps({"frame": "tool 0", "matrix": matrix.ravel().tolist()}))
    for name, called in (("flange.json", "flange"), ("b.json", "tool 0")):
        read = read_frame(tmp_path / name)
        assert read.name == called
        np.testing.assert_allclose(read.rotation, frame.rotation, atol=1e-15)
        np.testing.assert_array_equal(read.translation, frame.translation)
    rounded = np.round(matrix, 7)
    exact = make_frame(rounded).rotation
    np.testing.assert_allclose(exact @ exact.T, np.eye(3), atol=1e-15)


BAD = {
    "text": ("{", "not JSON"),
    "three rows": (json.dumps(np.eye(3).tolist()), "4 x 4 finite numbers"),
    "words": ('[["a"]]', "4 x 4 finite numbers"),
    "nothing": ("{}", "4 x 4 finite numbers"),
    "not a number": ("[[NaN,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]", "4 x 4 finite numbers"),
    "by columns": ("[[1,0,0,0],[0,1,0,0],[0,0,1,0],[1,2,3,1]]", "its last row is not 0 0 0 1"),
    "stretched": ("[[2,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]", "are no rotation"),
    "mirrored": ("[[-1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]", "it mirrors"),
    "a number as name": ('{"frame": 3, "matrix": []}', "frame must be a name, not 3"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_frame_that_cannot_be_used_is_refused(tmp_path, kind):
    text, said = BAD[kind]
    file = tmp_path / "T.json"
    file.write_text(text)
    with pytest.raises(InputError, match=said) as refused:
        read_frame(file)
    assert str(refused.value).startswith(f"--frame {file}: ")


def test_a_missing_frame_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.json"):
        read_frame(tmp_path / "none.json")


@pytest.mark.parametrize(("length", "number"), [
    (0.0019, "0.0019 m"), (0.0021, None), (9.9, None), (10.1, "10 m"), (1234.5, "1,234 m"),
])  # fmt: skip
def test_lengths_that_no_payload_has(length, number):
    reason = size_reason(length)
    assert reason is None if number is None else reason.startswith(f"the object is {number} long")


def test_a_file_of_a_frame_that_is_missing_is_named_with_its_flag(tmp_path):
    for path, what in ((tmp_path / "T.json", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(InputError) as caught:
            read_frame(path)
        assert str(caught.value).startswith(f"--frame {path} {what}; give a JSON file with the matrix [4, 4]")
