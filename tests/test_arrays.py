"""What is no array of numbers is refused in a sentence by every public function that takes arrays."""

import numpy as np
import pytest

import plumbline
from plumbline.errors import InputError

RAGGED = [[1, 2, 3], [1, 2]]
WRONG = {
    "ragged": RAGGED,
    "a text": "abc",
    "texts": [["a", "b", "c"]] * 4,
    "a mapping": {1: 2},
    "objects": np.array([object()] * 3),
    "complex": np.ones((4, 3)) * 1j,
    "too large": [[10**400] * 3] * 4,
    "dates": np.array(["2020-01-01"] * 3, "M8[D]"),
    "nothing": None,
}
POINTS = 0.1 * np.random.default_rng(0).normal(size=(50, 3)) + (0, 0, 2)
DEPTH = np.full((60, 80), 1.0) - 0.1 * np.random.default_rng(0).random((60, 80))
MATRIX = np.array([[60, 0, 39.5], [0, 60, 29.5], [0, 0, 1.0]])
MASK = np.pad(np.ones((20, 20), np.uint8), ((20, 20), (30, 30)))
WRENCH, GRAVITY = [0, 0, -9.81, 0, 0, 0], [0, 0, -9.81]
CLOUD = plumbline.depth_to_cloud(DEPTH, MATRIX, MASK)
PAYLOAD = plumbline.Payload(1.0, [0, 0, 0], np.eye(3), 1e-4 * np.eye(3))
CARVE = plumbline.load_predictor("carve")
PREDICTION = CARVE.predict(POINTS)

CALLS = {
    "points": CARVE.predict,
    "sensor": lambda given: CARVE.predict(POINTS, sensor=given),
    "view": lambda given: CARVE.predict(POINTS, view=given),
    "table": lambda given: CARVE.predict(POINTS, table=given),
    "points of a cloud": lambda given: CARVE.predict(plumbline.Cloud(given)),
    "sensor of a cloud": lambda given: CARVE.predict(plumbline.Cloud(POINTS, given)),
    "poses": lambda given: plumbline.merge_views([CLOUD, CLOUD], given),
    "views": lambda given: plumbline.merge_views(given, [np.eye(4)]),
    "a view": lambda given: plumbline.merge_views([given], [np.eye(4)]),
    "depth": lambda given: plumbline.depth_to_cloud(given, MATRIX, MASK),
    "intrinsics": lambda given: plumbline.depth_to_cloud(DEPTH, given, MASK),
    "mask": lambda given: plumbline.depth_to_clouds(DEPTH, MATRIX, given),
    "depth scale": lambda given: plumbline.depth_to_cloud(DEPTH, MATRIX, MASK, depth_scale=given),
    "depth of a scene": lambda given: plumbline.find_objects(given, MATRIX),
    "intrinsics of a scene": lambda given: plumbline.find_objects(DEPTH, given),
    "mask of a scene": lambda given: plumbline.find_objects(DEPTH, MATRIX, given),
    "frame": plumbline.make_frame,
    "mass": lambda given: plumbline.Payload(given, [0, 0, 0]),
    "com": lambda given: plumbline.Payload(1.0, given),
    "inertia": lambda given: plumbline.Payload(1.0, [0, 0, 0], given),
    "covariance": lambda given: plumbline.Payload(1.0, [0, 0, 0], None, given),
    "error of the mass": lambda given: plumbline.Payload(1.0, [0, 0, 0], mass_error=given),
    "point": PAYLOAD.inertia_about,
    "wrench": lambda given: PREDICTION.update(given, GRAVITY, np.eye(6)),
    "gravity": lambda given: PREDICTION.update(WRENCH, given, np.eye(6)),
    "covariance of a wrench": lambda given: PREDICTION.update(WRENCH, GRAVITY, given),
    "mass of a prediction": PREDICTION.payload,
    "density": lambda given: PREDICTION.payload(density=given),
}
MAY_BE_NONE = (
    *("sensor", "view", "table", "sensor of a cloud", "depth scale", "mask of a scene"),
    *("inertia", "covariance"),
)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_array_of_numbers_is_refused_in_a_sentence(name, wrong):
    if wrong == "nothing" and name in MAY_BE_NONE:
        return
    with pytest.raises(InputError) as caught:
        CALLS[name](WRONG[wrong])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
