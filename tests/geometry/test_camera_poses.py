"""Views from several places, merged by the poses of their cameras: on the true surface, in one frame."""

import json
from dataclasses import replace

import numpy as np
import pytest

from plumbline import merge_views
from plumbline.errors import InputError
from plumbline.geometry.camera_poses import FROM_POSES, read_poses
from plumbline.geometry.clouds import scan_of
from plumbline.geometry.depth_images import depth_to_cloud
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.scenes import find_objects
from tests.helpers import table_scene as scene

STANDS = ((0.05, -0.55, 0.5), (-0.5, 0.5, 0.45), (0.6, 0.2, 0.5))


@pytest.fixture(scope="module")
def views():
    """Clouds of the box, each in its camera's frame, and the poses from there to the table."""
    clouds, poses = [], []
    for i, stand in enumerate(STANDS):
        depth, labels = scene.see_scene(stand=stand)
        clouds.append(depth_to_cloud(depth, scene.CAMERA, labels == scene.BOX, name=f"{i}.png"))
        poses.append(np.linalg.inv(scene.table_pose(stand)))
    return clouds, np.array(poses)


def off_the_box(points) -> np.ndarray:
    """How far points lie from the surface of the box, in the frame of the table."""
    turn = np.array([scene.BOX_AXIS, np.cross((0, 0, 1), scene.BOX_AXIS), (0, 0, 1)])
    half = np.array(scene.BOX_SIZE) / 2
    local = np.abs((points - [*scene.BOX_MIDDLE, half[2]]) @ turn.T) - half
    return np.abs(np.linalg.norm(np.maximum(local, 0), axis=1) + np.minimum(local.max(axis=1), 0))


def test_the_views_lie_on_the_object_and_keep_their_sensors(views):
    clouds, poses = views
    found = merge_views(clouds, poses)
    assert np.percentile(off_the_box(found.points), 99) < 0.004
    assert np.percentile(off_the_box(merge_views(clouds, poses[::-1]).points), 50) > 0.05, "the control"
    scan = scan_of(found, None)
    ends = np.cumsum([0, *(len(cloud.points) for cloud in clouds)])
    for i, stand in enumerate(STANDS):
        mine = slice(ends[i], ends[i + 1])
        np.testing.assert_allclose(found.sensor[mine], np.broadcast_to(stand, (ends[i + 1] - ends[i], 3)))
        assert len(np.unique(scan.view[mine])) == 1
        np.testing.assert_array_equal(found.on_object[mine], clouds[i].on_object)
    assert len(np.unique(scan.view)) == 3
    assert (found.name, found.unit, found.place, found.warnings) == ("0.png", "metres", FROM_POSES, ())


def test_the_result_moves_with_the_world(views):
    clouds, poses = views
    clouds = [replace(cloud, table=np.array([0, 0, 1, 0.1])) for cloud in clouds]
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = random_rotation(np.random.default_rng(0)), (1, -2, 3)
    found, moved = merge_views(clouds, poses), merge_views(clouds, move @ poses)
    for name in ("points", "sensor"):
        wanted = getattr(found, name) @ move[:3, :3].T + move[:3, 3]
        np.testing.assert_allclose(getattr(moved, name), wanted, atol=1e-10)
    normal = move[:3, :3] @ found.table[:3]
    np.testing.assert_allclose(moved.table, [*normal, found.table[3] + normal @ move[:3, 3]], atol=1e-10)


def test_each_view_is_cleaned_by_itself(views):
    """Far points of one view are near the object of another: they stay strays."""
    clouds, poses = views
    gap = replace(clouds[0], on_object=None)
    stray = np.concatenate([gap.points, [[0.0, 0, 3]]])
    found = merge_views([replace(gap, points=stray), clouds[1]], poses[:2])
    assert not found.on_object[len(stray) - 1]
    assert found.on_object[: len(stray) - 1].mean() > 0.95


def test_the_table_of_the_poses_is_that_of_the_world(views):
    clouds, poses = [], []
    for stand in STANDS[:2]:
        depth, labels = scene.see_scene(stand=stand)
        clouds.append(find_objects(depth, scene.CAMERA, labels == scene.BOX)[1])
        poses.append(np.linalg.inv(scene.table_pose(stand)))
    np.testing.assert_allclose(merge_views(clouds, poses).table, [0, 0, 1, 0], atol=0.003)


def test_poses_that_lead_the_other_way_are_a_warning(views):
    clouds, poses = views
    far = poses.copy()
    far[1, :3, 3] += 2
    (warning,) = merge_views(clouds, far).warnings
    assert warning.startswith("the views show places up to 3.")


def changed(pose, at, value):
    pose = np.array(pose)
    pose[at] = value
    return pose


GOOD = np.eye(4)


@pytest.mark.parametrize(("content", "said"), [
    ([GOOD], "the number of poses is 1, that of depth images 2"),
    ([GOOD] * 3, "the number of poses is 3, that of depth images 2"),
    (GOOD, "its numbers have shape [4, 4]"),
    ([GOOD[:3]] * 2, "its numbers have shape [2, 3, 4]"),
    ([GOOD, 2 * GOOD], "pose 2 is no rigid motion: its last row is not 0 0 0 1"),
    ([changed(GOOD, (0, 0), -1), GOOD], "pose 1 is no rigid motion"),
    ([GOOD, changed(GOOD, (0, 1), 0.1)], "pose 2 is no rigid motion"),
    ([GOOD, changed(GOOD, (3, 0), 0.5)], "pose 2 is no rigid motion"),
    ([GOOD, changed(GOOD, (0, 3), np.nan)], "pose 2 is no rigid motion"),
    ([GOOD, changed(GOOD, (0, 3), 600)], "two cameras are 600 m apart; the poses must be in metres"),
    ("{", "cannot be read; give a JSON list with a 4x4 matrix for each"),
    ([[1, 2], [3]], "cannot be read"),
    (["a"], "cannot be read"),
])  # fmt: skip
def test_poses_that_are_refused(tmp_path, content, said):
    text = content if isinstance(content, str) else json.dumps(content, default=np.ndarray.tolist)
    (tmp_path / "poses.json").write_text(text)
    with pytest.raises(InputError) as caught:
        read_poses(tmp_path / "poses.json", 2)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"--poses {tmp_path / 'poses.json'}")
    with pytest.raises(InputError, match="does not exist"):
        read_poses(tmp_path / "gone.json", 2)


def test_poses_that_are_read(tmp_path, views):
    _, poses = views
    (tmp_path / "poses.json").write_text(json.dumps(poses.tolist()))
    np.testing.assert_array_equal(read_poses(tmp_path / "poses.json", 3), poses)
    with pytest.raises(InputError, match="0 views"):
        merge_views([], [])
