"""Measure the speed of `plumbline prepare`, and the time spent in each stage.

    python -m benchmarks.prepare FOLDER --objects 300 --samples 10 --points 256

Times the real command in a process of its own, then the ray caster alone on the same number of rays, a naive
program, scans with the sensor model compared with those without, and the same work stage by stage in this
process. All but the first are in CPU seconds, which are comparable even when the machine is busy.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
import trimesh  # noqa: E402

from benchmarks import naive  # noqa: E402
from plumbline.data.prepare import samples  # noqa: E402
from plumbline.data.prepare.sources import caster_name, cut, list_sources  # noqa: E402
from plumbline.data.store import writer  # noqa: E402
from plumbline.geometry import graphs, raycast, scans  # noqa: E402
from plumbline.geometry.mesh_files import find_meshes  # noqa: E402
from plumbline.geometry.meshes import load_mesh  # noqa: E402
from plumbline.geometry.sensors import ray_directions  # noqa: E402
from plumbline.geometry.solids import make_solid  # noqa: E402
from plumbline.records import (  # noqa: E402
    FEATURE_NAMES,
    GraphSettings,
    Range,
    ScanSettings,
    vector_names,
)

STAGES: list[tuple[str, Any, str]] = [
    ("load the mesh", samples, "load_mesh"),
    ("build the caster", samples, "Caster"),
    ("draw the rays", scans, "ray_directions"),
    ("cast the rays", raycast.Caster, "first_hits"),
    ("choose points", scans, "choose_points"),
    ("scan, the rest", samples, "scan_solid"),
    ("neighbours", graphs, "nearest_neighbours"),
    ("normals", graphs, "estimate_surface"),
    ("hull", graphs, "convex_hull"),
    ("carving", graphs, "carve"),
    ("graph, the rest", samples, "build_sample"),
    ("write the part", writer, "write_tensors"),
]
"""The time of an inner stage is not counted in the outer stage that it runs in."""


class Stopwatch:
    """CPU seconds per stage, each without the stages inside it."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.inside: list[float] = []

    def around(self, name: str, work: Callable) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.inside.append(0.0)
            started = time.process_time()
            try:
                return work(*args, **kwargs)
            finally:
                took = time.process_time() - started
                self.spent[name] += took - self.inside.pop()
                self.calls[name] += 1
                if self.inside:
                    self.inside[-1] += took

        return timed


def time_command(folder: list[str], args: argparse.Namespace, workers: int) -> None:
    """Time the command itself, from its start to its exit."""
    with tempfile.TemporaryDirectory() as temporary:
        flags = ["--samples", args.samples, "--points", args.points, "--views", args.views]
        command = [sys.executable, "-m", "plumbline", "prepare", *folder, "--out", f"{temporary}/out"]
        command += [*map(str, flags), "--workers", str(workers)]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - started
    scans = len(folder) * args.samples
    load = os.getloadavg()[0]
    print(f"  --workers {workers}: {wall:6.1f} s, {scans / wall:6.1f} scans/s (system load {load:.1f})")


def break_down(folder: list[str], args: argparse.Namespace) -> None:
    """Time the same work in this process, stage by stage."""
    watch = Stopwatch()
    for name, owner, attribute in STAGES:
        setattr(owner, attribute, watch.around(name, getattr(owner, attribute)))
    views = Range(*map(int, args.views.split("-")))
    scan = ScanSettings(samples=args.samples, points=Range(args.points), views=views)
    graph = GraphSettings()
    with tempfile.TemporaryDirectory() as temporary:
        started = time.process_time()
        sources = list_sources([Path(path) for path in folder], 0, None)
        found = time.process_time() - started
        write = watch.around("everything else", samples.write_chunk)
        for chunk in cut(sources, scan, graph, caster=caster_name(), folder=Path(temporary)):
            write(chunk, scan, graph)
        started = time.process_time()
        paths = sorted(Path(temporary).glob("*.part"))
        fields = {"edge_attr": "sh", "sh_degree": 2}
        fields |= {"feature_names": FEATURE_NAMES, "vector_names": vector_names(scan.sensor_model)}
        writer.merge_parts(Path(temporary) / "store", paths, manifest_fields=fields)
        merged = time.process_time() - started
    rows = [("find and hash files", found), *watch.spent.items(), ("merge the parts", merged)]
    total = sum(spent for _, spent in rows)
    scans_made = len(folder) * args.samples
    print(f"\nin one process: {total:.1f} CPU seconds, {scans_made / total:.0f} scans per CPU second")
    for name, spent in sorted(rows, key=lambda row: -row[1]):
        calls = f"{watch.calls[name]} calls" if watch.calls[name] else ""
        print(f"  {name:<20} {spent:7.2f} s {100 * spent / total:5.1f} %  {calls}")


def time_naive(folder: list[str], args: argparse.Namespace) -> None:
    """Time a naive program for the same scans, in CPU seconds, to compare with :func:`break_down`."""
    rng = np.random.default_rng(0)
    chosen = folder[:: max(1, len(folder) // args.naive)][: args.naive]
    with tempfile.TemporaryDirectory() as temporary:
        started = time.process_time()
        for number, path in enumerate(chosen):
            naive.prepare(Path(path), Path(temporary), number, args.samples, args.points, rng)
        spent = time.process_time() - started
    made = len(chosen) * args.samples
    print(f"\nnaive program: {made / spent:.1f} scans per CPU second ({made} scans)")


def time_sensor_model(folder: list[str], args: argparse.Namespace) -> None:
    """Time scans and their graphs with and without the sensor model, alternately, in CPU seconds."""
    graph = GraphSettings()
    sources = list_sources([Path(path) for path in folder], 0, None)
    plain = ScanSettings(samples=args.samples, points=Range(args.points))
    spent: Counter[str] = Counter()
    for source in sources:
        for name, settings in {
            "without": plain,
            "half of the scans": replace(plain, sensor_model="depth", sensor_share=0.5),
            "all scans": replace(plain, sensor_model="depth", sensor_share=1.0),
        }.items():
            started = time.process_time()
            samples.make_samples(source, settings, graph)
            spent[name] += time.process_time() - started
    made = len(sources) * args.samples
    print("\nsensor model depth, milliseconds per scan: ", end="")
    print(", ".join(f"{name} {1e3 * took / made:.2f}" for name, took in spent.items()))


def time_embree(folder: list[str], args: argparse.Namespace) -> None:
    """Time the ray caster alone: the same number of rays on the same meshes, one call per view."""
    rng = np.random.default_rng(0)
    rays = ScanSettings().rays
    spent = bare = 0.0
    count = 0
    for path in folder:
        solid = load_mesh(path, name=path)
        caster = raycast.Caster(solid.vertices, solid.faces)
        for _ in range(args.samples):
            local = ray_directions("grid", half_angle=0.4, rays=rays, rng=rng)
            origins = np.broadcast_to(
                solid.bounding_centre - [0, 0, 2.5 * solid.bounding_radius], local.shape
            )
            started = time.process_time()
            caster.first_hits(origins, local)
            spent += time.process_time() - started
            if caster._scene is not None:
                origins32 = ((origins - caster._centre) / caster._unit).astype(np.float32)
                local32 = local.astype(np.float32)
                started = time.process_time()
                caster._scene.run(origins32, local32, query="INTERSECT", output=1)
                bare += time.process_time() - started
            count += len(local)
    print(
        f"\n{count / 1e6:.1f} million rays: {count / spent / 1e6:.2f} million per CPU second through Caster"
    )
    if bare:
        print(f"  Embree alone: {count / bare / 1e6:.2f} million per CPU second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="meshes; built-in solids if none is given")
    parser.add_argument("--objects", type=int, default=300, help="number of meshes to use, evenly spread")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--views", default="1")
    parser.add_argument("--naive", type=int, default=10, help="objects for the naive program")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 1])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(args.folder or write_solids(Path(temporary), args.objects), args)


def write_solids(folder: Path, num: int) -> Path:
    """Write built-in solids as mesh files, for users without meshes."""
    for i in range(num):
        solid = make_solid(0, i)
        trimesh.Trimesh(solid.vertices, solid.faces, process=False).export(folder / f"{i:06d}.ply")
    return folder


def measure(meshes_folder: Path, args: argparse.Namespace) -> None:
    """Measure the preparation of a folder of meshes, and print all results."""
    meshes = find_meshes([meshes_folder])
    chosen = np.linspace(0, len(meshes) - 1, min(args.objects, len(meshes))).astype(int)
    folder = [str(meshes[i].path) for i in chosen]
    print(f"{len(folder)} meshes x {args.samples} scans x {args.points} points, {args.views} view(s)")
    for workers in args.workers:
        time_command(folder, args, workers)
    time_embree(folder, args)
    time_naive(folder, args)
    time_sensor_model(folder, args)
    break_down(folder, args)


if __name__ == "__main__":
    main()
