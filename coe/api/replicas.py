"""What replicas ask of each other, and who they are.

    POST /internal/replicas/slots   a slot of a pool that this replica owns: `coe.replicas.errand`
    POST /internal/replicas/doubt   a call failed: the pool's memory may not have what it should
    GET  /v1/replicas               who is there, for administrators
    DELETE /v1/replicas/pauses/..   lifts a guardrail's pause of an experiment, for them too

The internal paths are let in by the replicas' secret alone, and no key opens them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Depends

from coe import __version__
from coe.api import errors
from coe.api.access import only_admins
from coe.api.body import Receive, Scope, header, read_body
from coe.api.inference import Send
from coe.errors import CoEError, NotFound, RequestError, Unauthorized
from coe.live import Live
from coe.replicas.errand import BEAT_S, PREFIX, Errand, Moved, line, read, refusal
from coe.replicas.pauses import Pauses
from coe.replicas.replica import Lending, Pool, Replica
from coe.settings import Settings

MOST_BYTES = 16 * 1024


def endpoints(
    replica: Replica | None, pauses: Pauses | None, live: Live, settings: Settings
) -> APIRouter:
    """Return the endpoints over this replica and the others."""
    table = APIRouter(
        prefix="/v1/replicas",
        tags=["replicas"],
        dependencies=[Depends(partial(only_admins, settings.admin))],
    )

    @table.get("")
    async def list_replicas() -> dict[str, Any]:
        """Who is there, this one first, and which pools each owns.

        `redis` is `none` where this process is alone, and `down` where the others are not known
        because Redis does not answer.
        """
        if replica is None:
            return {"object": "list", "redis": "none", "data": [_alone(live)]}
        cards, known = await replica.everybody()
        data = [{**asdict(card), "is_this": card.id == replica.id} for card in cards]
        return {"object": "list", "redis": "up" if known else "down", "data": data}

    @table.delete("/pauses/{experiment}")
    async def lift(experiment: str) -> dict[str, Any]:
        """Lift a guardrail's pause on all replicas: what their files say holds from then on."""
        if pauses is None or not await pauses.lift(experiment):
            raise NotFound(f"no replica holds a pause of `{experiment:.80}`", param="experiment")
        return {"object": "pause", "experiment": experiment, "lifted": True}

    return table


def _alone(live: Live) -> dict[str, Any]:
    """Return the card of a process that shares nothing."""
    return {
        "id": "",
        "url": "",
        "version": __version__,
        "composition": live.composition.fingerprint,
        "owns": sorted(live.current.gateway.slots),
        "is_this": True,
    }


class Internal:
    """The ASGI application of the internal paths."""

    def __init__(self, replica: Replica | None) -> None:
        """Store who is asked; None where this process is alone: nothing is there then."""
        self._replica = replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            replica = self._known(scope)
            verb = scope["path"].removeprefix(PREFIX)
            if scope["method"] != "POST" or verb not in {"slots", "doubt"}:
                raise NotFound(f"{scope['path'][:120]} is not here")
            raw = await read_body(scope, receive, MOST_BYTES)
            if verb == "doubt":
                _doubt(replica, raw)
                await _answer(send, 200, b"{}")
            else:
                await _Stream(receive, send).serve(replica, read(raw))
        except CoEError as error:
            await _answer(send, error.status, orjson.dumps(errors.body(error)))

    def _known(self, scope: Scope) -> Replica:
        shown = header(scope, b"authorization") or ""
        if self._replica is None or not self._replica.knows(shown):
            raise Unauthorized("these paths are for the gateway's own replicas")
        return self._replica


class _Stream:
    """One errand: lines until the slot is given back, or whoever asked is gone."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def serve(self, replica: Replica, errand: Errand) -> None:
        rows = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")]
        await self._send({"type": "http.response.start", "status": 200, "headers": rows})
        # Sent at once: whoever asks knows by it that somebody is there.
        await self._say(line())
        work = asyncio.ensure_future(self._lend(replica.pools.get(errand.pool), errand))
        left = asyncio.ensure_future(self._left())
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, left):
                task.cancel()
            await asyncio.gather(work, left, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error
        with suppress(OSError):
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _lend(self, pool: Pool | None, errand: Errand) -> None:
        try:
            if pool is None:
                raise Moved
            lending = await self._waited(pool, errand)
        except Moved:
            await self._say(line(moved=True))
            return
        except CoEError as error:
            await self._say(line(refused=refusal(error)))
            return
        try:
            await self._say(line(granted=round(lending.swap_s, 6)))
            await self._beat(lending)
            await self._say(line(moved=True))
        finally:
            lending.release()

    async def _waited(self, pool: Pool, errand: Errand) -> Lending:
        async def told(sentence: str) -> None:
            await self._say(line(told=sentence))

        return await pool.lend(errand, told)

    async def _beat(self, lending: Lending) -> None:
        """Say now and then that the slot is held, until the pool is another's."""
        ended = asyncio.ensure_future(lending.ended())
        try:
            while not (await asyncio.wait((ended,), timeout=BEAT_S))[0]:
                await self._say(line())
        finally:
            ended.cancel()

    async def _left(self) -> None:
        """Return when whoever asked has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _say(self, text: bytes) -> None:
        await self._send({"type": "http.response.body", "body": text, "more_body": True})


def _doubt(replica: Replica, raw: bytes) -> None:
    try:
        named = orjson.loads(raw)["pool"]
    except (ValueError, KeyError, TypeError):
        raise RequestError("this names no pool") from None
    pool = replica.pools.get(named)
    if pool is not None:
        pool.doubt()


async def _answer(send: Send, status: int, body: bytes) -> None:
    rows = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": rows})
    await send({"type": "http.response.body", "body": body, "more_body": False})
