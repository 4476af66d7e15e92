"""/v1/batches: many requests at once, answered in the background, expert by expert."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from coe.api import wire
from coe.api.access import identity_of
from coe.api.body import read_json
from coe.api.counted import Counted
from coe.api.files import listed, room_of
from coe.batching.checks import ENDPOINTS
from coe.batching.desk import Shelf
from coe.batching.progress import Progress, progress
from coe.batching.runner import Runner
from coe.errors import InvalidRequest, NotFound, RequestTooLarge
from coe.identity import Identity
from coe.policies.wishes import told_in
from coe.settings import Settings
from coe.stores.batches import BatchState
from coe.stores.files import Room
from coe.stores.records import Batch, Group

_WINDOW = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S = 30 * 86_400
_FIELDS = frozenset({"input_file_id", "endpoint", "completion_window", "metadata"})
_PAIRS, _KEY, _VALUE = 16, 64, 512
_TIMES = (
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["input_file_id", "endpoint"],
                    "properties": {
                        "input_file_id": {"type": "string"},
                        "endpoint": {"enum": list(ENDPOINTS)},
                        "completion_window": {"type": "string"},
                        "metadata": {"type": "object"},
                    },
                }
            }
        },
    }
}


def endpoints(shelf: Shelf, runner: Runner, settings: Settings, counted: Counted) -> APIRouter:
    """Return the endpoints of batches; to begin one counts as a request, as each line does."""
    table = APIRouter(prefix="/v1/batches", tags=["batches"])

    @table.post("", openapi_extra=_BODY, dependencies=[Depends(counted)])
    async def create(request: Request) -> dict[str, Any]:
        """Begin a batch of an uploaded file.

        `completion_window` is OpenAI's `24h`, or another time such as `30m` or `7d`. The headers
        `x-coe-exclude` and `x-coe-data-class` hold for all of its requests; they may stand in
        `metadata` as well. It counts as a request, and its lines as others; it is refused where
        there is no room left for files, as it will write some.
        """
        body = await read_json(request, settings)
        told, metadata = told_in(request.headers.raw), body.get("metadata") or {}
        if told and isinstance(metadata, dict):
            body["metadata"] = {**metadata, **told}
        state = await asyncio.to_thread(shelf.open)
        identity = identity_of(request.scope)
        room = room_of(settings, identity)
        batch = await asyncio.to_thread(create_batch, state, body, time.time(), identity, room)
        runner.wake()
        return card(batch, ())

    @table.get("")
    async def list_batches(
        request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 20, after: str | None = None
    ) -> dict[str, Any]:
        """One's own batches, the newest first: `after` is the last id of the page before."""
        state = await asyncio.to_thread(shelf.found)
        if state is None:
            return listed([], has_more=False)
        owners = identity_of(request.scope).owners
        return await asyncio.to_thread(_page, state, owners, limit, after)

    @table.get("/{batch_id}")
    async def get_batch(batch_id: str, request: Request, response: Response) -> dict[str, Any]:
        """How far a batch is; `x-coe-batch-progress` and `x-coe-batch-eta-s` say it, too."""
        owners = identity_of(request.scope).owners
        batch, groups = await asyncio.to_thread(_find, shelf, owners, batch_id)
        now = progress(batch, groups)
        response.headers["x-coe-batch-progress"] = f"{now.share:.4f}"
        if now.eta_s is not None:
            response.headers["x-coe-batch-eta-s"] = f"{now.eta_s:.0f}"
        return card(batch, groups)

    @table.post("/{batch_id}/cancel")
    async def cancel(batch_id: str, request: Request) -> dict[str, Any]:
        """Cancel a batch: lines in flight end, the others are not begun; what is done is kept."""
        await asyncio.to_thread(_find, shelf, identity_of(request.scope).owners, batch_id)
        state = shelf.open()
        batch = await asyncio.to_thread(state.batches.cancel, batch_id, time.time())
        if batch is None or batch.has_ended:
            status = batch.status if batch else "gone"
            raise InvalidRequest(f"the batch is {status}: there is nothing to cancel")
        runner.wake()
        return card(batch, await asyncio.to_thread(state.lines.groups, batch.seq))

    return table


def create_batch(
    state: BatchState, body: dict[str, Any], now: float, identity: Identity, room: Room
) -> Batch:
    """Check what a client asks for, and add the batch, which is theirs.

    Args:
        state: where it is kept.
        body: of the request.
        now: seconds since the epoch.
        identity: who asks.
        room: for their files.

    Raises:
        InvalidRequest: a field is wrong; `param` names it.
        RequestTooLarge: there is no room left for what it would write.
    """
    unknown = sorted(body.keys() - _FIELDS)
    if unknown:
        known = ", ".join(sorted(_FIELDS))
        raise InvalidRequest(f"no field `{unknown[0]}` here, only {known}", param=unknown[0])
    endpoint = body.get("endpoint")
    if endpoint not in ENDPOINTS:
        raise InvalidRequest(f"`endpoint` must be {' or '.join(ENDPOINTS)}", param="endpoint")
    given = body.get("input_file_id")
    file = state.files.get(given) if isinstance(given, str) else None
    if file is None or file.purpose != "batch" or file.tenant not in identity.owners:
        raise InvalidRequest(
            "`input_file_id` must be the id of a file with the purpose `batch`",
            param="input_file_id",
        )
    window = body.get("completion_window", "24h")
    batch = Batch(
        seq=0,
        id=f"batch_{wire.new_id()}",
        endpoint=endpoint,
        input_file_id=file.id,
        completion_window=window,
        status="validating",
        created_at=now,
        expires_at=now + _seconds(window),
        metadata=_metadata(body.get("metadata")),
        tenant=identity.tenant,
        key=identity.key,
    )
    if (left := state.files.left(room)) == 0:
        raise RequestTooLarge(f"the batch would write files, {room.why(left)}")
    return state.batches.add(batch)


def card(batch: Batch, groups: tuple[Group, ...]) -> dict[str, Any]:
    """Return a batch as OpenAI has it; what only we say of it stands in `coe`."""
    counts = {"total": batch.total, "completed": batch.completed, "failed": batch.failed}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": _errors(batch),
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": int(batch.created_at),
        **{name: _whole(getattr(batch, name)) for name in _TIMES},
        "request_counts": counts,
        "usage": _usage(batch),
        "metadata": batch.metadata,
        "coe": _progress(batch, groups, progress(batch, groups)),
    }


def _page(
    state: BatchState, owners: Collection[str], limit: int, after: str | None
) -> dict[str, Any]:
    if after is not None:
        last = state.batches.get(after)
        if last is None or last.tenant not in owners:
            raise NotFound(f"no batch `{after}`", param="after")
    batches, has_more = state.batches.page(owners, limit=limit, after=after)
    rows = [card(batch, state.lines.groups(batch.seq)) for batch in batches]
    return listed(rows, has_more=has_more)


def _find(shelf: Shelf, owners: Collection[str], batch_id: str) -> tuple[Batch, tuple[Group, ...]]:
    """Return a batch of one of these tenants, and its groups. Raises NotFound."""
    state = shelf.found()
    batch = None if state is None else state.batches.get(batch_id)
    if state is None or batch is None or batch.tenant not in owners:
        raise NotFound(f"no batch `{batch_id}`", param="batch_id")
    return batch, state.lines.groups(batch.seq)


def _seconds(window: object) -> float:
    found = _WINDOW.fullmatch(window) if isinstance(window, str) else None
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST_S:
        raise InvalidRequest(
            "`completion_window` must be a time of at most 30 days, such as 24h, 30m or 7d",
            param="completion_window",
        )
    return seconds


def _metadata(given: object) -> dict[str, str] | None:
    if given is None:
        return None
    is_good = isinstance(given, dict) and len(given) <= _PAIRS
    if isinstance(given, dict) and is_good:
        is_good = all(
            len(key) <= _KEY and isinstance(value, str) and len(value) <= _VALUE
            for key, value in given.items()
        )
    if not isinstance(given, dict) or not is_good:
        raise InvalidRequest(
            f"`metadata` must hold at most {_PAIRS} strings of at most {_VALUE} characters, "
            f"with names of at most {_KEY}",
            param="metadata",
        )
    return given


def _whole(at: float | None) -> int | None:
    return None if at is None else int(at)


def _errors(batch: Batch) -> dict[str, Any] | None:
    if not batch.mistakes:
        return None
    return {"object": "list", "data": [asdict(row) for row in batch.mistakes]}


def _usage(batch: Batch) -> dict[str, Any]:
    return {
        "input_tokens": batch.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": batch.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": batch.input_tokens + batch.output_tokens,
    }


def _progress(batch: Batch, groups: tuple[Group, ...], now: Progress) -> dict[str, Any]:
    return {
        "phase": _phase(batch, now),
        "progress": round(now.share, 4),
        "routed": now.placed,
        "lines_per_s": None if now.per_s is None else round(now.per_s, 2),
        "eta_s": None if now.eta_s is None else round(now.eta_s, 1),
        "experts": [
            {"expert": row.expert, "backend": row.backend, "lines": row.lines, "done": row.done}
            for row in groups
        ],
    }


def _phase(batch: Batch, now: Progress) -> str:
    """Return what is being done: a batch in progress is first routed, then run."""
    if batch.status != "in_progress":
        return batch.status
    return "running" if now.share else "routing" if now.placed < batch.total else "planned"
