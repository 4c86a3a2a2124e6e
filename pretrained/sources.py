"""The real meshes that the shipped model is trained on, as ``sources.csv`` lists them."""

import csv
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE = Path(__file__).with_name("sources.csv")
HELD_OUT = frozenset(
    ("metaworld", "object_sim", "furniture_bench", "drake_models", "robogym", "bullet_misc")
    + ("g3db_ycb", "tmc_wrs")
)
"""Sources that no training sees: the accuracy is measured on them, or, in the second line, real test scans
show some of their objects (YCB)."""

_PERMITTED = re.compile(r"CC0-1\.0|CC-BY-\d\.\d|Apache-2\.0|MIT|MIT-0|BSD|BSD-[23]-Clause(-Clear)?")


@dataclass(frozen=True, slots=True)
class Mesh:
    """One mesh, a row of ``sources.csv``.

    Attributes:
        file: where it lies in its set, ``source/name.ply``; without the suffix it is the object's name.
        name: name within its source.
        source: short name of the collection that it comes from.
        kind: kind of objects in that collection.
        set: set in which the closed meshes were collected.
        repository: public repository of the original, on GitHub.
        path: file in that repository.
        commit: commit of that repository, or what else says which version; empty if it was not recorded.
        licence: licence of the original.
        repairs: what closed the mesh, in the order in which it was done; empty if it was closed already.
    """

    file: str
    name: str
    source: str
    kind: str
    set: str
    repository: str
    path: str
    commit: str
    licence: str
    repairs: str


def may_be_used(licence: str) -> bool:
    """Whether a licence allows weights to be given away under Apache-2.0.

    These are CC0, CC-BY, Apache, MIT and BSD; of several licences each must be one of these. What stands in
    brackets is a remark, but one of others' licences makes the mesh unusable.
    """
    if "vendors" in licence:
        return False
    parts = re.split(r"\s*[/;]\s*", re.sub(r"\(.*?\)", "", licence))
    return all(_PERMITTED.fullmatch(part.strip()) for part in parts)


def read_sources(path: Path = FILE) -> list[Mesh]:
    """Read the list, in its order."""
    with open(path, encoding="utf-8", newline="") as file:
        return [Mesh(**row) for row in csv.DictReader(file)]


def write_sources(meshes: Iterable[Mesh], path: Path = FILE) -> None:
    """Write the list, sorted by file."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Mesh)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(mesh) for mesh in sorted(meshes, key=lambda mesh: mesh.file))
