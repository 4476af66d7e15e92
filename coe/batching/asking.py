"""A call of a batch, made behind the interactive requests, and made again where that may help."""

from __future__ import annotations

import random

from coe import pipeline
from coe.batching.desk import Desk
from coe.batching.gate import sleep
from coe.batching.lease import Lease
from coe.claim import behind
from coe.drafting.case import COSTS_NOTHING
from coe.errors import CoEError, RateLimited
from coe.pipeline import Gateway
from coe.stores.records import Line
from coe.telemetry.work import Piece, Work
from coe.types import Answer, Decision, Plan, Query

_LONGEST_S = 60.0  # between two looks at a limit


class Asking:
    """Asks experts for one batch, by one gateway."""

    def __init__(self, desk: Desk, lease: Lease, gateway: Gateway) -> None:
        """Store the parts."""
        self._desk = desk
        self._lease = lease
        self._gateway = gateway
        self._chance = random.Random()  # noqa: S311 - spreads retries

    def traced(self, line: Line, query_id: str) -> Work:
        """Return what is traced of a line, or of a call that a panel's line wants."""
        batch, gateway = self._lease.batch, self._gateway
        piece = Piece(
            "batch",
            batch.endpoint.removeprefix("/v1/"),
            gateway.composition.fingerprint,
            query_id,
            batch=batch.id,
            line=line.number,
        )
        return Work(gateway.telemetry.tracing, piece)

    async def counted(self, query: Query) -> bool:
        """Count a line as one request, once there is room for it; False where it was stopped.

        Raises:
            RateLimited: there never will be.
        """
        if self._gateway.meter is None:
            return True
        quota = self._gateway.meter.quota(query.identity)
        while True:
            try:
                await quota.enter()
            except RateLimited as error:
                if not error.retryable:
                    raise
                pause_s = _pause_s(error)
            else:
                quota.leave()  # how many lines are under way is the batch's own affair
                return True
            if await sleep(pause_s, self._lease.stopped):
                return False

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
        pause_s: float | None
        while True:
            try:
                return await self.once(query, decision, plan)
            except RateLimited as error:  # it is nobody's fault: the line waits as long as it takes
                if not error.retryable:
                    raise
                pause_s = _pause_s(error)
            except CoEError as error:
                tried += 1
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


def _pause_s(error: RateLimited) -> float:
    """Return how long a line waits that a limit does not let in."""
    return min(error.retry_after_s or 1.0, _LONGEST_S)
