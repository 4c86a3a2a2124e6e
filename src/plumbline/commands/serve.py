"""``plumbline serve``: answers scans over HTTP until it is told to end."""

import errno
import logging
import os
import signal
import socket
import sys

from rich.console import Console

from plumbline import __version__
from plumbline.config.serve import ServeConfig
from plumbline.console.terminal import print_line
from plumbline.errors import InputError
from plumbline.predictors.choice import choose_predictor
from plumbline.predictors.prediction_table import called
from plumbline.predictors.tryout import try_out
from plumbline.serve.limits import Limits

_BACKLOG = 2048
"""Connections that wait to be accepted, at most."""
_TERMINATED = 143
"""Exit code after SIGTERM, as that of a training."""


def run(config: ServeConfig, console: Console) -> int:
    """Serve until Ctrl-C, which ends as in other commands, or SIGTERM; requests under way are answered.

    Raises:
        InputError: the address cannot be listened at, the model is unusable, or a package is missing.
    """
    try:
        import python_multipart  # noqa: F401 (Starlette finds out at the first form)

        from plumbline.serve.app import make_app
        from plumbline.serve.connections import make_server
    except ImportError as error:
        raise InputError(
            f"plumbline serve needs {error.name or error}: pip install fastapi python-multipart uvicorn"
        ) from error
    with listen(config.host, config.port) as listening:
        predictor = choose_predictor(config.checkpoint, config.model, batch_size=config.batch_size)
        try_out(predictor)  # the first time, libraries load what they need
        limits = Limits(
            body=int(1e6 * config.max_body_mb),
            points=config.max_points,
            requests=config.max_requests,
            seconds=config.timeout,
        )
        app = make_app(predictor, limits, host=config.host, batch_size=config.batch_size)
        logging.basicConfig(level=logging.INFO if config.debug else logging.WARNING, format="%(message)s")
        server = make_server(app, limits, logs=config.debug)
        by = called(predictor)
        print_line(
            console, f"plumbline {__version__} answers at {address(listening)} by {by}; Ctrl-C ends it"
        )
        sys.stdout.flush()  # a program that started this one waits for it
        # The server answers the requests under way first, and then passes the signal on.
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
        try:
            server.run(sockets=[listening])
        finally:
            signal.signal(signal.SIGTERM, before)
    return 0


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address. Raises InputError if that is not possible."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"--host {host}: this name is not known; give a name or an address of this machine"
        ) from error
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two programs listen at one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        reasons = {
            errno.EADDRINUSE: f"--port {port} is taken by another program; choose another, or 0 for any",
            errno.EACCES: f"--port {port} is reserved for the system; choose one from 1024 on",
            errno.EADDRNOTAVAIL: f"--host {host} is not an address of this machine",
        }
        said = reasons.get(error.errno or 0, f"--host {host} --port {port}: {error.strerror}")
        raise InputError(said) from error
    return listening


def address(listening: socket.socket) -> str:
    """The address of the page, for a browser on this machine."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
