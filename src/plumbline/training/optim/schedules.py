"""Learning-rate schedules."""

import math

_FLOOR = 0.01
"""Fraction of the learning rate at which warm-up begins and the cosine ends."""


def cosine(step: int, total: int, warmup: float) -> float:
    """Factor of the learning rate at a step: linear warm-up, then half a cosine down to a hundredth.

    A pure function of the step, so resuming needs no state. Source: Loshchilov & Hutter, SGDR (2017).
    """
    done = min(step / max(total, 1), 1.0)
    if done < warmup:
        return _FLOOR + (1 - _FLOOR) * done / warmup
    along = (done - warmup) / max(1 - warmup, 1e-9)
    return _FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * along)) / 2
