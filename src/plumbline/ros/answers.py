"""Answers for the messages of a bag, as messages of another bag."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from plumbline.errors import InputError
from plumbline.payload.forms.ros import INERTIA, MARKER, POINT
from plumbline.payload.record import Payload
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.prediction_table import ScanName
from plumbline.ros.bags import NewMessage, write_bag
from plumbline.ros.messages import answer_fields

_PARTS = {POINT: "centre_of_mass", INERTIA: "inertia", MARKER: "marker"}
"""The last part of the topics that answers are written to, by the type of the message."""


def write_answers(
    path: Path,
    names: Sequence[ScanName],
    answers: Sequence[Prediction | InputError],
    payloads: Sequence[Payload | None],
    *,
    like: Path,
) -> list[str]:
    """Write the answers for the messages of a bag to a new one, with their stamps, in one step.

    The topics are ``/plumbline/centre_of_mass``, ``/plumbline/marker`` and ``/plumbline/inertia``; for an
    object with a number ``/plumbline/object_3/centre_of_mass`` and so on.

    Args:
        path: the folder of the new bag.
        names: of the messages that are answered.
        answers: for each of them, in metres.
        payloads: for each of them; None: there is no InertiaStamped.
        like: the bag that is answered.

    Returns:
        A note if there is nothing to write, or no inertia of a payload.

    Raises:
        InputError: there is something in the place of the new bag, or it cannot be written.
    """
    messages = [
        message
        for name, answer, payload in zip(names, answers, payloads, strict=True)
        if isinstance(answer, Prediction)
        for message in _messages(name, answer, payload)
    ]
    if not messages:
        return [f"--bag_out {path} is not written: no message has an answer"]
    write_bag(path, messages, like=like)
    if any(payloads) and not any(message.kind == INERTIA for message in messages):
        return [f"--bag_out {path} has no inertia: the model predicts none"]
    return []


def _messages(name: ScanName, answer: Prediction, payload: Payload | None) -> Iterator[NewMessage]:
    assert name.message is not None, "only answers for messages are written into a bag"
    number = "" if name.object is None else f"/object_{name.object}"
    fields = answer_fields(answer, name.message.stamp, payload, number=name.object or 0)
    for kind, held in fields.items():
        yield NewMessage(f"/plumbline{number}/{_PARTS[kind]}", kind, name.message.recorded, held)
