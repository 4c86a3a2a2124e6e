"""A made-up set of real scans: boxes seen by a pinhole camera, by the slab method."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.helpers.preparing import BOX_FACES, write_off

FOCAL, ROWS, COLUMNS = 120.0, 48, 64
K = np.array([[FOCAL, 0, COLUMNS / 2], [0, FOCAL, ROWS / 2], [0, 0, 1]])
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
MANIFEST = {
    "scan": "", "object": "", "kind": "box", "source": "made up", "group": "lab", "views": "1",
    "in_training_pool": "no", "hollow_vessel": "no",
}  # fmt: skip


def turned(angle: float, tilt: float) -> np.ndarray:
    """A rotation about y, then about x."""
    (c, s), (d, e) = ((np.cos(a), np.sin(a)) for a in (angle, tilt))
    return np.array([[1, 0, 0], [0, d, -e], [0, e, d]]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


@dataclass
class Shot:
    """A box before a camera at the origin: what it sees, by the slab method."""

    size: tuple[float, float, float]
    angle: float = 0.6
    tilt: float = 0.5
    away: float = 0.6
    pose: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.pose = np.eye(4)
        self.pose[:3, :3] = turned(self.angle, self.tilt)
        self.pose[:3, 3] = (0.02, -0.01, self.away)

    @property
    def com(self) -> np.ndarray:
        return self.pose[:3, 3]

    @property
    def radius(self) -> float:
        return float(np.linalg.norm(self.size)) / 2

    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """The points ``[N, 3]`` of all pixels that see the box, row by row, and their mask."""
        v, u = np.mgrid[:ROWS, :COLUMNS]
        rays = np.stack([(u - K[0, 2]) / FOCAL, (v - K[1, 2]) / FOCAL, np.ones(u.shape)], axis=2)
        start, along = -self.com @ self.pose[:3, :3], rays @ self.pose[:3, :3]
        half = np.array(self.size) / 2
        with np.errstate(divide="ignore"):
            one, other = (-half - start) / along, (half - start) / along
        enter, leave = np.minimum(one, other).max(axis=2), np.maximum(one, other).min(axis=2)
        mask = enter <= leave
        return rays[mask] * enter[mask, None], mask


def strays(shot: Shot, number: int = 9) -> np.ndarray:
    """Points of what lies behind the box, as mask bleed shows them."""
    points, _ = shot.seen()
    return points[:: len(points) // number][:number] * 1.9


class RealFolder:
    """A folder that is filled with scans; ``write`` writes its manifest."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, []
        (path / "scans").mkdir(parents=True)
        (path / "meshes").mkdir()

    def add(self, name: str, shot: Shot, arrays: dict, **row: str) -> None:
        """Add a scan; an array that is None is left out."""
        mesh = f"meshes/{name}.off"
        write_off(self.path / mesh, CORNERS * shot.size, BOX_FACES)
        known = {
            "sensor": np.zeros(3), "com": shot.com, "bounding_radius": shot.radius, "mesh": mesh,
            "pose": shot.pose, "K": K,
        }  # fmt: skip
        kept = {key: value for key, value in {**known, **arrays}.items() if value is not None}
        np.savez(self.path / "scans" / f"{name}.npz", **kept)
        self.rows.append({**MANIFEST, "scan": f"scans/{name}.npz", "object": name, **row})
        self.write()

    def write(self) -> None:
        with (self.path / "manifest.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(MANIFEST))
            writer.writeheader()
            writer.writerows(self.rows)


BOX, CRATE, TUB = Shot((0.1, 0.08, 0.06)), Shot((0.12, 0.05, 0.07), 0.3, 0.7), Shot((0.08, 0.09, 0.07), 1.0)
HIGHER = np.array([0.0, -0.004, 0.003])
"""From the tub's centre of mass as a solid to that as a shell."""


def kept(shot: Shot) -> np.ndarray:
    """Without the pixels at the right, which the made-up sensor loses."""
    points, _ = shot.seen()
    return points[points[:, 0] < np.quantile(points[:, 0], 0.8)]


def three_scans(path: Path) -> RealFolder:
    """Three scans: with the camera's matrix, with a mask, with neither and of a vessel."""
    real = RealFolder(path)
    real.add("box", BOX, {"points": np.concatenate([kept(BOX), strays(BOX)])}, in_training_pool="yes")
    points, mask = CRATE.seen()
    real.add("crate", CRATE, {"points": points, "organised_mask": mask, "K": None}, group="yard")
    points = kept(TUB)
    real.add(
        "tub", TUB,
        {"points": points, "sensor": np.zeros_like(points), "com_shell": TUB.com + HIGHER, "K": None},
        kind="vessel", hollow_vessel="yes",
    )  # fmt: skip
    return real
