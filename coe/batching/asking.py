"""A call of a batch, made behind the interactive requests, and made again where that may help."""

from __future__ import annotations

import random

from coe import pipeline
from coe.batching.desk import Desk
from coe.batching.gate import sleep
from coe.batching.lease import Lease
from coe.claim import behind
from coe.drafting.case import COSTS_NOTHING
from coe.errors import CoEError
from coe.pipeline import Gateway
from coe.types import Answer, Decision, Plan, Query


class Asking:
    """Asks experts for one batch, by one gateway."""

    def __init__(self, desk: Desk, lease: Lease, gateway: Gateway) -> None:
        """Store the parts."""
        self._desk = desk
        self._lease = lease
        self._gateway = gateway
        self._chance = random.Random()  # noqa: S311 - spreads retries

    async def patiently(
        self, query: Query, decision: Decision, plan: Plan, *, is_capped: bool = False
    ) -> Answer | None:
        """Return an answer, which may take several tries; None where it was stopped in between.

        Args:
            query: what is asked.
            decision: on it.
            plan: whom to ask.
            is_capped: whether there is a limit on the money: then nothing is tried again that may
                have cost some.

        Raises:
            CoEError: there is none; the last reason.
        """
        tried = 0
        while True:
            tried += 1
            try:
                return await self.once(query, decision, plan)
            except CoEError as error:
                if is_capped and not isinstance(error, COSTS_NOTHING):
                    raise
                pause_s = self._desk.limits.patience.pause_s(error, tried, self._chance.random())
                if pause_s is None:
                    raise
            if await sleep(pause_s, self._lease.stopped):
                return None

    async def once(self, query: Query, decision: Decision, plan: Plan) -> Answer:
        """Return an answer. Raises CoEError where there is none."""
        claim = behind(query)
        answer = await pipeline.open_plan(self._gateway, query, decision, plan, claim=claim)
        await answer.frames.aclose()  # a call that is not streamed has one piece, and it is here
        return answer
