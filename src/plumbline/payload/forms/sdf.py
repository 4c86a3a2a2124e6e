"""The ``<inertial>`` element of a link in SDFormat (Gazebo): about the centre of mass, axes of the link."""

from plumbline.payload.forms.numbers import join, spell, upper
from plumbline.payload.record import Payload


def write(payload: Payload) -> str:
    """Write the element. Raises InputError: the inertia is not known."""
    moments = "\n".join(
        f"    <{name}>{spell(value)}</{name}>" for name, value in upper(payload.known_inertia()).items()
    )
    return f"""<inertial>
  <pose>{join(payload.com)} 0 0 0</pose>
  <mass>{spell(payload.mass)}</mass>
  <inertia>
{moments}
  </inertia>
</inertial>"""
