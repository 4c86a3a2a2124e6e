"""Choice of the device that a network computes on."""

import torch

from plumbline.errors import InputError


def choose_device(accelerator: str) -> torch.device:
    """Choose the device for ``--accelerator`` on this machine. Raises InputError if it is not available."""
    if accelerator not in ("auto", "cpu", "cuda", "mps"):
        raise InputError(f"accelerator must be auto, cpu, cuda or mps, got {accelerator!r}")
    if accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available()):
        if not torch.cuda.is_available():
            raise InputError("--accelerator cuda: PyTorch finds no NVIDIA GPU; leave the flag out")
        return torch.device("cuda", torch.cuda.current_device())
    if accelerator == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("--accelerator mps: PyTorch finds no Apple GPU; leave the flag out")
        return torch.device("mps")
    return torch.device("cpu")


def wait_for_device(device: torch.device) -> None:
    """Wait until a GPU has finished all submitted work, so that timings include it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
