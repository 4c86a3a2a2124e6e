"""The flags that say in which frame and form a payload is printed; of predict and of inertia."""

from typing import Any

from plumbline.config.options import option
from plumbline.kinds import file, one_of
from plumbline.payload.forms import FORMS


def frame_option(whose: str) -> Any:
    """The flag ``--frame``; ``whose`` frame the motion starts from."""
    return option(
        None,
        f"JSON file with the rigid motion [4, 4], metres, from the frame of the {whose} to another, such as "
        "that of the flange; the answers are then in that frame",
        file,
    )


def format_option() -> Any:
    """The flag ``--format``."""
    return option(
        None,
        "print the payload in this form instead of a table: the element <inertial> of urdf, mjcf or sdf, "
        "messages of ros, or the call of a ur or franka robot",
        one_of(*FORMS),
    )
