"""Lightning's trainer as this program uses it, and the device it runs on."""

import os
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer

from plumbline.errors import InputError
from plumbline.training.callbacks import LOG_EVERY
from plumbline.training.checkpoint import DurableCheckpoints
from plumbline.training.precision import Precision


def make_trainer(
    folder: Path,
    *,
    device: torch.device,
    precision: Precision,
    max_epochs: int,
    gradient_clip: float,
    callbacks: list[Callback],
    fast_dev_run: int = 0,
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    deterministic: bool = False,
) -> Trainer:
    """A trainer that is silent and has nothing in its loop that is not needed.

    Args:
        folder: run folder.
        device: kind of device; ``devices``, ``num_nodes`` and ``strategy`` say how many share the work.
        precision: of weights and arithmetic.
        max_epochs: as the flag.
        gradient_clip: largest norm of the gradient; 0 for none.
        callbacks: in the order in which they run.
        fast_dev_run: batches of each loop of a trial run, 0 for a training.
        deterministic: only deterministic kernels.
    """
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
        precision=precision.lightning,  # type: ignore[arg-type]
        max_epochs=max_epochs,
        fast_dev_run=fast_dev_run or False,
        gradient_clip_val=gradient_clip or None,
        gradient_clip_algorithm="norm",
        deterministic=deterministic,
        log_every_n_steps=LOG_EVERY,
        callbacks=callbacks,
        plugins=[DurableCheckpoints()],
        default_root_dir=folder,
        enable_checkpointing=not fast_dev_run,
        # Lightning's own extras are off: each costs time per step or says what is said already.
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_autolog_hparams=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def choose_device(accelerator: str) -> torch.device:
    """The device that ``--accelerator`` means on this machine. Raises InputError if it is not there."""
    if accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available()):
        if not torch.cuda.is_available():
            raise InputError("--accelerator cuda: there is no NVIDIA GPU that this PyTorch can use; leave it out")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if accelerator == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("--accelerator mps: there is no Apple GPU that this PyTorch can use; leave it out")
        return torch.device("mps")
    return torch.device("cpu")
