"""Why a ``torch.save`` file holds more than tensors and plain values, found without running it."""

import re
from io import BytesIO
from pickletools import genops
from typing import Any
from zipfile import ZipFile

from plumbline.data.pt.unpickling import ZIP

_TENSORS = re.compile(r"(torch|torch\._utils|torch\.nn\.parameter|torch\.serialization|collections) ")
"""Modules of the names in the pickle of every tensor and of every ordered dictionary."""
_WAYS = {
    "torch_geometric": (
        "a PyG object",
        'save a dictionary of its tensors: {"node_features": data.x, "edge_index": ..., "target": ...}',
    ),
    "pathlib": ("a Path", "save its str()"),
    "ndarray": ("a NumPy array", "save torch.from_numpy(...) of it"),
    "scalar": ("a NumPy number", "save its .item()"),
}
"""What a value is, and how to save it so that it can be read; by its module, or by its kind in NumPy."""
_OTHER = "save only tensors, numbers, texts, lists and dictionaries"
_OURS = 2
"""Protocol of ``torch.save``, the newest one that can be read without running code."""
_LONGEST = 60
"""Length in characters at which a key is cut."""
_UNREADABLE = "is not a readable .pt file"


def reason(whole: bytes) -> str:
    """The reason to refuse a file that ``torch.load(weights_only=True)`` refuses: which key holds what.

    The opcodes of the pickle are listed and never executed. The key is the last text before the foreign name.
    """
    try:
        return _reason(whole)
    except Exception:  # noqa: BLE001 - damaged bytes can make zipfile and pickletools raise anything
        return _UNREADABLE


def _reason(whole: bytes) -> str:
    stream = BytesIO(whole)
    if whole.startswith(ZIP):
        with ZipFile(stream) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            stream = BytesIO(archive.read(name))
    while stream.tell() < len(stream.getbuffer()):  # the older format is a series of pickles
        key = ""
        for opcode, given, _ in genops(stream):
            argument: Any = given
            if opcode.name == "PROTO" and argument > _OURS:
                way = "use that of torch.save" if whole.startswith(ZIP) else "write it with torch.save"
                return f"is written with pickle protocol {argument}, which cannot be read safely: {way}"
            if opcode.name == "GLOBAL" and not _TENSORS.match(argument):
                return _foreign(key, argument[:_LONGEST])
            if isinstance(argument, str) and opcode.name != "GLOBAL":
                key = argument[:_LONGEST]
    return _UNREADABLE


def _foreign(key: str, name: str) -> str:
    module, _, what = name.partition(" ")
    kind = module.partition(".")[0]
    if kind == "numpy":
        kind = "scalar" if what == "scalar" else "ndarray"
    said, way = _WAYS.get(kind, (f"a {module}.{what}", _OTHER))
    return f"{f'{key} is' if key else 'holds'} {said}, and reading that could run code: {way}"
