"""Several tensors in one block of memory: a batch moves between processes and devices in one piece."""

from typing import NamedTuple

import torch
from torch import Tensor

_ALIGNMENT = 64
"""Bytes: a cache line of the processor; PyTorch aligns its own tensors to it too."""


class Place(NamedTuple):
    """Position of a tensor in a block of memory; ``stride`` and ``first`` count elements of its own type."""

    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    first: int


class Storages:
    """The storages behind several tensors, to be laid end to end in one block."""

    def __init__(self) -> None:
        self._storages: dict[tuple[int, int], tuple[int, torch.UntypedStorage]] = {}
        self._bytes = 0

    def place(self, tensor: Tensor) -> Place:
        """Reserve a place for the tensor's storage, unless another tensor with this storage already has."""
        storage = tensor.untyped_storage()
        key = storage.data_ptr(), storage.nbytes()
        begin, _ = self._storages.setdefault(key, (self._bytes, storage))
        if begin == self._bytes:
            self._bytes += -(-storage.nbytes() // _ALIGNMENT) * _ALIGNMENT
        first = begin // tensor.element_size() + int(tensor.storage_offset())
        return Place(tensor.dtype, tuple(tensor.shape), tensor.stride(), first)

    def joined(self, room: Tensor | None) -> Tensor:
        """Join all storages as ``[bytes]`` uint8, in ``room`` if it is large enough.

        A single storage is returned as it is, without a copy.
        """
        if len(self._storages) == 1:
            return torch.empty(0, dtype=torch.uint8).set_(next(iter(self._storages.values()))[1])
        if room is None or len(room) < self._bytes:
            room = torch.empty(self._bytes, dtype=torch.uint8)
        for begin, storage in self._storages.values():
            whole = torch.empty(0, dtype=torch.uint8).set_(storage)
            room[begin : begin + len(whole)] = whole
        return room[: self._bytes]
