"""Warm-up: load every CUDA kernel before the first epoch, without side effects."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from plumbline.data.batches.batch import Batch
from plumbline.models import forward_with_error
from plumbline.models.answer import as_answer
from plumbline.training.loop.precision import Precision
from plumbline.training.randomness import random_states, restore_random_states

STEPS = 2


def warm_up(
    model: nn.Module,
    batch: Batch,
    make_optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    *,
    precision: Precision,
    gradient_clip: float,
    device: torch.device,
) -> str:
    """Take a few training steps with a copy of the model: forward, backward, optimizer kernels.

    Weights, optimizer, gradients, random numbers and loaders are unchanged afterwards: the steps run on a
    deep copy, with a batch that comes from no loader, and the random states are restored.

    Returns:
        "" on success, otherwise one sentence; training is not affected either way.
    """
    states = random_states()
    try:
        _steps(copy.deepcopy(model).to(device), batch.to(device), make_optimizer, precision, gradient_clip)
    except Exception as error:  # noqa: BLE001 - a real error occurs again, and is reported, in training
        return f"the warm-up failed and was skipped ({type(error).__name__}: {str(error).splitlines()[0]})"
    finally:
        restore_random_states(states)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.empty_cache()
    return ""


def _steps(
    twin: nn.Module, batch: Batch, make_optimizer: Any, precision: Precision, gradient_clip: float
) -> None:
    twin.to(precision.weights).train()
    device = next(twin.parameters()).device
    optimizer = make_optimizer(twin.parameters())
    scaler = torch.amp.GradScaler(device.type, enabled=precision.scales_gradients)
    for _ in range(STEPS):
        optimizer.zero_grad()
        with precision.autocast(device):
            answer = forward_with_error(twin)(batch)
        parts = [part.to(precision.errors).abs().mean() for part in as_answer(answer).parts]
        loss = torch.stack(parts).sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        if gradient_clip:
            nn.utils.clip_grad_norm_(twin.parameters(), gradient_clip)
        scaler.step(optimizer)
        scaler.update()
    twin.eval()
    with torch.inference_mode(), precision.autocast(device):
        twin(batch)
