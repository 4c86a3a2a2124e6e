"""A depth image with a mask of several objects: a cloud of each, as from a mask of it alone."""

import numpy as np
import pytest

from plumbline import depth_to_clouds
from plumbline.errors import InputError
from plumbline.geometry.depth_images import depth_to_cloud
from tests.helpers import table_scene as scene


@pytest.fixture(scope="module")
def seen():
    depth, labels = scene.see_scene()
    return depth, np.where(labels == scene.TABLE, 0, labels)


def test_each_object_is_seen_as_with_a_mask_of_it_alone(seen):
    depth, labels = seen
    clouds = depth_to_clouds(depth, scene.CAMERA, labels.astype(np.uint8), name="d.png")
    assert [*clouds] == [scene.BOX, scene.CAN]
    for number, cloud in clouds.items():
        alone = depth_to_cloud(depth, scene.CAMERA, labels == number)
        np.testing.assert_array_equal(cloud.points, alone.points)
        np.testing.assert_array_equal(cloud.on_object, alone.on_object)
        assert cloud.name == f"d.png, object {number}"
        assert (cloud.unit, cloud.place, cloud.notes, cloud.warnings) == (
            "metres", "the camera", (), (),
        )  # fmt: skip
    assert len(clouds[scene.BOX].points) != len(clouds[scene.CAN].points)


def test_only_the_object_without_a_depth_is_refused(seen):
    depth, labels = seen
    depth = np.where(labels == scene.BOX, 0, depth)
    clouds = depth_to_clouds(depth, scene.CAMERA, labels, name="d.png")
    assert isinstance(clouds[scene.BOX], InputError)
    assert str(clouds[scene.BOX]) == (
        f"d.png, object {scene.BOX}: no pixel of the object has a depth; check that the mask is that of this "
        "image, and that the object is within the range of the camera"
    )
    assert len(clouds[scene.CAN].points) == np.count_nonzero(labels == scene.CAN)


def test_the_python_interface_predicts_them(seen):
    import plumbline

    depth, labels = seen
    found = plumbline.load_predictor("convex_hull").predict_many(
        depth_to_clouds(depth, scene.CAMERA, labels).values()
    )
    truths = [scene.centre(scene.BOX_MIDDLE, scene.BOX_SIZE), scene.centre(scene.CAN_MIDDLE, scene.CAN_SIZE)]
    for one, truth in zip(found, truths, strict=True):
        assert np.linalg.norm(one.com - truth) < 0.035
