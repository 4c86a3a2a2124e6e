"""The position of the sensor according to the file, and missing returns."""

import numpy as np
import pytest

from plumbline.errors import InputError
from plumbline.geometry import standpoint
from plumbline.geometry.clouds import load_cloud, load_scan, read_labels, scan_of
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.standpoint import why_not_the_origin
from plumbline.predictors.predictor import load_predictor
from plumbline.records import Cloud
from tests.helpers.point_files import pcd_bytes, ply_bytes, ply_camera, ply_points

RNG = np.random.default_rng(0)
BALL = RNG.normal(size=(400, 3))
BALL /= np.linalg.norm(BALL, axis=1, keepdims=True)
PLACE = (0.5, -0.75, 4.0)


def saved(path, data):
    path.write_bytes(data)
    return path


def pcd(points, **how):
    return pcd_bytes([(axis, "f4", column) for axis, column in zip("xyz", points.T, strict=True)], **how)


# ---------------------------------------------------------------------------------------- from the file


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_the_camera_of_a_ply_file_is_the_sensor(tmp_path, form):
    one = {"camera": ply_camera(PLACE), "vertex": ply_points(BALL)}
    cloud = load_cloud(saved(tmp_path / "a.ply", ply_bytes(one, form)))
    np.testing.assert_array_equal(cloud.sensor, PLACE)
    same = {"vertex": ply_points(BALL), "camera": ply_camera(PLACE, PLACE)}
    np.testing.assert_array_equal(load_cloud(saved(tmp_path / "a.ply", ply_bytes(same, form))).sensor, PLACE)


def test_of_several_cameras_it_is_unclear_which_is_the_sensor(tmp_path):
    several = {"vertex": ply_points(BALL + 9), "camera": ply_camera(PLACE, (0, 0, 0), (1, 2, 3))}
    cloud = load_cloud(saved(tmp_path / "a.ply", ply_bytes(several)))
    with pytest.raises(InputError, match=r"a.ply: it lists 3 cameras, but not which one saw each .*--sensor"):
        scan_of(cloud, None)
    np.testing.assert_array_equal(scan_of(cloud, np.ones(3)).sensor[0], [1, 1, 1])


def test_the_viewpoint_of_a_pcd_file_is_the_sensor_if_there_is_one(tmp_path):
    predictor = load_predictor("carve")
    for how, wanted in (({}, "from the file"), ({"without": ("VIEWPOINT",)}, "assumed")):
        cloud = load_cloud(saved(tmp_path / "a.pcd", pcd(BALL + 5, **how)))
        assert predictor.predict(cloud).sensor == wanted
    for unusable in ("nan nan nan 1 0 0 0", "unknown", "1 2"):
        cloud = load_cloud(saved(tmp_path / "a.pcd", pcd(BALL + 5, viewpoint=unusable)))
        assert cloud.sensor is None


# -------------------------------------------------------------------------------------- the origin assumed


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        ((0, 0, 0), "the points surround it"),
        ((0, 0, 0.9), "the points surround it"),
        ((0, 0, 1.05), "the points surround it"),
        ((0, 0, 1.2), None),
        ((0, 0, 30), None),
        ((0, 0, 990), None),
        ((0, 0, 1010), "the points are 1,010 of their radii away from it"),
        ((500_000, 4_500_000, 0), "radii away"),
    ],
)
def test_an_assumed_origin_amid_the_points_or_far_away_is_refused(tmp_path, shift, said):
    points = BALL + shift
    cases = (points, np.array(shift) + [0, 0, -0.1]), (1000 * points @ random_rotation(RNG).T, None)
    for rows, _ in cases:
        found = why_not_the_origin(rows)
        assert said in found if said else found is None
    np.savetxt(tmp_path / "a.xyz", points, fmt="%.17g")
    cloud = load_cloud(tmp_path / "a.xyz")
    if said is None:
        assert scan_of(cloud, None).sensor.tolist() == np.zeros((400, 3)).tolist()
        return
    with pytest.raises(
        InputError,
        match=r"a.xyz: the sensor would be assumed at 0,0,0, but .*; give its position: --sensor x,y,z$",
    ):
        scan_of(cloud, None)
    assert len(scan_of(cloud, np.array([0, 0, -3.0])).points) == 400
    (tmp_path / "labels.csv").write_text("file,com_x,com_y,com_z\na.xyz,0,0,0\n")
    (label,) = read_labels(tmp_path / "labels.csv")
    with pytest.raises(
        InputError, match=r"give its position in the columns sensor_x, sensor_y, sensor_z of the labels$"
    ):
        load_scan(label)
    with pytest.raises(InputError, match="assumed at 0,0,0"):
        load_predictor("point_mean").predict(points)


def test_what_is_plainly_in_front_needs_no_smallest_sphere(monkeypatch):
    """The quick answer is that of the exact test, and most scans get it."""
    quick = exact = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(60, 3)) * rng.uniform(0.05, 1, 3) + [0, 0, 10 ** rng.uniform(-1, 3.2)]
        found = why_not_the_origin(points)
        quick += standpoint._plainly_in_front(points)
        with monkeypatch.context() as without:
            without.setattr(standpoint, "_plainly_in_front", lambda _: False)
            assert why_not_the_origin(points) == found
        exact += found is not None
    assert quick > 150
    assert exact > 30


def test_one_half_of_a_thing_in_its_own_frame_surrounds_the_origin_too():
    """A box on its base, seen from above: the origin is outside of the hull of these points."""
    box = RNG.uniform(-1, 1, (2000, 3)) * [0.1, 0.1, 0.1] + [0, 0, 0.1]
    seen = np.concatenate(
        [np.where([True, False, False], 0.1, box), np.where([False, False, True], 0.2, box)]
    )
    assert why_not_the_origin(seen) is not None
    assert why_not_the_origin(seen + [0, 0, 0.3]) is None


def test_an_origin_that_the_file_gives_is_doubted_as_well(tmp_path):
    """PCL writes it if the position is unknown."""
    camera = {"vertex": ply_points(BALL), "camera": ply_camera((0, 0, 0))}
    files = [
        saved(tmp_path / "a.pcd", pcd(BALL, viewpoint="0 0 0 1 0 0 0")),
        saved(tmp_path / "a.ply", ply_bytes(camera)),
    ]
    for path in files:
        with pytest.raises(InputError, match="the file places the sensor at 0,0,0, but the points"):
            scan_of(load_cloud(path), None)


# ---------------------------------------------------------------------------------------- missing returns


@pytest.mark.parametrize("sensor", [PLACE, (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("suffix", [".ply", ".xyz", ".npy", ".npz", ".csv"])
def test_rows_of_zeros_are_left_out_whatever_the_sensor(tmp_path, suffix, sensor):
    points = (BALL + 5).astype(np.float32).astype(np.float64)
    rows = np.concatenate([points[:100], np.zeros((50, 3)), points[100:]])
    path = tmp_path / f"a{suffix}"
    if suffix == ".ply":
        path.write_bytes(ply_bytes({"vertex": ply_points(rows)}))
    elif suffix == ".npy":
        np.save(path, rows)
    elif suffix == ".npz":
        np.savez(path, points=rows, sensor=np.tile(sensor, (450, 1)))
    else:
        np.savetxt(path, rows, fmt="%.17g")
    cloud = load_cloud(path)
    np.testing.assert_array_equal(cloud.points, points)
    assert (cloud.dropped, cloud.notes) == (50, ())
    assert scan_of(cloud, np.array(sensor)).points.shape == (400, 3)
    prediction = load_predictor("point_mean").predict(cloud, sensor=sensor)
    np.testing.assert_allclose(prediction.com, points.mean(axis=0), atol=1e-5)
    assert prediction.notes == ("50 of 450 rows are missing returns (0 0 0), left out",)
    assert prediction.to_dict()["notes"] == list(prediction.notes)


def test_one_point_at_zero_may_be_a_corner(tmp_path):
    corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1.0])).reshape(3, -1).T
    np.save(tmp_path / "a.npy", corners)
    cloud = load_cloud(tmp_path / "a.npy")
    assert (len(cloud.points), cloud.dropped) == (8, 0)
    assert len(scan_of(cloud, np.full(3, 3.0)).points) == 8
    with pytest.raises(
        InputError, match=r"1 point lies at 0,0,0, where the sensor is assumed; remove .*, or give .*--sensor"
    ):
        scan_of(cloud, None)


@pytest.mark.parametrize(("shift", "dropped"), [(0.9, 0), (1.9, 0), (2.1, 1), (30, 1), (1e6, 1)])
def test_one_row_of_zeros_is_a_missing_return_if_all_points_are_far(tmp_path, shift, dropped):
    rows = np.concatenate([BALL + [0, 0, shift], np.zeros((1, 3))])
    np.save(tmp_path / "a.npy", rows)
    cloud = load_cloud(tmp_path / "a.npy")
    assert (len(cloud.points), cloud.dropped) == (401 - dropped, dropped)
    if dropped:
        np.testing.assert_array_equal(cloud.points, rows[:-1])
        assert cloud.loss == "1 of 401 rows is a missing return (0 0 0), left out"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("large", [np.nan, 1e300])
def test_one_row_of_zeros_among_damaged_points(tmp_path, large):
    np.save(tmp_path / "a.npy", np.concatenate([BALL + large, np.zeros((1, 3))]))
    with pytest.raises(InputError, match=r"400 points are not finite|is damaged: it has coordinates"):
        load_cloud(tmp_path / "a.npy")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", [".pcd", ".ply", ".npy"])
def test_signalling_nan_is_a_missing_return_like_any_other(tmp_path, suffix):
    """numpy prints a warning for it where it becomes a double."""
    column, row = np.meshgrid(np.arange(20), np.arange(20))
    points = np.stack([column, row, 5 + column * row / 100], axis=2).reshape(400, 3).astype("<f4")
    points.view("<u4")[3] = 0x7FA00000
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, points.reshape(20, 20, 3))
    elif suffix == ".pcd":
        path.write_bytes(pcd(np.where(np.isnan(points), 1, points), height=20)[: -points.nbytes])
        path.write_bytes(path.read_bytes() + points.tobytes())
    else:
        whole = ply_bytes({"vertex": ply_points(BALL)})
        path.write_bytes(whole[: -points.nbytes] + points.tobytes())
        with pytest.raises(InputError, match="1 point is not finite, the first is number 4"):
            load_cloud(path)
        return
    cloud = load_cloud(path)
    np.testing.assert_array_equal(cloud.points, np.delete(points, 3, axis=0))


def test_arrays_of_python_programs_keep_their_rows():
    """Rows of sensor and view belong to them, so nothing is left out, but refused."""
    rows = np.concatenate([BALL + 5, np.zeros((3, 3))])
    with pytest.raises(InputError, match="3 points are exactly 0,0,0; remove them"):
        load_predictor("carve").predict(rows, sensor=PLACE)
    with pytest.raises(InputError, match="3 points are exactly 0,0,0"):
        scan_of(Cloud(rows), np.array(PLACE))


def test_a_file_of_missing_returns_only(tmp_path):
    path = saved(tmp_path / "a.pcd", pcd(np.full((20, 3), np.nan), height=4))
    with pytest.raises(InputError, match=r"a.pcd has no points: all 20 rows are missing returns"):
        load_cloud(path)
    np.save(tmp_path / "a.npy", np.zeros((20, 3)))
    with pytest.raises(InputError, match="has no points: all 20 rows are missing returns"):
        load_cloud(tmp_path / "a.npy")


def test_positions_of_the_sensor_that_do_not_fit_what_is_left(tmp_path):
    np.save(tmp_path / "a.npy", np.concatenate([BALL + 5, np.zeros((2, 3))]))
    with pytest.raises(InputError, match="3 for each point of the 400 that are not missing returns"):
        scan_of(load_cloud(tmp_path / "a.npy"), np.ones((402, 3)))
