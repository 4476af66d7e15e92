"""Contract checks for orderings and evictions: every sentence of their protocols, tried out.

    from coe.testing.scheduling import check_ordering

    def test_my_ordering_keeps_the_contract():
        check_ordering(build)

A check raises AssertionError with the sentence that does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from coe.protocols import Eviction, Ordering, Pending, Resident
from coe.testing.expectation import expect

DAY_S = 86_400.0
NOW_S = 200_000.0
DRAWS = 200


def check_ordering(make: Callable[[], Ordering]) -> None:
    """Check that what `make` builds keeps the contract of `coe.protocols.Ordering`.

    Args:
        make: builds the same ordering anew at each call.
    """
    ordering, twin = make(), make()
    rng = Random(1)  # noqa: S311 - draws of a test
    expect(bool(ordering.name), "an ordering has a name")
    expect(isinstance(ordering.groups, bool), "groups is true or false")
    for _ in range(DRAWS):
        pending = tuple(_pending(rng, f"e{i}") for i in range(rng.randint(1, 12)))
        picked = ordering.pick(pending, NOW_S)
        expect(picked in pending, "pick returns one of those given")
        expect(twin.pick(pending, NOW_S) == picked, "the same arguments give the same answer")
        _check_that_nobody_starves(ordering, pending[0], rng)


def check_eviction(make: Callable[[], Eviction]) -> None:
    """Check that what `make` builds keeps the contract of `coe.protocols.Eviction`.

    Args:
        make: builds the same eviction anew at each call.
    """
    eviction, twin = make(), make()
    rng = Random(1)  # noqa: S311 - draws of a test
    expect(bool(eviction.name), "an eviction has a name")
    for _ in range(DRAWS):
        residents = [_resident(rng, f"e{i}") for i in range(rng.randint(0, 12))]
        given = tuple(residents)
        ordered = list(eviction.order(residents, NOW_S))
        expect(sorted(ordered) == sorted(given), "order returns those given, each once")
        expect(tuple(residents) == given, "what is given is not changed")
        expect(list(twin.order(given, NOW_S)) == ordered, "the same arguments give the same answer")


def _check_that_nobody_starves(ordering: Ordering, one: Pending, rng: Random) -> None:
    longer_s = one.oldest_s - 10.0
    older = one._replace(expert="older", oldest_s=longer_s, ages_s=one.ages_s + 10.0)
    pair: Sequence[Pending] = (one, older) if rng.random() < 0.5 else (older, one)  # noqa: PLR2004
    expect(
        ordering.pick(pair, NOW_S) is older,
        "of two that are alike but for how long they have waited, the longer one is picked",
    )
    patience_s = rng.choice((1.0, 60.0, math.inf))
    pressed = False
    for waited_s in (0.0, 1.0, 60.0, 3600.0, DAY_S):
        now_s = one.oldest_s + waited_s
        seen = one._replace(ages_s=one.calls * waited_s)
        presses = ordering.presses(seen, now_s, patience_s)
        expect(presses or not pressed, "once it presses it presses while the same calls wait")
        pressed = presses
    expect(pressed, "it presses at the latest after a day")


def _pending(rng: Random, name: str) -> Pending:
    calls = rng.randint(1, 50)
    oldest_s = NOW_S - rng.uniform(0.0, 300.0)
    return Pending(
        expert=name,
        calls=calls,
        oldest_s=oldest_s,
        ages_s=calls * (NOW_S - oldest_s) * rng.random(),
        due_s=rng.choice((math.inf, NOW_S + rng.uniform(0.0, 100.0))),
        load_s=rng.choice((0.0, rng.uniform(0.0, 60.0))),
        work_s=rng.uniform(0.0, 30.0),
    )


def _resident(rng: Random, name: str) -> Resident:
    waiting = rng.choice((0, 0, rng.randint(1, 20)))
    return Resident(
        expert=name,
        waiting=waiting,
        oldest_s=NOW_S - rng.uniform(0.0, 100.0) if waiting else math.inf,
        used_s=rng.choice((-math.inf, NOW_S - rng.uniform(0.0, 1000.0))),
        uses=rng.uniform(0.0, 100.0),
        reload_s=rng.uniform(0.0, 60.0),
        size=rng.choice((0, 1, 10**9)),
    )
