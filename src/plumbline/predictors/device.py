"""The device that a network computes on."""

import os

import torch

from plumbline.errors import InputError


def choose_device(accelerator: str) -> torch.device:
    """The device that ``--accelerator`` means on this machine. Raises InputError if it is not there."""
    if accelerator not in ("auto", "cpu", "cuda", "mps"):
        raise InputError(f"accelerator must be auto, cpu, cuda or mps, got {accelerator!r}")
    if accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available()):
        if not torch.cuda.is_available():
            raise InputError("--accelerator cuda: PyTorch finds no NVIDIA GPU here; leave it out")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if accelerator == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("--accelerator mps: PyTorch finds no Apple GPU here; leave it out")
        return torch.device("mps")
    return torch.device("cpu")


def wait_for_device(device: torch.device) -> None:
    """Until a GPU has done all that it was told, so that a clock shows the work and not the telling."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
