"""The ``<inertial>`` element of a link in URDF: about the centre of mass, in the axes of the link."""

from plumbline.payload.forms.numbers import join, spell, upper
from plumbline.payload.record import Payload


def write(payload: Payload) -> str:
    """Write the element. Raises InputError: the inertia is not known."""
    moments = " ".join(f'{name}="{spell(value)}"' for name, value in upper(payload.known_inertia()).items())
    return f"""<inertial>
  <origin xyz="{join(payload.com)}" rpy="0 0 0"/>
  <mass value="{spell(payload.mass)}"/>
  <inertia {moments}/>
</inertial>"""
