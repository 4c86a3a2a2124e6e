"""The call of libfranka that sets a load: frame of the flange, inertia about the centre of mass."""

from plumbline.payload.forms.numbers import join, spell
from plumbline.payload.record import Payload


def write(payload: Payload) -> str:
    """Write the call in C++, the tensor column by column. Raises InputError: the inertia is not known."""
    inertia = payload.known_inertia()
    columns = join(inertia.T.ravel(), ", ")
    return f"robot.setLoad({spell(payload.mass)}, {{{{{join(payload.com, ', ')}}}}}, {{{{{columns}}}}});"
