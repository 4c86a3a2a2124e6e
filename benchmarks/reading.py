"""Measure the time to read large meshes and scans, compared with other readers that are installed.

    python -m benchmarks.reading [--faces 600000] [--points 1000000] [--rounds 5]

Meshes: a sphere in each format, compared with trimesh; and an open half of it, which is refused. Scans:
random points in each format, compared with Open3D if it is installed. CPU seconds, medians; ours and the
other reader alternate.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh

from plumbline.errors import MeshError
from plumbline.geometry.clouds import load_cloud
from plumbline.geometry.mesh_formats.reading import read_mesh
from plumbline.geometry.meshes import load_mesh

MESHES = ("stl", "stl_ascii", "ply", "obj", "off", "glb", "3mf", "dae")
"""Formats that trimesh writes."""
OPEN3D = ("ply", "pcd", "xyz")


def main() -> None:
    """Time every format and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=600_000)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [*mesh_rows(Path(folder), args.faces, args.rounds)]
        rows += scan_rows(Path(folder), args.points, args.rounds)
    print(f"{'CPU seconds':<36} {'plumbline':>10} {'other':>8} {'ratio':>6}")
    for name, *figures in rows:
        print("{:<36} {:>10} {:>8} {:>6}".format(name, *figures))


def mesh_rows(folder: Path, num_faces: int, rounds: int) -> list[tuple[str, ...]]:
    """Time the readers of meshes, and the whole of ``load_mesh`` for a closed and an open one."""
    side = round((num_faces / 8) ** 0.5)
    sphere = trimesh.creation.uv_sphere(count=[side, 2 * side])
    sheet = trimesh.Trimesh(sphere.vertices, sphere.faces[: len(sphere.faces) // 2], process=False)
    rows = []
    for form in MESHES:
        path = folder / f"{form}.{form.partition('_')[0]}"
        sphere.export(path, file_type=form)

        def other(path: Path = path) -> None:
            trimesh.load_scene(path, process=False, skip_materials=True).to_mesh()

        rows.append(
            row(f"{form}, {len(sphere.faces):,} faces", lambda path=path: read_mesh(path), other, rounds)
        )
    rows.append(
        row("stl, with its centre of mass", lambda: load_mesh(folder / "stl.stl", name="a"), None, rounds)
    )
    sheet.export(folder / "open.stl")

    def refuse() -> None:
        with contextlib.suppress(MeshError):
            load_mesh(folder / "open.stl", name="a")

    rows.append(row(f"stl, {len(sheet.faces):,} faces, open: refused", refuse, None, rounds))
    return rows


def scan_rows(folder: Path, num_points: int, rounds: int) -> list[tuple[str, ...]]:
    """Time the readers of scans."""
    points = np.random.default_rng(0).uniform(1, 2, (num_points, 3)).astype(np.float32)
    np.save(folder / "npy.npy", points)
    np.savetxt(folder / "xyz.xyz", points, fmt="%.6g")
    np.savetxt(folder / "csv.csv", points, fmt="%.6g", delimiter=",", header="x,y,z", comments="")
    columns = "".join(f"property float {axis}\n" for axis in "xyz")
    head = f"ply\nformat {{}} 1.0\nelement vertex {num_points}\n{columns}end_header\n"
    (folder / "ply.ply").write_bytes(head.format("binary_little_endian").encode() + points.tobytes())
    body = (folder / "xyz.xyz").read_text()
    (folder / "ascii.ply").write_text(head.format("ascii") + body)
    head = "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
    head += f"WIDTH {num_points}\nHEIGHT 1\nPOINTS {num_points}\nDATA {{}}\n"
    (folder / "pcd.pcd").write_bytes(head.format("binary").encode() + points.tobytes())
    (folder / "ascii.pcd").write_text(head.format("ascii") + body)
    rows = []
    for name in ("npy.npy", "xyz.xyz", "csv.csv", "ply.ply", "ascii.ply", "pcd.pcd", "ascii.pcd"):
        path = folder / name
        rows.append(
            row(
                f"{name}, {num_points:,} points",
                lambda path=path: load_cloud(path),
                open3d_reader(path),
                rounds,
            )
        )
    return rows


def open3d_reader(path: Path) -> Callable[[], object] | None:
    """Reading by Open3D, if it is installed and reads this format."""
    if path.suffix[1:] not in OPEN3D:
        return None
    try:
        import open3d
    except ImportError:
        return None
    return lambda: open3d.io.read_point_cloud(str(path))


def row(
    name: str, ours: Callable[[], object], other: Callable[[], object] | None, rounds: int
) -> tuple[str, ...]:
    """Time two actions alternately; the first round, which fills caches, does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for action, found in zip((ours, other), times, strict=True):
            if action is not None:
                start = time.process_time()
                action()
                found.append(time.process_time() - start)
    mine, theirs = (statistics.median(found[1:]) if found else None for found in times)
    assert mine is not None
    if theirs is None:
        return name, f"{mine:.3f}", "", ""
    return name, f"{mine:.3f}", f"{theirs:.3f}", f"{mine / theirs:.2f}"


if __name__ == "__main__":
    main()
