"""The ASGI application: two hot endpoints in front of a FastAPI app for everything else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from coe import __version__, pipeline
from coe.api import embeddings, errors, wire
from coe.api.inference import Inference, Receive, Scope, Send
from coe.api.openapi import describe
from coe.api.operations import endpoints
from coe.errors import CoEError, ConfigError, InvalidRequest
from coe.pipeline import Gateway
from coe.settings import Settings

logger = logging.getLogger(__name__)


class App:
    """Sends a request to its endpoint.

    The hot endpoints are plain ASGI and looked up in a dictionary; what FastAPI adds around one
    costs as much as all of the rest of our path (measured: 145 against 78 us of CPU a request).
    """

    def __init__(
        self,
        gateway: Gateway,
        settings: Settings,
        on_failure: Callable[[ConfigError], None] | None = None,
    ) -> None:
        """Args are what is served; `on_failure` is told when loading shows a config error."""
        chat = Inference("chat/completions", gateway, settings, wire.parse_chat, pipeline.answer)
        embed = Inference("embeddings", gateway, settings, embeddings.parse, embeddings.open_answer)
        endpoints = {"/v1/chat/completions": chat, "/v1/embeddings": embed}
        self._hot = {("POST", path): endpoint for path, endpoint in endpoints.items()}
        self._rest = _rest(gateway, settings, on_failure or _ignore)
        # Here too, so that another method is 405 and says which one is allowed.
        self._rest.router.routes.extend(
            Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            hot = self._hot.get((scope["method"], scope["path"]))
            if hot is not None:
                await hot(scope, receive, send)
                return
        await self._rest(scope, receive, send)


def _rest(
    gateway: Gateway, settings: Settings, on_failure: Callable[[ConfigError], None]
) -> FastAPI:
    """Return the FastAPI app; its lifespan loads the router and the engines in the background."""
    readiness: dict[str, str] = {}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        del app
        async with running(gateway, on_failure, readiness):
            yield

    app = FastAPI(title="CoE gateway", version=__version__, lifespan=lifespan)
    app.include_router(endpoints(gateway, settings, readiness))
    app.add_exception_handler(CoEError, _render)
    app.add_exception_handler(HTTPException, _render_http)
    app.add_exception_handler(RequestValidationError, _render_validation)
    describe(app)
    return app


@asynccontextmanager
async def running(
    gateway: Gateway, on_failure: Callable[[ConfigError], None], readiness: dict[str, str]
) -> AsyncGenerator[None, None]:
    """Load what a gateway needs in the background, and close it all in the end.

    Args:
        gateway: what is run.
        on_failure: told when the composition asks for what is not there.
        readiness: kept up to date: `loading`, `ready` or what went wrong, by name.
    """

    async def load(name: str, work: Coroutine[Any, Any, None]) -> None:
        readiness[name] = "loading"
        try:
            await work
            readiness[name] = "ready"
        except CoEError as error:
            logger.error("%s: %s", name, error.message)  # noqa: TRY400 - operators want the sentence
            readiness[name] = error.message
            if isinstance(error, ConfigError):
                on_failure(error)

    tasks = [asyncio.create_task(load(name, work)) for name, work in gateway.loads().items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await gateway.aclose()


def _ignore(error: ConfigError) -> None:
    del error


async def _render(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, CoEError)  # noqa: S101 - registered for this class only
    given = request.headers.get("x-request-id")
    rows = errors.headers(error, wire.request_id(given, wire.new_id()))
    headers = {key.decode(): value.decode() for key, value in rows}
    return JSONResponse(errors.body(error), status_code=error.status, headers=headers)


async def _render_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    wrong = InvalidRequest(f"{request.method} {request.scope['path']}: {error.detail}")
    wrong.status = error.status_code
    wrong.code = "not_found" if error.status_code == 404 else "method_not_allowed"  # noqa: PLR2004
    response = await _render(request, wrong)
    response.headers.update(error.headers or {})
    return response


async def _render_validation(request: Request, error: Exception) -> JSONResponse:
    return await _render(request, InvalidRequest(f"invalid request: {error}"))
