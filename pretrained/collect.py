"""Writes ``sources.csv`` from manifests of collected meshes: ``python -m pretrained.collect MANIFEST ...``.

Only facts are copied, never a mesh. A manifest is ``SET/manifest.csv`` next to the folders of its sources.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from pretrained.sources import FILE, HELD_OUT, Mesh, may_be_used, write_sources


def usable(manifest: Path) -> Iterator[Mesh]:
    """Yield the meshes of a manifest that the shipped model may be trained on."""
    with open(manifest, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] not in HELD_OUT and may_be_used(row["licence"]):
                yield Mesh(
                    **{name: row[name] for name in ("file", "name", "source", "kind", "licence")},
                    set=manifest.resolve().parent.name,
                    repository=row["repo"],
                    path=row.get("path") or row["original_path"],
                    commit=row.get("commit", ""),
                    repairs=row["repair_notes"],
                )


def main() -> None:
    """Write the list and say how long it is."""
    meshes = [mesh for manifest in sys.argv[1:] for mesh in usable(Path(manifest))]
    write_sources(meshes)
    print(f"{FILE.name}: {len(meshes):,} meshes of {len({mesh.source for mesh in meshes})} sources")


if __name__ == "__main__":
    main()
