"""From one object to its samples, and from a chunk of objects to a part file.

An object's samples are a pure function of the object, the settings and the seed. Each object has its own
random generator, seeded with its name, so neither other objects nor the number of workers can change its
samples.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from plumbline.data.prepare.sources import Chunk, Source
from plumbline.data.store.writer import write_part
from plumbline.errors import InputError
from plumbline.geometry.clouds import Label, load_scan
from plumbline.geometry.graphs import Normalise, build_sample
from plumbline.geometry.meshes import Target, load_mesh
from plumbline.geometry.raycast import Caster
from plumbline.geometry.sampling import Sampling, thin_scan
from plumbline.geometry.scans import scan_solid
from plumbline.geometry.solids import make_solid
from plumbline.records import Rejected, Sample, Scan

FEWEST_POINTS = 16
"""A real scan with fewer points than this is refused."""
Choice = Sampling | Literal["mixed"]
"""How points are chosen: one way always, or either way, scan by scan."""


def write_chunk(chunk: Chunk, settings: Mapping[str, Any], dead: Sequence[int] = ()) -> int:
    """Prepares the sources of a chunk and writes its part file, atomically.

    Args:
        chunk: what to prepare, and where to write.
        settings: keyword arguments of :func:`make_samples`.
        dead: positions of sources that are known to kill the process that prepares them.

    Returns:
        The number of samples.
    """
    samples: list[Sample] = []
    rejected: list[Rejected] = []
    for position, source in enumerate(chunk.sources):
        if position in dead:
            reason = "the process that prepared it died (a crash while reading it, or too little memory)"
            rejected.append(Rejected(source.title, reason))
            continue
        if source.refused:
            rejected.append(Rejected(source.title, source.refused))
            continue
        try:
            samples += make_samples(source, **settings)
        except InputError as error:
            rejected.append(Rejected(source.title, _without_place(str(error), source)))
        except Exception as error:
            error.add_note(f"while preparing {source.path or source.title}")
            raise
    write_part(chunk.path, samples, rejected)
    return len(samples)


def _without_place(reason: str, source: Source) -> str:
    """The reason alone: a data set must not depend on the folder that its inputs lay in."""
    for place in (str(source.path), source.title, source.name):
        reason = reason.removeprefix(f"{place}: ")
    return reason.replace(str(source.path), source.title) if source.path else reason


def make_samples(
    source: Source,
    *,
    target: Target,
    scale: float,
    samples: int,
    views: tuple[int, int],
    points: tuple[int, int],
    noise: tuple[float, float],
    sampling: Choice,
    k: int,
    normalise: Normalise,
    seed: int,
    solid_samples: int | None = None,
    **optics: Any,
) -> list[Sample]:
    """All samples of one object: a pure function of its arguments.

    The ``i``-th scan has a generator of its own, so asking for more scans keeps the first ones. Edge
    attributes are left out; the store computes them from the positions.

    Args:
        source: the object.
        target, scale: of meshes, see :func:`plumbline.geometry.meshes.load_mesh`.
        samples: scans per mesh; a real scan gives one sample.
        views: fewest and most views per scan, drawn uniformly.
        points: fewest and most points per scan, drawn uniformly on a logarithmic scale; a real scan keeps the
            most, or all that it has.
        noise: least and most range noise, drawn uniformly per scan; of a real scan it is its own.
        sampling: which points to keep; ``"mixed"`` draws one of the two ways for each scan.
        k, normalise: see :func:`plumbline.geometry.graphs.build_sample`.
        seed: of everything.
        solid_samples: scans per built-in solid; ``samples`` if None.
        optics: the other keywords of :func:`plumbline.geometry.scans.scan_solid`.

    Raises:
        MeshError: the mesh has no trustworthy centre of mass.
        InputError: the object cannot be scanned.
    """
    graph: dict[str, Any] = {"k": k, "normalise": normalise, "edge_attr": "none", "sh_degree": 0}
    if source.label is not None:
        scan = _real_scan(source.label, points[1], sampling, _rng(seed, source.title, 0))
        return [build_sample(scan, object_name=source.name, **graph)]
    if source.path is None:
        solid = make_solid(seed, source.index)
    else:
        solid = load_mesh(source.path, name=source.name, target=target, scale=scale)
    caster = Caster(solid.vertices, solid.faces)
    result = []
    if source.path is None and solid_samples is not None:
        samples = solid_samples
    for i in range(samples):
        rng = _rng(seed, solid.name, i)
        drawn = _draw(rng, views, points, noise, sampling)
        scan = scan_solid(solid, caster, rng=rng, **drawn, **optics)
        result.append(build_sample(scan, object_name=solid.name, **graph))
    return result


def _draw(
    rng: np.random.Generator,
    views: tuple[int, int],
    points: tuple[int, int],
    noise: tuple[float, float],
    sampling: Choice,
) -> dict[str, Any]:
    """What differs from scan to scan; a range of one number takes nothing from the generator (views do)."""
    drawn: dict[str, Any] = {"views": int(rng.integers(*views, endpoint=True))}
    fewest, most = points
    if fewest < most:
        number = int(math.exp(rng.uniform(math.log(fewest), math.log(most + 1))))
        drawn["points"] = min(max(number, fewest), most)
    else:
        drawn["points"] = most
    drawn["noise"] = float(rng.uniform(*noise)) if noise[0] < noise[1] else noise[1]
    drawn["sampling"] = _one_way(sampling, rng)
    return drawn


def _one_way(sampling: Choice, rng: np.random.Generator) -> Sampling:
    if sampling != "mixed":
        return sampling
    return "farthest" if rng.random() < 0.5 else "random"


def _real_scan(label: Label, points: int, sampling: Choice, rng: np.random.Generator) -> Scan:
    scan = load_scan(label)
    if len(scan.points) < FEWEST_POINTS:
        raise InputError(f"it has {len(scan.points)} points, and at least {FEWEST_POINTS} are needed")
    return thin_scan(scan, points, sampling=_one_way(sampling, rng), rng=rng)


def _rng(seed: int, name: str, sample: int) -> np.random.Generator:
    words = np.frombuffer(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest(), "<u4")
    return np.random.default_rng(np.random.SeedSequence([seed, sample, *words.tolist()]))
