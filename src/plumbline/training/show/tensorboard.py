"""TensorBoard event files."""

from pathlib import Path

from plumbline.training.show.metrics_file import Row


class TensorBoardFolder:
    """Tracker that writes TensorBoard event files."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def log(self, row: Row, step: int) -> None:
        """Write one scalar per metric."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, exit_code: int) -> None:
        """Write remaining events and close the files."""
        self._writer.close()
