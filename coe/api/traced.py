"""A request that was traced and has ended: what its spans will tell. Nothing that anybody wrote."""

from __future__ import annotations

import time
from typing import NamedTuple

from coe.composition import Composition
from coe.errors import CoEError
from coe.planner import PREFIX
from coe.telemetry.trace import Ended, Trace, failure, settings_of, told_by
from coe.types import Answer, Query


class Served(NamedTuple):
    """What an exchange knows in the end.

    Attributes:
        path: of the endpoint.
        query, composition: None where the request could not be read.
        answer: None where nobody answered.
        last: the last piece of a stream.
        first_s: until the first content; None where there was none.
    """

    endpoint: str
    path: str
    status: int
    request_id: str
    query_id: str
    query: Query | None
    composition: Composition | None
    answer: Answer | None
    error: CoEError | None
    last: bytes
    first_s: float | None


def ended(trace: Trace, served: Served) -> Ended:
    """Return how a request ended."""
    query, answer = served.query, served.answer
    facts = Ended(
        trace=trace,
        ended_ns=time.time_ns(),
        endpoint=served.endpoint,
        path=served.path,
        status=served.status,
        request_id=served.request_id,
        query_id=served.query_id,
        error=failure(served.error, served.status),
        first_s=served.first_s,
    )
    if query is not None and served.composition is not None:
        facts = facts._replace(
            model=_named(served.composition, query.model),
            streams=query.stream,
            settings=settings_of(query.body),
            composition=served.composition.fingerprint,
        )
    if answer is None:
        return facts
    told, session = told_by(answer.first), answer.decision.session
    if served.last:
        told = told_by(served.last)._replace(id=told.id)
    return facts._replace(
        expert=answer.call.expert,
        reason=answer.reason,
        conversation=session.owner.hex() if session is not None else "",
        arms=tuple(f"{name}:{arm}" for name, arm in answer.arms.items()),
        told=told,
    )


def _named(composition: Composition, model: str) -> str:
    """Return a model's name where the composition has it; what else clients write is nobody's."""
    known = (composition.models, composition.experts, composition.categories, composition.encoders)
    if any(model in names for names in known):
        return model
    return model if model.removeprefix(PREFIX) in composition.categories else ""
