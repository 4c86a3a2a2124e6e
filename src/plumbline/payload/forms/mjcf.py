"""The ``<inertial>`` element of a body in MuJoCo's MJCF: about the centre of mass, axes of the body."""

from plumbline.payload.forms.numbers import join, spell
from plumbline.payload.record import Payload


def write(payload: Payload) -> str:
    """Write the element. Raises InputError: the inertia is not known."""
    inertia = payload.known_inertia()
    full = [inertia[0, 0], inertia[1, 1], inertia[2, 2], inertia[0, 1], inertia[0, 2], inertia[1, 2]]
    return f'<inertial pos="{join(payload.com)}" mass="{spell(payload.mass)}" fullinertia="{join(full)}"/>'
