"""The plane of a table that an object stands on: ``[4]``, unit normal toward the object, distance along it.

A point is on the table if its product with the normal is the distance.
"""

import numpy as np

from plumbline.errors import InputError
from plumbline.records import Float, Scan

CAMERA, POSES = "the camera", "the poses"
"""Whose frame a table may be in."""
_DECIMALS = 4
"""Of a plane that was found: 0.1 mm of its distance. No camera tells more of a table."""


def make_plane(given: Float, name: str) -> Float:
    """Check the four numbers of a plane, and make its normal a unit vector.

    Args:
        given: the normal, of any length, and the distance of the plane from the origin along it.
        name: what error messages call the scan.

    Raises:
        InputError: these are not four numbers, or the normal is 0.
    """
    length = float(np.linalg.norm(given[:3])) if given.shape == (4,) else 0.0
    if not length > 0:
        raise InputError(
            f"{name}: table must be four numbers, the normal of the plane toward the object and the plane's "
            "distance from the origin along it"
        )
    return np.append(given[:3] / length, given[3])


def move_plane(plane: Float | None, turn: Float, shift: Float, factor: float = 1.0) -> Float | None:
    """Move a plane as points ``x`` that become ``factor * turn @ x + shift``; None stays None."""
    if plane is None:
        return None
    normal = turn @ plane[:3]
    return np.append(normal, factor * plane[3] + normal @ shift)


def found_table(plane: Float, whose: str) -> str:
    """Say which table was found, and in whose frame."""
    shown = ",".join(f"{value:g}" for value in (plane.round(_DECIMALS) + 0.0).tolist())  # no negative zero
    return f"--table auto found the table {shown} (normal and distance in metres, frame of {whose})"


def way_down(scan: Scan, name: str) -> Float:
    """Compute the vector ``[3]`` from the mean of a scan's points straight to its table.

    It leads down; or a little up, if a flat object lies on a table that is not known well.

    Args:
        scan: in any frame and unit.
        name: what error messages call it.

    Returns:
        The vector in that frame and unit; zero if the table is not known. Symmetry: E(3), and scale.

    Raises:
        InputError: the points lie below the table.
    """
    if scan.table is None:
        return np.zeros(3)
    above, size = _height(scan.points, scan.table)
    if not above > -size:
        raise InputError(
            f"{name}: its points lie below the table; the normal must point from the table to the object"
        )
    down: Float = -above * scan.table[:3]
    return down


def plausible(plane: Float | None, points: Float) -> Float | None:
    """The plane, or None if points ``[N, 3]`` lie so far below it that :func:`way_down` refuses them."""
    if plane is None:
        return None
    above, size = _height(points, plane)
    return plane if above > -size else None


def _height(points: Float, plane: Float) -> tuple[float, float]:
    """Height of the mean of points above a plane, and their root mean square radius."""
    normal, distance = plane[:3], plane[3]
    first = points[0]  # near all points, so that far from the origin no digits are lost
    local = points - first
    centre = local.mean(axis=0)
    above = normal @ centre - (distance - normal @ first)
    return float(above), float(np.sqrt(((local - centre) ** 2).sum(axis=1).mean()))


def lowest_plane(scan: Scan, normal: Float) -> Float:
    """The plane ``[4]`` of a unit normal on which the lowest point of a scan stands."""
    return np.append(normal, (scan.points @ normal).min())
