"""Tensors and plain values from files of ``torch.save``: nothing in them is run."""

from io import BytesIO
from typing import Any
from zipfile import ZipFile

import torch

from plumbline.errors import InputError
from plumbline.files import bomb_reason

ZIP = b"PK\x03\x04"
"""What torch knows its archives by."""


def load_plain(whole: bytes) -> tuple[Any, str | None]:
    """Loads tensors on the CPU and plain containers, nothing else; there is no second, trusting attempt.

    Returns:
        The content, and the member whose checksum is wrong, if one is; torch does not look at them.

    Raises:
        InputError: it unpacks to fill the memory; the message is the reason alone.
        UnpicklingError: it holds something else.
        Exception: of any other kind, to which damaged bytes lead torch.
    """
    broken = None
    if whole.startswith(ZIP):
        with ZipFile(BytesIO(whole)) as archive:
            if (reason := bomb_reason(archive, len(whole))) is not None:
                raise InputError(reason)
            broken = archive.testzip()
    return torch.load(BytesIO(whole), map_location="cpu", weights_only=True), broken
