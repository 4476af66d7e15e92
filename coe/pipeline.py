"""The path of a request, top to bottom. Read this first.

parse (coe.api.wire) -> route -> plan -> open -> render (coe.api.chat)
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from coe import planner
from coe.applied import AppliedMap
from coe.classify import Classifier
from coe.composition import Composition
from coe.errors import BackendProtocolError, CapacityError, CoEError, ContextTooLong
from coe.protocols import Backend, Encoder
from coe.telemetry import Telemetry
from coe.turns import Turns
from coe.types import Answer, Attempt, Decision, Dispatch, Plan, Query

if TYPE_CHECKING:
    from coe.mapping.choose import Chooser

Load = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Everything that a request needs, wired once (see `coe.wiring`).

    `applied` is the fitted map that was applied to the composition; None where none was.
    """

    composition: Composition
    classifier: Classifier | None
    turns: Turns | None
    backends: Mapping[str, Backend]
    encoders: Mapping[str, Encoder]
    telemetry: Telemetry
    applied: AppliedMap | None = None

    @property
    def chooser(self) -> Chooser | None:
        """Who ranks experts by the fitted map; None where there is none."""
        return self.applied.chooser if self.applied is not None else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is doubtful about the fitted map, as sentences."""
        return self.applied.notes if self.applied is not None else ()

    def loads(self) -> dict[str, Load]:
        """Return what is to be loaded in the background, by name: the router, engines of ours."""
        work: dict[str, Load] = {"router": self.classifier.load} if self.classifier else {}
        for name, backend in self.backends.items():
            start = getattr(backend, "start", None)
            if start is not None:
                work[f"backend {name}"] = start
        return work

    async def aclose(self) -> None:
        """Close the backends; calls in flight fail."""
        if self.classifier is not None:
            self.classifier.close()
        for backend in self.backends.values():
            await backend.aclose()
        self.telemetry.flush()


async def answer(gateway: Gateway, query: Query) -> Answer:
    """Route, plan and open a query; the answer's first piece is there when this returns.

    Raises:
        UnknownModel: nobody has the name that the client asked for.
        NoEligibleExpert, ContextTooLong: every ranked expert is excluded.
        BackendError, CapacityError: everyone who was asked failed before a first byte.
    """
    started = perf_counter()
    decision = await route(gateway, query)
    plan = planner.plan(gateway.composition, query, decision, gateway.chooser)
    routed_s = perf_counter() - started
    gateway.telemetry.decided(decision, plan)
    opened = await open_plan(gateway, query, decision, plan, routed_s=routed_s)
    if gateway.turns is not None and decision.session is not None:
        gateway.turns.remember(decision, opened.call.expert)
    return opened


async def route(
    gateway: Gateway, query: Query, *, explain: bool = False, alone: bool = False
) -> Decision:
    """Return the client's own choice where it made one, else the router's or the session's.

    Args:
        gateway: what decides.
        query: what is decided.
        explain: ask the router even where the session decides, to say what it would choose.
        alone: leave sessions aside: the query is no turn of a conversation that goes on.

    Raises:
        UnknownModel: nobody has that name.
    """
    pinned = planner.pin(gateway.composition, query.model)
    if pinned is not None:
        return pinned
    if gateway.turns is None:
        return Decision()
    if alone:
        return await gateway.turns.decide_alone(query)
    return await gateway.turns.decide(query, explain=explain)


async def open_plan(
    gateway: Gateway, query: Query, decision: Decision, plan: Plan, *, routed_s: float = 0.0
) -> Answer:
    """Ask the plan's experts in order until one sends its first content frame.

    Raises:
        NoEligibleExpert, ContextTooLong: the plan has no calls.
        BackendError, CapacityError: everyone who was asked failed before a first byte.
    """
    if not plan.calls:
        raise planner.refusal(plan.excluded)
    attempts: list[Attempt] = []
    for call in plan.calls:
        started = perf_counter()
        frames = gateway.backends[call.backend].generate(Dispatch(query_id=query.id, call=call))
        try:
            first = await anext(frames, b"")
            if not first:
                raise BackendProtocolError(f"expert `{call.expert}`: an empty answer")
        except CoEError as error:
            error.origin = "upstream"  # whatever its class, it comes from beyond the backend
            await frames.aclose()
            gateway.telemetry.failed(call, error)
            attempts.append(Attempt(expert=call.expert, error=error.message))
            if call is plan.calls[-1] or not may_fall_back(error):
                error.attempts = tuple(attempts)
                raise
        except BaseException:  # cancelled, most likely: free the backend before passing it on
            await frames.aclose()
            raise
        else:
            return Answer(
                query=query,
                decision=decision,
                plan=plan,
                call=call,
                first=first,
                frames=frames,
                attempts=tuple(attempts),
                routed_s=routed_s,
                opened_s=perf_counter() - started,
            )
    raise AssertionError("the last call returns or raises")


def may_fall_back(error: CoEError) -> bool:
    """Whether another expert could do better; a request that is wrong is wrong everywhere."""
    return error.retryable or isinstance(error, ContextTooLong | CapacityError)
