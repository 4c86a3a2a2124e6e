"""What a request may cost, and the refusals that say so."""

from dataclasses import dataclass

from plumbline.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What one server accepts.

    Attributes:
        body: bytes of the body of a request.
        points: points of a scan, or pixels of a depth image.
        requests: requests that are read or answered at a time.
        seconds: for a request, from its first byte to its answer.
    """

    body: int
    points: int
    requests: int
    seconds: float


class TooLargeError(InputError):
    """A request that is larger than the server accepts: status 413."""


class BusyError(Exception):
    """The server has as many requests as it accepts at a time: status 503, with Retry-After."""
