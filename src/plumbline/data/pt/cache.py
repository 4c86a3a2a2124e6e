"""Open ``--data_dir`` as a packed store: a folder of `.pt` files is packed once and cached.

The cache of a folder is ``DIR/.plumbline-cache/KEY``, or lies in the user's cache folder if ``DIR`` is not
writable. KEY is a hash of the name, size and modification time of every file. A cache is built under a
temporary name and renamed when complete, so a visible cache is always whole, with or without locks. A lock
only keeps processes that start together from doing the work twice. Caches of earlier states of the files
are removed unless a program has them open, which a shared lock on their manifest shows; where locks do not
work, they stay. A cache that lacks files which the system could not read has a name of its own, and is used
for as long as they cannot be read.
"""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from plumbline.data.missing import PARTS, no_data
from plumbline.data.store.joined import JoinedStore, join_stores
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import MANIFEST, SCHEMA, merge_parts, write_part
from plumbline.errors import InputError, SampleError
from plumbline.files import UNREADABLE, each_folder, reading
from plumbline.locks import lock, sole_owner
from plumbline.records import Rejected, Sample

CACHE_FOLDER = ".plumbline-cache"
_VERSION = 2
_CHUNK = 256
_CHUNK_BYTES = 256 << 20
"""A part is written once this many samples, or bytes of samples, are in memory."""
_BUILDING = ".building-"
_MADE_HERE = re.compile(rf"[0-9a-f]{{24}}(-[0-9a-f]{{8}})?|{re.escape(_BUILDING)}.*")
"""Names of the folders that this module creates; anything else there, even behind a link, is the user's."""

Progress = Callable[[int, int], None]
Widths = tuple[int, int | None, int]


def open_data(
    data_dir: Path | str | Sequence[Path | str], *, progress: Progress | None = None
) -> PackedStore:
    """Open a data set: a packed store directly, a folder of `.pt` files through its cache.

    Args:
        data_dir: the folder, or several, whose graphs are joined in this order.
        progress: called with (files read, total files) while `.pt` files are read for the first time.

    Returns:
        The store; ``store.rejected`` lists the rejected files.

    Raises:
        InputError: the folder does not exist, is not a data set, or has no usable file; or several folders
            hold graphs that are not made alike.
        DamagedStoreError: a packed store is damaged. (A damaged cache is built again.)
    """
    folder, *others = each_folder(data_dir)
    if others:
        folders = [folder, *others]
        return join_stores([open_data(one, progress=progress) for one in folders], folders)
    with reading(folder):
        if not folder.is_dir() or not any(folder.iterdir()):
            raise InputError(no_data(folder))
        if (folder / MANIFEST).exists():
            return PackedStore.open(folder, leave_out=True)
        from plumbline.data.pt.samples import METADATA_FILE, list_pt  # imports torch; packed stores need none

        files = list_pt(folder)
        unfinished = (folder / PARTS).is_dir() and not (folder / METADATA_FILE).exists()
        if not files or unfinished:
            raise InputError(no_data(folder))
        key = _key(folder, [path for path, _ in files])
    roots = [folder / CACHE_FOLDER, _user_cache(folder)]
    for root in roots:
        store = _find(root, key, folder, files)
        if store is not None:
            return store
    root = _first_writable(roots)
    with sole_owner(root / "lock", patience=math.inf) as alone:
        store = _find(root, key, folder, files)
        if store is None:
            name = _build(folder, files, root, key, progress)
            store = _open_in_use(root / name)
            _remove_stale(root, name, alone=alone)
    return store


def sample_files(data_dir: Path | Sequence[Path], store: PackedStore) -> list[str] | None:
    """The file of each graph, relative to the folder that was opened; None for a packed store.

    Of several folders, each file with its folder; None if one of them is a packed store.
    """
    if isinstance(store, JoinedStore):
        folders = each_folder(data_dir)
        parts = [sample_files(*pair) for pair in zip(folders, store.parts, strict=True)]
        known = [(folder, part) for folder, part in zip(folders, parts, strict=True) if part is not None]
        joined = [str(folder / name) for folder, names in known for name in names]
        return joined if len(known) == len(parts) else None
    (data_dir,) = each_folder(data_dir)
    if store.path == data_dir:
        return None
    from plumbline.data.pt.samples import list_pt

    rejected = {item.source for item in store.rejected}
    names = [path.relative_to(data_dir).as_posix() for path, _ in list_pt(data_dir)]
    used = [name for name in names if name not in rejected]
    return used if len(used) == len(store) else None  # else files have changed since


def _key(folder: Path, files: list[Path]) -> str:
    """Hash everything that the cache depends on, but not file contents: not reading them is its purpose."""
    from plumbline.data.pt.samples import METADATA_FILE

    skip = len(str(folder / "x")) - 1
    entries: list[Any] = [[_VERSION, SCHEMA], (folder / METADATA_FILE).exists()]
    for path in [*map(str, files), *([str(folder / METADATA_FILE)] if entries[1] else [])]:
        try:
            stat = os.stat(path)
        except OSError:  # for example a broken link; it is rejected when it is read
            entries.append([path[skip:]])
        else:
            entries.append([path[skip:], stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(entries, allow_nan=False).encode()).hexdigest()[:24]


def _user_cache(folder: Path) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return Path(base) / "plumbline" / name


def _find(root: Path, key: str, folder: Path, files: list[tuple[Path, str | None]]) -> PackedStore | None:
    """Return the cache of all files, or one without files that still cannot be read; None without either."""
    for path in (root / key, *sorted(root.glob(f"{key}-*"))):
        store = _open_cache(path)
        if store is None:
            continue
        lacks = {folder / item.source for item in store.rejected if item.reason.startswith(UNREADABLE)}
        if not lacks or not any(file in lacks and _is_readable(file) for file, _ in files):
            return store
    return None


def _is_readable(file: Path) -> bool:
    try:
        file.read_bytes()
    except OSError:
        return False
    return True


def _open_cache(path: Path) -> PackedStore | None:
    """Open a cache; None if it is missing, damaged, unreadable or just being removed."""
    try:
        return _open_in_use(path)
    except (InputError, FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def _open_in_use(path: Path) -> PackedStore:
    """Open a cache, locked against removal while the store exists, because shards are opened on demand."""
    manifest = os.open(path / MANIFEST, os.O_RDONLY)
    try:
        lock(manifest, shared=True, patience=math.inf)
        store = PackedStore.open(path, leave_out=True)
    except BaseException:
        os.close(manifest)
        raise
    weakref.finalize(store, os.close, manifest)
    return store


def _first_writable(roots: list[Path]) -> Path:
    for root in roots:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(root, os.W_OK | os.X_OK):
            return root
    raise InputError(
        f"the .pt files need a packed copy, but neither {roots[0]} nor {roots[1]} is writable: "
        "set XDG_CACHE_HOME to a writable folder"
    )


def _build(
    folder: Path, files: list[tuple[Path, str | None]], root: Path, key: str, progress: Progress | None
) -> str:
    """Build a cache and return its name."""
    temporary = Path(tempfile.mkdtemp(prefix=f"{_BUILDING}{key}-", dir=root))
    try:
        rejected = _pack(folder, files, temporary, progress)
        lacks = [item.source for item in rejected if item.reason.startswith(UNREADABLE)]
        name = (
            f"{key}-{hashlib.sha256(json.dumps(lacks, allow_nan=False).encode()).hexdigest()[:8]}"
            if lacks
            else key
        )
        if (root / name).exists() and _open_cache(root / name) is None:
            shutil.rmtree(root / name)
        try:
            os.rename(temporary / "store", root / name)
        except OSError:
            if _open_cache(root / name) is None:  # else another process was faster, with the same bytes
                raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"no space in {root} for a packed copy of the .pt files: free some space, or make the data "
                "folder read-only and set XDG_CACHE_HOME to a folder with enough space"
            ) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return name


def _pack(
    folder: Path, files: list[tuple[Path, str | None]], temporary: Path, progress: Progress | None
) -> list[Rejected]:
    """Read every file once into parts of equal widths, then merge the parts of the most common widths.

    Reading is sequential, because loading a small `.pt` file is Python work and threads only block each
    other (measured: 1,260 files/s without threads, 1,290 with two, 740 with four). Parts are not flushed to
    the disk: they are deleted at the end, and after a crash the cache is built again.

    Returns:
        The rejected files.
    """
    pending: dict[Widths, list[Sample]] = {}
    waiting = 0
    parts: dict[Widths, list[Path]] = {}
    sources: dict[Widths, list[str]] = {}
    rejected: list[Rejected] = []
    number = count()
    facts: dict[Widths, dict[str, set]] = {}

    def write(widths: Widths) -> None:
        path = temporary / f"part-{next(number):06d}"
        write_part(path, pending.pop(widths), store_edge_attr=widths[1] is not None, durable=False)
        parts.setdefault(widths, []).append(path)

    from plumbline.data.pt.samples import read_dataset_metadata, read_pt_metadata

    for done, (path, object_name) in enumerate(files, start=1):
        source = path.relative_to(folder).as_posix()
        try:
            sample, metadata = read_pt_metadata(path, object_name=object_name)
        except SampleError as error:
            rejected.append(Rejected(source, str(error)))
        else:
            edge_dim = None if sample.edge_attr is None else sample.edge_attr.shape[1]
            vectors = 0 if sample.vectors is None else len(sample.vectors)
            widths = (sample.node_features.shape[1], edge_dim, vectors)
            sources.setdefault(widths, []).append(source)
            _note(facts.setdefault(widths, {}), metadata)
            pending.setdefault(widths, []).append(sample)
            waiting += _num_bytes(sample)
            if len(pending[widths]) == _CHUNK or waiting > _CHUNK_BYTES:
                waiting = 0
                for full in list(pending):
                    write(full)
        if progress is not None:
            progress(done, len(files))
    for widths in list(pending):
        write(widths)
    if not parts:
        raise InputError(_nothing_left(folder, rejected))
    chosen = Counter({widths: len(names) for widths, names in sources.items()}).most_common(1)[0][0]
    for widths in sources.keys() - {chosen}:
        rejected.extend(Rejected(source, _differs(widths, chosen)) for source in sources[widths])
    metadata = read_dataset_metadata(folder)
    last = temporary / "rejected"
    refused = [*sorted(rejected, key=lambda item: item.source), *_refused_before(metadata)]
    write_part(last, [], refused, durable=False)
    fields = _manifest_fields(metadata, chosen, facts[chosen])
    merge_parts(temporary / "store", [*parts[chosen], last], manifest_fields=fields)
    return rejected


def _num_bytes(sample: Sample) -> int:
    arrays = (sample.node_features, sample.edge_source, sample.edge_attr, sample.point_cloud)
    return sum(array.nbytes for array in arrays if array is not None)


def _note(facts: dict[str, set], metadata: dict[str, Any]) -> None:
    for key in ("k_neighbors", "normalized_pointcloud"):
        value = metadata.get(key)
        facts.setdefault(key, set()).add(value if isinstance(value, int) else None)


def _refused_before(metadata: dict[str, Any]) -> list[Rejected]:
    """Inputs that were rejected when the folder was made, if its metadata records them."""
    entries = metadata.get("rejected")
    return [
        Rejected(entry["source"], entry["reason"])
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("source", "reason"))
    ]


def _manifest_fields(metadata: dict[str, Any], widths: Widths, facts: dict[str, set]) -> dict[str, Any]:
    leaders = metadata.get("leaders")
    normalise = metadata.get("normalise")
    if not isinstance(normalise, str):
        normalise = {(True,): "unit", (False,): "none"}.get(tuple(facts["normalized_pointcloud"]), "unknown")
    neighbours = facts["k_neighbors"]
    provenance = metadata.get("provenance")
    return {
        "feature_names": _names(metadata.get("feature_names"), widths[0], "feature"),
        "vector_names": _names(metadata.get("vector_names"), widths[2], "vector"),
        "leaders": leaders if isinstance(leaders, int) and leaders > 0 else 0,
        "edge_attr": "none" if widths[1] is None else "stored",
        "normalise": normalise,
        "k": next(iter(neighbours)) if len(neighbours) == 1 else None,
        "provenance": provenance if isinstance(provenance, dict) else {"source": "folder of .pt files"},
    }


def _names(recorded: Any, num: int, noun: str) -> list[str]:
    """The recorded names if there is one for each of ``num`` columns, otherwise numbered ones."""
    if isinstance(recorded, list) and len(recorded) == num and all(isinstance(n, str) for n in recorded):
        return recorded
    return [f"{noun}_{i}" for i in range(num)]


def _differs(widths: Widths, chosen: Widths) -> str:
    if widths[0] != chosen[0]:
        return f"has {widths[0]} node features where most files have {chosen[0]}"
    if widths[2] != chosen[2]:
        return f"has {widths[2]} vectors where most files have {chosen[2]}"
    have, most = ("no" if width is None else str(width) for width in (widths[1], chosen[1]))
    return f"has {have} edge features where most files have {most}"


def _nothing_left(folder: Path, rejected: list[Rejected]) -> str:
    reasons = "; ".join(f"{item.source} {item.reason}" for item in rejected[:3])
    more = f"; and {len(rejected) - 3} more" if len(rejected) > 3 else ""
    which = "the only .pt file" if len(rejected) == 1 else f"none of the {len(rejected):,} .pt files"
    can = "cannot" if len(rejected) == 1 else "can"
    return f"{which} in {folder} {can} be used: {reasons}{more}"


def _remove_stale(root: Path, name: str, *, alone: bool) -> None:
    """Remove unfinished caches and unused caches of earlier states of the files, if locks work."""
    if not alone:
        return
    for path in root.iterdir():
        if path.is_dir() and path.name != name and _MADE_HERE.fullmatch(path.name):
            if path.name.startswith(_BUILDING):
                shutil.rmtree(path, ignore_errors=True)
            else:
                remove_unused(path)


def remove_unused(path: Path) -> bool:
    """Remove a cache, unless a process (including this one) has it open or locks do not work.

    Returns:
        Whether it was removed.
    """
    try:
        manifest = os.open(path / MANIFEST, os.O_RDWR)
    except FileNotFoundError:
        shutil.rmtree(path, ignore_errors=True)
        return not path.exists()
    except OSError:
        return False
    try:
        if lock(manifest):
            shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(manifest)
    return not path.exists()
