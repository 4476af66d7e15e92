"""An expert that asks another one in a certain way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Self

from coe.composition.programs import Example, Recipe
from coe.conversation import in_tool_loop
from coe.errors import InvalidRequest
from coe.programs.ballot import vote
from coe.programs.nearest import Nearest
from coe.programs.prompt import asked, sample, sent
from coe.programs.spelling import Whole, headed, renamed, spelt
from coe.protocols import Aggregator, Others
from coe.types import Dispatch


class RecipeExpert:
    """See `coe.programs.backend.Running`.

    Attributes:
        nearest: finds examples; None where there are none.
    """

    def __init__(
        self,
        program: Recipe,
        others: Others,
        aggregator: Aggregator | None,
        nearest: Nearest | None,
    ) -> None:
        """Store the parts.

        Args:
            program: how the other one is asked.
            others: who asks it.
            aggregator: counts the samples; None where there is one.
            nearest: see the class.
        """
        self._program = program
        self._others = others
        self._aggregator = aggregator
        self.nearest = nearest

    def after(self, before: object) -> Self:
        """Go on with the embeddings that another one has made, if they are of the same examples."""
        if isinstance(before, RecipeExpert) and self.nearest and before.nearest:
            self.nearest.follow(before.nearest)
        return self

    async def load(self) -> None:
        """Embed the examples. Raises ConfigError, RouterUnavailable: the encoder cannot be had."""
        if self.nearest is not None:
            await asyncio.to_thread(self.nearest.load)

    async def frames(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """Yield the other one's answer as it comes, or the one that a vote picks.

        Tools are called by one owner: a turn with tools is not voted on.
        """
        call = dispatch.call
        aggregator = None if _is_tool_turn(call.body) else self._aggregator
        if aggregator is not None and (call.body.get("n") or 1) != 1:
            message = f"expert `{call.expert}` votes, and gives one answer: `n` cannot be more"
            raise InvalidRequest(message, param="n")
        body = await self._sent(call.body, is_voted=aggregator is not None)
        if aggregator is None:
            rename = renamed(self._program.over, call)
            answer = self._others.open(self._program.over, body, dispatch, stream=call.stream)
            async with aclosing(answer):
                async for piece in answer:
                    yield rename(piece)
            return

        async def one(number: int) -> Mapping[str, Any]:
            return await self._sample(sample(body, number, stream=call.stream), dispatch)

        outcome = await vote(self._program, aggregator, call.body["messages"], one)
        completion = {**outcome.winner, **headed(dispatch, time.time())}
        if outcome.usage is not None:
            completion["usage"] = outcome.usage
        yield spelt(completion, call)

    async def _sent(self, body: Mapping[str, Any], *, is_voted: bool) -> dict[str, Any]:
        shots: tuple[Example, ...] = ()
        if self.nearest is not None:
            shots = await asyncio.to_thread(self.nearest.to, asked(body))
        temperature = self._program.temperature
        if self._program.samples > 1 and not is_voted:
            temperature = None  # it is there to make samples differ
        return sent(self._program.system, body, shots, temperature)

    async def _sample(self, body: Mapping[str, Any], dispatch: Dispatch) -> Mapping[str, Any]:
        """Return one whole answer; a stream is asked for where one is wanted, for its limits."""
        call, whole = dispatch.call, Whole(dispatch.call)
        answer = self._others.open(self._program.over, body, dispatch, stream=call.stream)
        async with aclosing(answer):
            async for piece in answer:
                whole.add(piece)
        return whole.answer


def _is_tool_turn(body: Mapping[str, Any]) -> bool:
    return bool(body.get("tools") or body.get("functions") or in_tool_loop(body["messages"]))
