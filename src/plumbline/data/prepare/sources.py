"""Inputs of ``plumbline prepare``, listed and split into chunks, independent of processes and terminal.

A :class:`Source` is one object (or one real scan). A :class:`Chunk` is a run of consecutive sources that
becomes one part file, named after a hash of everything that determines its bytes.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from plumbline.data.prepare.densities import Densities, read_densities
from plumbline.data.store.writer import SCHEMA
from plumbline.errors import InputError
from plumbline.files import refusal
from plumbline.geometry.clouds import Label, read_labels
from plumbline.geometry.mesh_files import companion_files, find_meshes
from plumbline.geometry.raycast import Caster
from plumbline.records import FEATURE_NAMES, GraphSettings, ScanSettings

GENERATOR = 2
"""Raised by one when the bytes of a data set change for the same input, settings and libraries. A data set
that records none has generator 1."""
OBJECTS_PER_CHUNK = 8
_FEWEST_CHUNKS = 64
"""With few objects, chunks are smaller, so that all workers have work and progress is visible. Chunks do not
depend on the number of workers: the same command with another number must find the existing parts."""
_CHUNK_BYTES = 256 << 20
"""Memory that a chunk may take in a worker, at most: with large scans, a chunk has fewer objects."""
_READ_AHEAD = 8
"""Files that are hashed concurrently."""
_LIBRARIES = ("numpy", "scipy", "embreex", "manifold3d")


@dataclass(frozen=True, slots=True)
class Source:
    """One object to prepare, small enough to send between processes.

    Attributes:
        kind: a mesh file, a built-in solid, or one row of a labels file.
        title: the name that the user knows it by, as in the list of rejected inputs.
        name: the object's name (a built-in solid gets its own when it is made).
        path: the file; None for a built-in solid.
        index: number of the built-in solid.
        label: label of the real scan.
        digest: hash of the content of the file and of the files it refers to.
        refused: why there is no digest, if the system cannot read the file.
        densities: of all bodies of the mesh; none: its density is uniform.
    """

    kind: Literal["mesh", "solid", "scan"]
    title: str
    name: str
    path: Path | None = None
    index: int = 0
    label: Label | None = None
    digest: str = ""
    refused: str = ""
    densities: Densities = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive sources and the part file of their samples."""

    path: Path
    sources: tuple[Source, ...]


def list_sources(
    meshes: Path | str | Iterable[Path | str],
    solids: int,
    labels: Path | str | None = None,
    densities: Path | str | None = None,
) -> list[Source]:
    """List all inputs: meshes sorted by name, built-in solids by index, real scans in file order.

    Raises:
        InputError: a path does not exist or holds no mesh, or the labels or densities cannot be used.
    """
    paths = [meshes] if isinstance(meshes, str | PathLike) else list(meshes)
    sources = []
    if paths:
        for mesh in find_meshes(paths):
            suffix = mesh.path.suffix
            title = mesh.name if mesh.name.endswith(suffix) else mesh.name + suffix
            sources.append(Source("mesh", title, mesh.name, mesh.path))
    if densities is not None:
        if not sources:
            raise InputError("densities: only meshes have named bodies; give mesh files or folders")
        given = read_densities(densities, [(source.title, Path(source.path or "")) for source in sources])
        sources = [replace(source, densities=each) for source, each in zip(sources, given, strict=True)]
    sources += [Source("solid", f"built-in solid {i}", f"solids/{i:06d}", index=i) for i in range(solids)]
    if labels is not None:
        sources += [_scan_source(label, Path(labels).parent) for label in read_labels(labels)]
    with ThreadPoolExecutor(_READ_AHEAD) as pool:
        return list(pool.map(with_digest, sources))


def _scan_source(label: Label, folder: Path) -> Source:
    path = label.path
    title = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
    return Source("scan", title, label.object_name, path, label=label)


def with_digest(source: Source) -> Source:
    """The source with the digest of its files, or why the system cannot read them."""
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
    """Name of the ray caster used on this machine; the two ray casters agree only up to rounding."""
    return Caster(np.eye(3), np.arange(3)[None]).backend


def library_versions() -> dict[str, str]:
    """Versions of the libraries that compute the numbers: another one may change the last bits or more."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def fingerprint(sources: Sequence[Source]) -> str:
    """SHA-256 of the sources, independent of where their files lie."""
    return _digest([_identity(source) for source in sources])


def _identity(source: Source) -> list[Any]:
    label = None
    if source.label is not None:
        label = {key: value for key, value in asdict(source.label).items() if key != "path"}
    # Older data sets do not record densities.
    content = [source.refused or source.digest, *([source.densities] if source.densities else [])]
    return [source.kind, source.title, source.name, source.index, label, *content]


def _digest(value: Any) -> str:
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, default=_plain, allow_nan=False).encode()
    ).hexdigest()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def cut(
    sources: Sequence[Source], scan: ScanSettings, graph: GraphSettings, *, caster: str, folder: Path
) -> list[Chunk]:
    """Split the sources into chunks whose part files lie in ``folder``.

    Edge attributes do not affect parts, because the store computes them.
    """
    decisive = [GENERATOR, SCHEMA, library_versions(), caster, repr(scan), graph.k, graph.normalise]
    bytes_per_node = 4 * (len(FEATURE_NAMES) + 1 + graph.k)
    bytes_per_object = bytes_per_node * max(scan.samples, scan.solid_samples) * int(scan.points.high)
    size = max(1, min(OBJECTS_PER_CHUNK, len(sources) // _FEWEST_CHUNKS, _CHUNK_BYTES // bytes_per_object))
    chunks = []
    for begin in range(0, len(sources), size):
        some = tuple(sources[begin : begin + size])
        key = _digest([*decisive, fingerprint(some)])
        chunks.append(Chunk(folder / f"{begin // size:06d}-{key[:24]}.part", some))
    return chunks
