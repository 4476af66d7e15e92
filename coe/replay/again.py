"""Recorded requests are decided and planned again, as they would be live. Pure.

1. The new router was asked, since the text was recorded: what it says counts.
2. Otherwise the recorded probabilities stand, and the new thresholds and margin apply to them. If
   the router is not the one that they are from, or the categories are not the same ones, nothing
   is known of the request: it cannot be used.
3. What the client named itself, and what its conversation kept, stays as it was.

Whom each request may reach is worked out by the policies of the composition in question, as far as
what was recorded says: keys, teams and headers were not, and rules with hours go by the hour of the
replay. Where the text is there, detectors have looked at it before the router was asked.

Conversations are not replayed turn by turn: who answered the turn before, the cost of a switch and
the side of a canary's share on which a conversation lies are left out; each request is on its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from coe import planner
from coe.composition import Composition
from coe.decide import decide
from coe.errors import UnknownModel
from coe.mapping.outcomes import NONE, OutcomeMatrix
from coe.mapping.replay import NOBODY, Answers, Replay, compare
from coe.replay.records import Measured, Record
from coe.types import Decision, Dial, Query

if TYPE_CHECKING:
    from coe.mapping.choose import Chooser
    from coe.policies.guard import Guard

_NOT_RECORDED = "neither its text nor what the router said was recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A composition, and what its decisions depend on.

    Attributes:
        thresholds: least probability of each category, by name.
        revisions: of the experts, by name; measurements of other revisions are another expert's.
        chooser: ranks experts by its fitted map; None where there is none.
        guard: says whom a request may reach.
    """

    composition: Composition
    thresholds: Mapping[str, float]
    revisions: Mapping[str, str]
    guard: Guard
    chooser: Chooser | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A request of which nothing can be said, and why."""

    place: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay found.

    Attributes:
        used: how many requests could be used.
        unusable: the others.
        found: what the change does; None where no request could be used.
    """

    used: int
    unusable: tuple[Unusable, ...]
    found: Replay | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is compared.

    Attributes:
        new: the changed composition.
        old: the one that answered, or would have; None where only the records tell.
        routers: why what a composition's router said is not what the new one says, by the
            fingerprint of that composition; one that it lacks has the same router.
        estimator: says what to expect of an expert that was not measured; None: nobody does.
    """

    new: Side
    old: Side | None = None
    routers: Mapping[str, str]
    estimator: Chooser | None = None


def replay(
    records: Sequence[Record], change: Change, asked: Mapping[int, Decision], *, seed: int = 0
) -> Replayed:
    """Return what a changed composition would have done.

    Args:
        records: in the order in which they came.
        change: what is compared.
        asked: what the new router says of records whose text is there, by place in `records`.
        seed: of the intervals.
    """
    kept: list[tuple[Record, Decision]] = []
    unusable = []
    for i, record in enumerate(records):
        decision = asked.get(i) or _again(record, change)
        if isinstance(decision, Decision):
            kept.append((record, decision))
        else:
            unusable.append(Unusable(place=record.place, why=decision))
    if not kept:
        return Replayed(used=0, unusable=tuple(unusable), found=None)
    rows = [record for record, _ in kept]
    before = _before(rows, change.old)
    after = [_planned(record.query, decision, change.new) for record, decision in kept]
    expected = [_expected(decision, change.estimator) for _, decision in kept]
    found = compare(
        [_category(decision) for _, decision in kept],
        None if before is None else _answers(rows, before, change.old or change.new, expected),
        _answers(rows, after, change.new, expected),
        _matrix(kept, change.new),
        seed=seed,
    )
    return Replayed(used=len(kept), unusable=tuple(unusable), found=found)


def pinned(record: Record, composition: Composition) -> Decision | None:
    """Return the decision of a client that named an expert or a category; None of others.

    Whoever names what is there no more is refused, which a decision for that name says.
    """
    try:
        return planner.pin(composition, record.query.model)
    except UnknownModel:
        return Decision(pinned_expert=record.query.model, reason="pinned")


def _again(record: Record, change: Change) -> Decision | str:
    """Return what is decided now, or why nobody can tell."""
    side, then = change.new, record.decision
    if (named := pinned(record, side.composition)) is not None:
        return named
    if side.composition.routing.router is None:
        return Decision()
    if then is not None and then.reason == "session" and _is_there(then, side):
        return then
    why = change.routers.get(record.composition)
    if why:
        return f"{why}, and its text was not recorded"
    return _NOT_RECORDED if then is None else _of_scores(then, side)


def _is_there(then: Decision, side: Side) -> bool:
    return then.category is None or then.category in side.composition.categories


def _of_scores(then: Decision, side: Side) -> Decision | str:
    """Return what thresholds and margin make of recorded probabilities."""
    routing, names = side.composition.routing, tuple(side.composition.categories)
    if not then.ranked:
        return then if then.reason in {"router-failed", "no-router"} else _NOT_RECORDED
    shares = {row.name: row.probability for row in then.ranked}
    if other := sorted(shares.keys() ^ set(names)):
        return f"it was decided among other categories ({', '.join(other[:3])})"
    return decide(
        names,
        [shares[name] for name in names],
        thresholds=side.thresholds,
        default_threshold=routing.threshold,
        margin=routing.margin,
        calibrated=then.calibrated,
        router=then.router,
    )


def _planned(query: Query, decision: Decision, side: Side) -> str:
    """Return who would answer; `NOBODY` where the request would be refused."""
    named = decision.pinned_expert
    if named is not None and named not in side.composition.experts:
        return NOBODY
    query = side.guard.settled(query, decision.category)
    calls = planner.plan(side.composition, query, decision, side.chooser).calls
    return calls[0].expert if calls else NOBODY


def _before(rows: Sequence[Record], old: Side | None) -> list[str] | None:
    """Return who answered: as recorded, or else as the old composition would."""
    found = []
    for record in rows:
        if record.expert is not None:
            found.append(record.expert)
            continue
        decision = None if old is None else _again(record, Change(new=old, old=old, routers={}))
        if old is None or not isinstance(decision, Decision):
            return None
        found.append(_planned(record.query, decision, old))
    return found


def _expected(decision: Decision, estimator: Chooser | None) -> dict[str, tuple[float, float]]:
    """Return what is expected of each expert's quality and cost, by name."""
    if estimator is None:
        return {}
    return {
        row.expert: (row.quality, nan if row.cost is None else row.cost)
        for row in estimator.choose(decision, Dial(choose="fitted")).prospects
    }


def _answers(
    rows: Sequence[Record],
    names: Sequence[str],
    side: Side,
    expected: Sequence[Mapping[str, tuple[float, float]]],
) -> Answers:
    composition = side.composition
    measured = [_measured(row, name, side) for row, name in zip(rows, names, strict=True)]
    estimates = [row.get(name, (nan, nan)) for row, name in zip(expected, names, strict=True)]
    return Answers(
        experts=tuple(names),
        bases=tuple(_base(composition, name) for name in names),
        scores=np.array([nan if row.score is None else row.score for row in measured]),
        expected=np.array([quality for quality, _ in estimates]),
        costs=np.array(
            [
                cost if found.cost is None else found.cost
                for found, (_, cost) in zip(measured, estimates, strict=True)
            ]
        ),
    )


def _base(composition: Composition, name: str) -> str:
    """Return whose weights an expert needs: those of its base, or of the model under a program."""
    if name not in composition.experts:
        return name
    model = composition.root(name)
    return model.base or model.name


def _measured(record: Record, name: str, side: Side) -> Measured:
    """Return what was measured of an expert as it is on that side."""
    return record.measured.get((name, side.revisions.get(name, "")), Measured())


def _matrix(kept: Sequence[tuple[Record, Decision]], side: Side) -> OutcomeMatrix | None:
    """Return the scores of those who may answer, as they are now; None without any."""
    experts = side.composition.experts.items()
    names = [name for name, expert in experts if expert.is_eligible]
    cells = [[_measured(record, name, side) for name in names] for record, _ in kept]
    shape = (len(kept), len(names))
    scores = np.array([[nan if c.score is None else c.score for c in row] for row in cells])
    costs = np.array([[nan if c.cost is None else c.cost for c in row] for row in cells])
    seen = np.flatnonzero(~np.isnan(scores.reshape(shape)).all(axis=0))
    if not len(seen):
        return None
    categories = tuple(side.composition.categories)
    shares = [[dict(d.ranked).get(name, 0.0) for name in categories] for _, d in kept]
    table = np.array(shares).reshape(len(kept), len(categories))
    return OutcomeMatrix(
        prompts=tuple(record.place for record, _ in kept),
        experts=tuple(names[i] for i in seen),
        categories=categories,
        # Raw scores may sum to more than 1; they only say which category is the likeliest.
        probabilities=table / np.maximum(1.0, table.sum(axis=1, keepdims=True)),
        scores=scores[:, seen],
        costs=costs[:, seen],
        latencies=np.full((len(kept), len(seen)), nan),
    )


def _category(decision: Decision) -> str:
    if decision.pinned_expert is not None:
        return "(named)"
    return decision.category or NONE
