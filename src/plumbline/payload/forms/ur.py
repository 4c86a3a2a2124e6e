"""A line of URScript for Universal Robots: frame of the tool flange, inertia about the centre of mass.

``set_target_payload`` replaced ``set_payload``, which knows no inertia, with PolyScope 5.10.
"""

from plumbline.payload.forms.numbers import diagonal_first, join, spell
from plumbline.payload.record import Payload


def write(payload: Payload) -> str:
    """Write the call; without the inertia if it is not known, which the robot takes for a point mass."""
    arguments = [spell(payload.mass), f"[{join(payload.com, ', ')}]"]
    if payload.inertia is not None:
        arguments.append(f"[{join(diagonal_first(payload.inertia), ', ')}]")
    return f"set_target_payload({', '.join(arguments)})"
