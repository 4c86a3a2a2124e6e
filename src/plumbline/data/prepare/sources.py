"""From inputs to parts of a data set: what ``plumbline prepare`` does, without processes or terminal.

A :class:`Source` is one object (or one real scan). Its samples are a pure function of the source, the
settings and the seed: chance comes from a generator of its own, seeded with the object's name, so that
neither the other objects nor the number of workers can change them. A :class:`Chunk` is a run of
consecutive sources that becomes one part file, named after a hash of all that determines its bytes.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np

import plumbline
from plumbline.data.store.writer import SCHEMA, write_part
from plumbline.errors import InputError
from plumbline.files import refusal
from plumbline.geometry.clouds import Label, load_scan, read_labels
from plumbline.geometry.graphs import Normalise, build_sample
from plumbline.geometry.meshes import Target, companion_files, find_meshes, load_mesh
from plumbline.geometry.raycast import Caster
from plumbline.geometry.sampling import Sampling, thin_scan
from plumbline.geometry.scans import scan_solid
from plumbline.geometry.solids import make_solid
from plumbline.records import FEATURE_NAMES, Rejected, Sample, Scan

OBJECTS_PER_CHUNK = 8
_FEWEST_CHUNKS = 64
"""With few objects a chunk has fewer, so that all workers have some and progress shows. The number of workers
does not matter: the same command with another number must find the parts that are there."""
_CHUNK_BYTES = 256 << 20
"""What a worker should hold in memory at most: with large scans, a chunk has fewer objects."""
FEWEST_POINTS = 16
"""A real scan with fewer points than this is refused."""
_READ_AHEAD = 8
"""Files that are hashed at once."""
Choice = Sampling | Literal["mixed"]
"""How points are chosen: one way always, or either way, scan by scan."""
_LIBRARIES = ("numpy", "scipy", "trimesh", "embreex", "manifold3d")


@dataclass(frozen=True, slots=True)
class Source:
    """One object to prepare, small enough to travel between processes.

    Attributes:
        kind: a mesh file, a built-in solid, or one row of a labels file.
        title: what the user knows it by; goes into the list of rejected inputs.
        name: the object's name (a built-in solid gets its own when it is made).
        path: the file, None for a built-in solid.
        index: of the built-in solid.
        label: of the real scan.
        digest: of the content of the file, and of the files it refers to.
        refused: why there is no digest, if the system does not give the file.
    """

    kind: Literal["mesh", "solid", "scan"]
    title: str
    name: str
    path: Path | None = None
    index: int = 0
    label: Label | None = None
    digest: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive sources and the part file that their samples go to."""

    path: Path
    sources: tuple[Source, ...]


# --------------------------------------------------------------------------------------------- sources


def list_sources(paths: Sequence[Path], solids: int, labels: Path | None) -> list[Source]:
    """Everything to prepare: meshes sorted by name, built-in solids by index, real scans as listed.

    Raises:
        InputError: a path does not exist or holds no mesh, or the labels cannot be used.
    """
    sources = []
    if paths:
        for mesh in find_meshes(paths):
            suffix = mesh.path.suffix
            title = mesh.name if mesh.name.endswith(suffix) else mesh.name + suffix
            sources.append(Source("mesh", title, mesh.name, mesh.path))
    sources += [Source("solid", f"built-in solid {i}", f"solids/{i:06d}", index=i) for i in range(solids)]
    if labels is not None:
        sources += [_scan_source(label, labels.parent) for label in read_labels(labels)]
    with ThreadPoolExecutor(_READ_AHEAD) as pool:
        return list(pool.map(_with_digest, sources))


def _scan_source(label: Label, folder: Path) -> Source:
    path = label.path
    title = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
    return Source("scan", title, label.object_name, path, label=label)


def _with_digest(source: Source) -> Source:
    if source.path is None:
        return source
    digest = hashlib.sha256()
    try:
        for path in (source.path, *companion_files(source.path)):
            with open(path, "rb") as file:
                hashlib.file_digest(file, lambda: digest)
    except OSError as error:
        whose = Path(error.filename or source.path)
        part = "" if whose == source.path else f"refers to {whose.name}, which "
        return replace(source, refused=part + refusal(whose, error))
    return replace(source, digest=digest.hexdigest())


def caster_name() -> str:
    """The ray caster that is used on this machine; the two agree only up to rounding."""
    return Caster(np.eye(3), np.arange(3)[None]).backend


def library_versions() -> dict[str, str]:
    """Versions of the libraries that the numbers come from: another one may change the last bits or more."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def fingerprint(sources: Sequence[Source]) -> str:
    """SHA-256 of what the sources are, wherever their files lie."""
    return _digest([_identity(source) for source in sources])


def _identity(source: Source) -> list[Any]:
    label = None
    if source.label is not None:
        label = {key: value for key, value in asdict(source.label).items() if key != "path"}
    return [source.kind, source.title, source.name, source.index, label, source.refused or source.digest]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def cut(sources: Sequence[Source], settings: Mapping[str, Any], folder: Path) -> list[Chunk]:
    """Cuts the sources into chunks whose part files lie in ``folder``.

    Args:
        sources: everything to prepare.
        settings: keyword arguments of :func:`make_samples`, and whatever else decides what a part holds.
        folder: of the part files.
    """
    chunks, libraries = [], library_versions()
    bytes_per_node = 4 * (len(FEATURE_NAMES) + 1 + settings["k"])
    most_samples = max(settings["samples"], settings.get("solid_samples", 0))
    bytes_per_object = bytes_per_node * most_samples * settings["points"][1]
    size = max(1, min(OBJECTS_PER_CHUNK, len(sources) // _FEWEST_CHUNKS, _CHUNK_BYTES // bytes_per_object))
    for begin in range(0, len(sources), size):
        some = tuple(sources[begin : begin + size])
        key = _digest([plumbline.__version__, libraries, SCHEMA, dict(settings), fingerprint(some)])
        chunks.append(Chunk(folder / f"{begin // size:06d}-{key[:24]}.part", some))
    return chunks


# --------------------------------------------------------------------------------------------- samples


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
