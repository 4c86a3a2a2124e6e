"""The application: which address answers what, and which error has which status."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp

from plumbline import __version__
from plumbline.errors import InputError
from plumbline.predictors.predictor import Predictor
from plumbline.serve import schema
from plumbline.serve.guard import Guard
from plumbline.serve.limits import BusyError, Limits, TooLargeError
from plumbline.serve.pages import FRAMED, api_page, front_page, refusal_page
from plumbline.serve.service import Service

_VIEW = "/view"
_ABOUT = (
    "Finds the centre of mass of objects from partial scans of them. Nothing that is sent is kept. Fields "
    "are named as the flags of plumbline predict, and mean the same."
)
_REFUSALS: dict[int | str, dict[str, object]] = {
    403: {"model": schema.Refusal, "description": "Host or Origin is not this server's"},
    413: {"model": schema.Refusal, "description": "the body is too large, or the scan has too many points"},
    422: {"model": schema.Refusal, "description": "the request cannot be answered, and why"},
    500: {"model": schema.Refusal, "description": "a defect of the server; its log says more"},
    503: {"model": schema.Refusal, "description": "too many requests at a time, or no answer in time"},
}


def make_app(predictor: Predictor, limits: Limits, *, host: str, batch_size: int) -> FastAPI:
    """Make the application.

    Args:
        predictor: the model.
        limits: what a request may cost.
        host: name or address that requests may be for, next to those of the local machine.
        batch_size: scans that the model gets at a time, at most.
    """
    service = Service(predictor, limits, batch_size=batch_size)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.open()
        yield
        await asyncio.to_thread(service.close)

    app = _Guarded(
        host,
        title="plumbline serve",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=life,
    )
    app.state.service = service
    _add_errors(app)

    @app.post(
        "/predict",
        summary="The centres of mass of a scan, or of the objects in a depth image",
        response_model=list[schema.Answer | schema.ObjectRefused],
        responses=_REFUSALS,
        openapi_extra={"requestBody": schema.request_body()},
    )
    async def predict(request: Request) -> Response:
        """One answer for each object, as `plumbline predict --json` prints it."""
        return JSONResponse(await service.lines(request))

    @app.get(
        "/healthz",
        summary="Whether the server is ready, and with which model",
        response_model=schema.Health,
        responses={403: _REFUSALS[403]},
    )
    async def healthz() -> Response:
        """Answers as soon as the model is loaded."""
        return JSONResponse({"status": "ready", **service.model, "version": __version__})

    @app.post(_VIEW, include_in_schema=False)
    async def view(request: Request) -> Response:
        """The answers drawn, as `plumbline predict --html`: what the page at / shows."""
        return HTMLResponse(await service.page(request), headers=FRAMED)

    @app.get("/", include_in_schema=False)
    async def front() -> Response:
        page, headers = front_page()
        return HTMLResponse(page, headers=headers)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        page, headers = api_page(app.openapi())
        return HTMLResponse(page, headers=headers)

    return app


class _Guarded(FastAPI):
    """An application whose answers all pass the guard; as middleware it would not see those to a defect."""

    def __init__(self, host: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._host = host

    def build_middleware_stack(self) -> ASGIApp:
        return Guard(super().build_middleware_stack(), self._host)


def _add_errors(app: FastAPI) -> None:
    """Answer every error with one sentence."""
    service: Service = app.state.service

    async def refuse(request: Request, error: Exception) -> Response:
        status, said = _status(error, service.limits)
        headers = {"Retry-After": "1"} if isinstance(error, BusyError) else {}
        if request.url.path == _VIEW:
            return HTMLResponse(refusal_page(said), status, FRAMED | headers)
        return JSONResponse({"error": said}, status, headers)

    async def other(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    async def left(_: Request, error: Exception) -> Response:
        return Response(status_code=400)  # nobody is there to read it

    app.add_exception_handler(ClientDisconnect, left)
    for kind in (InputError, BusyError, TimeoutError, Exception):
        app.add_exception_handler(kind, refuse)
    app.add_exception_handler(HTTPException, other)


def _status(error: Exception, limits: Limits) -> tuple[int, str]:
    if isinstance(error, BusyError):
        return 503, f"the server answers {limits.requests:,} requests at a time; try again in a second"
    if isinstance(error, TimeoutError):
        return 503, f"no answer within {limits.seconds:g} seconds (--timeout); send fewer points"
    if isinstance(error, InputError):
        return 413 if isinstance(error, TooLargeError) else 422, str(error)
    return 500, "the server failed at this request; its log says why"
