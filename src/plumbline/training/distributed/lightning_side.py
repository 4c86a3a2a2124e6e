"""What Lightning is told of the processes of a training."""

from typing import Any

from plumbline.training.distributed.place import Place
from plumbline.training.lightning_import import ClusterEnvironment, DDPStrategy, Trainer


class _Joined(ClusterEnvironment):
    """Processes that are started and connected already."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    @property
    def creates_processes_externally(self) -> bool:
        """Whether another program has started the processes: always."""
        return True

    @property
    def main_address(self) -> str:
        """Address of the first process; not used, as the processes are connected."""
        return self._place.address

    @property
    def main_port(self) -> int:
        """Port of the first process; not used either."""
        return self._place.port

    @staticmethod
    def detect() -> bool:
        """Whether Lightning may choose this environment by itself: never."""
        return False

    def world_size(self) -> int:
        """Number of processes."""
        return self._place.size

    def global_rank(self) -> int:
        """Number of this process."""
        return self._place.rank

    def local_rank(self) -> int:
        """Its number on its host."""
        return self._place.local_rank

    def node_rank(self) -> int:
        """Number of its host, where all have as many processes."""
        return self._place.rank // self._place.local_size

    def set_world_size(self, size: int) -> None:
        """Do nothing: it is known."""

    def set_global_rank(self, rank: int) -> None:
        """Do nothing: it is known."""


def ddp(place: Place, *, unused_parameters: bool) -> dict[str, Any]:
    """Arguments of Lightning's trainer for a training by several processes.

    Each has a copy of the network, and gradients are averaged (Li et al., PyTorch Distributed: Experiences on
    Accelerating Data Parallel Training, 2020).
    """
    return {
        "devices": place.local_size,
        "num_nodes": place.size // place.local_size,
        "strategy": DDPStrategy(
            cluster_environment=_Joined(place),
            gradient_as_bucket_view=True,
            find_unused_parameters=unused_parameters,
        ),
    }


def leave_signals_alone(trainer: Trainer) -> None:
    """Keep Lightning from asking all processes before each step whether SIGTERM came.

    It makes every step wait for the device, and hides that a process does not answer. ``GracefulStop`` asks.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    if hasattr(loop, "_broadcast_sigterm_tensor"):
        loop._broadcast_sigterm_tensor = lambda: None
