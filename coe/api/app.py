"""The ASGI application: the hot endpoints in front of a FastAPI app for everything else."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from coe import __version__, pipeline
from coe.api import (
    cache,
    composition,
    decisions,
    embeddings,
    errors,
    experiments,
    experts,
    keys,
    limits,
    replicas,
    scheduling,
    wire,
)
from coe.api.access import Guard, Reach
from coe.api.body import Receive, Scope, header
from coe.api.bulk import Bulk
from coe.api.counted import Counted, headers_of
from coe.api.dialects.endpoints import endpoints as dialects
from coe.api.inference import After, Inference, Send
from coe.api.openapi import describe
from coe.api.operations import endpoints
from coe.composition.edit import set_key
from coe.decisions.log import DecisionLog
from coe.errors import CoEError, ConfigError, InvalidRequest, NotFound
from coe.following import Following
from coe.learner import rewards_of
from coe.live import Live
from coe.metering.families import families
from coe.pipeline import Gateway
from coe.replicas.errand import PREFIX as INTERNAL
from coe.replicas.families import families as shared_families
from coe.replicas.pauses import Pauses
from coe.replicas.replica import read_secret
from coe.reporting.watch import Watch, paused
from coe.settings import Settings
from coe.shadows import Shadows
from coe.stores.decisions import Feedback, Record
from coe.stores.redis import Redis
from coe.stores.redis_spending import RedisSpending
from coe.telemetry.health import Health
from coe.telemetry.pushing import Pushing, destination
from coe.versions import Versions

logger = logging.getLogger(__name__)

_OPERATIONS = {("GET", "/metrics"), ("GET", "/health/live"), ("GET", "/health/ready")}


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
        *,
        reach: Reach = "loopback",
    ) -> None:
        """Store the parts.

        Args:
            gateway: what is served first.
            settings: of the process.
            on_failure: told when loading shows a config error.
            reach: who can reach the address that it will be served on.

        Raises:
            ConfigError: OpenTelemetry's variables ask for metrics that cannot be sent.
        """
        self.live = live = Live(gateway, settings, on_failure)
        ring = gateway.premises.keys if gateway.premises is not None else None
        replica = gateway.premises.replica if gateway.premises is not None else None
        self._replica = replica
        self._resigning: asyncio.Future[None] | None = None
        self._internal = replicas.Internal(replica)
        if replica is not None:
            replica.composition = lambda: live.composition.fingerprint
        self._guard = Guard(
            ring,
            reach,
            lambda: live.composition.server.auth == "keys",
            settings.hosts,
        )
        log = DecisionLog(settings.state_folder, secret=read_secret(settings.replica_secret))
        redis = gateway.premises.redis if gateway.premises is not None else None
        purse = RedisSpending(redis) if redis is not None else None
        shadows = Shadows(lambda: live.current, log, purse=purse)
        after = After(log, shadows)
        live.telemetry.log, live.telemetry.shadows = log, shadows
        self.following = Following(
            live, Versions(settings.state_folder), follows=settings.reload == "on"
        )
        health = Health(gateway.standing, lambda: live.composition)
        live.telemetry.sources += [self._guard.families, self.following.families, health.families]
        if gateway.premises is not None:
            live.telemetry.sources.append(gateway.premises.cache_counts.families)
            if (ledger := gateway.premises.ledger) is not None:
                live.telemetry.sources.append(partial(families, ledger.tolls))
        chat = Inference(
            "chat/completions", live, settings, wire.parse_chat, pipeline.answer, after
        )
        embed = Inference(
            "embeddings", live, settings, embeddings.parse, embeddings.open_answer, after
        )
        endpoints = {
            "/v1/chat/completions": chat,
            "/v1/embeddings": embed,
            **dialects(live, settings, after),
        }
        self._hot = {("POST", path): endpoint for path, endpoint in endpoints.items()}
        self._spoken = endpoints
        self.pauses = pauses = _pauses(live, redis)
        behind = gateway.premises.sessions if gateway.premises is not None else None
        live.telemetry.sources.append(partial(shared_families, replica, behind))
        watch = Watch(lambda: live.composition, log, partial(_pause, live, pauses=pauses))
        live.telemetry.watch = watch
        pushing = Pushing(live.telemetry.collect, destination(os.environ))
        live.telemetry.sources.append(pushing.families)
        self._rest = _rest(
            live, settings, after, watch, self.following, self._guard, pauses, pushing
        )
        self._rest.include_router(replicas.endpoints(replica, pauses, live, settings))
        if ring is not None:
            self._rest.include_router(keys.endpoints(ring, live, settings))
        # Here too, so that another method is 405 and says which one is allowed.
        self._rest.router.routes.extend(
            Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            if scope["path"].startswith(INTERNAL):  # no key opens these
                await self._internal(scope, receive, send)
                return
            try:
                self._guard.admit(scope)
            except CoEError as error:
                await self._refuse(error, scope, send)
                return
            hot = self._hot.get((scope["method"], scope["path"]))
            if hot is not None:
                await hot(scope, receive, send)
                return
            if "\n" in scope["path"]:
                # The router's patterns take one at the end of a path for nothing, and the table of
                # who may reach what does not: it would be another endpoint than was asked about.
                nowhere = NotFound(f"{scope['path'][:120]!r} is no endpoint")
                await self._refuse(nowhere, scope, send)
                return
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # nobody asks them for a key
            return
        await self._rest(scope, receive, send)

    def leave(self) -> None:
        """Say that the gateway is about to end: it is not ready, and batches begin no line.

        Memory that it manages for other replicas is theirs to manage from now on.
        """
        self.live.readiness["gateway"] = "it is about to end"
        self._rest.state.bulk.runner.close()
        if self._replica is not None:
            self._resigning = asyncio.ensure_future(self._replica.resign())

    def cut(self) -> int:
        """End every request in flight with an error; return how many there were."""
        spoken = self._spoken.values()
        return sum(endpoint.cut() for endpoint in spoken if isinstance(endpoint, Inference))

    async def operations(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection to the port for those who run the gateway: they show no key there.

        What the port has is metrics and health, and nothing else.
        """
        try:
            self._guard.admit_keyless(scope)
        except CoEError as error:
            await self._refuse(error, scope, send)
            return
        if (scope["method"], scope["path"]) in _OPERATIONS:
            await self._rest(scope, receive, send)
        else:
            await self._refuse(NotFound(f"{scope['path'][:120]} is not on this port"), scope, send)

    async def _refuse(self, error: CoEError, scope: Scope, send: Send) -> None:
        """Say no, in the words of the API that was asked."""
        endpoint = self._spoken.get(scope["path"])
        if endpoint is not None:
            await endpoint.refuse(error, scope, send)
            return
        logger.info("%s %.200r: %s", scope["method"], scope["path"], error.message)
        request_id = wire.request_id(header(scope, b"x-request-id"), wire.new_id())
        payload = orjson.dumps(errors.body(error))
        rows = [*errors.headers(error, request_id), (b"content-length", b"%d" % len(payload))]
        await send({"type": "http.response.start", "status": error.status, "headers": rows})
        await send({"type": "http.response.body", "body": payload, "more_body": False})


def _rest(  # noqa: PLR0913, PLR0917 - what there is one of
    live: Live,
    settings: Settings,
    after: After,
    watch: Watch,
    following: Following,
    guard: Guard,
    pauses: Pauses | None,
    pushing: Pushing,
) -> FastAPI:
    """Return the FastAPI app; its lifespan loads the router and the engines in the background."""
    bulk = Bulk(lambda: live.current, settings)
    counted = Counted(lambda: live.current.gateway)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        del app
        loop = asyncio.get_running_loop()
        after.log.listen = lambda rows: _pass_on(loop, live, rows)
        after.log.start()
        try:
            async with (
                pushing.running(),
                live.running(),
                bulk.running(),
                after.shadows.running(),
                watch.running(),
                following.running(),
                nullcontext() if pauses is None else pauses.running(),
            ):
                yield
        finally:
            await asyncio.to_thread(after.log.close)
            after.log.listen = None
            if (learner := live.current.gateway.learner) is not None:
                learner.save("the gateway ended")

    app = FastAPI(
        title="CoE gateway", version=__version__, lifespan=lifespan, redirect_slashes=False
    )
    app.state.bulk = bulk
    app.include_router(endpoints(live, settings, following, guard, counted))
    app.include_router(experts.endpoints(live, settings))
    app.include_router(composition.endpoints(live, following, settings))
    app.include_router(cache.endpoints(live, settings, counted))
    app.include_router(decisions.endpoints(after.log, settings, partial(_hear, live), counted))
    app.include_router(
        experiments.endpoints(live, after.log, settings, partial(_pause, live, pauses=pauses))
    )
    app.include_router(scheduling.endpoints(live))
    app.include_router(limits.endpoints(live, settings))
    for table in bulk.endpoints():
        app.include_router(table)
    app.add_exception_handler(CoEError, _render)
    app.add_exception_handler(HTTPException, _render_http)
    app.add_exception_handler(RequestValidationError, _render_validation)
    describe(app)
    return app


def _pass_on(loop: asyncio.AbstractEventLoop, live: Live, records: list[Record]) -> None:
    """Tell the loop, from the thread that wrote them, what was written."""
    loop.call_soon_threadsafe(_note, live, records)


def _note(live: Live, records: list[Record]) -> None:
    """Tell who learns what answers cost."""
    learner = live.current.gateway.learner
    if learner is not None:
        for record in records:
            if record.expert is not None and "x" in record.detail:
                learner.asked(record.expert, record.cost)


def _hear(live: Live, record: Record, feedback: Feedback) -> None:
    """Tell who learns what is said of an answer."""
    learner = live.current.gateway.learner
    if learner is not None:
        learner.learn(tuple(record.detail.get("x", ())), rewards_of(record, feedback))


def _pauses(live: Live, redis: Redis | None) -> Pauses | None:
    """Return what pauses experiments on all replicas; None where this process is alone."""
    if redis is None:
        return None

    async def pause(experiment: str) -> None:
        await live.replace(paused(live.composition, experiment))

    return Pauses(redis, lambda: live.composition, pause, live.edit)


async def _pause(live: Live, experiment: str, pauses: Pauses | None = None) -> None:
    """Pause an experiment in the composition file, and serve that; on all replicas.

    Where the file cannot be edited the harm ends all the same: it is paused in this process, until
    the file is read again.
    """
    if pauses is not None:
        await pauses.tell(experiment)
    path = ("experiments", experiment, "status")
    try:
        await live.edit(partial(set_key, path=path, value="paused"))
    except CoEError as error:
        logger.error(  # noqa: TRY400 - operators want the sentence
            "experiment %s is paused in this process only, until the file is read again: %s",
            experiment,
            error.message,
        )
        await live.replace(paused(live.composition, experiment))


async def _render(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, CoEError)  # noqa: S101 - registered for this class only
    given = request.headers.get("x-request-id")
    rows = errors.headers(error, wire.request_id(given, wire.new_id())) + headers_of(request)
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
