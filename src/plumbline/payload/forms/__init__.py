"""The forms in which a payload is printed: one file each, with a function ``write``."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plumbline.payload.record import Payload

FORMS = ("urdf", "mjcf", "sdf", "ros", "ur", "franka")
"""Their names, which are those of the files."""
FLANGE_FORMS = ("ur", "franka")
"""Those whose reader takes the payload to be in the frame of the arm's flange."""


def write(payload: "Payload", form: str) -> str:
    """Write a payload in one of ``FORMS``.

    Raises:
        InputError: the form has an inertia, and that of the payload is not known.
    """
    written: str = import_module(f"plumbline.payload.forms.{form}").write(payload)
    return written
