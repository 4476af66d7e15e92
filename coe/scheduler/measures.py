"""What a run was worth, and what could not have been done better. Pure arithmetic."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from coe.scheduler.memory import Layout, footprint
from coe.scheduler.simulate import Outcome
from coe.scheduler.traces import Arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A run in numbers.

    Attributes:
        swaps: loads per 1,000 calls.
        fetches: of those from disk, per 1,000 calls.
        rate: calls finished per second, from the first arrival to the last end.
        mean_s, p50_s, p99_s, worst_s: waits.
        worst_expert: the largest mean wait of any expert, over the mean wait of all calls.
        least_swaps: lower bound on swaps per 1,000 calls for anybody whose worst wait is this one.
        refused: calls.
    """

    swaps: float
    fetches: float
    rate: float
    mean_s: float
    p50_s: float
    p99_s: float
    worst_s: float
    worst_expert: float
    least_swaps: float
    refused: int


def figures(outcome: Outcome, *, slots: int) -> Figures:
    """Return the numbers of a run in which at least one call was served.

    Memory holds so many experts (`slots`) at once, at the most.
    """
    calls = len(outcome.arrivals)
    waits = sorted(outcome.waits_s.values())
    worst_s, mean_s = waits[-1], fmean(waits)
    by_expert: dict[str, list[float]] = defaultdict(list)
    for arrival in outcome.arrivals:
        if arrival.id in outcome.waits_s:
            by_expert[arrival.expert].append(outcome.waits_s[arrival.id])
    took_s = max(outcome.ends_s.values()) - outcome.arrivals[0].at_s
    worst_expert = max(fmean(own) for own in by_expert.values())
    served = [arrival for arrival in outcome.arrivals if arrival.id in outcome.waits_s]
    return Figures(
        swaps=1000 * len(outcome.loads) / calls,
        fetches=1000 * outcome.fetches / calls,
        rate=len(outcome.ends_s) / took_s,
        mean_s=mean_s,
        p50_s=quantile(waits, 0.5),
        p99_s=quantile(waits, 0.99),
        worst_s=worst_s,
        worst_expert=worst_expert / mean_s if mean_s else 1.0,
        least_swaps=1000 * least_loads(served, slots=slots, worst_s=worst_s) / calls,
        refused=len(outcome.refused),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that so large a share of the ordered ones does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def most_at_once(layout: Layout) -> int:
    """Return a number of experts, adapters included, that memory never holds more of at once.

    The best packing of fractions of experts, which is no worse than that of whole ones.
    """
    return sum(_most_in(pool.name, pool.memory, layout) for pool in layout.pools)


def _most_in(pool: str, room: float, layout: Layout) -> int:
    found = 0.0
    units = []
    for one in layout.experts:
        if one.pool == pool and one.base is None:
            adapters = layout.adapters(one.name)
            most = len(adapters) if one.max_loras is None else min(one.max_loras, len(adapters))
            units.append((footprint(one, adapters), 1 + most))
    for size, experts in sorted(units, key=lambda unit: unit[0] / unit[1]):
        share = min(1.0, room / size) if size else 1.0
        found += share * experts
        room -= share * size
    return math.floor(found + 1e-9)


def least_loads(arrivals: Sequence[Arrival], *, slots: int, worst_s: float) -> int:
    """Return how many loads nobody can do without who lets no call wait longer than `worst_s`.

    The expert of a call that arrives at t is in memory at some moment of [t, t + worst_s]. Of a
    stretch of time that holds such intervals of D experts, at most `slots` of them were in memory
    when it began, so it sees at least D - slots loads. Stretches that do not overlap add up; the
    best cut into stretches is found by going through their ends in order of time: to each end, a
    best stretch begins with the last interval of some expert. Work takes no time in this bound, nor
    does loading. The arrivals are in order of time.
    """
    ends = [0.0]
    best = [0]
    last: dict[str, float] = {}
    for arrival in arrivals:
        last[arrival.expert] = arrival.at_s
        most = best[-1]
        for found, begin_s in enumerate(sorted(last.values(), reverse=True), start=1):
            if found > slots:
                before = best[bisect_right(ends, begin_s) - 1]
                most = max(most, before + found - slots)
        ends.append(arrival.at_s + worst_s)
        best.append(most)
    return best[-1] + min(slots, len(last))  # and memory was empty when it all began


def best_hit_rates(arrivals: Sequence[Arrival], slots: Sequence[int]) -> dict[int, float]:
    """Return, for so many slots, the share of calls that could have found their expert resident.

    In the order in which they arrived: an oracle unloads whose next use is farthest (Belady 1966).
    It measures how much the trace repeats itself, the local routing consistency, not a policy.
    """
    uses: dict[str, list[int]] = defaultdict(list)
    for i, arrival in enumerate(arrivals):
        uses[arrival.expert].append(i)
    return {number: _hits(arrivals, uses, number) / len(arrivals) for number in slots}


def _hits(arrivals: Sequence[Arrival], uses: dict[str, list[int]], slots: int) -> int:
    resident: set[str] = set()
    hits = 0

    def next_use(expert: str, now: int) -> float:
        own = uses[expert]
        i = bisect_right(own, now)
        return own[i] if i < len(own) else math.inf

    for i, arrival in enumerate(arrivals):
        if arrival.expert in resident:
            hits += 1
            continue
        if len(resident) >= slots:
            resident.remove(max(sorted(resident), key=lambda one: next_use(one, i)))
        resident.add(arrival.expert)
    return hits
