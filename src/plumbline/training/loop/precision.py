"""Numeric precisions: their effect on weights and arithmetic, and fallbacks for each device."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, NamedTuple

import torch

LIGHTNING_NAMES = {
    "32": "32-true",
    "16": "16-true",
    "bf16": "bf16-true",
    "16-mixed": "16-mixed",
    "bf16-mixed": "bf16-mixed",
    "64": "64-true",
}
"""Ours to Lightning's: plain ``16`` and ``bf16`` mean the weights themselves, Lightning's mean mixed."""

_WEIGHTS = {"16": torch.float16, "bf16": torch.bfloat16, "64": torch.float64}
_AUTOCAST = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
_WITHOUT_BFLOAT16 = ("avx512_core", "avx512_core_vnni")
"""Limits that a user can set on the instructions of oneDNN, with AVX-512 and without bfloat16."""

_ON_CPU = {"16": "bf16", "16-mixed": "bf16-mixed"}


class Precision(NamedTuple):
    """A precision that the device supports.

    Attributes:
        name: ours, e.g. ``"bf16-mixed"``.
        note: the message to report if it is not the requested one or gains nothing here, otherwise "".
        wide: bfloat16 products are to be computed as float32 (:mod:`plumbline.training.loop.wide_products`).
    """

    name: str
    note: str = ""
    wide: bool = False

    @property
    def lightning(self) -> str:
        """Lightning's name for the precision."""
        return LIGHTNING_NAMES[self.name]

    @property
    def weights(self) -> torch.dtype:
        """Type of the network's weights."""
        return _WEIGHTS.get(self.name, torch.float32)

    @property
    def errors(self) -> torch.dtype:
        """Type of the loss and of every metric: never below float32."""
        return torch.float64 if self.name == "64" else torch.float32

    @property
    def adam_eps(self) -> float:
        """Adam's epsilon. The usual 1e-8 is zero in float16, where a unit without gradient would give 0/0."""
        return 1e-4 if self.name == "16" else 1e-8

    @property
    def mixed(self) -> bool:
        """Whether the weights stay float32 while the arithmetic is shorter."""
        return self.name in _AUTOCAST

    @property
    def scales_gradients(self) -> bool:
        """Whether small gradients are scaled up before they are rounded to float16."""
        return self.name == "16-mixed"

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context for a forward pass, the same as in Lightning's loops."""
        if self.name in _AUTOCAST:
            return torch.autocast(device.type, dtype=_AUTOCAST[self.name])
        return _default_type(self.weights) if self.name in _WEIGHTS else nullcontext()


@contextmanager
def _default_type(dtype: torch.dtype) -> Iterator[None]:
    """Set torch's default type, as Lightning does for true half and double; compiled code depends on it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def choose_precision(name: str, device: torch.device) -> Precision:
    """The requested precision, or the nearest one that the device supports, with a note that says why.

    float16 needs a GPU: on a CPU most kernels are missing or emulated, and bfloat16 takes as little memory.
    """
    if device.type == "cpu" and name not in ("32", "64"):
        done = _ON_CPU.get(name, name)
        note = "" if done == name else f"float16 needs a GPU: --precision {name} runs as {done} on this CPU"
        units = cpu_bfloat16()
        if units != "fast":
            slow = f"this CPU has no units for bfloat16: --precision {name} gains nothing here, 32 is as fast"
            note = f"{note}; {slow}" if note else slow
        return Precision(done, note, wide=units == "none")
    if device.type == "mps" and name == "64":
        return Precision("32", "this device has no float64: --precision 64 runs as 32")
    return Precision(name)


def cpu_bfloat16() -> Literal["fast", "emulated", "none"]:
    """Whether this CPU multiplies bfloat16 matrices faster than float32 ones, as fast, or far slower.

    oneDNN multiplies them where the CPU has at least AVX-512; elsewhere PyTorch does, number by number.
    """
    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return "none"
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every version of torch
    lacking = has.get("avx512_f") and not (has["avx512_bf16"] or has["amx_bf16"])
    limit = next(filter(None, map(os.environ.get, ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))), "")
    return "emulated" if lacking or limit.lower() in _WITHOUT_BFLOAT16 else "fast"


def forbid_tf32() -> None:
    """Use full float32 products on NVIDIA GPUs; TF32 keeps ten mantissa bits and breaks equivariance."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
