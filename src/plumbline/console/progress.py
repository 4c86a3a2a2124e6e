"""How far a piece of work is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def file_bar(console: Console) -> Iterator[Callable[[int, int], None] | None]:
    """A bar for files being read, on a terminal: call it with (files read, files in all); else None.

    It appears with the first call: a data set that is ready shows none.
    """
    if not console.is_terminal:
        yield None
        return
    from rich.progress import Progress

    bar = Progress(console=console, transient=True)

    def advance(done: int, total: int) -> None:
        if not bar.tasks:
            bar.start()
            bar.add_task("reading files")
        bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield advance
    finally:
        if bar.tasks:
            bar.stop()
