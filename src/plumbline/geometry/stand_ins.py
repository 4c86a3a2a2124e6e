"""Files that are not what their suffix says: compressed, a web page, or of another format."""

from pathlib import Path

from plumbline.errors import InputError

_STARTS = (
    (b"\x1f\x8b", "is compressed with gzip; unpack it with gunzip"),
    (b"bzh", "is compressed with bzip2; unpack it with bunzip2"),
    (b"\xfd7zxz", "is compressed with xz; unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd; unpack it with unzstd"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull"),
    (b"<!doctype html", "is a web page; download the file itself"),
    (b"<html", "is a web page; download the file itself"),
)
"""First bytes, in lower case, of files that are not scans."""
_FORMATS = (
    (b"\x93numpy", (".npy",)),
    (b"pk\x03\x04", (".npz",)),
    (b"lasf", (".las", ".laz")),
    (b"# .pcd", (".pcd",)),
    (b"ply\n", (".ply",)),
    (b"ply\r", (".ply",)),
)
"""First bytes, in lower case, of scans, and their suffixes."""
_PACKED = frozenset({".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst"})


def check_is_scan(path: Path) -> None:
    """Refuse a file whose first bytes do not match its suffix.

    Raises:
        InputError: the file is refused, or is empty; the message names it.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(64).lower()
    if not start:
        raise InputError(f"{path} is empty; export it again")
    start = start.lstrip() if start.lstrip().startswith(b"<") else start
    for mark, reason in _STARTS:
        if start.startswith(mark):
            raise InputError(f"{path} {reason}")
    suffix = path.suffix.lower()
    for mark, suffixes in _FORMATS:
        if start.startswith(mark) and suffix not in suffixes:
            raise InputError(f"{path} is not {suffix[1:]} but {suffixes[0][1:]}; rename it to {suffixes[0]}")


def is_packed(path: Path) -> bool:
    """Tell whether the suffix of a file is that of a compressed file or an archive."""
    return path.suffix.lower() in _PACKED
