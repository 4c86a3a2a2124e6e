"""Preparation of the samples of one object, and of the part file of a chunk of objects.

Each object has its own random generator, seeded with its name, so neither other objects nor the number of
workers can change its samples.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from plumbline.data.prepare.input_report import InputReport, input_report
from plumbline.data.prepare.sources import Chunk, Source
from plumbline.data.store.writer import write_part
from plumbline.errors import InputError
from plumbline.geometry.cleaning import clean_scan
from plumbline.geometry.clouds import load_scan
from plumbline.geometry.graphs import build_sample
from plumbline.geometry.meshes import load_mesh
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rest_poses import rest_poses
from plumbline.geometry.sampling import draw_sampling, thin_scan
from plumbline.geometry.scans import scan_solid
from plumbline.geometry.solids import make_solid
from plumbline.records import (
    VECTOR_NAMES,
    GraphSettings,
    Rejected,
    Sample,
    Scan,
    ScanSettings,
    unusable,
    vector_names,
)

FEWEST_POINTS = 16
"""A real scan with fewer points than this is refused."""


class Written(NamedTuple):
    """What a part file holds.

    Attributes:
        num_samples: number of samples.
        inputs: what there is to say about them.
    """

    num_samples: int
    inputs: tuple[InputReport, ...] = ()


def write_chunk(chunk: Chunk, scan: ScanSettings, graph: GraphSettings, dead: Sequence[int] = ()) -> Written:
    """Prepare the sources of a chunk and write its part file, atomically.

    ``dead``: positions in the chunk of sources known to kill the process that prepares them.
    """
    samples: list[Sample] = []
    rejected: list[Rejected] = []
    reports: list[InputReport | None] = []
    for position, source in enumerate(chunk.sources):
        if position in dead:
            reason = "the process that prepared it died (a crash while reading it, or too little memory)"
            rejected.append(Rejected(source.title, reason))
            continue
        if source.refused:
            rejected.append(Rejected(source.title, source.refused))
            continue
        try:
            made = make_samples(source, scan, graph)
            for reason in filter(None, map(unusable, made)):
                raise InputError(reason)
            samples += made
            reports += [input_report(source.title, sample) for sample in made[:1]]  # one input, one report
        except InputError as error:
            rejected.append(Rejected(source.title, _without_place(str(error), source)))
        except Exception as error:
            error.add_note(f"while preparing {source.path or source.title}")
            raise
    write_part(chunk.path, samples, rejected)
    return Written(len(samples), tuple(report for report in reports if report is not None))


def _without_place(reason: str, source: Source) -> str:
    """Return the reason without the path: a data set must not depend on the folder of its inputs."""
    for place in (str(source.path), source.title, source.name):
        reason = reason.removeprefix(f"{place}: ")
    reason = reason.removeprefix(f"{source.path} ")
    return reason.replace(str(source.path), source.title) if source.path else reason


def make_samples(source: Source, scan: ScanSettings, graph: GraphSettings) -> list[Sample]:
    """Make all samples of one object; the result depends on the arguments alone.

    The ``i``-th scan has its own random generator, so asking for more scans keeps the first ones. Edge
    attributes are left out; the store computes them from the positions.

    Raises:
        MeshError: the mesh has no trustworthy centre of mass.
        InputError: the object cannot be scanned.
    """
    if source.label is not None:
        return [_sample(_real_scan(source, scan), source.name, graph, scan)]
    samples = scan.samples
    if source.path is not None:
        solid = load_mesh(
            source.path,
            name=source.name,
            target=scan.target,
            scale=scan.scale,
            densities=dict(source.densities) or None,
        )
    else:
        solid = make_solid(scan.seed, source.index, scan.density)
        samples = scan.solid_samples or samples
    caster = Caster(solid.vertices, solid.faces)
    rest = rest_poses(solid) if scan.sensor_model == "depth" else None
    scans = (
        scan_solid(solid, caster, scan, rng=_rng(scan.seed, solid.name, i), rest=rest) for i in range(samples)
    )
    return [_sample(each, solid.name, graph, scan) for each in scans]


def _sample(scan: Scan, object_name: str, graph: GraphSettings, settings: ScanSettings) -> Sample:
    sample = build_sample(
        scan, k=graph.k, edge_attr="none", sh_degree=0, normalise=graph.normalise, object_name=object_name
    )
    assert sample.vectors is not None
    rows = [VECTOR_NAMES.index(name) for name in vector_names(settings.sensor_model)]
    return replace(sample, vectors=sample.vectors[rows])


def _real_scan(source: Source, settings: ScanSettings) -> Scan:
    """Load a real scan, clean it, and thin it to the largest requested number of points."""
    assert source.label is not None
    scan = load_scan(source.label)
    if settings.clean:
        scan = clean_scan(scan)
    if len(scan.points) < FEWEST_POINTS:
        raise InputError(f"it has {len(scan.points)} points, and at least {FEWEST_POINTS} are needed")
    rng = _rng(settings.seed, source.title, 0)
    sampling = draw_sampling(settings.sampling, rng)
    return thin_scan(scan, int(settings.points.high), sampling=sampling, rng=rng)


def _rng(seed: int, name: str, sample: int) -> np.random.Generator:
    words = np.frombuffer(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest(), "<u4")
    return np.random.default_rng(np.random.SeedSequence([seed, sample, *words.tolist()]))
