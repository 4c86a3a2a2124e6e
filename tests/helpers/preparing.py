"""What the tests of `plumbline prepare` share."""

import hashlib
import sys
from pathlib import Path

import numpy as np

from plumbline.cli import main
from plumbline.data.store.reader import PackedStore

SMALL = ["--samples", "2", "--points", "48", "--k", "6", "--workers", "2"]

BOX = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
BOX_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def write_off(path: Path, vertices, faces=BOX_FACES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["OFF", f"{len(vertices)} {len(faces)} 0"]
    lines += [" ".join(map(repr, row)) for row in np.asarray(vertices, float).tolist()]
    lines += ["3 " + " ".join(map(str, row)) for row in faces.tolist()]
    path.write_text("\n".join(lines) + "\n")


def prepare(*args, ok: bool = True) -> int:
    code = main(["prepare", *map(str, args)])
    assert not ok or code == 0
    return code


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a folder, hidden ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def command(out: Path, *args, code: str = "") -> list[str]:
    """A command line for a process of its own; ``code`` runs before the command."""
    start = f"import sys, os, signal\n{code}\nfrom plumbline.cli import main\nsys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", start, "prepare", "--out", str(out), *map(str, args)]


def by_object(folder: Path) -> dict[str, list]:
    store = PackedStore.open(folder)
    result: dict[str, list] = {}
    for i in range(len(store)):
        sample = store.sample(i)
        result.setdefault(sample.object_name, []).append(sample)
    return result


def assert_same(one, other) -> None:
    for name in ("node_features", "in_degree", "edge_source", "target", "edge_attr", "pos", "vectors"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("object_name", "bounding_radius", "origin", "scale", "num_views"):
        assert getattr(one, name) == getattr(other, name), name


def write_meshes(folder: Path) -> Path:
    """Three closed meshes in ModelNet-like folders, one of them with a space and an umlaut in its name."""
    sheared = BOX @ np.array([[1, 0.4, 0], [0, 1, 0], [0.3, 0, 2]])
    wedge = BOX.copy()
    wedge[[1, 5], 1] = 0.7
    write_off(folder / "box" / "train" / "box_0001.off", BOX * [1, 2, 3] + 5)
    write_off(folder / "crate" / "train" / "sheared.off", sheared)
    write_off(folder / "Möbel alt" / "wedge.off", wedge - 2)
    return folder
