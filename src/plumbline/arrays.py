"""Arrays from whatever the user gives in their place."""

from typing import Any

import numpy as np

from plumbline.errors import InputError
from plumbline.records import Float


def to_array(given: Any, what: str) -> np.ndarray[Any, Any]:
    """Convert nested lists to an array, of any type.

    Args:
        given: an array, or what numpy makes one of.
        what: what error messages call it.

    Raises:
        InputError: rows have different lengths.
    """
    try:
        return np.asarray(given)
    except (ValueError, TypeError) as error:
        raise InputError(f"{what} must be an array of numbers, with rows of equal length") from error


def to_numbers(given: Any, what: str) -> Float:
    """Convert to an array of float64; arguments as :func:`to_array`.

    Raises:
        InputError: it holds anything but real numbers, or its rows have different lengths.
    """
    array = to_array(given, what)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what} contains {array.dtype} instead of numbers; convert it to numbers")
    with np.errstate(invalid="ignore"):  # numpy warns of signalling NaN
        return array.astype(np.float64)


def is_number(given: Any) -> bool:
    """Tell whether something is one real number, of Python or numpy."""
    return isinstance(given, int | float | np.integer | np.floating) and not isinstance(given, bool)


def shown(given: Any) -> str:
    """A number as text, or the type of what is none, which may be long."""
    return repr(given) if is_number(given) else f"of type {type(given).__name__}"
