"""The decision log of an experiment -> what each unit did in its arm. Pure.

One value stands for one unit, however many requests it made: where a conversation was dealt an arm,
its requests resemble each other, and as values of their own they would promise more certainty than
there is. A unit that was seen in two arms (somebody changed the shares or the salt) is in neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import fsum

from coe.composition import Experiment
from coe.stores.decisions import LEFT, SHADOW, Feedback, Record

REFUSED = 400  # from here on it was not answered
FAILED = 500  # from here on it was not the client's doing


@dataclass(slots=True, kw_only=True)
class Request:
    """One request of a unit.

    Attributes:
        values: by metric, where there is one: `feedback`, `judge`, `errors`, `latency`, `cost`.
        tokens: about how long the prompt was.
    """

    at: float
    category: str
    values: dict[str, float]
    tokens: float = 0.0


@dataclass(slots=True, kw_only=True)
class Unit:
    """What an arm was dealt to, and what it did.

    Attributes:
        first: when it first took part, in seconds since the epoch.
    """

    arm: str
    first: float
    requests: list[Request] = field(default_factory=list)

    def value(self, metric: str, category: str | None = None) -> float | None:
        """Return the mean of a metric over the requests that have it; None where none has.

        Args:
            metric: its name.
            category: only requests of this one.
        """
        found = [
            request.values[metric]
            for request in self.requests
            if metric in request.values and category in {None, request.category}
        ]
        return fsum(found) / len(found) if found else None

    @property
    def tokens(self) -> float:
        """The mean length of its prompts."""
        return fsum(request.tokens for request in self.requests) / len(self.requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """An experiment's log.

    Attributes:
        units: in the order in which they first took part.
        crossed: units that were seen in two arms, and are in none.
        agreed: of a judge's comparisons, the share in which both orders agreed; None without any.
    """

    units: tuple[Unit, ...]
    crossed: int = 0
    agreed: float | None = None

    def of(self, arm: str) -> tuple[Unit, ...]:
        """Return an arm's units."""
        return tuple(unit for unit in self.units if unit.arm == arm)


def gather(
    experiment: Experiment, records: Iterable[Record], feedback: Iterable[Feedback]
) -> Gathered:
    """Return what the units of an experiment did.

    Args:
        experiment: as it is now; arms that it no longer has are left out.
        records: those that took part in it, at least.
        feedback: on these, at least.
    """
    said = _said(feedback)
    arms = {arm.name for arm in experiment.arms}
    units: dict[str, Unit] = {}
    crossed: set[str] = set()
    is_shadow = experiment.mode == SHADOW
    for record in records:
        arm = record.arms.get(experiment.name)
        if arm not in arms or (record.endpoint == SHADOW) != is_shadow:
            continue
        name = _unit(experiment, record)
        # Each arm of a shadow answers the same requests: there, a unit is one answer.
        unit = units.get(name)
        if unit is None:
            unit = units[name] = Unit(arm=arm, first=record.at)
        elif unit.arm != arm:
            crossed.add(name)
        unit.requests.append(_request(record, said.get(record.id, {})))
    kept = [unit for name, unit in units.items() if name not in crossed]
    return Gathered(
        units=tuple(sorted(kept, key=lambda unit: unit.first)),
        crossed=len(crossed),
        agreed=_agreed(experiment, feedback),
    )


def _unit(experiment: Experiment, record: Record) -> str:
    if experiment.mode == SHADOW:
        return record.id
    units: Mapping[str, str] = record.detail.get("units", {})
    return units.get(experiment.name) or record.id


def _request(record: Record, said: Mapping[str, list[float]]) -> Request:
    values = {source: fsum(given) / len(given) for source, given in said.items()}
    if record.status != LEFT:
        values["errors"] = float(record.status >= FAILED)
        if record.status < REFUSED:
            values["latency"] = record.latency_s
            if record.cost is not None:
                values["cost"] = record.cost
    return Request(
        at=record.at,
        category=record.category or "",
        values=values,
        tokens=float(record.detail.get("tokens", 0.0)),
    )


def _said(feedback: Iterable[Feedback]) -> dict[str, dict[str, list[float]]]:
    """Return what was said of each decision, by metric."""
    found: dict[str, dict[str, list[float]]] = {}
    for one in feedback:
        if one.value is not None:
            metric = "judge" if one.source == "judge" else "feedback"
            found.setdefault(one.decision, {}).setdefault(metric, []).append(one.value)
    return found


def _agreed(experiment: Experiment, feedback: Iterable[Feedback]) -> float | None:
    control = experiment.arms[0].name
    given = [
        one.tags.get("agreed") == "yes"
        for one in feedback
        if one.source == "judge"
        and one.tags.get("experiment") == experiment.name
        and one.tags.get("against") == control
    ]
    return sum(given) / len(given) if given else None
