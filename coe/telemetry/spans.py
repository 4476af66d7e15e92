"""A traced request that has ended -> its spans. Pure, and run off the event loop.

    {operation} {model}              the request                      SERVER
    {work} {operation}               or work behind the answers       INTERNAL
      route                          who is to answer is decided      INTERNAL
      plan                           the experts are ranked           INTERNAL
      queue                          a wait for a slot                INTERNAL
      {operation} {model}            a call to an expert              CLIENT

Names of spans hold names of the composition and of its backends' models only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

from coe.telemetry import names
from coe.telemetry.trace import Asked, Ended, Link, Told, Trace

Kind = Literal["server", "internal", "client"]
Value = str | bool | int | float | Sequence[str]

_SECOND = 1_000_000_000


class Server(NamedTuple):
    """Where a backend is.

    Attributes:
        provider: its type.
        host: name or address; empty where it has none. `port` is 0 then.
    """

    provider: str
    host: str = ""
    port: int = 0


class Span(NamedTuple):
    """A piece of a request's time; times are nanoseconds since the epoch."""

    name: str
    kind: Kind
    trace_id: int
    span_id: int
    parent_id: int
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, Value]
    has_failed: bool = False
    links: tuple[Link, ...] = ()


def spans_of(ended: Ended, servers: Mapping[str, Server]) -> Iterator[Span]:
    """Yield the spans of a request, or of other work.

    Args:
        ended: the request, or the work.
        servers: the backends, by name.
    """
    trace = ended.trace
    yield _request(ended)
    if trace.decided_ns:
        yield from _decision(trace)
    for place, (until_ns, queued_s, swap_s, expert) in enumerate(trace.waits):
        yield _inner(
            trace,
            "queue",
            place,
            (until_ns - int(queued_s * _SECOND), until_ns),
            {names.EXPERT: expert, names.QUEUED: queued_s, names.SWAPPED: swap_s},
        )
    for asked in trace.calls:
        yield _call(ended, asked, servers.get(asked.backend, Server(names.SYSTEM)))


def _request(ended: Ended) -> Span:
    trace = ended.trace
    operation = names.operation(ended.endpoint)
    facts: dict[str, Value | None] = {
        names.OPERATION: operation,
        names.PROVIDER: names.SYSTEM,
        names.METHOD: None if ended.work else "POST",
        names.PATH: ended.path,
        names.STATUS: ended.status or None,
        names.REQUEST: ended.request_id,
        names.DECISION: ended.query_id,
        names.REQUEST_MODEL: ended.model,
        names.RESPONSE_MODEL: ended.expert,
        names.EXPERT: ended.expert,
        names.REASON: ended.reason,
        names.CONVERSATION: ended.conversation,
        names.COMPOSITION: ended.composition,
        names.EXPERIMENTS: ended.arms,
        names.BATCH: ended.batch,
        names.BATCH_LINE: ended.line,
        names.REQUEST_STREAM: ended.streams or None,
        names.FIRST_CHUNK: ended.first_s if ended.streams else None,
        names.ERROR: ended.error,
        names.STATE: names.CONVENTIONS,
        **ended.settings,
        **_told(ended.told),
    }
    return Span(
        f"{ended.work} {operation}" if ended.work else f"{operation} {ended.model}".rstrip(),
        "internal" if ended.work else "server",
        trace.trace_id,
        trace.span_id,
        trace.parent_id,
        trace.started_ns,
        ended.ended_ns,
        _known(facts),
        ended.status >= 500 or bool(ended.error and ended.status < 400),  # noqa: PLR2004
        ended.links,
    )


def _decision(trace: Trace) -> Iterator[Span]:
    """Yield the spans of what was decided, the one right before the other."""
    began_ns = trace.decided_ns - int(trace.took_s * _SECOND)
    routed_ns = max(trace.routed_ns, began_ns)
    decision, plan = trace.decision, trace.plan
    if decision is not None:
        facts = {
            names.CATEGORY: decision.category,
            names.REASON: decision.reason,
            names.ROUTER: decision.router,
            names.PROBABILITY: decision.probability,
        }
        yield _inner(trace, "route", 0, (began_ns, routed_ns), _known(facts))
    if plan is not None:
        chosen = {
            names.EXPERTS: plan.experts,
            names.EXCLUDED: plan.excluded,
            names.PANEL: plan.panel,
        }
        yield _inner(trace, "plan", 0, (routed_ns, trace.decided_ns), _known(chosen))


def _call(ended: Ended, asked: Asked, server: Server) -> Span:
    trace = ended.trace
    until_ns = asked.ended_ns or ended.ended_ns
    first_s = (asked.first_ns - asked.started_ns) / _SECOND if asked.first_ns else None
    facts: dict[str, Value | None] = {
        names.OPERATION: asked.operation,
        names.PROVIDER: server.provider,
        names.REQUEST_MODEL: asked.model,
        names.REQUEST_STREAM: asked.streams or None,
        names.FIRST_CHUNK: first_s if asked.streams else None,
        names.EXPERT: asked.expert,
        names.BACKEND: asked.backend,
        names.ADDRESS: server.host,
        names.PORT: server.port or None,
        names.ERROR: asked.error,
        **_told(asked.told),
    }
    return Span(
        f"{asked.operation} {asked.model}",
        "client",
        trace.trace_id,
        asked.span_id,
        trace.span_id,
        asked.started_ns,
        until_ns,
        _known(facts),
        bool(asked.error),
    )


def _inner(
    trace: Trace, name: str, place: int, times_ns: tuple[int, int], facts: Mapping[str, Value]
) -> Span:
    """Return a span of the gateway's own; its id goes by its name, so nothing is drawn for it."""
    word = f"{trace.span_id:016x} {name} {place}".encode()
    own = int.from_bytes(blake2b(word, digest_size=8).digest()) or 1
    return Span(name, "internal", trace.trace_id, own, trace.span_id, *times_ns, facts)


def _told(told: Told) -> dict[str, Value | None]:
    prompt, answer = told.tokens or (None, None)
    return {
        names.RESPONSE_ID: told.id,
        names.FINISH_REASONS: (told.finish,) if told.finish else None,
        names.INPUT_TOKENS: prompt,
        names.OUTPUT_TOKENS: answer,
    }


def _known(facts: Mapping[str, Value | None]) -> dict[str, Value]:
    """Return what says something."""
    return {name: value for name, value in facts.items() if value not in (None, "", ())}
