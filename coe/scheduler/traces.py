"""Synthetic traces: who asks which expert for how much, and when. Seeds fix everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coe.scheduler.events import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One call of a trace.

    Attributes:
        at_s: not before this.
        work_s: what it takes where nothing else runs.
        after: calls that must have ended first.
    """

    id: str
    at_s: float
    expert: str
    work_s: float = 1.0
    lane: Lane = "interactive"
    key: str = ""
    deadline_s: float | None = None
    after: tuple[str, ...] = ()


def names(count: int) -> tuple[str, ...]:
    """Return names of experts, the most popular first."""
    return tuple(f"e{i:03d}" for i in range(count))


def zipf(count: int, exponent: float = 1.0) -> list[float]:
    """Return probabilities that fall as 1 / rank ** exponent; they sum to 1."""
    weights = 1.0 / np.arange(1, count + 1) ** exponent
    return [float(p) for p in weights / weights.sum()]


def poisson(
    experts: Sequence[str], *, rate: float, calls: int, seed: int, exponent: float = 1.0
) -> list[Arrival]:
    """Return arrivals that know nothing of each other, `rate` of them per second."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1.0 / rate, calls))
    chosen = rng.choice(len(experts), size=calls, p=zipf(len(experts), exponent))
    return _arrivals(times, [experts[i] for i in chosen])


def bursty(
    experts: Sequence[str],
    *,
    rate: float,
    calls: int,
    seed: int,
    burst: float = 5.0,
    share: float = 0.1,
) -> list[Arrival]:
    """Return arrivals that come `burst` times as often for some `share` of the time.

    Poisson with two rates that take turns, each stretch of exponential length; bursts last 20 s in
    the mean.
    """
    rng = np.random.default_rng(seed)
    calm = rate * (1.0 - share * burst) / (1.0 - share)
    if calm <= 0:
        raise ValueError(f"bursts of {burst} for a share of {share} leave no rate for the rest")
    times: list[float] = []
    now_s, is_burst = 0.0, False
    while len(times) < calls:
        ends_s = now_s + float(rng.exponential(20.0 if is_burst else 20.0 * (1 - share) / share))
        while len(times) < calls:
            now_s += float(rng.exponential(1.0 / (rate * burst if is_burst else calm)))
            if now_s > ends_s:
                break
            times.append(now_s)
        now_s, is_burst = ends_s, not is_burst
    chosen = rng.choice(len(experts), size=calls, p=zipf(len(experts)))
    return _arrivals(np.array(times), [experts[i] for i in chosen])


def sessions(
    experts: Sequence[str],
    *,
    rate: float,
    calls: int,
    seed: int,
    again: float = 0.58,
) -> list[Arrival]:
    """Return Poisson arrivals of which each asks for the previous one's expert with `again`.

    That is how little an interleaving of conversations changes its expert; 0.58 gives 0.31 changes
    a call with two experts in memory, the least recently used one leaving.
    """
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1.0 / rate, calls))
    fresh = rng.choice(len(experts), size=calls, p=zipf(len(experts)))
    repeats = rng.random(calls) < again
    chosen: list[str] = []
    for i in range(calls):
        chosen.append(chosen[-1] if repeats[i] and chosen else experts[fresh[i]])
    return _arrivals(times, chosen)


def at_once(experts: Sequence[str], *, calls: int, seed: int, lane: Lane = "bulk") -> list[Arrival]:
    """Return calls that are all there from the start, in no order: an offline batch."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(experts), size=calls, p=zipf(len(experts)))
    return [
        Arrival(id=str(i), at_s=0.0, expert=experts[e], lane=lane) for i, e in enumerate(chosen)
    ]


def panels(
    experts: Sequence[str], aggregator: str, *, prompts: int, of: int, seed: int, planned: bool
) -> list[Arrival]:
    """Return calls of a batch in which some experts answer each prompt and one merges the answers.

    A merging call comes after its own drafts, or, where the batch is `planned`, after all drafts
    (Symbolic-MoE's grouping, arXiv 2503.05641, section 3.4).
    """
    rng = np.random.default_rng(seed)
    drafts: list[Arrival] = []
    for prompt in range(prompts):
        chosen = rng.choice(len(experts), size=of, replace=False, p=zipf(len(experts)))
        drafts += [
            Arrival(id=f"{prompt}.{i}", at_s=0.0, expert=experts[e], lane="bulk")
            for i, e in enumerate(chosen)
        ]
    everything = tuple(draft.id for draft in drafts)
    merges = [
        Arrival(
            id=f"{prompt}.merge",
            at_s=0.0,
            expert=aggregator,
            lane="bulk",
            after=everything if planned else everything[prompt * of : (prompt + 1) * of],
        )
        for prompt in range(prompts)
    ]
    return [*drafts, *merges]


def with_lognormal_work(
    arrivals: Sequence[Arrival], *, mean_s: float, sigma: float, seed: int
) -> list[Arrival]:
    """Return the same calls with work that varies, as lengths of answers do."""
    rng = np.random.default_rng(seed)
    work = rng.lognormal(np.log(mean_s) - sigma**2 / 2, sigma, len(arrivals))
    return [
        Arrival(id=a.id, at_s=a.at_s, expert=a.expert, work_s=float(w), lane=a.lane, key=a.key)
        for a, w in zip(arrivals, work, strict=True)
    ]


def _arrivals(times: Sequence[float] | np.ndarray, experts: Sequence[str]) -> list[Arrival]:
    return [
        Arrival(id=str(i), at_s=float(t), expert=e)
        for i, (t, e) in enumerate(zip(times, experts, strict=True))
    ]
