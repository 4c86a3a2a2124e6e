"""Archives of ``torch.save`` that hold a sample, read in a fraction of torch's own time.

Reading many small files is Python work: torch interprets some four hundred steps of a file's pickle in
Python. This reader knows the one layout in which samples are written: uncompressed members with correct
checksums, and a pickle of dictionaries, lists, tuples, strings, numbers and contiguous tensors on the CPU.
If a file contains anything else, in a single byte, it declines, and torch reads or refuses the file
(:mod:`plumbline.data.pt.unpickling`). Names of classes and functions in a pickle are compared with those
that it knows and never looked up: no file can call anything.
"""

import math
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

_STORAGES = {
    "torch FloatStorage": torch.float32,
    "torch DoubleStorage": torch.float64,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
}
_TENSOR, _HOOKS = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
_END, _ENTRY = struct.Struct("<4s4H2LH"), struct.Struct("<4s6H3L5H2L")
_NO_HOOKS = object()
_NUMBERS = {ord("K"): "<B", ord("M"): "<H", ord("J"): "<i", ord("G"): ">d"}
_PLAIN = {dict, list, str, int, float, bool, type(None), torch.Tensor}


class UnusualArchiveError(Exception):
    """The file contains something that this reader does not know, or is damaged."""


class _Name(NamedTuple):
    """The module and the name of a class or function that a pickle mentions."""

    text: str


class _Storage(NamedTuple):
    """Where the ``num`` elements of a storage begin in the file."""

    dtype: torch.dtype
    begin: int
    num: int


def read_archive(data: bytearray) -> Any:
    """Read a file of ``torch.save``. The tensors share the memory of ``data``.

    Raises:
        UnusualArchiveError: the file is not exactly of the layout that samples have.
    """
    try:
        members = _members(data)
        root = min(members, key=len).partition("/")[0] + "/"
        facts = [bytes(data[slice(*members[root + name])]) for name in ("byteorder", "version")]
        if facts != [sys.byteorder.encode(), b"3\n"] or not all(name.startswith(root) for name in members):
            raise UnusualArchiveError
        return _Pickle(data, members, root).value()
    except (AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        raise UnusualArchiveError from error


def _members(data: bytearray) -> dict[str, tuple[int, int]]:
    """Where each member begins and ends. All are uncompressed, and their checksums are correct."""
    signature, *disks, _, count, size, start, comment = _END.unpack_from(data, len(data) - _END.size)
    if signature != b"PK\5\6" or any(disks) or comment or start + size > len(data):
        raise UnusualArchiveError
    whole = memoryview(data)
    members: dict[str, tuple[int, int]] = {}
    at = start
    for _ in range(count):
        signature, _, _, flags, method, _, _, crc, packed, length, *sizes, _, _, _, first = (
            _ENTRY.unpack_from(data, at)
        )
        name = data[at + _ENTRY.size : at + _ENTRY.size + sizes[0]].decode()
        begin = first + 30 + sum(struct.unpack_from("<2H", data, first + 26))
        end = begin + length
        usual = (
            signature == b"PK\1\2" and whole[first : first + 4] == b"PK\3\4" and not method and not flags & 1
        )
        if (
            not usual
            or packed != length
            or end > start
            or name in members
            or zlib.crc32(whole[begin:end]) != crc
        ):
            raise UnusualArchiveError
        members[name] = begin, end
        at += _ENTRY.size + sum(sizes)
    return members


class _Pickle:
    """Interprets ``data.pkl``: the steps of which ``torch.save`` writes plain values and tensors."""

    def __init__(self, data: bytearray, members: dict[str, tuple[int, int]], root: str) -> None:
        self._data, self._members, self._root = data, members, root
        self._code = bytes(data[slice(*members[root + "data.pkl"])])
        self._at = 2
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under each mark
        self._memo: dict[int, Any] = {}

    def value(self) -> Any:
        """The value. Frequent steps are interpreted here, the others by the functions in ``_STEPS``."""
        code, memo, stack = self._code, self._memo, self._stack
        if code[:2] != b"\x80\2":
            raise UnusualArchiveError
        at = self._at
        while True:
            step, at = code[at], at + 1
            if step == 0x71:  # BINPUT
                memo[code[at]] = stack[-1]
                at += 1
            elif step == 0x68:  # BINGET
                stack.append(memo[code[at]])
                at += 1
            elif step == 0x4B:  # BININT1
                stack.append(code[at])
                at += 1
            elif step == 0x28:  # MARK
                self._below.append(stack)
                self._stack = stack = []
            elif step == 0x2E:  # STOP
                if at != len(code) or len(stack) != 1 or self._below:
                    raise UnusualArchiveError
                return _plain(stack)[0]
            else:
                self._at = at
                _STEPS[step](self)
                at, stack = self._at, self._stack

    def _take(self, length: int) -> bytes:
        """The next bytes of the pickle."""
        begin, self._at = self._at, self._at + length
        return self._code[begin : self._at]

    def _pop(self, number: int | None = None) -> list[Any]:
        """Remove the last ``number`` values from the stack; those since the last mark, and it, if None."""
        if number is None:
            found, self._stack = self._stack, self._below.pop()
            return found
        if len(self._stack) < number:
            raise UnusualArchiveError
        found = self._stack[-number:]
        del self._stack[-number:]
        return found

    def number(self) -> None:
        form = struct.Struct(_NUMBERS[self._code[self._at - 1]])
        self._stack += form.unpack(self._take(form.size))

    def text(self) -> None:
        length = int.from_bytes(self._take(4), "little")
        self._stack.append(self._take(length).decode())

    def name(self) -> None:
        end = self._code.index(b"\n", self._code.index(b"\n", self._at) + 1)
        self._stack.append(_Name(self._take(end - self._at).decode().replace("\n", " ")))
        self._at += 1

    def pack(self, number: int | None = None) -> None:
        packed = tuple(self._pop(number))
        self._stack.append(packed)

    def fill(self, number: int | None = None) -> None:
        pairs = self._pop(number)
        keys, values, into = pairs[::2], pairs[1::2], self._stack[-1]
        if any(type(key) is not str for key in keys):
            raise UnusualArchiveError
        into.update(zip(keys, _plain(values), strict=True))

    def extend(self, number: int | None = None) -> None:
        items = self._pop(number)
        self._stack[-1].extend(_plain(items))

    def remember(self) -> None:
        self._memo[int.from_bytes(self._take(4), "little")] = self._stack[-1]

    def recall(self) -> None:
        self._stack.append(self._memo[int.from_bytes(self._take(4), "little")])

    def storage(self) -> None:
        kind, name, key, device, num = self._stack.pop()
        dtype = _STORAGES[name.text]
        begin, end = self._members[f"{self._root}data/{key}"]
        if (kind, device, end - begin) != ("storage", "cpu", num * dtype.itemsize) or begin % dtype.itemsize:
            raise UnusualArchiveError
        self._stack.append(_Storage(dtype, begin, num))

    def rebuild(self) -> None:
        what, arguments = self._pop(2)
        if what == _Name(_HOOKS) and arguments == ():
            self._stack.append(_NO_HOOKS)
            return
        storage, offset, size, stride, trained, hooks = arguments
        dtype, begin, num = storage
        contiguous = tuple(math.prod(size[place + 1 :]) for place in range(len(size)))
        count = math.prod(size)
        counts = all(type(length) is int and length > 0 for length in (*size, offset + 1, num))
        usual = (
            what == _Name(_TENSOR)
            and type(storage) is _Storage
            and stride == contiguous
            and hooks is _NO_HOOKS
        )
        if not usual or not counts or trained is not False or offset + count > num:
            raise UnusualArchiveError
        first = begin + offset * dtype.itemsize
        self._stack.append(torch.frombuffer(self._data, dtype=dtype, count=count, offset=first).view(size))


_STEPS: dict[int, Callable[[_Pickle], None]] = {
    **dict.fromkeys(_NUMBERS, _Pickle.number),
    ord("X"): _Pickle.text,
    ord("c"): _Pickle.name,
    ord("Q"): _Pickle.storage,
    ord("R"): _Pickle.rebuild,
    ord("t"): _Pickle.pack,
    0x85: lambda self: self.pack(1),
    0x86: lambda self: self.pack(2),
    0x87: lambda self: self.pack(3),
    ord("s"): lambda self: self.fill(2),
    ord("u"): _Pickle.fill,
    ord("a"): lambda self: self.extend(1),
    ord("e"): _Pickle.extend,
    ord("r"): _Pickle.remember,
    ord("j"): _Pickle.recall,
    ord(")"): lambda self: self._stack.append(()),
    ord("}"): lambda self: self._stack.append({}),
    ord("]"): lambda self: self._stack.append([]),
    ord("N"): lambda self: self._stack.append(None),
    0x88: lambda self: self._stack.append(True),
    0x89: lambda self: self._stack.append(False),
}


def _plain(values: list[Any]) -> list[Any]:
    """The values, if no name, storage or mark of a pickle is among them."""
    for value in values:
        if type(value) is tuple:
            _plain(list(value))
        elif type(value) not in _PLAIN:
            raise UnusualArchiveError
    return values
