"""What has changed since the map was fitted, by the decision log: drift, and experts' health. Pure.

A request counts with what the router said of it, and with who answered; feedback with what was
expected of that expert. Alarms are sentences with their numbers, for a person to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from coe.learning.drift import Mix, PageHinkley
from coe.learning.health import Health
from coe.mapping import NONE, FittedMap
from coe.stores.decisions import SHADOW, Feedback, Record

_ROUTED = frozenset({"matched", "below-threshold", "ambiguous"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What was seen.

    Attributes:
        requests: that a router decided.
        judged: answers of which somebody said something.
        out_of_scope: the share of requests that no category took.
        psi: population stability index of the mix of categories, lately.
        alarms: sentences; empty where all is as it was.
    """

    requests: int
    judged: int
    out_of_scope: float
    psi: float
    alarms: tuple[str, ...]


def changes(fitted: FittedMap, records: Iterable[Record], feedback: Iterable[Feedback]) -> Changes:
    """Return what has changed since a map was fitted.

    Args:
        fitted: the map.
        records: decisions, oldest first.
        feedback: on them.
    """
    said = {one.decision: one.value for one in feedback if one.value is not None}
    mix = Mix(reference=_shares(fitted), measured=_measured(fitted))
    loss, outside = PageHinkley(), PageHinkley()
    health = Health(planned=_planned(fitted))
    requests = missed = judged = 0
    for record in records:
        if record.reason not in _ROUTED or record.endpoint == SHADOW:
            continue
        requests += 1
        missed += record.category is None
        mix = mix.seen(record.category or NONE)
        outside = outside.seen(float(record.category is None))
        if record.probability is not None and record.detail.get("calibrated"):
            loss = loss.seen(1.0 - min(1.0, max(0.0, record.probability)))
        if record.expert not in health.planned or record.expert is None:
            continue
        health = health.asked(record.expert)
        value, expected = said.get(record.id), _expected(record)
        if value is not None and expected is not None:
            judged += 1
            health = health.judged(record.expert, expected, value)
    return Changes(
        requests=requests,
        judged=judged,
        out_of_scope=missed / requests if requests else 0.0,
        psi=mix.psi if requests else 0.0,
        alarms=tuple(_alarms(mix, loss, outside, health)),
    )


def _alarms(mix: Mix, loss: PageHinkley, outside: PageHinkley, health: Health) -> Iterator[str]:
    if mix.has_shifted:
        yield (
            f"the mix of categories has shifted (stability index {mix.psi:.2f}): fit the map anew"
        )
    if outside.has_risen:
        yield (
            f"more requests than the {outside.mean:.0%} before belong to no category:"
            " `coe learn groups` shows what they are"
        )
    if loss.has_risen:
        yield f"the router is less sure than before (loss was {loss.mean:.2f}): calibrate it"
    yield from map(str, health.alarms())


def _expected(record: Record) -> float | None:
    rows = record.detail.get("candidates", ())
    found = (row.get("quality") for row in rows if row.get("expert") == record.expert)
    value = next(found, None)
    return float(value) if value is not None else None


def _shares(fitted: FittedMap) -> dict[str, float]:
    return dict(zip(fitted.categories, map(float, fitted.traffic), strict=True))


def _measured(fitted: FittedMap) -> float:
    """Return about how many prompts the map's traffic was counted on."""
    return max(1.0, float(fitted.counts.max(axis=1).sum()))


def _planned(fitted: FittedMap) -> Mapping[str, float]:
    planned = dict.fromkeys(fitted.used, 0.0)
    for expert, share in zip(fitted.assignment, map(float, fitted.traffic), strict=True):
        planned[expert] = planned.get(expert, 0.0) + share
    return planned
