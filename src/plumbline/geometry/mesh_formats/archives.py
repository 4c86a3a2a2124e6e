"""Zip archives of zae and 3mf files."""

import zlib
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from plumbline.errors import InputError, MeshError
from plumbline.geometry.headers import check_archive
from plumbline.geometry.mesh_formats.parts import show


def open_archive(path: Path) -> ZipFile:
    """Open an archive, after a check that it would not fill the memory.

    Raises:
        MeshError: the file is not a zip archive.
        InputError: the archive would fill the memory; the message names the file.
        OSError: the file cannot be read.
    """
    try:
        check_archive(path)
        return ZipFile(path)
    except InputError:
        raise
    except (BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise MeshError(
            f"cannot be read as {path.suffix[1:].lower()}: it is not a complete zip archive; export it again"
        ) from error


def read_member(archive: ZipFile, name: str) -> bytes:
    """Unpack a member.

    Raises:
        MeshError: it is damaged, encrypted, or compressed by another method than deflate.
    """
    if archive.getinfo(name).compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise MeshError(f"compresses {show(name)} by a method that is not supported; export it again")
    try:
        return archive.read(name)
    except RuntimeError as error:
        raise MeshError(f"is encrypted ({show(name)}); export it without encryption") from error
    except (BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise MeshError(
            f"is truncated or damaged: {show(name)} cannot be unpacked; export it again"
        ) from error
