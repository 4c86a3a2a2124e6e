"""What every request must be, and every answer says: the right host, and headers that a browser obeys.

A web page that somebody else wrote can make a browser send requests to this machine. It may resolve a name of
its own to this machine to read the answers, too (DNS rebinding): so Host must be a name of this server, and
Origin, if the browser gives it, must be the same.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer that does not set its own."""
_ANY = ("0.0.0.0", "::")
"""Hosts that stand for every address of the machine."""


class Guard:
    """Refuses requests for other hosts, and adds headers to answers.

    Args:
        app: what is guarded.
        host: name or address that the server was told to listen at.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app, self._host = app, host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def add_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._knows(_name_of(host)):
            said = "the Host of the request is not this server's; to use that name, start it with --host NAME"
        elif origin is not None and _place_of(origin) != host.lower():
            said = "the request comes from a page of another server, which this one does not answer"
        else:
            await self._app(scope, receive, add_headers)
            return
        await JSONResponse({"error": said}, 403)(scope, receive, add_headers)

    def _knows(self, name: str) -> bool:
        if name in ("localhost", "127.0.0.1", "::1", self._host):
            return True
        # An address cannot be rebound, and with --host 0.0.0.0 each of the machine's is this server's.
        return self._host in _ANY and (_is_address(name) or name == socket.gethostname().lower())


def _name_of(host: str) -> str:
    """The name or address in a Host, without its port and brackets; empty if it is not one."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _place_of(origin: str) -> str:
    """The name and port in an Origin; empty if it is not one."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
