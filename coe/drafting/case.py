"""One request before its panel: what its calls are sent, and what its answer is made of. Pure.

Whoever makes the calls tells what came of them. A request that is answered now and a line of a
batch, whose calls are made hours apart, are the same case.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coe.composition import Composition, Panel
from coe.drafting import bodies, provenance, reading, rendering
from coe.drafting.budget import FREE, Budget, Grant, Offer
from coe.drafting.deliberation import Deliberation, Start
from coe.drafting.records import Bill
from coe.drafts import Draft, Last, Merge, Pick, Question, Relay, Remark, Write
from coe.errors import (
    AggregationError,
    BackendRejected,
    BackendUnreachable,
    CapacityError,
    CoEError,
    NoEligibleExpert,
)
from coe.protocols import Aggregator
from coe.telemetry import Telemetry
from coe.types import Attempt, Call, PanelPlan, PanelReport, Query

logger = logging.getLogger(__name__)

COSTS_NOTHING = (BackendRejected, BackendUnreachable, CapacityError)
"""Failures of calls that nobody worked on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a call.

    Attributes:
        seconds: that it took, waits for a slot included.
        completion: the whole answer; None where there is none.
        error: why there is none.
        failure: the error that says so; None where nobody waited for the answer.
    """

    seconds: float
    completion: Mapping[str, Any] | None = None
    error: str = ""
    failure: CoEError | None = None


class Case:
    """One request before its panel.

    Attributes:
        panel: as the composition has it.
        plan: whom it is to ask.
        deliberation: what has been done, and what is next.
    """

    def __init__(
        self, composition: Composition, aggregator: Aggregator, query: Query, plan: PanelPlan
    ) -> None:
        """Store the parts; nobody is asked yet."""
        self.panel: Panel = composition.aggregation[plan.panel]
        self.plan = plan
        self._composition = composition
        self._query = query
        self._members = bodies.members_of(plan)
        self._completions: dict[int, Mapping[str, Any]] = {}
        self._failures: list[CoEError] = []
        self.deliberation = Deliberation(
            aggregator,
            self._members,
            query.body["messages"],
            quorum=self.panel.quorum,
            budget=Budget(_least(self.panel.max_cost, query.permit.max_cost)),
            offers=self._offer,
        )

    def call(self, action: Start) -> Call:
        """Return the call that asks a member for its draft, or that asks a question."""
        what, grant = action.what, action.grant
        if isinstance(what, Question):
            return bodies.question_call(self._composition, self._query, what, grant)
        return bodies.draft_call(
            self.plan.calls[what], self._members[what], grant, logprobs=action.logprobs
        )

    def last_call(self, step: Relay | Write, grant: Grant) -> Call:
        """Return the call whose answer is the panel's."""
        if isinstance(step, Relay):
            return bodies.streamed(self.plan.calls[step.member], grant)
        return bodies.answer_call(self._composition, self._query, step, grant)

    def came(self, what: int | Question, expert: str, result: Result) -> None:
        """Take what came of asking a member, or a question."""
        bill = self._bill(expert, result)
        completion = result.completion
        if isinstance(what, Question):
            remark = Remark(error=result.error)
            if completion is not None:
                draft = reading.draft_of(completion, 0)
                remark = Remark(text=draft.text, error=draft.error)
            self.deliberation.remarked(what.key, remark, bill)
            return
        if completion is None:
            draft, is_malformed = Draft(member=what, error=result.error), False
        else:
            self._completions[what] = completion
            draft = reading.draft_of(completion, what)
            is_malformed = draft.has_failed
        self.deliberation.drafted(draft, bill, is_malformed=is_malformed)

    def ended(self, step: Relay | Write, expert: str, result: Result) -> bool:
        """Take what came of the last call, as a whole; False where that is no answer."""
        error = result.error
        if result.completion is not None:
            error = reading.draft_of(result.completion, 0).error
        if result.completion is None or error:
            self.deliberation.unanswered(step, error, self._bill(expert, result))
            return False
        self.deliberation.answered(self._bill(expert, result))
        return True

    def made(self, step: Pick | Merge) -> tuple[Call, dict[str, Any]]:
        """Return an answer that is there already, and the call that most of it is from."""
        places = (step.member,) if isinstance(step, Pick) else step.members
        call = self.plan.calls[places[0]]
        drafts = [self._completions[place] for place in places]
        if isinstance(step, Pick):
            wanted = bool(self._query.body.get("logprobs"))
            return call, rendering.chosen(drafts[0], call.expert, logprobs=wanted)
        experts = [self.plan.calls[place].expert for place in places]
        return call, rendering.merged(drafts, experts, as_choices=step.as_choices)

    def told(self, step: Last) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """Return the sum of all usage, and the provenance; the panel has ended."""
        document = provenance.document(
            self.plan, self.panel.method, step, self.deliberation, self.report
        )
        return provenance.usage(self.deliberation.records), {"provenance": document}

    @property
    def report(self) -> PanelReport:
        """What is known of the calls by now."""
        records = self.deliberation.records
        return provenance.report(self.plan, records, self._composition.experts)

    def tell(self, telemetry: Telemetry, step: Last | None) -> None:
        """Tell the telemetry what was done; without a step there is no answer."""
        told = self.deliberation
        if told.broken:
            logger.warning("panel %s: %s", self.plan.panel, told.broken)
        made = [record for record in told.records if record.is_made]
        lost = [record for record in told.records if record.status in {"late", "failed", "dropped"}]
        telemetry.panelled(
            self.plan.panel,
            calls=len(made),
            lost=[record.status for record in lost],
            unnecessary=0 if step is None else provenance.unnecessary(step, told.records),
            is_answered=step is not None,
            is_broken=bool(told.broken),
            cpu_s=told.cpu_s,
        )

    def failure(self) -> CoEError:
        """Return the error of a panel without a good draft."""
        records = self.deliberation.records
        attempts = tuple(
            Attempt(expert=one.expert, error=one.reason, kind=one.status) for one in records
        )
        error: CoEError
        kinds = {type(error) for error in self._failures}
        if not any(record.is_made for record in records):
            error = NoEligibleExpert(f"no call of panel `{self.plan.panel}` fits its `max_cost`")
        elif len(kinds) == 1 and len(self._failures) == len(attempts):
            error = self._failures[-1]
        else:
            reasons = "; ".join(f"{one.expert}: {one.error}" for one in attempts)
            error = AggregationError(f"panel `{self.plan.panel}` has no draft ({reasons})")
        error.attempts = attempts
        return error

    def _bill(self, expert: str, result: Result) -> Bill:
        """Return what a call took; what one without an answer cost is known where nobody worked."""
        if result.completion is not None:
            asked = self._composition.experts[expert]
            return reading.bill_of(result.completion.get("usage"), asked, result.seconds)
        if result.failure is not None:
            self._failures.append(result.failure)
        cost = 0.0 if isinstance(result.failure, COSTS_NOTHING) else None
        return Bill(cost=cost, seconds=result.seconds)

    def _offer(self, what: int | Question | Relay | Write) -> Offer:
        """Return what a call may cost."""
        if isinstance(what, int | Question):
            call = self.call(Start(what))
        else:
            call = self.last_call(what, FREE)
        return bodies.offer_of(call, self._composition.experts[call.expert])


def _least(*limits: float | None) -> float | None:
    """Return the lowest of some limits; None where there is none."""
    return min((limit for limit in limits if limit is not None), default=None)
