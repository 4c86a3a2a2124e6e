"""A line of URScript for Universal Robots: frame of the tool flange, inertia about the centre of mass.

``set_target_payload`` replaced ``set_payload``, which knows no inertia, with PolyScope 5.10.
"""

from plumbline.payload.forms.numbers import join, spell
from plumbline.payload.record import Payload


def write(payload: Payload) -> str:
    """Write the call; without the inertia if it is not known, which the robot takes for a point mass."""
    arguments = [spell(payload.mass), f"[{join(payload.com, ', ')}]"]
    if payload.inertia is not None:
        tensor = payload.inertia
        moments = [tensor[0, 0], tensor[1, 1], tensor[2, 2], tensor[0, 1], tensor[0, 2], tensor[1, 2]]
        arguments.append(f"[{join(moments, ', ')}]")
    return f"set_target_payload({', '.join(arguments)})"
