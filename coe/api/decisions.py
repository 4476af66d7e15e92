"""/v1/decisions and /v1/feedback: what was decided, and what people say of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request

from coe.api import wire
from coe.api.access import identity_of
from coe.api.body import read_json
from coe.api.counted import Counted
from coe.decisions import feedback as opinions
from coe.decisions.log import DecisionLog
from coe.errors import NotFound
from coe.settings import Settings
from coe.stores.decisions import Feedback, Record

_ONCE = "idempotency-key"


Hear = Callable[[Record, Feedback], None]


def endpoints(log: DecisionLog, settings: Settings, hear: Hear, counted: Counted) -> APIRouter:
    """Return the endpoints over a decision log; feedback counts as a request.

    Args:
        log: of decisions.
        settings: limits on bodies.
        hear: is told what is said of a decision.
        counted: counts requests.
    """
    table = APIRouter(tags=["decisions"])

    async def find(name: str, tenant: str | None) -> Record:
        """Return a decision of a tenant; another one's is not there for them. None: of anybody."""
        store = await asyncio.to_thread(log.store)
        record = await asyncio.to_thread(store.find, name, tenant)
        if record is None:
            raise NotFound(
                f"no decision `{name:.80}`: it is not known here, was made for another key, or is "
                "older than `observe.decisions_for`"
            )
        return record

    @table.get("/v1/decisions/{name}")
    async def get_decision(name: str, request: Request) -> dict[str, Any]:
        """Why an answer came from the expert that it came from, by the id of either.

        Shown to the key that the request was made with, and to keys with the scope `experiments`.
        """
        identity = identity_of(request.scope)
        sees_all = identity.key and "experiments" in identity.scopes
        record = await find(name, None if sees_all else identity.tenant)
        store = await asyncio.to_thread(log.store)
        return document(record, await asyncio.to_thread(store.said, record.id))

    @table.post(
        "/v1/feedback", status_code=201, openapi_extra=_BODY, dependencies=[Depends(counted)]
    )
    async def say(request: Request) -> dict[str, Any]:
        """Say how good an answer was, as often and as late as the decision is remembered.

        The answer is named by `decision_id` (its header x-coe-decision-id) or `response_id` (the
        `id` of its body). What is said: `value` (true or false), `rating` (1 to 5) or `score` (0 to
        1); a `comment`; a `demonstration` of a better answer; `correct`, how right each expert was;
        `tags`. The same `idempotency_key` (or header Idempotency-Key) replaces what was said with
        it before.
        """
        once = request.headers.get(_ONCE) or wire.new_id()
        body = await read_json(request, settings)
        opinion = opinions.parse(body, at=time.time(), key=once)
        record = await find(opinion.name, identity_of(request.scope).tenant)
        said = Feedback(**{**_fields(opinion.feedback), "decision": record.id})
        store = await asyncio.to_thread(log.store)
        before = await asyncio.to_thread(store.say, said)
        if before is None or (before.value, before.correct) != (said.value, said.correct):
            hear(record, said)  # sent again, it says nothing new
        return {"object": "coe.feedback", "decision_id": record.id, "idempotency_key": said.key}

    return table


_TEXT = {"type": "string"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "decision_id": _TEXT,
                        "response_id": _TEXT,
                        "value": {"type": "boolean"},
                        "rating": {"type": "integer", "minimum": 1, "maximum": 5},
                        "score": {"type": "number", "minimum": 0, "maximum": 1},
                        "comment": _TEXT,
                        "demonstration": _TEXT,
                        "correct": {
                            "type": "object",
                            "additionalProperties": {"type": "number"},
                        },
                        "tags": {"type": "object", "additionalProperties": _TEXT},
                        "idempotency_key": _TEXT,
                    },
                    "additionalProperties": False,
                }
            }
        },
    }
}


def document(record: Record, said: Sequence[Feedback]) -> dict[str, Any]:
    """Return all that is known of a decision, as JSON."""
    facts = asdict(record)
    detail = facts.pop("detail")
    facts.pop("tenant")
    facts.pop("text_until")
    if facts["text"] is None:
        del facts["text"]
    return {
        "object": "coe.decision",
        **facts,
        **detail,
        "feedback": [
            {name: value for name, value in _fields(one).items() if value not in (None, "", {})}
            for one in said
        ],
    }


def _fields(feedback: Feedback) -> dict[str, Any]:
    return asdict(feedback)
