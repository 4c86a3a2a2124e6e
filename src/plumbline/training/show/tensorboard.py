"""TensorBoard event files, in the process of a tracker."""

from typing import Any

from plumbline.training.show.tracker_program import Tell, importing


def open_run(start: dict[str, Any], tell: Tell) -> "TensorBoardFolder":
    """Open the folder of a run, and report where it is.

    Args:
        start: ``folder``, and ``resume_step``, step of the checkpoint that training resumes from, or None.
        tell: receives the sentence.

    Raises:
        Unusable: tensorboard is not installed, or broken.
        OSError: the folder cannot be written to.
    """
    with importing("tensorboard"):
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(start["folder"])
    if start["resume_step"] is not None:  # TensorBoard then drops the later steps that it has
        after = start["resume_step"] + 1
        writer.add_event(Event(step=after, file_version="brain.Event:2"))
        writer.add_event(Event(step=after, session_log=SessionLog(status=SessionLog.START)))

    def event(name: str, value: float, step: int, when: float) -> Any:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        return Event(wall_time=when, step=step, summary=summary)

    tell(say=f"TensorBoard: {start['folder']}")
    return TensorBoardFolder(writer, event)


class TensorBoardFolder:
    """An open file of events.

    Args:
        writer: TensorBoard's own writer.
        event: makes an event of a metric's name and value, its step and its time.
    """

    def __init__(self, writer: Any, event: Any) -> None:
        self._writer, self._event = writer, event

    def log(self, metrics: dict[str, float], step: int, when: float) -> None:
        """Write one event per metric."""
        for name, value in metrics.items():
            self._writer.add_event(self._event(name, value, step, when))
        self._writer.flush()

    def finish(self, exit_code: int) -> None:
        """Close the file."""
        self._writer.close()
