"""The hot path: a plain ASGI endpoint from bytes to an open answer to bytes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson

from coe.api import errors, explain, wire
from coe.api.access import identity_of
from coe.api.body import Receive, Scope, header, read_body
from coe.api.counted import quota_of
from coe.api.traced import Served, ended
from coe.claim import LANE
from coe.composition import Composition
from coe.decisions.event import Event
from coe.decisions.log import DecisionLog
from coe.errors import CapacityError, CoEError, Overloaded
from coe.grace import Grace
from coe.live import Live
from coe.metering.quota import Quota
from coe.pipeline import Gateway
from coe.scheduler.loop import Told
from coe.settings import Settings
from coe.shadows import Shadows
from coe.stores.decisions import LEFT
from coe.telemetry import Telemetry, names
from coe.telemetry.trace import HEADER as TRACEPARENT
from coe.telemetry.trace import Trace
from coe.types import Answer, Query

logger = logging.getLogger(__name__)

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Parse = Callable[[dict[str, Any], str, Settings, wire.Sender], Query]
Open = Callable[[Gateway, Query, Told | None], Awaitable[Answer]]

_WATCH_AFTER_S = 0.1  # most calls that are not streamed are over by then, and cost no watcher
BULK_SHARE = 0.8
"""Of the requests that may be in flight, the part of which bulk may have all."""

_SSE = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class After(NamedTuple):
    """What happens behind an answer: it is written down, and perhaps answered by others, too."""

    log: DecisionLog
    shadows: Shadows


class Inference:
    """An endpoint that asks experts: `parse` makes the query, `open_answer` the answer.

    `exchange` is how it is sent, for endpoints that speak another API than OpenAI's.
    """

    def __init__(  # noqa: PLR0913 - what an endpoint is made of, in one place: the app
        self,
        name: str,
        live: Live,
        settings: Settings,
        parse: Parse,
        open_answer: Open,
        after: After,
        *,
        exchange: type[Exchange] | None = None,
    ) -> None:
        self._name = name
        self._exchange = exchange or Exchange
        self._after = after
        self._live = live
        self._telemetry = live.telemetry
        self._settings = settings
        self._parse = parse
        self._open = open_answer
        self._inside: set[Departure] = set()
        self._grace = Grace(_WATCH_AFTER_S, Departure.watch)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; every way out is counted and logged."""
        exchange = self._exchange(self._name, scope, send, self._telemetry, self._after.log)
        self._telemetry.in_flight += 1
        self._telemetry.begun += 1
        try:
            with Departure(receive, self._grace, self._inside) as departure:
                await self._serve(exchange, scope, receive)
            if departure.happened:
                exchange.status = LEFT
                self._telemetry.aborted("client")
        except CoEError as error:
            await exchange.fail(error)
        except Exception:  # the HTTP boundary: a bug is a 500, not a broken connection
            logger.exception("request %s failed", exchange.query_id)
            await exchange.fail(CoEError("internal error; the gateway's log has the details"))
        finally:
            self._telemetry.in_flight -= 1
            exchange.finish()

    def cut(self) -> int:
        """End every request in flight with an error; return how many there were."""
        departures = [one for one in self._inside if not one.happened]
        for departure in departures:
            departure.cut(CapacityError("the gateway is about to end", retry_after_s=1.0))
        return len(departures)

    async def refuse(self, error: CoEError, scope: Scope, send: Send) -> None:
        """Say no to a request of which nothing is read."""
        exchange = self._exchange(self._name, scope, send, self._telemetry, self._after.log)
        await exchange.fail(error)
        exchange.finish()

    async def _serve(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        settings = self._settings
        raw = await read_body(scope, receive, settings.max_body_bytes)
        if self._telemetry.in_flight > BULK_SHARE * settings.max_in_flight:
            _refuse_if_full(self._telemetry.in_flight, settings.max_in_flight, scope)
        body = wire.parse_json(raw, settings)
        exchange.size = len(raw)
        sender = wire.Sender(scope["headers"], identity_of(scope))
        query = self._parse(body, exchange.query_id, settings, sender)
        with self._live.current as gateway:
            exchange.begin(query, gateway.composition)
            if (quota := quota_of(gateway, query.identity)) is not None:
                await exchange.enter(quota)
            is_told = gateway.slots and query.stream and gateway.composition.batching.status_frames
            answer = await self._open(gateway, query, exchange.tell if is_told else None)
            await exchange.send(answer)
            if gateway.composition.experiments:
                self._after.shadows.offer(gateway, answer)


def _refuse_if_full(in_flight: int, most: int, scope: Scope) -> None:
    """Refuse what is too much: bulk first, then everybody. Raises Overloaded."""
    is_bulk = (header(scope, LANE) or "").strip().lower() == "bulk"
    if in_flight > most or is_bulk:
        raise Overloaded(
            f"{in_flight - 1} requests are in flight (COE_MAX_IN_FLIGHT is {most})",
            retry_after_s=1.0,
        )


class Exchange:
    """One request and its response: ids, clock, and what has been sent."""

    END = b"data: [DONE]\n\n"
    """What follows the last frame of a streamed answer."""

    def __init__(
        self, endpoint: str, scope: Scope, send: Send, telemetry: Telemetry, log: DecisionLog
    ) -> None:
        self._endpoint = endpoint
        self._scope = scope
        self._log = log
        self._query: Query | None = None
        self._composition: Composition | None = None
        self._quota: Quota | None = None
        self._at = time.time()
        self._last = b""
        self._first_s: float | None = None
        self._overhead_s: float | None = None
        self.started = perf_counter()
        self.query_id = wire.new_id()
        self.status = 500
        self.size = 0
        self._answer: Answer | None = None
        self._error: CoEError | None = None
        self._send = send
        self._telemetry = telemetry
        self._headers_sent = False
        self._trace: Trace | None = None
        if telemetry.tracing.share:
            self._trace = telemetry.tracing.begin(header(scope, TRACEPARENT), self._at)
        given = header(scope, b"x-request-id")
        self.request_id = wire.request_id(given, self.query_id)

    def begin(self, query: Query, composition: Composition) -> None:
        """Note what is asked, and of what composition: from here on there is a decision."""
        self._query, self._composition = query, composition

    async def enter(self, quota: Quota) -> None:
        """Count the request against the limits of who asks; headers tell of them from here on.

        Raises:
            RateLimited: it is one too many, for now.
        """
        self._quota = quota
        await quota.enter()

    async def send(self, answer: Answer) -> None:
        """Send the headers and the body, streamed or whole."""
        self._answer = answer
        self._first_s = elapsed_s = perf_counter() - self.started
        overhead_s = elapsed_s - answer.opened_s
        self._overhead_s = overhead_s
        headers = explain.headers(answer, self.request_id, overhead_s)
        if self._composition is not None and self._composition.is_metered:
            headers += explain.cost(answer, self._composition)
        self.status = 200
        try:
            if not answer.query.stream:
                headers.append((b"content-type", b"application/json"))
                headers.append((b"content-length", b"%d" % len(answer.first)))
                await self._start(headers)
                await self._body(answer.first, more=False)
                return
            if self._headers_sent:
                await self._body(explain.comment(headers), more=True)
            else:
                await self._start([*headers, *_SSE])
            await self._body(answer.first, more=True)
            async for piece in answer.frames:
                self._last = piece
                await self._body(piece, more=True)
        finally:
            await answer.frames.aclose()
        await self._body(self.END, more=False)

    async def tell(self, words: str) -> None:
        """Tell a client that waits for a stream what it waits for, as a comment of the stream.

        What is not known yet, such as who answers, follows as a comment, too.
        """
        if not self._headers_sent:
            self.status = 200
            rows = [
                (b"x-request-id", self.request_id.encode()),
                (b"x-coe-decision-id", self.query_id.encode()),
            ]
            await self._start([*rows, *_SSE])
        await self._body(b": %s\n\n" % words.encode(), more=True)

    async def fail(self, error: CoEError) -> None:
        """Tell the client: by status before the headers, by an error frame after them.

        A stream that broke never ends with `[DONE]`: a clean end would pass for a whole answer.
        """
        self.status, self._error = error.status, error
        if self._headers_sent:
            self._telemetry.aborted("upstream")
            await self._body(self.broken(error), more=False)
            return
        payload = orjson.dumps(self.refused(error))
        headers = errors.headers(error, self.request_id)
        await self._start([*headers, (b"content-length", b"%d" % len(payload))])
        await self._body(payload, more=False)

    def refused(self, error: CoEError) -> dict[str, object]:
        """Return the body of an error."""
        return errors.body(error)

    def broken(self, error: CoEError) -> bytes:
        """Return the frame that tells of a failure after the headers."""
        return errors.frame(error)

    def finish(self) -> None:
        """Report the request as ended."""
        if self._quota is not None:
            self._quota.leave()
        elapsed_s = perf_counter() - self.started
        self._telemetry.finished(
            self._endpoint,
            self.request_id,
            self.status,
            elapsed_s,
            self._answer,
            self._error,
            provider=self._provider(),
            first_s=self._first_s,
            overhead_s=self._overhead_s,
            last=self._last,
        )
        if self._trace is not None:
            self._telemetry.tracing.end(ended(self._trace, self._served()))
        if self._composition is not None and self._composition.observe.decisions:
            self._note(elapsed_s)

    def _served(self) -> Served:
        return Served(
            self._endpoint,
            self._scope["path"],
            self.status,
            self.request_id,
            self.query_id,
            self._query,
            self._composition,
            self._answer,
            self._error,
            self._last,
            self._first_s,
        )

    def _provider(self) -> str:
        """Return what kind of backend answered; the gateway itself where none did."""
        if self._answer is None or self._composition is None:
            return names.SYSTEM
        backend = self._composition.backends.get(self._answer.call.backend)
        return names.SYSTEM if backend is None else backend.type

    def _note(self, elapsed_s: float) -> None:
        """Put the decision into the log; only references are kept until it is written."""
        assert self._query is not None  # noqa: S101 - both begin together
        assert self._composition is not None  # noqa: S101
        self._log.add(
            Event(
                at=self._at,
                query=self._query,
                composition=self._composition,
                tenant=self._query.identity.tenant,
                status=self.status,
                took_s=elapsed_s,
                answer=self._answer,
                error=self._error,
                last=self._last,
                first_s=self._first_s,
                size=self.size,
            )
        )

    async def _start(self, headers: explain.Headers) -> None:
        self._headers_sent = True
        if self._quota is not None:
            headers = [*headers, *self._quota.headers()]
        await self._send({"type": "http.response.start", "status": self.status, "headers": headers})

    async def _body(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


class Departure:
    """Cancels the task that serves a request when the client goes away.

    ASGI tells of a disconnect only to who asks, so somebody has to listen while the answer is
    awaited. The listener starts late: an answer that is quick enough never pays for it.
    """

    __slots__ = ("_error", "_grace", "_inside", "_listener", "_receive", "_task", "happened")

    def __init__(self, receive: Receive, grace: Grace[Departure], inside: set[Departure]) -> None:
        """Store the parts; `inside` holds all that are entered and not left."""
        self.happened = False
        self._error: CoEError | None = None
        self._inside = inside
        self._receive = receive
        self._grace = grace
        self._listener: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        """Start to listen in a while."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a departure is watched from within a task")
        self._task = task
        self._inside.add(self)
        self._grace.enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """End the listener; swallow the cancellation that this object itself caused.

        Raises:
            CoEError: the request was cut.
        """
        self._inside.discard(self)
        self._grace.leave(self)
        if self._listener is not None:
            self._listener.cancel()
        if kind is asyncio.CancelledError:
            if self.happened:
                self._task.uncancel()
                return True
            if self._error is not None:
                self._task.uncancel()
                raise self._error from None
        return False

    def cut(self, error: CoEError) -> None:
        """End the request with an error; again does nothing."""
        if self._error is None and not self.happened:
            self._error = error
            self._task.cancel()

    def watch(self) -> None:
        """Listen from now on."""
        self._listener = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.happened = True
        self._task.cancel()
