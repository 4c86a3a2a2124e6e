"""Real scans from files, and their labels."""

import csv
import sys

import numpy as np
import pytest
import trimesh

from plumbline.errors import InputError
from plumbline.geometry.clouds import CLOUD_SUFFIXES, load_cloud, load_scan, read_cloud, read_labels, scan_of
from plumbline.geometry.graphs import build_sample
from plumbline.geometry.sampling import thin_scan
from tests.helpers.point_files import pcd_bytes

POINTS = np.random.default_rng(0).uniform(-1, 1, (50, 3)).round(3).astype(np.float32).astype(np.float64)
PLY = (
    "ply\nformat ascii 1.0\nelement vertex {}\n"
    "property float x\nproperty float y\nproperty float z\nend_header\n"
)
PCD = (
    "VERSION .7\nFIELDS x y z i\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH {}\nHEIGHT {}\n"
    "VIEWPOINT 1 2 3 1 0 0 0\nPOINTS {}\nDATA ascii\n"
)


def lines(points, separator=" "):
    return "".join(separator.join(str(float(value)) for value in row) + "\n" for row in points)


def write(path, points):
    """The same points in the format that the suffix names."""
    suffix = path.suffix
    if suffix in (".las", ".laz"):
        laspy = pytest.importorskip("laspy")
        if suffix == ".laz":
            pytest.importorskip("lazrs")
        cloud = laspy.create()
        cloud.header.scales = [0.001] * 3
        cloud.x, cloud.y, cloud.z = points.T
        cloud.write(path)
    elif suffix == ".npy":
        np.save(path, points)
    elif suffix == ".npz":
        np.savez(path, points=points)
    elif suffix == ".ply":
        path.write_text(PLY.format(len(points)) + lines(points))
    elif suffix == ".pcd":
        path.write_text(PCD.format(len(points), 1, len(points)) + lines(np.c_[points, points[:, 0]]))
    elif suffix == ".ptx":
        frame = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"
        path.write_text(f"1\n{len(points)}\n{frame}" + lines(np.c_[points, points[:, 0]]))
    else:
        path.write_text(lines(points, "," if suffix == ".csv" else " "))
    return path


@pytest.mark.parametrize("suffix", sorted(CLOUD_SUFFIXES))
def test_every_format_reads_back(tmp_path, suffix):
    points = read_cloud(str(write(tmp_path / f"scan{suffix}", POINTS)))
    assert points.dtype == np.float64
    np.testing.assert_allclose(points, POINTS, atol=1e-6)


def test_binary_files_and_upper_case_suffixes(tmp_path):
    trimesh.PointCloud(POINTS).export(tmp_path / "LOUD.PLY", file_type="ply")
    fields = [(axis, "f4", column) for axis, column in zip("xyz", POINTS.T, strict=True)]
    (tmp_path / "binary.pcd").write_bytes(pcd_bytes(fields))
    for name in ("LOUD.PLY", "binary.pcd"):
        np.testing.assert_allclose(read_cloud(tmp_path / name), POINTS, atol=1e-6)


def test_ply_meshes_keep_every_vertex_in_order(tmp_path):
    path = tmp_path / "mesh.ply"
    doubled = np.concatenate([POINTS[:3], POINTS[:3], POINTS[10:11]])
    header = PLY.format(7).replace(
        "end_header", "element face 1\nproperty list uchar int vertex_indices\nend_header"
    )
    path.write_text(header + lines(doubled) + "3 0 1 2\n")
    np.testing.assert_allclose(read_cloud(path), doubled, atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "# a scan\n\n" + lines(POINTS),
        "// x y z\n" + lines(np.c_[POINTS, POINTS]),
        "X,Y,Z,intensity\n" + lines(np.c_[POINTS, POINTS[:, 0]], ","),
        'time;"z";"y";"x"\n' + lines(np.c_[POINTS[:, 0], POINTS[:, ::-1]], ";"),
        "\ufeff" + lines(POINTS, " , "),
        lines(POINTS, "\t").replace("\n", "\r\n"),
    ],
)
@pytest.mark.parametrize("suffix", [".txt", ".xyz", ".csv"])
def test_text_with_headers_comments_and_separators(tmp_path, text, suffix):
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(text.encode())
    np.testing.assert_allclose(read_cloud(path), POINTS)


def test_no_returns_of_organised_pcd_are_dropped_others_refused(tmp_path):
    rows = np.c_[POINTS[:6], np.zeros(6)]
    rows[2, :3] = np.nan
    path = tmp_path / "image.pcd"
    path.write_text(PCD.format(3, 2, 6) + lines(rows))
    np.testing.assert_allclose(read_cloud(path), np.delete(POINTS[:6], 2, axis=0), atol=1e-6)
    path.write_text(PCD.format(6, 1, 6) + lines(rows))
    with pytest.raises(InputError, match=r"image.pcd: 1 point is not finite, the first is number 3"):
        read_cloud(path)


def test_where_the_sensor_stands(tmp_path):
    origin = scan_of(load_cloud(write(tmp_path / "a.ply", POINTS + 5)), None)
    np.testing.assert_array_equal(origin.sensor, np.zeros((50, 3)))
    assert (origin.com, origin.bounding_radius) == (None, None)
    pcd = write(tmp_path / "a.pcd", POINTS)
    for given, stands in ((None, [1, 2, 3]), (np.array([7.0, 8, 9]), [7, 8, 9])):
        found = scan_of(load_cloud(pcd), given).sensor
        np.testing.assert_array_equal(found, np.tile(stands, (50, 1)))
    stations = np.repeat([[0.0, 0, 9], [0, 0, -9]], 25, axis=0)
    np.savez(tmp_path / "two.npz", points=POINTS, sensor=stations)
    two = scan_of(load_cloud(tmp_path / "two.npz"), None)
    np.testing.assert_array_equal(two.sensor, stations)
    assert two.view.tolist() == [1] * 25 + [0] * 25
    np.savez(tmp_path / "bad.npz", points=POINTS, sensor=np.zeros(4))
    with pytest.raises(InputError, match=r"bad.npz: the sensor's position"):
        scan_of(load_cloud(tmp_path / "bad.npz"), None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scan.obj", b"v 0 0 0", "unknown format"),
        ("none.ply", None, "does not exist"),
        ("scans", None, "does not exist"),
        ("a.ply", b"hello", "cannot be read as ply"),
        (
            "a.ply",
            (PLY.format(3) + "1 2 3\n").encode(),
            "truncated: it has 1 of the 3 points its header declares",
        ),
        (
            "a.pcd",
            (PCD.format(3, 1, 3) + "1 2 3 4\n").encode(),
            "truncated: it has 1 of the 3 points its header declares",
        ),
        ("a.pcd", b"hello\n" * 20, "cannot be read as pcd"),
        (
            "a.pcd",
            PCD.replace("x y z i", "u v w i").format(1, 1, 1).encode() + b"1 2 3 4\n",
            "no field x, y, z",
        ),
        ("a.las", b"hello" * 100, "cannot be read as las"),
        ("a.npy", b"hello", "cannot be read as npy"),
        ("a.npz", b"hello", "cannot be read as npz"),
        ("a.xyz", b"", "is empty"),
        ("a.xyz", b"# nothing\n", "is empty"),
        ("a.xyz", b"1 2\n3 4\n", "no column|cannot be read"),
        ("a.xyz", b"1 2 3\n4 5 six\n", "cannot be read as xyz"),
        ("a.xyz", b"1 2 3\n4 5 nan\n", "1 point is not finite, the first is number 2"),
        ("a.csv", b"x,y,depth\n1,2,3\n", "header 'x,y,depth' has no column z"),
        ("a.txt", b"\xff\xfe\x00", "cannot be read as txt"),
    ],
)
def test_broken_files_are_refused_by_name(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_cloud(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_arrays_are_refused(tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros(9))
    np.save(tmp_path / "none.npy", np.zeros((0, 3)))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "other.npz", normals=POINTS)
    for name, message in {
        "flat.npy": "shape", "none.npy": "has no points", "objects.npy": "Python objects",
        "other.npz": "no array 'points'",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=message):
            read_cloud(tmp_path / name)


@pytest.mark.parametrize(("suffix", "package"), [(".las", "laspy"), (".laz", "laspy")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, suffix, package):
    path = write(tmp_path / f"a{suffix}", POINTS)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"{path.name}: .* needs {package}: pip install {package}$"):
        read_cloud(path)


def test_a_missing_laz_backend_is_named(tmp_path, monkeypatch):
    laspy = pytest.importorskip("laspy")
    path = write(tmp_path / "a.laz", POINTS)
    monkeypatch.setattr(laspy.LazBackend, "detect_available", lambda: ())
    with pytest.raises(InputError, match=r"needs lazrs: pip install lazrs$"):
        read_cloud(path)


# --------------------------------------------------------------------------------------------- labels


def labels(folder, text):
    write(folder / "one.npy", POINTS + 5)
    (folder / "deep").mkdir(exist_ok=True)
    write(folder / "deep" / "two.npy", 2 * POINTS + 5)
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_labels_with_and_without_the_optional_columns(tmp_path):
    path = labels(tmp_path, "file,com_x,com_y,com_z\none.npy,1,2,3\ndeep/two.npy,4,5,6e-1\n")
    (name, one), (other, two) = ((label.object_name, load_scan(label)) for label in read_labels(path))
    assert (name, other) == ("one", "deep/two")
    np.testing.assert_array_equal(one.com, [1, 2, 3])
    np.testing.assert_array_equal(two.com, [4, 5, 0.6])
    np.testing.assert_array_equal(two.points, 2 * POINTS + 5)
    np.testing.assert_array_equal(one.sensor, np.zeros((50, 3)))
    assert one.bounding_radius is None
    path = labels(
        tmp_path,
        "object_name,note,bounding_radius,sensor_z,sensor_y,sensor_x,com_z,com_y,com_x,file\n"
        f'mug/7,"a, b",0.5,9,8,7,3,2,1,one.npy\n,,,,,,6,5,4,{tmp_path / "deep" / "two.npy"}\n',
    )
    (name, one), (other, two) = ((label.object_name, load_scan(label)) for label in read_labels(path))
    assert (name, other) == ("mug/7", "two")
    np.testing.assert_array_equal(one.com, [1, 2, 3])
    np.testing.assert_array_equal(one.sensor[0], [7, 8, 9])
    assert (one.bounding_radius, two.bounding_radius) == (0.5, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column file"),
        ("file,com_x,com_y\none.npy,1,2\n", "line 1: no column com_z"),
        ("file,com_x,com_y,com_z\n", "no rows"),
        ("file;com_x;com_y;com_z\none.npy;1;2;3\n", "line 1: semicolons .* must be a comma"),
        ("file\tcom_x\tcom_y\tcom_z\none.npy\t1\t2\t3\n", "line 1: tabs .* must be a comma"),
        ("file,com_x,com_y,com_z\none.npy,1,2,3\nlost.npy,1,2,3\n", "line 3: no file .*lost.npy"),
        ("file,com_x,com_y,com_z\none.npy,1,two,3\n", "line 2: com_y is 'two'"),
        ("file,com_x,com_y,com_z\none.npy,1,2,\n", "line 2: com_z is ''"),
        ("file,com_x,com_y,com_z\none.npy,1,nan,3\n", "line 2: com_y is 'nan'"),
        ("file,com_x,com_y,com_z\none.npy,1,2\n", "line 2: more or fewer cells"),
        ("file,com_x,com_y,com_z\none.npy,1,2,3,4\n", "line 2: more or fewer cells"),
        ("file,com_x,com_y,com_z,sensor_x\none.npy,1,2,3,4\n", "line 2: sensor_y is ''"),
        ("file,com_x,com_y,com_z,bounding_radius\none.npy,1,2,3,-4\n", "line 2: bounding_radius -4"),
        ("file,com_x,com_y,com_z,SensorX\none.npy,1,2,3,4\n", "'SensorX'; did you mean sensor_x"),
        ("file,com_x,com_y,com_z,a,a\none.npy,1,2,3,4,5\n", "two columns have the same name"),
    ],
)
def test_broken_labels_are_refused_with_file_and_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_labels(labels(tmp_path, text))
    assert "labels.csv" in str(caught.value)


def test_missing_and_binary_labels_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_labels(str(tmp_path / "labels.csv"))
    with pytest.raises(InputError, match="is a folder; give a CSV file"):
        read_labels(tmp_path)
    for data in b"\xff\xfe\x00\x01", "file,com_x,com_y,com_z\nGröße.ply,0,0,0\n".encode("cp1252"):
        (tmp_path / "labels.csv").write_bytes(data)
        with pytest.raises(InputError, match="is not in UTF-8; save it as UTF-8") as caught:
            read_labels(tmp_path / "labels.csv")
        assert "codec" not in str(caught.value)


def test_scans_of_real_sensors_become_graphs(shared_meshes, tmp_path):
    folder = shared_meshes / "real_scans"
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ["file", "object_name", "com_x", "com_y", "com_z", "bounding_radius"]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row | {"file": folder / row["scan"], "object_name": row["object"]} for row in rows)
    loaded = [(label.object_name, load_scan(label)) for label in read_labels(tmp_path / "labels.csv")]
    assert len(loaded) == len(rows) >= 10
    for (name, scan), row in zip(loaded, rows, strict=True):
        assert name == row["object"]
        assert len(scan.points) == int(row["n_points"])
        thin = thin_scan(scan, 256, sampling="farthest", rng=np.random.default_rng(0))
        sample = build_sample(thin, k=16, edge_attr="sh", sh_degree=2, normalise="unit", object_name=name)
        gap = np.linalg.norm(sample.target) / sample.bounding_radius
        assert gap == pytest.approx(float(row["d_point_mean"]), abs=0.2)
        assert np.isfinite(sample.node_features).all()


def test_numbers_in_refusals_have_separators(tmp_path):
    points = np.full((20_000, 3), np.nan)
    points[:5_000] = 1 + np.arange(15_000).reshape(-1, 3)
    np.save(tmp_path / "a.npy", points)
    with pytest.raises(InputError, match="15,000 points are not finite, the first is number 5,001;"):
        read_cloud(tmp_path / "a.npy")
