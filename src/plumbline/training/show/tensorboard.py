"""TensorBoard event files."""

from pathlib import Path

from plumbline.training.show.metrics_file import Row


class TensorBoardFolder:
    """TensorBoard event files."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def log(self, row: Row, step: int) -> None:
        """One scalar per metric."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, exit_code: int) -> None:
        """Writes what is left."""
        self._writer.close()
