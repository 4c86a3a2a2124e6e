"""Bags are read from sqlite3 and mcap, and written in one step."""

import sqlite3

import numpy as np
import pytest

from plumbline.errors import InputError
from plumbline.payload.forms.ros import POINT, Stamp, point_fields
from plumbline.ros.bags import NewMessage, check_new_bag, open_bag, write_bag
from tests.helpers.ros_messages import FORMS, START, cloud_message, plain, read_bag
from tests.helpers.ros_messages import write_bag as record

CLOUDS = [np.full((2 + i, 3), i + 1.5) for i in range(4)]
MESSAGES = [
    ("/points", START + i * 10**6, cloud_message(cloud, stamp=START + i)) for i, cloud in enumerate(CLOUDS)
]


@pytest.fixture(params=FORMS)
def bag(request, tmp_path):
    return record(tmp_path / "rec", MESSAGES, request.param, empty=["/empty"])


def test_a_folder_and_its_file_hold_the_same_messages(bag):
    (file,) = [file for file in bag.iterdir() if file.suffix != ".yaml"]
    for path in (bag, file):
        with open_bag(path) as opened:
            assert opened.topics["/points"] == ("sensor_msgs/msg/PointCloud2", 4)
            assert opened.topics["/empty"].messages == 0
            assert list(opened.messages("/empty")) == []
            found = list(opened.messages("/points"))
            assert [recorded for recorded, _ in found] == [recorded for _, recorded, _ in MESSAGES]
            assert [plain(message) for _, message in found] == [plain(message) for *_, message in MESSAGES]
            ((recorded, message),) = opened.messages("/points", MESSAGES[2][1])
            assert (recorded, plain(message)) == (MESSAGES[2][1], plain(MESSAGES[2][2]))


def new(number: int) -> NewMessage:
    return NewMessage(
        f"/p{number % 2}", POINT, START + number, point_fields(np.full(3, number / 3), "f", Stamp(1, number))
    )


def test_what_is_written_is_read_again(bag, tmp_path):
    write_bag(tmp_path / "answers", map(new, range(5)), like=bag)
    found = read_bag(tmp_path / "answers")
    assert [(topic, recorded) for topic, recorded, _ in found] == [
        (f"/p{i % 2}", START + i) for i in range(5)
    ]
    for number, (_, _, message) in enumerate(found):
        assert plain(message) == point_fields(np.full(3, number / 3), "f", Stamp(1, number))
    suffix = {file.suffix for file in bag.iterdir()}
    assert {file.suffix for file in (tmp_path / "answers").iterdir()} == suffix, "another form"
    assert (tmp_path / "answers" / f"answers{(suffix - {'.yaml'}).pop()}").is_file()


def test_nothing_is_left_after_an_error(bag, tmp_path):
    before = sorted(tmp_path.iterdir())

    def messages():
        yield new(0)
        raise KeyError("later")

    with pytest.raises(KeyError):
        write_bag(tmp_path / "answers", messages(), like=bag)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "error", [OSError(28, "the disk is full"), sqlite3.OperationalError("the disk is full")]
)
def test_a_disk_that_is_full_is_one_sentence(bag, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("rosbags.rosbag2.Writer.write", fail)
    with pytest.raises(InputError, match=r"answers: cannot be written \(the disk is full\)$"):
        write_bag(tmp_path / "answers", [new(0)], like=bag)
    assert not (tmp_path / "answers").exists()


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "broken link"])
def test_what_exists_is_never_written_over(bag, tmp_path, kind):
    there = tmp_path / "there"
    if kind == "file":
        there.write_text("mine")
    elif kind == "broken link":
        there.symlink_to(tmp_path / "nowhere")
    else:
        there.mkdir()
        if kind == "folder":
            (there / "mine").write_text("mine")
    for write in (check_new_bag, lambda path: write_bag(path, [new(0)], like=bag)):
        with pytest.raises(
            InputError, match="there exists: a bag is never written over; choose another name"
        ):
            write(there)
    if kind == "folder":
        assert [file.name for file in there.iterdir()] == ["mine"]


def test_a_bag_in_no_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*none; make it"):
        check_new_bag(tmp_path / "none" / "answers")
