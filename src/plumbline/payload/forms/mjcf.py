"""The ``<inertial>`` element of a body in MuJoCo's MJCF: about the centre of mass, axes of the body."""

from plumbline.payload.forms.numbers import diagonal_first, join, spell
from plumbline.payload.record import Payload


def write(payload: Payload) -> str:
    """Write the element. Raises InputError: the inertia is not known."""
    full = diagonal_first(payload.known_inertia())
    return f'<inertial pos="{join(payload.com)}" mass="{spell(payload.mass)}" fullinertia="{join(full)}"/>'
