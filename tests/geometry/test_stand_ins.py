"""Files that are not what their suffix says."""

import bz2
import gzip
import lzma

import numpy as np
import pytest

from plumbline.errors import InputError
from plumbline.geometry.clouds import CLOUD_SUFFIXES, load_cloud, read_cloud
from tests.helpers.point_files import ply_bytes, ply_points

POINTS = np.random.default_rng(0).uniform(1, 2, (60, 3))
PLY = ply_bytes({"vertex": ply_points(POINTS)})
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n"


@pytest.mark.parametrize("suffix", sorted(CLOUD_SUFFIXES))
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; export it again"),
        (gzip.compress(PLY), "is compressed with gzip; unpack it with gunzip"),
        (bz2.compress(PLY), "is compressed with bzip2"),
        (lzma.compress(PLY), "is compressed with xz"),
        (LFS, "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html>404</html>", "is a web page; download the file itself"),
    ],
)
def test_files_that_are_not_scans_are_named(tmp_path, suffix, content, said):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a{suffix} {said}"):
        load_cloud(path)


def test_a_format_under_the_suffix_of_another_is_named(tmp_path):
    np.save(tmp_path / "a.npy", POINTS)
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npy").read_bytes())
    with pytest.raises(InputError, match=r"b.npz is not npz but npy; rename it to .npy"):
        load_cloud(tmp_path / "b.npz")
    for name in ("c.xyz", "c.pcd", "c.csv"):
        (tmp_path / name).write_bytes(PLY)
        with pytest.raises(InputError, match=r"but ply; rename it to .ply"):
            load_cloud(tmp_path / name)


@pytest.mark.parametrize("name", ["a.ply.gz", "a.PCD.ZIP", "a.tar"])
def test_packed_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(PLY))
    with pytest.raises(InputError, match=f"{name} is compressed or an archive; unpack it"):
        read_cloud(tmp_path / name)
