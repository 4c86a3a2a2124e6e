"""The connections of the server: as many as it can afford; beyond that, a silent one is closed."""

import asyncio

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from plumbline.serve.limits import Limits

_FOR_EACH_REQUEST = 8
"""Connections for each request that is read or answered at a time."""


class _Connection(H11Protocol):
    """A connection to one client.

    Beyond the largest number, the one that is silent for longest is closed: nobody keeps others out by
    connections on which nothing happens. One whose request is being answered stays.
    """

    most = 0
    """Connections at a time."""
    heard = 0.0
    """When the client sent something last, in the time of the loop."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.heard = self.loop.time()
        others = [one for one in self.connections if isinstance(one, _Connection)]
        there = [one for one in others if not one.transport.is_closing()]
        if len(there) > self.most:
            min((one for one in there if one.waits), key=lambda one: one.heard).transport.abort()

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        super().data_received(data)

    @property
    def waits(self) -> bool:
        """Whether it is the client's turn: to send a request, the rest of one, or to take the answer."""
        return self.cycle is None or self.cycle.more_body or self.cycle.response_started


def make_server(app: ASGIApp, limits: Limits, *, logs: bool) -> uvicorn.Server:
    """Make the server of an application.

    Args:
        app: the application.
        limits: what a request may cost.
        logs: whether each request is logged.
    """

    class Connection(_Connection):
        most = _FOR_EACH_REQUEST * limits.requests

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Connection,
            log_config=None,
            access_log=logs,
            server_header=False,
            timeout_graceful_shutdown=round(limits.seconds) + 1,
        )
    )
