"""Rebuilds a set of real scans: ``python -m benchmarks.real.build CHECKOUTS OUT [--compare DIR]``.

CHECKOUTS holds git checkouts, bare or not, as ``owner/name``: those of ``sources.csv`` that are rebuilt, and
kleinash/G3DB with the reference meshes. Nothing is fetched. OUT becomes a folder for
``plumbline benchmark --real``; ``--compare`` says how far the truths are from those of another such folder,
and ``--only GROUP ...`` leaves the other sources out.

``sources.csv`` has a row for each source: commit, camera, what its licence allows, and whether and why it is
not rebuilt. ``scans.csv`` has a row for each scan of the others: its depth image; its mask, ``PATH:LABEL``,
or ``silhouette``, that of the registered mesh, widened by 2 pixels, without what stands in front of it; and
the start of the registration, rounded: ``turn`` (rotation vector in radians) and ``centre`` (of the mesh's
bounding sphere, metres). A scan without a start shows a box or a can upright on a table, in a pcd file with
labels, and its truth is constructed.
"""

import argparse
import csv
import io
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat
from scipy.ndimage import minimum_filter

from benchmarks.real.registration import Found, Surface, View, register, start_pose
from benchmarks.real.upright import NoTruth, stand
from plumbline.errors import InputError
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.meshes import make_solid_record, shell_centroid
from plumbline.geometry.pcd import read_pcd_images
from plumbline.records import Float, Solid

HERE = Path(__file__).parent
MESHES = ("kleinash/G3DB", "deebb1ed6c8e2a5a6495149ed0d8175b1374c690")
MESH = "objects/grasp_meshes/final_ycb_objects/totalYCB16k/{}.obj"
MESH_LICENCE = "YCB meshes CC-BY-4.0; G3DB Apache-2.0"
BLEED = 2
"""Pixels by which a mask made from a silhouette is wider, as a mask of a segmentation is."""
FRONT = 0.015
"""What is nearer than the mesh by more than this, in metres, stands in front of it."""
COMMON = 0.01
"""Error of a truth, in radii, that its spread does not show: mesh and object differ, the camera's depth is
off, edges of a constructed box are frayed."""
MOST_RESIDUAL, MOST_SPREAD = 0.0025, 0.03
"""Residual in metres and spread in radii above which a truth is not trusted."""
COLUMNS = (
    "scan", "object", "kind", "source", "licence", "sensor", "points", "views", "truth", "residual_mm",
    "truth_error_over_R", "bounding_radius", "in_training_pool", "hollow_vessel", "shell_minus_solid_over_R",
    "group",
)  # fmt: skip


class Checkouts:
    """Git checkouts of the user, read at the commits of the tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meshes: dict[str, Solid] = {}

    def read(self, repository: str, commit: str, path: str) -> bytes:
        place = self.folder / repository
        if not place.is_dir():
            raise InputError(f"{place} is missing: git clone https://github.com/{repository} {place}")
        done = subprocess.run(["git", "-C", place, "show", f"{commit}:{path}"], capture_output=True)
        if done.returncode:
            raise InputError(f"{place} has no {path} at {commit}: {done.stderr.decode().strip()}")
        return done.stdout

    def mesh(self, name: str) -> Solid:
        """The largest piece of a mesh that is joined along edges; some have a stray pair of triangles."""
        if name not in self.meshes:
            text = io.BytesIO(self.read(*MESHES, MESH.format(name)))
            mesh: Any = trimesh.load(text, "obj", force="mesh", process=False, skip_materials=True)
            vertices, place = np.unique(np.asarray(mesh.vertices), axis=0, return_inverse=True)
            faces = place[np.asarray(mesh.faces)]
            joined = trimesh.Trimesh(vertices, faces, process=False).face_adjacency
            pieces = trimesh.graph.connected_components(joined, nodes=np.arange(len(faces)))
            self.meshes[name] = make_solid_record(name, vertices, faces[max(pieces, key=len)])
        return self.meshes[name]


def read_mask(content: bytes, path: str, label: int) -> NDArray[np.bool_]:
    """The pixels of a label in an image or in the array ``labels`` of a Matlab file."""
    if path.endswith(".mat"):
        return np.asarray(loadmat(io.BytesIO(content))["labels"]) == label
    return np.asarray(Image.open(io.BytesIO(content))) == label


def read_labelled(content: bytes) -> list[NDArray[Any]]:
    """The depth and the labels ``[H, W]`` of a pcd file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.pcd"
        path.write_bytes(content)
        return read_pcd_images(path, ["z", "label"])


def build_scan(
    checkouts: Checkouts, row: dict[str, str], source: dict[str, str]
) -> tuple[Solid, Found, View]:
    """Register the mesh of a row, or construct it; the view's mask is that of the scan."""
    place, camera = (source["repository"], source["commit"]), Intrinsics(*numbers(source["K"]))
    content, scale = checkouts.read(*place, row["depth"]), float(source["depth_scale"])
    path, _, label = row["mask"].rpartition(":")
    if not row["turn"]:
        depth, labels = read_labelled(content)
        view = View(scale * np.nan_to_num(depth.astype(np.float64)), camera)
        name = f"{row['object']}__{Path(row['scan']).stem}"
        return *stand(view, labels, int(label), row["kind"], name), view
    view = View(scale * np.asarray(Image.open(io.BytesIO(content)), dtype=np.float64), camera)
    if path:
        view.mask = read_mask(checkouts.read(*place, path), path, int(label))
    solid = checkouts.mesh(row["object"])
    found = register(solid, view, start_pose(solid, numbers(row["turn"]), numbers(row["centre"])))
    if view.mask is None:
        depth = Surface(solid).render(view, found.pose)
        near = minimum_filter(np.where(depth > 0, depth, np.inf), 2 * BLEED + 1, mode="constant", cval=np.inf)
        view.mask = np.isfinite(near) & ~(view.known & (view.depth < near - FRONT))
    return solid, found, view


def save_scan(out: Path, scan: str, solid: Solid, found: Found, view: View) -> dict[str, Any]:
    """Write one scan and its mesh; returns the figures of the manifest."""
    assert view.mask is not None
    mesh = f"meshes/{solid.name}.ply"
    trimesh.Trimesh(solid.vertices, solid.faces, process=False).export(out / mesh)
    fx, fy, cx, cy = view.camera
    shell = shell_centroid(solid.vertices, solid.faces)
    com, com_shell = (found.pose[:3] @ np.append(point, 1) for point in (solid.com, shell))
    points = view.points[view.mask & view.known]
    np.savez_compressed(
        out / scan,
        points=points, sensor=np.zeros(3), com=com, com_shell=com_shell,
        bounding_radius=solid.bounding_radius, mesh=mesh, pose=found.pose,
        depth=view.depth.astype(np.float32), mask=view.mask,
        K=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
    )  # fmt: skip
    radius = solid.bounding_radius
    return {
        "points": len(points),
        "residual_mm": round(1000 * found.residual, 2),
        "truth_error_over_R": round(float(np.hypot(found.spread / radius, COMMON)), 4),
        "bounding_radius": round(radius, 5),
        "shell_minus_solid_over_R": round(float(np.linalg.norm(shell - solid.com)) / radius, 4),
    }


def build(checkouts: Checkouts, out: Path, only: Collection[str] = ()) -> None:
    """Rebuild every scan whose source can be; those that are not trusted are left out, with the reason."""
    sources = {row["group"]: row for row in table("sources.csv")}
    if unknown := set(only) - set(sources):
        raise InputError(f"--only {' '.join(unknown)}: the groups are {', '.join(sources)}")
    sources = {group: source for group, source in sources.items() if not only or group in only}
    for group, source in sources.items():
        if source["rebuilt"] != "yes":
            print(f"{group}: {source['rebuilt']}")
    for folder in ("scans", "meshes"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    with (out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for row in table("scans.csv"):
            if row["group"] not in sources:
                continue
            source = sources[row["group"]]
            try:
                solid, found, view = build_scan(checkouts, row, source)
            except NoTruth as reason:
                print(f"{row['scan']}: left out, {reason}")
                continue
            spread = found.spread / solid.bounding_radius
            shown = f"residual {1000 * found.residual:.2f} mm, spread {100 * spread:.2f} % of the radius"
            if not (found.residual <= MOST_RESIDUAL and spread <= MOST_SPREAD):
                print(f"{row['scan']}: left out, {shown}")
                continue
            mask = "silhouette + 2 px" if row["mask"] == "silhouette" else row["mask"]
            more = {
                "source": f"{source['repository']}@{source['commit']}:{row['depth']}; mask {mask}",
                "licence": f"{source['licence']} {MESH_LICENCE}" if row["turn"] else source["licence"],
                "sensor": source["sensor"],
                "views": 1,
                "truth": source["truth"],
            }
            writer.writerow({**row, **more, **save_scan(out, row["scan"], solid, found, view)})
            print(f"{row['scan']}: {shown}", flush=True)


def compare(out: Path, other: Path) -> None:
    """Print how far the truths of two sets are apart, and the intersection over union of their masks."""
    gaps: dict[str, list[float]] = {}
    with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if not (other / row["scan"]).exists():
            continue
        with np.load(out / row["scan"]) as mine, np.load(other / row["scan"]) as theirs:
            gap = float(np.linalg.norm(mine["com"] - theirs["com"]) / theirs["bounding_radius"])
            mask = theirs["mask" if "mask" in theirs else "organised_mask"]
            both, either = (mine["mask"] & mask).sum(), (mine["mask"] | mask).sum()
        gaps.setdefault(row["group"], []).append(gap)
        alike = f"masks {100 * both / either:5.1f} % alike"
        print(f"{Path(row['scan']).stem:28} com {100 * gap:5.2f} % of the radius apart, {alike}")
    for group, some in gaps.items():
        mean, median, most = 100 * np.mean(some), 100 * np.median(some), 100 * max(some)
        print(f"{group}: {len(some)} scans: mean {mean:.2f} %, median {median:.2f} %, largest {most:.2f} %")


def table(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(text: str) -> Float:
    return np.array([float(word) for word in text.split()])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkouts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", metavar="GROUP", default=())
    parser.add_argument("--compare", type=Path)
    given = parser.parse_args()
    try:
        build(Checkouts(given.checkouts), given.out, given.only)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.compare is not None:
        compare(given.out, given.compare)
    return 0


if __name__ == "__main__":
    sys.exit(main())
