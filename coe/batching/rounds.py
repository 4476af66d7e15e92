"""Lines that panels answer: from what was said so far to what is asked next. Pure.

A panel in a batch works in rounds. What it asks first is asked of all lines before its method looks
at the drafts of any, and so on for judges and writers: so the calls of all lines can be put in the
order of experts, each of which is loaded once a round where memory allows.

Nothing of a panel's state is kept but what its calls said. A method is pure, and calls are taken in
the order in which they were asked for: so the state is made anew of them whenever it is needed, and
is the same each time.

Reference: Symbolic Mixture-of-Experts (arXiv 2503.05641), section 3.4: all drafts expert by expert,
then one pass of the aggregator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coe.drafting import rendering
from coe.drafting.case import Case, Result
from coe.drafting.deliberation import Fail, Finish, Start, Stop
from coe.drafts import Last, Merge, Pick, Question, Relay
from coe.errors import CoEError
from coe.types import Call

FIRST_DRAFT = "draft 0"
"""The key of the call that every panel makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A call that is to be made.

    Attributes:
        key: names it among the calls of its case.
    """

    key: str
    call: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The answer.

    Attributes:
        expert: who wrote it, or most of it.
        body: of the response, with the sum of all usage and the provenance.
        step: that it is.
    """

    expert: str
    body: bytes
    step: Last


def stand(case: Case, results: Mapping[str, Result]) -> tuple[Need, ...] | Said | CoEError:
    """Return the calls of the next round, or, where there is none, how the case ends.

    Args:
        case: that nobody has worked on.
        results: what came of calls, by key. While some of a round are missing, those are
            what is needed.
    """
    while True:
        actions = case.deliberation.next()
        if isinstance(actions[-1], Fail):
            return case.failure()
        if isinstance(end := actions[-1], Finish):
            said = _end(case, end, results)
            if said is not None:
                return said
            continue
        stopped = {_key(action.what) for action in actions if isinstance(action, Stop)}
        starts = [
            action
            for action in actions
            if isinstance(action, Start) and _key(action.what) not in stopped
        ]
        needs = {_key(start.what): case.call(start) for start in starts}
        if not needs.keys() <= results.keys():
            return tuple(
                Need(key=key, call=call) for key, call in needs.items() if key not in results
            )
        for start in starts:
            key = _key(start.what)
            case.came(start.what, needs[key].expert, results[key])


def _end(case: Case, end: Finish, results: Mapping[str, Result]) -> tuple[Need, ...] | Said | None:
    """Return the answer, or the call that makes it; None where that call has failed."""
    step = end.step
    if isinstance(step, Pick | Merge):
        call, completion = case.made(step)
    else:
        call = case.last_call(step, end.grant)
        key = f"relay {step.member}" if isinstance(step, Relay) else "write"
        result = results.get(key)
        if result is None:
            return (Need(key=key, call=call),)
        if not case.ended(step, call.expert, result):
            return None
        assert result.completion is not None  # noqa: S101 - it is the answer
        completion = dict(result.completion)
    return Said(expert=call.expert, body=rendering.whole(completion, *case.told(step)), step=step)


def _key(what: int | Question) -> str:
    return f"question {what.key}" if isinstance(what, Question) else f"draft {what}"
