"""Tensors and plain values from files of ``torch.save``: nothing in them is run."""

from io import BytesIO
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipFile

import torch
from torch import _weights_only_unpickler

from plumbline.errors import InputError
from plumbline.files import bomb_reason

_LONGEST = 1000
ZIP = b"PK\x03\x04"
"""What torch knows its archives by."""


class _ShortError(UnpicklingError):
    """With the beginning of its text.

    torch searches the text of its refusals with an expression that takes the square of the longest word's
    length, and words of any length come from the file: a name of 64,000 letters took 48 s.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(text[:_LONGEST])


# Whatever torch refuses to unpickle it refuses by this name: globals, calls, objects.
vars(_weights_only_unpickler)["UnpicklingError"] = _ShortError


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
