"""What a line of JSON says of a scan: its answer in the wanted frame, with a payload if a mass is given."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from plumbline.errors import InputError
from plumbline.payload.forms import write as write_payload
from plumbline.payload.frames import Frame
from plumbline.payload.record import Payload
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.prediction_table import ScanName
from plumbline.records import AS_IN_FILE

IN_METRES = "its coordinates are taken for metres; give --scale if they are not"
"""The note on an answer in a unit that its file does not say."""


class Wanted(NamedTuple):
    """How answers are wanted.

    Attributes:
        mass: of the object, kilograms; or None.
        density: kilograms per cubic metre, instead of the mass; or None.
        frame: that answers are moved to; None: that of the scan.
        form: one of ``plumbline.payload.forms.FORMS`` that the payload must be fit for; or None.
        strict: refuse answers with a warning.
    """

    mass: float | None = None
    density: float | None = None
    frame: Frame | None = None
    form: str | None = None
    strict: bool = False


def to_payload(
    name: ScanName, answer: Prediction | InputError, wanted: Wanted
) -> tuple[Prediction | InputError, Payload | None]:
    """Move an answer to the wanted frame, and make its payload if a mass is given; or say why not."""
    if isinstance(answer, InputError):
        return answer, None
    has_mass = wanted.mass is not None or wanted.density is not None
    if answer.unit == AS_IN_FILE and (has_mass or wanted.frame is not None):
        answer = replace(answer, notes=(*answer.notes, IN_METRES))
    if wanted.frame is not None:
        answer = answer.moved(wanted.frame)
    payload = None
    if has_mass:
        try:
            payload = answer.payload(wanted.mass, density=wanted.density)
            if wanted.form is not None:
                write_payload(payload, wanted.form)
        except InputError as error:
            return InputError(f"{name}: {error}"), None
        answer = replace(answer, warnings=payload.warnings)
    refused = answer.refusal(name) if wanted.strict else None
    return (answer, payload) if refused is None else (refused, None)


def to_dict(
    answer: Prediction | InputError, payload: Payload | None, model: Mapping[str, str]
) -> dict[str, Any]:
    """What a line of JSON says of a file; ``model`` as :func:`plumbline.predictors.choice.model_facts`."""
    if isinstance(answer, InputError):
        return {"error": str(answer)}
    return {**answer.to_dict(), **({} if payload is None else {"payload": payload.to_dict()}), **model}
