"""The table of a depth image is found and removed, and what stands on it is split, with known truth."""

from dataclasses import replace

import numpy as np
import pytest

import plumbline
from plumbline.errors import InputError
from plumbline.geometry.depth_images import make_depth_image
from plumbline.geometry.scenes import find_objects, find_table, split_scene
from plumbline.geometry.support_plane import find_support
from tests.helpers import table_scene as scene

FLOOR = scene.block((5, 5, 0.02), (0, 0), -0.75, 0)
WALL = scene.block((5, 0.02, 4), (0, 0.37), -0.75, 0)
"""A wall that stands at the far edge of the table."""


def true_table() -> np.ndarray:
    pose = scene.table_pose()
    return np.append(pose[:3, 2], pose[:3, 2] @ pose[:3, 3])


def frame_of(*others, noise=0.001):
    depth, labels = scene.see_scene(*others, noise=noise)
    return make_depth_image(depth, scene.CAMERA, name="d.png"), labels


def check_table(plane):
    truth = true_table()
    assert np.degrees(np.arccos(min(plane[:3] @ truth[:3], 1))) < 0.2
    middle = scene.table_pose()[:3, 3]
    assert abs(plane[:3] @ middle - plane[3]) < 0.001
    assert plane[3] < 0, "the normal points toward the camera"


def overlap(mine, theirs) -> float:
    return (mine & theirs).sum() / (mine | theirs).sum()


@pytest.mark.parametrize("others", [(), (FLOOR,), (WALL,), (FLOOR, WALL)], ids=["", "floor", "wall", "both"])
def test_each_object_on_the_table_is_found_and_nothing_else(others):
    frame, labels = frame_of(*others)
    found = split_scene(frame)
    check_table(found.table)
    assert found.labels.numbers == (1, 2)
    assert found.refused == {}
    for number, truth in ((1, scene.BOX), (2, scene.CAN)):
        assert overlap(found.labels.places == number, labels == truth) > 0.9
    counts = [np.count_nonzero(found.labels.places == number) for number in (1, 2)]
    assert counts[0] > counts[1], "the largest first"
    again = split_scene(frame)
    np.testing.assert_array_equal(again.labels.places, found.labels.places)


def test_what_is_removed_is_counted():
    frame, labels = frame_of(FLOOR)
    (note,) = split_scene(frame).notes
    numbers = [int(word) for word in note.replace(",", "").split() if word.isdecimal()]
    known, table, below, specks, fewest = numbers
    assert note.endswith(f"{specks} in groups of fewer than {fewest} pixels")
    assert known == frame.known.sum()
    assert abs(table - np.count_nonzero(labels == scene.TABLE)) < 0.03 * table
    assert abs(below - np.count_nonzero(labels == scene.OTHER)) < 0.03 * below
    objects = np.count_nonzero(split_scene(frame).labels.places)
    assert table + below + specks + objects == known


def test_an_object_that_is_cut_off_is_refused_alone():
    frame, labels = frame_of(scene.block((0.14, 0.1, 0.1), (-0.38, -0.05), 0, 0))
    assert (labels[:, 0] == scene.OTHER).any()
    clouds = find_objects(frame.metres, scene.CAMERA, name="d.png")
    assert len(clouds) == 3
    (cut,) = (number for number, cloud in clouds.items() if isinstance(cloud, InputError))
    assert str(clouds[cut]).startswith(f"d.png, object {cut}: it touches the border of the image")
    assert overlap(split_scene(frame).labels.places == cut, labels == scene.OTHER) > 0.9


def test_what_is_too_small_is_no_object_and_is_counted():
    frame, _ = frame_of(scene.block((0.012, 0.012, 0.03), (0, 0.1), 0, 0))
    found = split_scene(frame)
    assert found.labels.numbers == (1, 2)
    assert found.notes[-1].startswith("1 piece on the table is left out, ")
    assert found.notes[-1].endswith("too small for an object (fewer than 200 pixels, or lower than 10 mm)")


def test_a_wall_or_a_ceiling_is_no_table():
    rng = np.random.default_rng(1)
    flat = np.column_stack([*rng.uniform(-1, 1, (2, 1000)), np.zeros(1000)])
    wall, floor = flat + [0, 0, 2], flat[:300, [0, 2, 1]] * [1, 1, 0.5] + [0, 0.6, 1.5]
    np.testing.assert_allclose(find_support(np.concatenate([wall, floor])).plane, [0, -1, 0, -0.6], atol=1e-9)
    np.testing.assert_allclose(find_support(wall).plane, [0, 0, -1, -2], atol=1e-9)
    assert find_support(floor * [1, -1, 1]) is None, "a ceiling"
    assert find_support(rng.uniform(-1, 1, (3000, 3)) + [0, 0, 2]) is None
    assert find_support(np.tile([[0.0, 0, 1]], (5, 1))) is None


def test_of_two_parallel_planes_the_nearer_is_the_table():
    rng = np.random.default_rng(1)
    flat = np.column_stack([*rng.uniform(-1, 1, (2, 1000)), np.zeros(1000)])[:, [0, 2, 1]] + [0, 0, 2]
    table, floor = flat[:700] * [0.4, 1, 0.5] + [0, 0.5, 0], flat + [0, 1.2, 0]
    found = find_support(np.concatenate([floor, table]))
    np.testing.assert_allclose(found.plane, [0, -1, 0, -0.5], atol=1e-9)
    few = find_support(np.concatenate([floor, table[:200]]))
    np.testing.assert_allclose(few.plane, [0, -1, 0, -1.2], atol=1e-9)


def test_without_a_table_or_objects_one_sentence_says_what_to_do():
    depth = np.random.default_rng(0).uniform(0.4, 2, (60, 80))
    with pytest.raises(InputError, match="no table found, no plane has an eighth of the pixels; give the pl"):
        find_objects(depth, scene.CAMERA)
    frame, labels = frame_of()
    bare = np.where(labels == scene.TABLE, frame.metres, 0)
    with pytest.raises(InputError, match=r"nothing stands on the table .* or a mask of each object with"):
        find_objects(bare, scene.CAMERA)


def test_with_a_mask_the_table_is_that_around_it():
    frame, labels = frame_of(FLOOR, WALL)
    mask = np.where(labels == scene.TABLE, 0, labels) * (labels != scene.OTHER)
    clouds = find_objects(frame.metres, scene.CAMERA, mask, name="d.png")
    assert [*clouds] == [scene.BOX, scene.CAN]
    for number, cloud in clouds.items():
        check_table(cloud.table)
        assert len(cloud.points) == np.count_nonzero(labels == number), "the pixels are those of the mask"
    alone = find_objects(frame.metres, scene.CAMERA, labels == scene.CAN)[1]
    check_table(alone.table)
    unknown = np.where(mask > 0, frame.metres, 0)
    with pytest.raises(InputError, match="an eighth of the pixels around the mask"):
        find_objects(unknown, scene.CAMERA, mask)


def test_the_top_of_a_neighbour_is_no_table():
    """Only the box next to the can has depths, its top and its sides."""
    frame, labels = frame_of()
    alone = np.where(np.isin(labels, (scene.BOX, scene.CAN)), frame.metres, 0)
    (can,) = find_objects(alone, scene.CAMERA, labels == scene.CAN).values()
    (said,) = can.warnings
    assert said.startswith("the object does not stand on the plane that --table auto found around it, so")
    assert can.table is None
    assert can.notes == ()


def above_table(depth) -> np.ndarray:
    """Height of what each pixel shows above the table; 0 without a depth."""
    pose, known = scene.table_pose(), np.isfinite(depth)
    height = np.zeros(depth.shape)
    height[known] = (make_depth_image(depth, scene.CAMERA).pixels(known)[0] - pose[:3, 3]) @ pose[:3, 2]
    return height


def check_not_carried(depth, mask):
    (cloud,) = find_objects(depth, scene.CAMERA, mask).values()
    assert cloud.table is None
    assert len(cloud.warnings) == 1


def test_a_plane_beside_the_object_does_not_carry_it():
    """What is seen of the object lies above the top of another one, which ends before it."""
    tall = scene.block((0.06, 0.06, 0.3), (0.1, 0.18), 0, 0)
    stand = scene.block((0.3, 0.16, 0.06), (0.1, 0.04), 0, 0)
    depth, labels = scene.see_scene(tall, stand)
    height, theirs = above_table(depth), labels == scene.OTHER
    top, seen = theirs & (np.abs(height - 0.06) < 0.005), theirs & (height > 0.08)
    check_not_carried(np.where(top | seen, depth, 0), seen)


def test_a_plane_above_the_object_does_not_carry_it():
    """The object stands between two higher ones, whose tops are all that is seen of them."""
    towers = [scene.block((0.06, 0.08, 0.25), (x, -0.05), 0, 0) for x in (0.0, 0.2)]
    depth, labels = scene.see_scene(*towers)
    tops = (labels == scene.OTHER) & (above_table(depth) > 0.245)
    check_not_carried(np.where(tops | (labels == scene.CAN), depth, 0), labels == scene.CAN)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("scale", "said"), [(1e-3, "nearer than 0"), (1e3, "beyond")])
def test_depths_in_another_unit_are_said_to_be(masked, scale, said):
    frame, labels = frame_of()
    mask = labels == scene.CAN if masked else None
    with pytest.raises(InputError, match=rf"half of the depths are {said}.*set --depth_scale, metres per"):
        find_objects(scale * frame.metres, scene.CAMERA, mask)


def test_a_table_far_from_the_middle_of_the_image_is_found_in_noise():
    frame, _ = frame_of(FLOOR, noise=0.004)
    assert np.degrees(np.arccos(find_table(frame).plane[:3] @ true_table()[:3])) < 1


def test_the_model_is_told_of_the_table():
    frame, _ = frame_of()
    predictor = plumbline.load_predictor()
    cloud = find_objects(frame.metres, scene.CAMERA)[1]
    with_table = predictor.predict(cloud).com
    bare = replace(cloud, table=None)
    np.testing.assert_allclose(with_table, predictor.predict(bare, table=cloud.table).com, atol=1e-9)
    assert np.linalg.norm(with_table - predictor.predict(bare).com) > 1e-5
    plumbline.load_predictor("carve").predict(cloud)
