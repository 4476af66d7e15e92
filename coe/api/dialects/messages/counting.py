"""/v1/messages/count_tokens: how long a prompt is, as far as the gateway can tell."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson

from coe import planner
from coe.api import errors, wire
from coe.api.access import identity_of
from coe.api.body import Receive, Scope, header, read_body
from coe.api.counted import quota_of
from coe.api.dialects.messages import failures
from coe.api.dialects.messages.request import parse_counting
from coe.api.inference import Send
from coe.errors import CoEError
from coe.live import Live
from coe.metering.quota import Quota
from coe.settings import Settings

logger = logging.getLogger(__name__)

_CHARS_PER_TOKEN = 4


class Counting:
    """A plain ASGI endpoint. It estimates, as routing does: no expert is asked.

    It counts as a request all the same.
    """

    def __init__(self, live: Live, settings: Settings) -> None:
        self._live = live
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        query_id = wire.new_id()
        request_id = wire.request_id(header(scope, b"x-request-id"), query_id)
        quota: Quota | None = None
        try:
            quota = quota_of(self._live.current.gateway, identity_of(scope))
            if quota is not None:
                await quota.enter()
            count = await self._count(scope, receive, query_id)
            body: dict[str, Any] = {"input_tokens": count}
        except CoEError as error:
            await self.refuse(error, scope, send, quota)
            return
        except Exception:  # the HTTP boundary: a bug is a 500, not a broken connection
            logger.exception("request %s failed", query_id)
            bug = CoEError("internal error; the gateway's log has the details")
            await self.refuse(bug, scope, send, quota)
            return
        finally:
            if quota is not None:
                quota.leave()
        rows = [(b"content-type", b"application/json"), (b"x-request-id", request_id.encode())]
        rows += [] if quota is None else quota.headers()
        await _answer(send, 200, rows, body, request_id)

    async def refuse(
        self, error: CoEError, scope: Scope, send: Send, quota: Quota | None = None
    ) -> None:
        """Say no; `quota` is what the request was counted on."""
        request_id = wire.request_id(header(scope, b"x-request-id"), wire.new_id())
        rows = errors.headers(error, request_id)
        rows += [] if quota is None else quota.headers()
        await _answer(send, error.status, rows, failures.body(error, request_id), request_id)

    async def _count(self, scope: Scope, receive: Receive, query_id: str) -> int:
        raw = await read_body(scope, receive, self._settings.max_body_bytes)
        body = wire.parse_json(raw, self._settings)
        sender = wire.Sender(scope["headers"], identity_of(scope))
        query = parse_counting(body, query_id, self._settings, sender)
        planner.pin(self._live.composition, query.model)  # says which names there are
        tools = len(orjson.dumps(body.get("tools") or []))
        calls = sum(
            len(orjson.dumps(message["tool_calls"]))
            for message in query.body["messages"]
            if "tool_calls" in message
        )
        return max(1, query.tokens + (tools + calls - 2) // _CHARS_PER_TOKEN)


async def _answer(
    send: Send, status: int, rows: errors.Headers, body: Mapping[str, object], request_id: str
) -> None:
    payload = orjson.dumps(body)
    more = [(b"request-id", request_id.encode()), (b"content-length", b"%d" % len(payload))]
    await send({"type": "http.response.start", "status": status, "headers": [*rows, *more]})
    await send({"type": "http.response.body", "body": payload, "more_body": False})
