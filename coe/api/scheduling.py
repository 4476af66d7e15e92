"""/v1/scheduling: who is in memory, who waits, and what happened of late. It changes nothing.

Like /v1/models and /metrics it is open: it says names of the composition, counts and times, and
nothing of what anybody asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Response

from coe.live import Live
from coe.scheduler.chronicle import Record
from coe.scheduler.loop import Slots
from coe.scheduler.recorded import document


def endpoints(live: Live, clock: Callable[[], float] = time.time) -> APIRouter:
    """Return the endpoint over the gateway that serves now; the clock says seconds since 1970."""
    table = APIRouter(tags=["scheduling"])

    @table.get("/v1/scheduling", response_class=Response)
    async def scheduling() -> Response:
        """Who is in memory, who waits, and what happened of late, for each managed backend.

        `events` are those of its experts (`loading`, `ready`, `failed`, `leaving` and for whom,
        `left`, `stayed`, `lost`), with the calls that waited in all; `served` is when calls of
        whom ran; `depth` when how many waited; `calls` the last ones, with the seconds that each
        waited and took. Of each 4,000 are kept; all that happened since `since` is there, but for
        `calls`. Times are seconds since 1970. Nothing of any prompt is here.
        """
        now_s, at_s = asyncio.get_running_loop().time(), clock()
        pools = live.current.gateway.slots.values()
        found = [(_card(slots), slots.chronicle.record(now_s)) for slots in pools]
        # Thousands of rows take tens of milliseconds, which nobody who is served should wait for.
        body = await asyncio.to_thread(_body, found, at_s, at_s - now_s)
        return Response(body, media_type="application/json")

    return table


def _body(found: Sequence[tuple[dict[str, Any], Record]], at_s: float, offset_s: float) -> bytes:
    pools = [card | document(record, offset_s=offset_s) for card, record in found]
    return orjson.dumps({"object": "coe.scheduling", "at": round(at_s, 3), "pools": pools})


def _card(slots: Slots) -> dict[str, Any]:
    """Return how a backend stands now."""
    known = slots.setup.experts
    return {
        "backend": slots.name,
        "memory": sum(pool.memory for pool in slots.setup.layout.pools),
        "experts": [
            {
                "expert": view.expert,
                "state": view.state,
                "running": view.running,
                "waiting": view.interactive + view.bulk,
                "memory": known[view.expert].memory,
                "base": known[view.expert].base,
                "pinned": known[view.expert].pinned,
                "preferred": known[view.expert].preferred,
            }
            for view in slots.views()
        ],
    }
