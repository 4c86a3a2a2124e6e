"""Error sums that accumulate on the device and are read rarely.

Letters: G graphs. Errors are ``predicted - true`` in the stored frame; absolute and squared ones per axis,
displacements ``||predicted - true||`` per graph.
"""

import torch
from torch import Tensor

from plumbline.training.distributed.world import ALONE, World

AXES = ("x", "y", "z")


def axis_sums(error: Tensor) -> Tensor:
    """``[G, 3]`` errors to ``[6]``: sums over graphs of the absolute and of the squared error per axis."""
    return torch.stack([error.abs(), error.square()]).sum(1).flatten()


def displacement_sums(error: Tensor, bounding_radius: Tensor) -> Tensor:
    """``[G, 3]`` errors and ``[G]`` radii to ``[8]``: :func:`axis_sums`, displacements, the same in radii."""
    displacement = error.square().sum(1).sqrt()
    return torch.cat(
        [axis_sums(error), displacement.sum()[None], (displacement / bounding_radius).sum()[None]]
    )


def axis_means(sums: Tensor, num_graphs: int) -> dict[str, float]:
    """Metric name (without prefix) to value, from the sums over ``num_graphs`` graphs.

    A ninth sum is that of a loss of the user; without it, the loss is the mean absolute error.
    """
    values = [value / num_graphs for value in sums.tolist()]
    mae, mse = values[:3], values[3:6]
    means = {"loss": sum(mae) / 3, "mae": sum(mae) / 3, "mse": sum(mse) / 3}
    means |= {f"mae_{axis}": value for axis, value in zip(AXES, mae, strict=True)}
    means |= {f"mse_{axis}": value for axis, value in zip(AXES, mse, strict=True)}
    if len(values) > 6:
        means |= {"error": values[6], "error_rel": values[7]}
    if len(values) > 8:
        means["loss"] = values[8]
    return means


class RunningSums:
    """Sums over the graphs of an epoch. Adding is one small kernel and does not wait for the device."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset the sums to zero."""
        self._sums: Tensor | None = None
        self.num_graphs = 0

    def add(self, sums: Tensor, num_graphs: int) -> None:
        """Add the sums of one batch."""
        if self._sums is None:
            # Float64 where the device has it: thousands of batches then add up without rounding.
            wide = torch.float32 if sums.device.type == "mps" else torch.float64
            self._sums = torch.zeros(len(sums), dtype=wide, device=sums.device)
        self._sums.add_(sums)
        self.num_graphs += num_graphs

    def means(self, world: World = ALONE) -> dict[str, float]:
        """See :func:`axis_means`, over the graphs of all processes; empty if nothing was added."""
        sums, num_graphs = world.sum(self._sums, self.num_graphs)
        return {} if sums is None else axis_means(sums, num_graphs)

    def state(self, world: World = ALONE) -> dict[str, object]:
        """Plain values of all processes for a checkpoint."""
        sums, num_graphs = world.sum(self._sums, self.num_graphs)
        return {"num_graphs": num_graphs, "sums": None if sums is None else sums.cpu()}

    def restore(self, state: dict, device: torch.device) -> None:
        """Restore the values of :meth:`state`."""
        self.num_graphs = state["num_graphs"]
        self._sums = None if state["sums"] is None else state["sums"].to(device)
