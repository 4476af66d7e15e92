"""Alarms about experts: one got worse, one takes what is others', one gets nothing.

    collapse    its answers are worth less than was expected of them: the mean shortfall lately is
                above .1, and above 4 of its standard errors
    capture     it takes more than half of what the plan gives to others:
                share > planned + (1 - planned) / 2
    starvation  it gets less than a tenth of what the plan gives it, and the plan gives it at least
                30 of the requests that count: share < planned / 10

`planned` is what the fitted map would give it of the traffic for which the map was fitted; `lately`
is with a memory of 1,000 requests. Each alarm says its number, for a person to judge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["collapse", "capture", "starvation"]

MEMORY = 1000.0
SHORTFALL = 0.1
ERRORS = 4.0
LEAST_ANSWERS = 30.0
LEAST_REQUESTS = 100.0
TAKEN = 0.5
STARVED = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """What is wrong with an expert.

    Attributes:
        value: the shortfall or the share.
        bound: which it is beyond.
    """

    expert: str
    kind: Kind
    value: float
    bound: float

    def __str__(self) -> str:
        """Return a sentence."""
        if self.kind == "collapse":
            return f"`{self.expert}` answers worse than expected: {self.value:.2f} below, lately"
        took = "takes" if self.kind == "capture" else "gets only"
        side = "above" if self.kind == "capture" else "below"
        return (
            f"`{self.expert}` {took} {self.value:.0%} of the traffic, lately; "
            f"{side} {self.bound:.0%} is {self.kind}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An expert's record, each sum with a weight that falls as others are added.

    Attributes:
        asked: requests that it got.
        answers, weight, short, square: rewards; the sum of their weights, of shortfalls, and of
            squared shortfalls.
    """

    asked: float = 0.0
    answers: float = 0.0
    short: float = 0.0
    square: float = 0.0

    def aged(self, kept: float) -> Record:
        """Return it with less weight; rewards age with the rewards that follow them."""
        return replace(self, asked=kept * self.asked)

    def judged(self, shortfall: float, kept: float) -> Record:
        """Return it with one more reward."""
        return replace(
            self,
            answers=kept * self.answers + 1.0,
            short=kept * self.short + shortfall,
            square=kept * self.square + shortfall**2,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the experts of a map are doing.

    Attributes:
        planned: share of the traffic that the map gives to each; sums to 1.
        records: by expert, those that were heard of.
        memory: requests that count.
    """

    planned: Mapping[str, float]
    records: Mapping[str, Record] = field(default_factory=dict)
    memory: float = MEMORY

    def asked(self, expert: str) -> Health:
        """Return the health after a request that an expert got. Only where others might have."""
        kept = math.exp(-1.0 / self.memory)
        records = {name: record.aged(kept) for name, record in self.records.items()}
        known = records.get(expert, Record())
        records[expert] = replace(known, asked=known.asked + 1.0)
        return replace(self, records=records)

    def judged(self, expert: str, expected: float, reward: float) -> Health:
        """Return the health after a reward, beside what was expected of the answer.

        Raises:
            ValueError: one of the two is no number.
        """
        if not math.isfinite(expected - reward):
            raise ValueError(f"expected {expected} and got {reward}: both must be numbers")
        kept = math.exp(-1.0 / self.memory)
        known = self.records.get(expert, Record())
        records = {**self.records, expert: known.judged(expected - reward, kept)}
        return replace(self, records=records)

    def alarms(self) -> tuple[Alarm, ...]:
        """Return what is wrong now, in the order of the plan; others after it."""
        names = [*self.planned, *(name for name in self.records if name not in self.planned)]
        found = (alarm for name in names for alarm in (self._collapse(name), self._share(name)))
        return tuple(alarm for alarm in found if alarm is not None)

    def _collapse(self, name: str) -> Alarm | None:
        record = self.records.get(name, Record())
        if record.answers < LEAST_ANSWERS:
            return None
        mean = record.short / record.answers
        variance = max(record.square / record.answers - mean**2, 0.0)
        bound = max(SHORTFALL, ERRORS * math.sqrt(variance / record.answers))
        if mean <= bound:
            return None
        return Alarm(expert=name, kind="collapse", value=mean, bound=bound)

    def _share(self, name: str) -> Alarm | None:
        total = sum(record.asked for record in self.records.values())
        if total < LEAST_REQUESTS:
            return None
        share = self.records.get(name, Record()).asked / total
        planned = self.planned.get(name, 0.0)
        taken = planned + TAKEN * (1.0 - planned)
        if share > taken and len(self.planned) > 1:
            return Alarm(expert=name, kind="capture", value=share, bound=taken)
        if planned * total >= LEAST_ANSWERS and share < STARVED * planned:
            return Alarm(expert=name, kind="starvation", value=share, bound=STARVED * planned)
        return None
