"""An expert whose answers are kept, and given again to the very same request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Self

import orjson

from coe.composition.programs import Cached
from coe.programs.memory import Memory, key_of
from coe.programs.spelling import Whole, headed, renamed, spelt
from coe.protocols import Others
from coe.types import Dispatch
from coe.usage import NONE


class CachedExpert:
    """See `coe.programs.backend.Running`. An answer is kept once it is there as a whole.

    Attributes:
        memory: what is kept.
    """

    def __init__(self, program: Cached, others: Others) -> None:
        self._program = program
        self._others = others
        self.memory = Memory(ttl_s=program.ttl_s, most=program.most)

    def after(self, before: object) -> Self:
        """Go on with what another one has kept, if it answers as this one does."""
        if isinstance(before, CachedExpert) and before.mark == self.mark:
            self.memory = before.memory
        return self

    async def load(self) -> None:
        """There is nothing to load."""

    async def frames(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """Yield the answer that is kept, as one that was made now; or else the expert's."""
        clock = asyncio.get_running_loop().time
        key = key_of(dispatch)
        kept = self.memory.recall(key, clock())
        if kept is not None:
            yield spelt(_again(orjson.loads(kept), dispatch), dispatch.call)
            return
        call, whole = dispatch.call, Whole(dispatch.call)
        rename = renamed(self._program.over, call)
        answer = self._others.open(self._program.over, call.body, dispatch, stream=call.stream)
        async with aclosing(answer):
            async for piece in answer:
                whole.add(piece)
                if not call.stream:  # this is all of it, and nobody may come for more
                    self.memory.keep(key, orjson.dumps(whole.answer), clock())
                yield rename(piece)
        if call.stream:
            self.memory.keep(key, orjson.dumps(whole.answer), clock())

    @property
    def mark(self) -> object:
        """What is equal as long as the same request has the same answer."""
        return self._program, self._others.mark(self._program.over)


def _again(answer: Mapping[str, Any], dispatch: Dispatch) -> dict[str, Any]:
    """Return an answer that is kept as the answer to this call: it took no tokens."""
    fresh: dict[str, Any] = {"model": dispatch.call.expert, "usage": dict(NONE)}
    if dispatch.call.endpoint == "chat/completions":
        fresh |= headed(dispatch, time.time())
    return {**answer, **fresh}
