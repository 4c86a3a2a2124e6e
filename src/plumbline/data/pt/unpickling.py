"""Loading of tensors and plain values from ``torch.save`` files without running any code in them."""

from io import BytesIO
from typing import Any
from zipfile import ZipFile

import torch

from plumbline.errors import InputError
from plumbline.files import bomb_reason

ZIP = b"PK\x03\x04"
"""The bytes with which every archive of ``torch.save`` begins."""


def load_plain(whole: bytes) -> tuple[Any, str | None]:
    """Load tensors (on the CPU) and plain containers, and nothing else; there is no unsafe fallback.

    Returns:
        The content, and the first archive member whose checksum is wrong, or None. torch itself does not
        check them.

    Raises:
        InputError: the file would fill the memory when unpacked; the message is the reason without the path.
        UnpicklingError: the file contains anything else.
        Exception: any other kind, raised by torch on damaged bytes.
    """
    broken = None
    if whole.startswith(ZIP):
        with ZipFile(BytesIO(whole)) as archive:
            if (reason := bomb_reason(archive, len(whole))) is not None:
                raise InputError(reason)
            broken = archive.testzip()
    return torch.load(BytesIO(whole), map_location="cpu", weights_only=True), broken
