"""The forms in which a payload is printed: one file each, with a function ``write``."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from plumbline.console.text import one_line

if TYPE_CHECKING:
    from plumbline.payload.record import Payload

FORMS = ("urdf", "mjcf", "sdf", "ros", "ur", "franka")
"""Their names, which are those of the files."""
_FLANGE_FORMS = ("ur", "franka")
"""Those whose reader takes the payload to be in the frame of the arm's flange."""

_COMMENTS = {"ros": "# {}", "ur": "# {}", "franka": "// {}"}
"""Comments of the forms that are not XML."""


def write(payload: "Payload", form: str) -> str:
    """Write a payload in one of ``FORMS``.

    Raises:
        InputError: the form has an inertia, and that of the payload is not known.
    """
    written: str = import_module(f"plumbline.payload.forms.{form}").write(payload)
    return written


def flange_warning(form: str | None, of: str) -> str | None:
    """Warn of a payload in the frame of what it is ``of``, a scan or a mesh, if the form needs another."""
    if form not in _FLANGE_FORMS:
        return None
    return (
        f"warning: --format {form}: the robot reads a payload in the frame of its flange, and this one is in "
        f"the frame of the {of}; give --frame with the motion from the {of} to the flange"
    )


def write_all(payloads: Sequence[tuple[str, "Payload"]], form: str) -> str:
    """Write one payload as it is, or several, each below a comment with its name.

    Raises:
        InputError: as :func:`write`.
    """
    if len(payloads) == 1:
        return write(payloads[0][1], form)
    comment = _COMMENTS.get(form, "<!-- {} -->")
    texts = []
    for name, payload in payloads:
        line = one_line(name)
        line = line if form in _COMMENTS else line.replace("--", "- -")  # which ends no comment of XML
        texts.append(f"{comment.format(line)}\n{write(payload, form)}")
    return ("\n---\n" if form == "ros" else "\n\n").join(texts)
