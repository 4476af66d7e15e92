"""A router asks an expert: from its thread into the loop in which the backends live."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import aclosing
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import uuid4

import orjson

from coe import planner
from coe.composition import Composition
from coe.errors import BackendProtocolError, BackendTimeout, BackendUnreachable, CoEError
from coe.protocols import Backend
from coe.types import Decision, Dispatch, Query

_AT_ONCE = 16
_GRACE_S = 1.0  # for the loop to give up a call; beyond it the loop itself is not answering

Said = tuple[str | CoEError, ...]


class Experts:
    """The experts of a composition, for routers that ask them."""

    def __init__(self, composition: Composition, backends: Mapping[str, Backend]) -> None:
        """Store the parts; nobody can be asked before `open`."""
        self._composition = composition
        self._backends = backends
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: set[Future[Said]] = set()

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make calls in that loop from now on."""
        self._loop = loop

    def follow(self, composition: Composition, backends: Mapping[str, Backend]) -> None:
        """Ask the experts of another composition from now on. Run in the loop of `open`."""
        self._composition, self._backends = composition, backends

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
        query = Query(id=f"ask-{uuid4().hex}", model=name, body=body)
        decision = Decision(reason="pinned", pinned_expert=name)
        plan = planner.plan(self._composition, query, decision)
        if not plan.calls:
            raise planner.refusal(plan.excluded)
        (call,) = plan.calls
        frames = self._backends[call.backend].generate(Dispatch(query_id=query.id, call=call))
        async with aclosing(frames):
            return read_text(await anext(frames, b""), name)


@dataclass(frozen=True, slots=True)
class Asked:
    """One expert; see `AskedExpert`."""

    name: str
    experts: Experts

    def ask(self, bodies: Sequence[Mapping[str, Any]], *, wait_s: float) -> Said:
        """See `AskedExpert.ask`."""
        return self.experts.ask(self.name, bodies, wait_s)


def read_text(whole: bytes, expert: str) -> str:
    """Return the text of a `chat.completion`.

    Raises:
        BackendProtocolError: there is none: tool calls, a refusal, or no answer at all.
    """
    try:
        text = orjson.loads(whole)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        text = None
    if not isinstance(text, str):
        raise BackendProtocolError(f"expert `{expert}` answered without text")
    return text


def _late(name: str, wait_s: float) -> BackendTimeout:
    return BackendTimeout(f"expert `{name}` gave no answer within {wait_s:g} s")
