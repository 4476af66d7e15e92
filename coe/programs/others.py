"""The experts that programs stand on, asked through the door that everybody uses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from coe import door, planner
from coe.composition import Composition
from coe.composition.programs import over
from coe.identity import ANONYMOUS
from coe.policies.permits import beneath
from coe.programs.prompt import about
from coe.protocols import Backend, Encoder
from coe.scheduler.loop import Slots
from coe.telemetry import Telemetry
from coe.types import Call, Decision, Dispatch, Query


@dataclass(frozen=True, kw_only=True)
class Others:
    """See `coe.protocols.Others`.

    Attributes:
        backends, slots, telemetry, keepers: see `coe.door.House`.
        encoders: by name, each built when it is first asked for.
        cache_folder: see `coe.protocols.Others`.
    """

    composition: Composition
    backends: Mapping[str, Backend]
    slots: Mapping[str, Slots]
    telemetry: Telemetry
    encoders: Mapping[str, Encoder]
    cache_folder: str = ""
    keepers: tuple[door.Keeper, ...] = ()

    async def open(
        self, expert: str, body: Mapping[str, Any], dispatch: Dispatch, *, stream: bool
    ) -> AsyncGenerator[bytes, None]:
        """See `coe.protocols.Others`."""
        call = self._call(expert, body, dispatch, stream=stream)
        slot, claim = None, dispatch.claim
        if claim is not None:
            claim = claim._replace(permit=beneath(claim.permit))
            slot = await door.schedule(self, call, claim)
        first, rest = await door.enter(self, dispatch.query_id, call, slot, claim)
        async with aclosing(rest):
            yield first
            async for piece in rest:
                yield piece

    def encoder(self, name: str) -> Encoder:
        """See `coe.protocols.Others`."""
        return self.encoders[name]

    def mark(self, expert: str) -> object:
        """See `coe.protocols.Others`."""
        found = self.composition.experts[expert]
        under = over(found.program) if found.program is not None else None
        below = self.mark(under) if under is not None else None
        return found, self.composition.backends[found.backend], below

    def _call(
        self, expert: str, body: Mapping[str, Any], dispatch: Dispatch, *, stream: bool
    ) -> Call:
        """Return the call of one expert and nobody in its place.

        Raises:
            NoEligibleExpert, ContextTooLong: the composition does not let it answer this.
        """
        outer = dispatch.call
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        query = Query(
            id=dispatch.query_id,
            model=expert,
            body=body,
            stream=stream,
            tokens=about(body),
            max_output=limit if isinstance(limit, int) else None,
            endpoint=outer.endpoint,
            identity=dispatch.claim.identity if dispatch.claim is not None else ANONYMOUS,
        )
        plan = planner.plan(self._live, query, Decision(reason="pinned", pinned_expert=expert))
        if not plan.calls:
            raise planner.refusal(plan.excluded)
        return replace(plan.calls[0], timeouts=outer.timeouts, is_part=outer.is_part)

    @cached_property
    def _live(self) -> Composition:
        """The composition where an expert's status keeps nobody from standing on it."""
        experts = self.composition.experts
        live = {name: replace(expert, status="live") for name, expert in experts.items()}
        return replace(self.composition, experts=live)
