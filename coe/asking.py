"""One expert is asked by the gateway itself: for a router, a judge, a measurement.

A router asks from its thread; `Experts` takes its questions into the loop where the backends live.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from itertools import chain
from time import perf_counter
from typing import Any
from uuid import uuid4

import orjson

from coe import door, planner
from coe.claim import Claim
from coe.composition import Composition
from coe.errors import BackendProtocolError, BackendTimeout, BackendUnreachable, CoEError
from coe.identity import GATEWAY
from coe.protocols import Backend
from coe.scheduler.loop import Slots
from coe.telemetry import Telemetry
from coe.types import Decision, Query
from coe.usage import tokens

_AT_ONCE = 16
_GRACE_S = 1.0  # for the loop to give up a call; beyond it the loop itself is not answering

Said = tuple[str | CoEError, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an expert answered, and what that took.

    Attributes:
        text: of its first choice; None where it has none: tool calls, a refusal.
        prompt_tokens, completion_tokens: as the backend counted them; None where it did not say.
        latency_s: from the dispatch to the whole answer, in seconds.
        finish_reason: as the backend says it.
        logprob: mean log-probability of its tokens; None where the backend does not tell.
    """

    text: str | None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_s: float = 0.0
    finish_reason: str = ""
    logprob: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The part of a gateway that calls go through, for who has no gateway; see `coe.door.House`."""

    backends: Mapping[str, Backend]
    telemetry: Telemetry
    slots: Mapping[str, Slots] = field(default_factory=dict)
    keepers: tuple[door.Keeper, ...] = ()


async def ask(
    composition: Composition,
    house: door.House,
    name: str,
    body: Mapping[str, Any],
    *,
    tokens: int = 0,
    claim: Claim | None = None,
) -> Reply:
    """Ask one expert and nobody in its place.

    Args:
        composition: that the expert is of.
        house: with the expert's backend.
        name: the expert.
        body: an OpenAI body, not streamed; its `model` does not matter.
        tokens: about how long the prompt is, for the rule about contexts.
        claim: on whose behalf; None: the gateway's own.

    Raises:
        NoEligibleExpert, ContextTooLong: the composition does not let it answer this.
        BackendError, CapacityError: as the backend raises them.
        CoEError: a keeper did not let it in.
    """
    query = Query(id=f"ask-{uuid4().hex}", model=name, body=body, tokens=tokens)
    decision = Decision(reason="pinned", pinned_expert=name)
    plan = planner.plan(composition, query, decision)
    if not plan.calls:
        raise planner.refusal(plan.excluded)
    (call,) = plan.calls
    slot = None
    # What is not scheduled here is not scheduled further down, either: there is no claim then.
    if house.slots or house.keepers:
        claim = claim or Claim(identity=GATEWAY)
        slot = await door.schedule(house, call, claim)
    started = perf_counter()
    whole, frames = await door.enter(house, query.id, call, slot, claim)
    await frames.aclose()
    return read_reply(whole, name, perf_counter() - started)


class Experts:
    """The experts of a composition, for routers that ask them."""

    def __init__(self, composition: Composition, house: door.House) -> None:
        """Store the parts; nobody can be asked before `open`."""
        self._composition = composition
        self._house = house
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: set[Future[Said]] = set()

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make calls in that loop from now on."""
        self._loop = loop

    def follow(self, composition: Composition, house: door.House) -> None:
        """Ask the experts of another composition from now on. Run in the loop of `open`."""
        self._composition, self._house = composition, house

    def close(self) -> None:
        """Give up the calls in flight; who asks from now on is told so."""
        self._loop = None
        for future in tuple(self._asking):
            future.cancel()

    def expert(self, name: str) -> Asked:
        """Return the expert of that name, which the composition has."""
        return Asked(name=name, experts=self)

    def ask(self, name: str, bodies: Sequence[Mapping[str, Any]], wait_s: float) -> Said:
        """See `AskedExpert.ask`."""
        parts = [bodies[start : start + _AT_ONCE] for start in range(0, len(bodies), _AT_ONCE)]
        return tuple(chain.from_iterable(self._ask_part(name, part, wait_s) for part in parts))

    def _ask_part(self, name: str, bodies: Sequence[Mapping[str, Any]], wait_s: float) -> Said:
        if (loop := self._loop) is None or loop.is_closed():
            return (BackendUnreachable(f"expert `{name}` cannot be asked: not started"),) * len(
                bodies
            )
        future = asyncio.run_coroutine_threadsafe(self._gather(name, bodies, wait_s), loop)
        self._asking.add(future)
        try:
            return future.result(wait_s + _GRACE_S)
        except (TimeoutError, CancelledError):
            future.cancel()
            return (_late(name, wait_s),) * len(bodies)
        finally:
            self._asking.discard(future)

    async def _gather(self, name: str, bodies: Sequence[Mapping[str, Any]], wait_s: float) -> Said:
        return tuple(await asyncio.gather(*self._calls(name, bodies, wait_s)))

    def _calls(
        self, name: str, bodies: Sequence[Mapping[str, Any]], wait_s: float
    ) -> Iterator[Coroutine[Any, Any, str | CoEError]]:
        for body in bodies:
            yield self._call(name, body, wait_s)

    async def _call(self, name: str, body: Mapping[str, Any], wait_s: float) -> str | CoEError:
        try:
            async with asyncio.timeout(wait_s):
                return await self._text(name, body)
        except TimeoutError:
            return _late(name, wait_s)
        except CoEError as error:
            return error

    async def _text(self, name: str, body: Mapping[str, Any]) -> str:
        reply = await ask(self._composition, self._house, name, body)
        if reply.text is None:
            raise BackendProtocolError(f"expert `{name}` answered without text")
        return reply.text


@dataclass(frozen=True, slots=True)
class Asked:
    """One expert; see `AskedExpert`."""

    name: str
    experts: Experts

    def ask(self, bodies: Sequence[Mapping[str, Any]], *, wait_s: float) -> Said:
        """See `AskedExpert.ask`."""
        return self.experts.ask(self.name, bodies, wait_s)


def read_reply(whole: bytes, expert: str, latency_s: float = 0.0) -> Reply:
    """Return what a `chat.completion` says.

    Raises:
        BackendProtocolError: it is none.
    """
    try:
        completion = orjson.loads(whole)
        choice = completion["choices"][0]
        text = choice["message"].get("content")
        usage = completion.get("usage") or {}
        return Reply(
            text=text if isinstance(text, str) else None,
            prompt_tokens=tokens(usage.get("prompt_tokens")),
            completion_tokens=tokens(usage.get("completion_tokens")),
            latency_s=latency_s,
            finish_reason=str(choice.get("finish_reason") or ""),
            logprob=_logprob(choice.get("logprobs")),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise BackendProtocolError(f"expert `{expert}` answered without text") from None


def _logprob(logprobs: Any) -> float | None:
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    values = [token["logprob"] for token in tokens or ()]
    return sum(values) / len(values) if values else None


def _late(name: str, wait_s: float) -> BackendTimeout:
    return BackendTimeout(f"expert `{name}` gave no answer within {wait_s:g} s")
