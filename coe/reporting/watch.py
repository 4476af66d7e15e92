"""Guardrails of running experiments, looked at now and then; a broken one pauses its experiment.

Only what is new in the decision log is read at each look, in a thread. Of a unit a few sums are
kept, so that a look costs as much as there are units, not requests; where each request is a unit,
only the sums of an arm are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from coe.composition import Composition, Experiment
from coe.decisions.log import DecisionLog
from coe.errors import CoEError
from coe.experiments.plan import Arm
from coe.experiments.quantiles import Sketch
from coe.experiments.rule import decide
from coe.experiments.summary import Moments, Summary
from coe.experiments.verdict import Verdict
from coe.reporting.gather import FAILED, REFUSED
from coe.reporting.report import plan_of
from coe.stores.decisions import LEFT, SHADOW, Record

logger = logging.getLogger(__name__)

EVERY_S = 30.0
_PAGE = 2000

Pause = Callable[[str], Awaitable[None]]


@dataclass(slots=True)
class _Sums:
    """What a unit did: of its requests, how many there were, failed, and cost something."""

    arm: str
    requests: int = 0
    errors: int = 0
    costed: int = 0
    cost: float = 0.0


@dataclass(slots=True)
class _Total:
    """What an arm's requests did, where each is a unit."""

    assigned: int = 0
    requests: int = 0
    errors: int = 0
    cost: Moments = field(default_factory=Moments)


@dataclass(slots=True, eq=False)
class _Seen:
    """What was read of one experiment, as it is defined now."""

    defined: object
    of_requests: bool = False
    units: dict[str, _Sums] = field(default_factory=dict)
    totals: dict[str, _Total] = field(default_factory=dict)
    times: dict[str, Counter[int]] = field(default_factory=dict)


class Watch:
    """Looks at the running splits of what is served. Belongs to one event loop.

    Attributes:
        alarms: by experiment, what is wrong with it now: `broken split` or `guardrail`.
    """

    def __init__(
        self,
        current: Callable[[], Composition],
        log: DecisionLog,
        pause: Pause,
        every_s: float = EVERY_S,
    ) -> None:
        """Store the parts.

        Args:
            current: returns the composition that is served now.
            log: of the decisions.
            pause: pauses an experiment by name; raises CoEError where it cannot.
            every_s: between two looks.
        """
        self.alarms: dict[str, str] = {}
        self._current = current
        self._log = log
        self._pause = pause
        self._every_s = every_s
        self._seen: dict[str, _Seen] = {}
        self._refused: dict[str, str] = {}
        self._after = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look now and then meanwhile."""
        task = asyncio.create_task(self._work())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except CoEError as error:
                logger.warning("experiments are not watched: %s", error.message)
            except Exception:  # a supervisor: the next look may do
                logger.exception("experiments are not watched")

    async def look(self) -> None:
        """Read what is new, and pause what does harm."""
        running = [one for one in self._current().experiments.values() if one.is_split]
        seen = {one.name: self._kept(one) for one in running}
        if any(one not in self._seen.values() for one in seen.values()):
            # One of them is new here: all are read from the beginning of the log.
            self._after = 0
            seen = {one.name: _begun(one) for one in running}
        self._seen = seen
        self.alarms = {name: alarm for name, alarm in self.alarms.items() if name in self._seen}
        if not running:
            return
        verdicts = await asyncio.to_thread(self._verdicts, running)
        for one, verdict in verdicts:
            if verdict.value not in {"broken split", "guardrail"}:
                self.alarms.pop(one.name, None)
                continue
            if self.alarms.get(one.name) != verdict.value:
                self.alarms[one.name] = verdict.value
                logger.warning("experiment %s: %s", one.name, verdict.sentence)
            if verdict.value == "guardrail" and one.on_guardrail == "pause":
                await self._stop(one.name)

    async def _stop(self, experiment: str) -> None:
        """Pause an experiment; why that cannot be done is said once, and the others go on."""
        try:
            await self._pause(experiment)
        except CoEError as error:
            if self._refused.get(experiment) != error.message:
                self._refused[experiment] = error.message
                logger.error("experiment %s cannot be paused: %s", experiment, error.message)  # noqa: TRY400
        else:
            self._refused.pop(experiment, None)

    def _kept(self, one: Experiment) -> _Seen:
        seen = self._seen.get(one.name)
        is_same = seen is not None and seen.defined == _definition(one)
        return seen if seen is not None and is_same else _begun(one)

    def _verdicts(self, running: Iterable[Experiment]) -> list[tuple[Experiment, Verdict]]:
        store = self._log.store()
        known = dict(self._seen)
        while page := store.page(self._after, _PAGE):
            for seq, record in page:
                self._after = seq
                for name, arm in record.arms.items():
                    if name in known and record.endpoint != SHADOW:
                        _add(known[name], name, arm, record)
        return [(one, _verdict(one, known[one.name])) for one in running]


def paused(composition: Composition, experiment: str) -> Composition:
    """Return the composition with one of its experiments paused."""
    one = replace(composition.experiments[experiment], status="paused")
    return replace(
        composition,
        experiments=MappingProxyType({**composition.experiments, experiment: one}),
        variants=MappingProxyType(
            {
                arms: variant
                for arms, variant in composition.variants.items()
                if all(name != experiment for name, _ in arms)
            }
        ),
    )


def _begun(one: Experiment) -> _Seen:
    return _Seen(_definition(one), of_requests=one.unit == "request")


def _definition(one: Experiment) -> object:
    """Return what makes an experiment another one, whatever its name."""
    return one.salt, one.unit, one.arms


def _add(seen: _Seen, name: str, arm: str, record: Record) -> None:
    if seen.of_requests:
        _add_request(seen.totals.setdefault(arm, _Total()), record)
    else:
        unit = record.detail.get("units", {}).get(name) or record.id
        sums = seen.units.setdefault(unit, _Sums(arm))
        if sums.arm != arm:
            return  # crossed; the report leaves such units out
        _add_to_unit(sums, record)
    if record.status >= REFUSED:
        return  # how soon a request is refused or fails says nothing of how long answers take
    times = Sketch.of([record.latency_s]).counts
    seen.times.setdefault(arm, Counter()).update(times)


def _add_to_unit(sums: _Sums, record: Record) -> None:
    if record.status == LEFT:
        return  # it was dealt its arm, and nothing failed
    sums.requests += 1
    sums.errors += record.status >= FAILED
    if record.status < REFUSED and record.cost is not None:
        sums.costed += 1
        sums.cost += record.cost


def _add_request(total: _Total, record: Record) -> None:
    total.assigned += 1
    if record.status == LEFT:
        return
    total.requests += 1
    total.errors += record.status >= FAILED
    if record.status < REFUSED and record.cost is not None:
        total.cost += Moments.of([record.cost])


def _verdict(one: Experiment, seen: _Seen) -> Verdict:
    """Return what the guardrails and the split say; of the metric that decides, nothing is read."""
    arms = [_arm(arm.name, arm.share, seen) for arm in one.arms]
    return decide(replace(plan_of(one), method="sequential"), arms[0], arms[1:])


def _arm(name: str, share: float, seen: _Seen) -> Arm:
    total = seen.totals.get(name, _Total())
    dealt = [sums for sums in seen.units.values() if sums.arm == name]
    units = [sums for sums in dealt if sums.requests]
    errors = Moments.of(sums.errors / sums.requests for sums in units)
    costs = Moments.of(sums.cost / sums.costed for sums in units if sums.costed)
    return Arm(
        name=name,
        share=share,
        assigned=total.assigned + len(dealt),
        primary=Summary(),
        watched=MappingProxyType(
            {
                "error rate": errors + Moments.counted(total.requests, total.errors),
                "cost": costs + total.cost,
                "p95": Sketch(counts=MappingProxyType(dict(seen.times.get(name, {})))),
            }
        ),
    )
