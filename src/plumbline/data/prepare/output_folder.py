"""The output folder of ``plumbline prepare``: what may be written there, and how parts become a data set.

A folder is *new* (missing or empty), *unfinished* (``.parts/plan.json`` says what is being made) or
*finished* (it has a manifest, which contains the same plan). Existing data are never overwritten: a different
plan is refused, and the message names the difference. Intermediate files lie in ``.parts``, which is removed
last.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, NamedTuple

from plumbline.console.text import counted
from plumbline.data.missing import PARTS
from plumbline.data.prepare.sources import Chunk
from plumbline.data.pt.cache import CACHE_FOLDER
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import MANIFEST, merge_parts
from plumbline.errors import DamagedStoreError, InputError
from plumbline.files import check_out_folder, reading
from plumbline.geometry.graphs import LEADERS
from plumbline.locks import LockedError, sole_owner
from plumbline.records import FEATURE_NAMES, Rejected, vector_names
from plumbline.writing import write_atomically

PT_METADATA = "dataset_metadata.json"
_FILES = (MANIFEST, PT_METADATA, "index.safetensors", "shard-*.safetensors", "*.pt", ".*.tmp")
_OURS = (PARTS, CACHE_FOLDER, *_FILES)
_FIX = "choose another folder, or delete this one"
_LONGEST_STEM = 180
"""Bytes of a file name, at most; file systems allow 255."""
_NOT_IN_NAMES = re.compile(r'[<>:"|?*\\\x00-\x1f]|^\.')
"""Characters that some system does not allow in a file name, and the leading dot that hides a file."""

Plan = dict[str, Any]


# ----------------------------------------------------------------------------------------- existing content


def look(out: Path, plan: Plan) -> Literal["new", "unfinished", "finished"]:
    """Return the state of a folder with respect to a plan.

    Args:
        out: the folder; need not exist.
        plan: ``format``, ``settings`` (flags), ``inputs`` (counts and a hash), ``caster`` and, unless it is
            1, ``generator``. Anything else in it, such as the version of the program, is not compared.

    Raises:
        InputError: the folder holds something else; the message names the difference.
    """
    with reading(out):
        if not out.exists():
            return "new"
        check_out_folder(out)
        entries = sorted(entry.name for entry in out.iterdir())
    foreign = [name for name in entries if not any(fnmatch(name, pattern) for pattern in _OURS)]
    if foreign:
        raise InputError(f"{out} holds other files ({', '.join(foreign[:3])}): give a new or empty folder")
    state: Literal["unfinished", "finished"]
    if MANIFEST in entries or PT_METADATA in entries:
        state = "finished"
        found = _read(out / (MANIFEST if MANIFEST in entries else PT_METADATA)).get("provenance")
    elif (out / PARTS / "plan.json").exists():
        state, found = "unfinished", _read(out / PARTS / "plan.json")
    elif set(entries) <= {PARTS}:
        return "new"
    else:
        raise InputError(f"{out} holds {entries[0]} and no record of how it was made: {_FIX}")
    if not isinstance(found, dict) or "settings" not in found:
        raise InputError(f"{out} holds a data set that plumbline prepare did not make: {_FIX}")
    differences = _differences(found, plan)
    if differences:
        what = "a data set" if state == "finished" else "an unfinished data set"
        raise InputError(
            f"{out} holds {what} made with other settings ({'; '.join(differences[:3])}): {_FIX}"
        )
    if state == "finished":
        _check_whole(out, plan["format"])
    return state


def _read(file: Path) -> dict[str, Any]:
    try:
        with reading(file):
            content = json.loads(file.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{file} is damaged: {_FIX}")
    return content


def _differences(found: Plan, plan: Plan) -> list[str]:
    old, new = ({"format": each.get("format"), **each["settings"]} for each in (found, plan))
    result = [
        f"{flag} {_shown(old.get(flag))} there, {_shown(new.get(flag))} now"
        for flag in dict.fromkeys([*new, *old])
        if old.get(flag) != new.get(flag)
    ]
    old, new = found.get("inputs", {}), plan["inputs"]
    result += [
        f"{old.get(kind, 0)} {kind.replace('_', ' ')} there, {new.get(kind, 0)} now"
        for kind in ("meshes", "solids", "scans", "meshes_with_densities")
        if old.get(kind, 0) != new.get(kind, 0)
    ]
    if not result and old.get("sha256") != new["sha256"]:
        what = ", or their densities," if new.get("meshes_with_densities") else ""
        result.append(f"the names or contents of the input files{what} have changed")
    for what, default in (("caster", None), ("generator", 1)):
        there, now = found.get(what, default), plan.get(what, default)
        if there != now:
            result.append(f"{what} {there} there, {now} now")
    return result


def _shown(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _check_whole(out: Path, layout: str) -> None:
    if layout == "packed":
        try:
            PackedStore.open(out)
        except DamagedStoreError as error:
            raise InputError(f"{error}: {_FIX}") from error
        return
    try:
        names = [str(item["filename"]) for item in _read(out / PT_METADATA)["files"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{out / PT_METADATA} is damaged: {_FIX}") from error
    missing = [name for name in names if Path(name).name != name or not (out / name).is_file()]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(
            f"{out} is damaged: {counted(len(missing), 'file')} {verb} missing ({missing[0]}): {_FIX}"
        )


class Contents(NamedTuple):
    """Content of a finished data set: counts, rejected inputs, bytes on disk."""

    objects: int
    scans: int
    points: int
    views: int
    rejected: tuple[Rejected, ...]
    size: int


def contents(out: Path, layout: str) -> Contents:
    """Read the content of the finished data set in a folder. Raises InputError if it is damaged."""
    size = sum(file.stat().st_size for file in out.iterdir() if file.is_file())
    if layout == "packed":
        store = PackedStore.open(out)
        views = int(store.num_views.sum())
        return Contents(store.num_objects, len(store), store.num_nodes, views, tuple(store.rejected), size)
    found = _read(out / PT_METADATA)
    try:
        files, rejected = found["files"], [Rejected(**item) for item in found["rejected"]]
        objects = len({item["object_name"] for item in files})
        points, views = (sum(item[key] for item in files) for key in ("num_nodes", "num_views"))
    except (KeyError, TypeError) as error:
        raise InputError(f"{out / PT_METADATA} is damaged: {_FIX}") from error
    return Contents(objects, len(files), points, views, tuple(rejected), size)


# ---------------------------------------------------------------------------------------------- writing


@contextmanager
def workplace(out: Path, plan: Plan) -> Iterator[Path]:
    """Create the folder of the parts, write the plan into it and lock it for this process.

    Raises:
        InputError: another process is using it, or the folder is not writable.
    """
    parts = out / PARTS
    with ExitStack() as stack:
        try:
            parts.mkdir(parents=True, exist_ok=True)
            stack.enter_context(sole_owner(parts / "lock"))
        except LockedError as error:
            raise InputError(
                f"another process is preparing {out}: wait until it finishes, or give another folder"
            ) from error
        except OSError as error:
            raise InputError(
                f"{out} cannot be written to ({error.strerror}); check its permissions or choose another "
                "folder"
            ) from error
        write_atomically(parts / "plan.json", json.dumps(plan, indent=1, allow_nan=False).encode())
        yield parts


def finish(out: Path, chunks: Sequence[Chunk], plan: Plan, *, tick: Callable[[int, int], None]) -> None:
    """Merge the part files of all chunks into the data set; may be interrupted and called again.

    The plan is written into the manifest as provenance. ``tick`` is called with (files written, total files)
    in the documented layout. Raises InputError if the parts hold no sample.
    """
    settings, paths = plan["settings"], [chunk.path for chunk in chunks]
    fields = {
        "feature_names": FEATURE_NAMES,
        "vector_names": vector_names(settings.get("sensor_model", "none")),
        "leaders": LEADERS,
        "edge_attr": settings["edge_attr"],
        "sh_degree": settings["sh_degree"] if settings["edge_attr"] == "sh" else None,
        "normalise": settings["normalise"],
        "k": settings["k"],
        "provenance": plan,
    }
    if plan["format"] == "packed":
        merge_parts(out, paths, manifest_fields=fields)
    else:
        packed, loose = out / PARTS / "packed", out / PARTS / "pt"
        for folder in (packed, loose):
            shutil.rmtree(folder, ignore_errors=True)
        merge_parts(packed, paths, manifest_fields=fields)
        _export(PackedStore.open(packed), loose, plan, tick)
        if hasattr(os, "sync"):
            os.sync()  # once for all files: waiting for each would take most of the time
        for file in sorted(loose.iterdir(), key=lambda file: (file.name == PT_METADATA, file.name)):
            os.replace(file, out / file.name)
    clean(out)


def clean(out: Path) -> None:
    """Remove the intermediate files."""
    shutil.rmtree(out / PARTS, ignore_errors=True)


def discard(out: Path) -> None:
    """Remove the intermediate files of a data set without samples, and the folder if it is then empty."""
    clean(out)
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()


def _export(store: PackedStore, folder: Path, plan: Plan, tick: Callable[[int, int], None]) -> None:
    from plumbline.data.pt.samples import write_dataset_metadata, write_pt

    folder.mkdir()
    stems = _file_stems(store.object_names)
    seen = [0] * store.num_objects
    files = []
    for i in range(len(store)):
        sample, object_idx = store.sample(i), int(store.object_idx[i])
        name = f"{stems[object_idx]}_sample{seen[object_idx]}.pt"
        seen[object_idx] += 1
        write_pt(
            folder / name,
            sample,
            edge_attr=store.edge_attr_kind,
            sh_degree=store.sh_degree,
            normalise=store.normalise,
            k=store.k,
        )
        files.append(
            {
                "filename": name,
                "object_name": sample.object_name,
                "num_nodes": len(sample.in_degree),
                "num_edges": len(sample.edge_source),
                "num_views": sample.num_views,
            }
        )
        tick(i + 1, len(store))
    write_dataset_metadata(
        folder,
        files,
        feature_names=list(store.feature_names),
        vector_names=list(store.vector_names),
        leaders=store.leaders,
        edge_attr=store.manifest["edge_attr"],
        normalise=store.normalise,
        k_neighbors=store.k,
        created_by=store.manifest["created_by"],
        provenance=plan,
        rejected=store.manifest["rejected"],
    )


def _file_stems(names: Sequence[str]) -> list[str]:
    """A file name for each object: valid on every system, not hidden, unique even if case is ignored."""
    taken: set[str] = set()
    stems = []
    for name in names:
        plain = _NOT_IN_NAMES.sub("_", name.replace("/", "__"))
        stem = plain.encode("utf-8", "surrogateescape")[:_LONGEST_STEM].decode("utf-8", "ignore")
        number = 2
        candidate = stem
        while candidate.casefold() in taken:
            candidate = f"{stem}~{number}"
            number += 1
        taken.add(candidate.casefold())
        stems.append(candidate)
    return stems
