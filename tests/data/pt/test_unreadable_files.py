"""Files that the system does not give are rejected by name, the others used, and they are asked for again."""

import builtins
import errno
import os
from pathlib import Path

import pytest
import trimesh

from plumbline.data.pt import samples
from plumbline.data.pt.cache import CACHE_FOLDER, open_data
from plumbline.data.pt.samples import write_pt
from plumbline.data.store.reader import PackedStore
from plumbline.files import visible_files
from tests.helpers.preparing import BOX, SMALL, prepare, write_meshes, write_off
from tests.helpers.random_samples import random_samples

DENIED = (errno.EACCES, "Permission denied")
BROKEN_DISK = (errno.EIO, "Input/output error")


class Trouble:
    """Files that the system refuses to open or read, whoever asks: the tests may run as root."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.files: dict[str, tuple[int, str]] = {}
        original = Path.read_bytes

        def read_bytes(path: Path) -> bytes:
            if path.name in self.files:
                raise OSError(*self.files[path.name])
            return original(path)

        patch.setattr(Path, "read_bytes", read_bytes)


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Trouble:
    return Trouble(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four sound sample files."""
    (tmp_path / "data").mkdir()
    for name, sample in zip("abcd", random_samples(0, 4), strict=True):
        write_pt(tmp_path / "data" / f"{name}.pt", sample)
    return tmp_path / "data"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sample files that were packed."""
    names = []
    original = samples.read_pt_metadata

    def read(path: Path, **kwargs):
        names.append(path.name)
        return original(path, **kwargs)

    monkeypatch.setattr(samples, "read_pt_metadata", read)
    return names


def rejected(folder: Path) -> list[tuple[str, str]]:
    return [(item.source, item.reason) for item in open_data(folder).rejected]


# -- sample files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DENIED, "cannot be read: Permission denied; check its permissions"),
        (BROKEN_DISK, "cannot be read: Input/output error; replace it with an intact copy"),
    ],
)
def test_a_sample_is_used_as_soon_as_it_can_be_read(
    folder: Path, trouble: Trouble, reads: list[str], error: tuple[int, str], reason: str
) -> None:
    """Neither its size nor its time says that it can; a store that is in use stays where it is."""
    trouble.files["b.pt"] = error
    assert rejected(folder) == [("b.pt", reason)]
    in_use = open_data(folder)
    assert len(in_use) == 3
    assert len(reads) == 4, "as long as nothing changes the files are read once"
    trouble.files["c.pt"] = error
    assert rejected(folder) == [("b.pt", reason)], "what is packed is packed"
    del trouble.files["b.pt"]
    assert rejected(folder) == [("c.pt", reason)]
    trouble.files.clear()
    assert rejected(folder) == []
    assert len(open_data(folder)) == 4
    assert len(in_use.sample(2).in_degree)
    assert in_use.path.is_dir()
    del in_use
    (folder / "a.pt").write_bytes(b"junk")
    assert [name for name, _ in rejected(folder)] == ["a.pt"]
    assert sum(path.is_dir() for path in (folder / CACHE_FOLDER).iterdir()) == 1, "none is left behind"


def test_what_the_maker_of_a_folder_wrote_down_is_not_read(folder: Path, reads: list[str]) -> None:
    """Its words may be those of a file that cannot be read, and name any file of the system."""
    (folder / "notes.txt").touch()
    reason = "cannot be read: Permission denied; check its permissions"
    samples.write_dataset_metadata(folder, [], rejected=[{"source": "notes.txt", "reason": reason}])
    assert rejected(folder) == rejected(folder) == [("notes.txt", reason)]
    assert len(reads) == 4


def test_a_link_to_a_sample_that_is_not_there_blocks_no_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "link.pt").symlink_to(tmp_path / "away.pt")
    (folder / "ring.pt").symlink_to(folder / "ring.pt")
    gone = ("link.pt", "is a link to a file that does not exist")
    ring = "cannot be read: Too many levels of symbolic links; replace it with an intact copy"
    assert rejected(folder) == rejected(folder) == [gone, ("ring.pt", ring)]
    (folder / "ring.pt").unlink()
    assert rejected(folder) == [gone]
    (folder / "a.pt").rename(tmp_path / "away.pt")
    assert rejected(folder) == []
    assert len(open_data(folder)) == 4


# -- meshes ------------------------------------------------------------------------------------------------


def test_meshes_that_cannot_be_read_are_rejected_by_name_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    meshes = write_meshes(tmp_path / "m")
    write_off(meshes / "locked.off", BOX)
    (meshes / "dang.stl").symlink_to(tmp_path / "away.stl")
    (meshes / "ring.stl").symlink_to(meshes / "ring.stl")
    os.mkfifo(meshes / "pipe.stl")
    for name, data in trimesh.creation.box([1, 1, 1]).export(file_type="gltf").items():
        (meshes / name).write_bytes(data)
    buffer = min(meshes.glob("*.bin"))
    original = builtins.open

    def no_entry(file, *args, **kwargs):
        if file in (meshes / "locked.off", buffer):
            raise OSError(*DENIED, str(file))
        return original(file, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", no_entry)
        prepare(meshes, "--out", tmp_path / "out", *SMALL)
    denied = "cannot be read: Permission denied; check its permissions"
    reasons = {
        "dang.stl": "is a link to a file that does not exist",
        "locked.off": denied,
        "model.gltf": f"refers to {buffer.name}, which {denied}",
        "ring.stl": "cannot be read: Too many levels of symbolic links; replace it with an intact copy",
    }
    store = PackedStore.open(tmp_path / "out")
    assert {item.source: item.reason for item in store.rejected} == reasons
    assert store.num_objects == 3
    said = capsys.readouterr().out
    assert all(f"{name}: {reason}" in said for name, reason in reasons.items())
    assert prepare(meshes, "--out", tmp_path / "out", *SMALL, ok=False) == 2
    assert "contents of the input files have changed" in capsys.readouterr().err, "now they can be read"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize("suffix", [".pt", ".stl", ".npz"])
def test_a_pipe_among_files_keeps_nobody_waiting(tmp_path, suffix):
    (tmp_path / f"file{suffix}").write_bytes(b"")
    (tmp_path / f"link{suffix}").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    assert visible_files(tmp_path, {suffix}) == [f"file{suffix}", f"link{suffix}"]
