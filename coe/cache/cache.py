"""The cache of one composition: looked into before a request is routed, filled once it is answered.

| what stands there | what a request gets |
| --- | --- |
| the answer to the same request | that answer, as a stream or whole, whichever it asks for |
| only one whose last turn is near enough, and the mode is semantic | that one, and how near it is |
| a stream's that says no usage, and whole answers say it | it is asked anew |
| an answer in which an expert had a part that this request may not reach | it is asked anew |
| nothing, or the store does not answer | it is asked anew |
| nothing, and the same is being asked | that answer, once it is there; see `coe.cache.flights` |
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

from coe.cache.collected import Collected
from coe.cache.counts import Counts
from coe.cache.embedding import Embedder
from coe.cache.entry import Entry
from coe.cache.flights import Flight, Flights
from coe.cache.key import Key, Wish, key_of, partition_of, wish_of
from coe.cache.shelf import Near, Shelf
from coe.cache.wholeness import given, is_good, read, stored, wants_usage
from coe.composition.barring import encoder_key
from coe.composition.cache_values import CacheRules
from coe.errors import StoreUnavailable
from coe.identity import Identity, Permit
from coe.types import Answer, Call, Decision, Plan, Query, Recalled

LONGEST = 1 << 20
"""Bytes of an answer that is kept, as it is sent; a longer one is asked for again."""
PermitIn = Callable[[str | None], Permit]
_APART = 1 << 16
"""Bytes of an answer that is read beside the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What came of looking for an answer.

    Attributes:
        answer: that is given again; None where the request is to be asked.
        said: in a word, for a header.
        key: where the answer is to be kept; None where it is not to be.
        near: where it is to be found as near.
        flight: others wait for the answer; None where nobody can.
    """

    answer: Answer | None = None
    said: str = ""
    key: Key | None = None
    near: Near | None = None
    flight: Flight | None = None


class Cache:
    """See the module. Belongs to one event loop.

    Attributes:
        rules: what the composition says.
        flights: requests that are being asked now.
    """

    def __init__(
        self,
        rules: CacheRules,
        mark: str,
        shelf: Shelf,
        counts: Counts,
        embedder: Embedder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Store the parts.

        Args:
            rules: what the composition says.
            mark: what of it an answer depends on; see `coe.cache.mark`.
            shelf: where answers are kept.
            counts: told what became of look-ups.
            embedder: of last turns; None where only the same request finds an answer.
            clock: seconds since the epoch.
        """
        self.rules = rules
        self.flights = Flights()
        self._mark = mark
        self._shelf = shelf
        self._counts = counts
        self._embedder = embedder
        self._encoder_key = encoder_key(rules.encoder)
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def partition_of(self, identity: Identity) -> str:
        """Return the partition of who asks."""
        return partition_of(identity, self.rules.partition)

    async def recall(self, query: Query, permit_in: PermitIn, *, may_wait: bool = False) -> Lookup:
        """Look for the answer to a request, or wait for one that is being made.

        Args:
            query: with the permit that it has before its category is known.
            permit_in: returns the one that it has in a category.
            may_wait: for the same request of somebody else's; a stream never does.

        Returns:
            what came of it: the answer, or what `keep` or `give_up` is to be told. Where another
            one's answer was waited for, it took as long to open as the wait.

        Raises:
            InvalidRequest: its header means nothing.
        """
        wish = wish_of(query.headers)
        if wish == "off" or not query.identity.keeps_text:
            self._counts.found["skipped"] += 1
            return Lookup(said="off")
        embedder = self._embedder
        if embedder is not None and self._encoder_key in query.permit.barred:
            embedder = None
        encoder = self.rules.encoder if embedder is not None else ""
        key = key_of(query, self._mark, self.partition_of(query.identity), encoder)
        flight = None
        waited_s = 0.0
        if may_wait and wish == "use" and not query.stream:
            began = perf_counter()
            flight = await self.flights.join(key.partition, key.id)
            waited_s = perf_counter() - began
        try:
            lookup = await self._look(query, key, wish, permit_in, embedder)
        except BaseException:
            if flight is not None:
                flight.leave()
            raise
        if flight is None:
            if lookup.answer is not None:
                lookup.answer.opened_s = waited_s  # a backend was waited for, not the gateway
            return lookup
        if lookup.key is None:
            flight.land()
            return lookup
        return replace(lookup, flight=flight)

    async def _look(
        self,
        query: Query,
        key: Key,
        wish: Wish,
        permit_in: PermitIn,
        embedder: Embedder | None,
    ) -> Lookup:
        """Look for the answer to a request in the store, and count what came of it."""
        found = self._counts.found
        try:
            entry = await self._shelf.get(key.partition, key.id) if wish == "use" else None
            if entry is not None and _says_enough(entry, query):
                if _fits(entry, key, permit_in):
                    found["hit"] += 1
                    return self._hit(entry, query, 1.0)
                found["barred"] += 1
                return Lookup(said="miss", key=key)
            near = await self._near(key, embedder)
            if wish == "use" and near is not None:
                similar = await self._shelf.nearest(
                    key.partition,
                    near,
                    self.rules.similarity,
                    lambda entry: _says_enough(entry, query) and _fits(entry, key, permit_in),
                )
                if similar is not None:
                    found["similar"] += 1
                    return self._hit(similar[0], query, similar[1])
        except StoreUnavailable:
            found["unavailable"] += 1
            return Lookup(said="unavailable")
        found["skipped" if wish == "refresh" else "miss"] += 1
        return Lookup(said="refresh" if wish == "refresh" else "miss", key=key, near=near)

    async def _near(self, key: Key, embedder: Embedder | None) -> Near | None:
        """Return where a request stands among those like it; None where that is not asked."""
        if not key.scope or embedder is None:
            return None
        found = await embedder.of(key.turn)
        return None if found is None else Near(f"{key.scope}{found.encoder}", found.vector)

    def _hit(self, entry: Entry, query: Query, similarity: float) -> Lookup:
        now = self._clock()
        call = Call(
            expert=entry.expert,
            backend=entry.backend,
            model=entry.expert,
            body=query.body,
            stream=query.stream,
            endpoint=query.endpoint,
        )
        recalled = Recalled(id=entry.id, similarity=similarity, age_s=max(now - entry.at, 0.0))
        answer = Answer(
            query=query,
            decision=Decision(reason="cached", category=entry.category),
            plan=Plan(calls=(), permit=query.permit),
            call=call,
            first=given(entry.body, query, now),
            frames=_nothing(),
            recalled=recalled,
        )
        answer.cache = f"hit; id={entry.id}; similarity={similarity:.4g}"
        return Lookup(answer=answer)

    def keep(self, lookup: Lookup, answer: Answer) -> None:
        """Have an answer kept once it is there as a whole, and is good.

        Args:
            lookup: what `recall` returned for its request.
            answer: that has just been opened.
        """
        answer.cache = lookup.said
        if lookup.key is None:
            return
        begin = partial(self._begin, answer, lookup)
        if answer.query.stream:
            answer.frames = Collected(answer.first, answer.frames, LONGEST, begin)
        else:
            begin(answer.first)

    def give_up(self, lookup: Lookup, error: BaseException) -> None:
        """Let those go on who wait for an answer that could not be made.

        Args:
            lookup: what `recall` returned for its request.
            error: why; where it was not wanted any more, the next one asks and the others wait.
        """
        if lookup.flight is None:
            return
        if isinstance(error, asyncio.CancelledError):
            lookup.flight.leave()
        else:
            lookup.flight.land()

    def _begin(self, answer: Answer, lookup: Lookup, raw: bytes | None) -> None:
        """Have a whole answer read and kept, behind the one that is sent."""
        task = asyncio.get_running_loop().create_task(self._put(answer, lookup, raw))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until what is being kept is."""
        await asyncio.gather(*self._tasks)

    async def _put(self, answer: Answer, lookup: Lookup, raw: bytes | None) -> None:
        try:
            is_kept = await self._try_put(answer, lookup, raw)
        finally:
            if lookup.flight is not None:
                lookup.flight.land()
        if is_kept:
            self._counts.kept += 1
        else:
            self._counts.dropped += 1

    async def _try_put(self, answer: Answer, lookup: Lookup, raw: bytes | None) -> bool:
        """Keep an answer, if it is good; return whether it is kept."""
        key, query = lookup.key, answer.query
        if key is None or raw is None or len(raw) > LONGEST:
            return False
        is_long = len(raw) > _APART
        body = await asyncio.to_thread(read, raw, query) if is_long else read(raw, query)
        if body is None or not is_good(body, query):
            return False
        now = self._clock()
        entry = Entry(
            partition=key.partition,
            id=key.id,
            expert=answer.call.expert,
            backend=answer.call.backend,
            experts=self._had_a_part(answer),
            category=answer.decision.category,
            at=now,
            until=now + self.rules.ttl_s,
            has_usage=wants_usage(query) or bool(body.get("usage")),
            body=stored(body),
        )
        try:
            await self._shelf.put(entry, self.rules.most, lookup.near)
        except StoreUnavailable:
            return False
        return True

    def _had_a_part(self, answer: Answer) -> tuple[str, ...]:
        """Return the experts without whom an answer might be another one."""
        names = [answer.call.expert]
        if (panel := answer.plan.panel) is not None:
            names += [call.expert for call in panel.calls]
            names += self.rules.helpers.get(panel.panel, ())
        return tuple(dict.fromkeys(names))


def _says_enough(entry: Entry, query: Query) -> bool:
    """Whether an entry has the usage that a request asks for; a stream's may have none."""
    return entry.has_usage or not wants_usage(query)


def _fits(entry: Entry, key: Key, permit_in: PermitIn) -> bool:
    """Whether an entry may be given to who asks: it is theirs, and from nobody who is barred."""
    if entry.partition != key.partition:
        return False
    return permit_in(entry.category).barred.keys().isdisjoint(entry.experts)


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""  # makes this an async generator
