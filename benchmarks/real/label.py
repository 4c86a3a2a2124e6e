"""Measures ``plumbline label`` on known scans: ``python -m benchmarks.real.label FOLDER``.

FOLDER holds a set of real scans as ``plumbline benchmark --real`` reads it. Each scan is registered with the
mesh of its object; ``--wrong N`` registers each with N meshes of other objects too, none of which may be
accepted; ``--solids N`` registers N simulated scans of built-in solids, half of them by the virtual depth
camera. Misses are in per cent of the bounding radius, times in seconds of one core.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plumbline.errors import InputError
from plumbline.evaluation.real_scans import RealScan, RealSet
from plumbline.geometry.clouds import load_cloud
from plumbline.geometry.meshes import load_mesh
from plumbline.geometry.raycast import Caster
from plumbline.geometry.registration import Registration, register
from plumbline.geometry.scans import scan_solid
from plumbline.geometry.solids import make_solid
from plumbline.records import Float, Range, ScanSettings, Solid

CLOSE, FALSE = 0.02, 0.05
"""Misses in bounding radii: a good label, and a false one."""
SEED = 7


class Outcome(NamedTuple):
    """One scan.

    Attributes:
        group: row of the table.
        miss: distance from the true centre of mass in bounding radii.
        accepted: it would get a label.
        seconds: of one core.
    """

    group: str
    miss: float
    accepted: bool
    seconds: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wrong", type=int, default=0)
    parser.add_argument("--solids", type=int, default=0)
    given = parser.parse_args()
    real = RealSet(given.folder)
    print_table([right(scan) for scan in real.scans])
    if given.solids:
        print_table(list(simulated(given.solids)))
    if given.wrong:
        tried, accepted = wrong(real, given.wrong)
        print(
            f"\nwith the mesh of another object: {len(accepted)} of {tried} accepted", *accepted, sep="\n  "
        )


def right(scan: RealScan) -> Outcome:
    """Register the mesh of the object."""
    with np.load(scan.path) as arrays:
        com, mesh = arrays["com"], scan.path.parents[1] / str(arrays["mesh"])
    return measured(scan.group, scan.name, load_cloud(scan.path).points, sensor_of(scan), read(mesh), com)


def simulated(solids: int) -> Iterator[Outcome]:
    """Scan solids and register them."""
    for index in range(solids):
        solid, rng = make_solid(SEED, index), np.random.default_rng(index)
        model = ("none", "depth")[index % 2]
        settings = ScanSettings(views=Range(1), points=Range(2000), sensor_model=model, sensor_share=1.0)  # type: ignore[arg-type]
        scan = scan_solid(solid, Caster(solid.vertices, solid.faces), settings, rng=rng)
        group = {"none": "simulated, noise 1 %", "depth": "simulated, depth camera"}[model]
        assert scan.com is not None
        yield measured(group, solid.name, scan.points, scan.sensor, solid, scan.com)


def wrong(real: RealSet, number: int) -> tuple[int, list[str]]:
    """Register meshes of other objects; returns how many, and which were accepted."""
    rng, meshes = np.random.default_rng(0), {}
    for scan in real.scans:
        with np.load(scan.path) as arrays:
            meshes.setdefault(scan.object, scan.path.parents[1] / str(arrays["mesh"]))
    tried, accepted = 0, []
    for scan in real.scans:
        others = sorted(set(meshes) - {scan.object})
        for other in rng.choice(others, min(number, len(others)), replace=False):
            tried += 1
            found = attempt(load_cloud(scan.path).points, sensor_of(scan), read(meshes[str(other)]))
            if found is not None and found.reason is None:
                accepted.append(f"{scan.name} with {other}")
    return tried, accepted


def measured(group: str, name: str, points: Float, sensor: Float, solid: Solid, com: Float) -> Outcome:
    """Register one mesh with known truth; prints what is not a good label."""
    started = time.process_time()
    found = attempt(points, sensor, solid)
    spent = time.process_time() - started
    if found is None:
        return Outcome(group, np.inf, False, spent)
    miss = float(np.linalg.norm(found.com - com)) / solid.bounding_radius
    if found.reason is not None or miss > FALSE:
        print(f"{name}: misses by {miss:.1%}; {found.reason or 'accepted'}", flush=True)
    return Outcome(group, miss, found.reason is None, spent)


def attempt(points: Float, sensor: Float, solid: Solid) -> Registration | None:
    """Register; None if the sizes do not fit."""
    try:
        return register(points, solid, sensor=sensor)
    except InputError:
        return None


def sensor_of(scan: RealScan) -> Float:
    """Where the sensor of a scan stood."""
    sensor = load_cloud(scan.path).sensor
    assert sensor is not None
    return sensor


def read(mesh: Path) -> Solid:
    """Read a mesh."""
    return load_mesh(mesh, name=mesh.stem)


def print_table(outcomes: list[Outcome]) -> None:
    """Print a line for each group, and one for all."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        groups[one.group].append(one)
    print(
        f"\n{'':<26}{'scans':>6}{'labelled':>10}{'< 2 %':>7}{'< 5 %':>7}{'false':>7}{'median':>8}{'time':>7}"
    )
    for group, members in [*groups.items(), ("all", outcomes)]:
        miss = np.array([one.miss for one in members if one.accepted])
        cells = (len(members), len(miss), (miss <= CLOSE).sum(), (miss <= FALSE).sum(), (miss > FALSE).sum())
        median = 100 * float(np.median(miss)) if len(miss) else float("nan")
        seconds = np.mean([one.seconds for one in members])
        numbers = "".join(f"{cell:>{width}}" for cell, width in zip(cells, (6, 10, 7, 7, 7), strict=True))
        print(f"{group:<26}{numbers}{median:>6.1f} %{seconds:>5.1f} s", flush=True)


if __name__ == "__main__":
    main()
