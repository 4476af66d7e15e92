"""Every ordering and eviction that is registered keeps its contract, third-party ones included."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pytest

from coe.protocols import Pending, Resident
from coe.scheduler.policies import Affinity, LeastRecent
from coe.testing.scheduling import check_eviction, check_ordering


def named(group: str) -> list[Any]:
    return [pytest.param(point, id=point.name) for point in entry_points(group=group)]


@pytest.mark.parametrize("point", named("coe.orderings"))
def test_ordering_keeps_the_contract(point: EntryPoint) -> None:
    assert point.load()().name == point.name
    check_ordering(point.load())


@pytest.mark.parametrize("point", named("coe.evictions"))
def test_eviction_keeps_the_contract(point: EntryPoint) -> None:
    assert point.load()().name == point.name
    check_eviction(point.load())


class Stranger(Affinity):
    def pick(self, pending: Sequence[Pending], now_s: float) -> Pending:
        return super().pick(pending, now_s)._replace(expert="somebody else")


class Youngest(Affinity):
    def pick(self, pending: Sequence[Pending], now_s: float) -> Pending:
        del now_s
        return max(pending, key=lambda one: one.oldest_s)


class Meek(Affinity):
    def presses(self, pending: Pending, now_s: float, patience_s: float) -> bool:
        del pending, now_s, patience_s
        return False


class Fickle(Affinity):
    def presses(self, pending: Pending, now_s: float, patience_s: float) -> bool:
        del patience_s
        return int(now_s - pending.oldest_s) != 3600


@pytest.mark.parametrize("broken", [Stranger, Youngest, Meek, Fickle])
def test_a_broken_ordering_is_found(broken: type[Affinity]) -> None:
    with pytest.raises(AssertionError, match="contract broken"):
        check_ordering(broken)


class Forgetful(LeastRecent):
    def order(self, residents: Sequence[Resident], now_s: float) -> Sequence[Resident]:
        return super().order(residents, now_s)[:3]


class Rude(LeastRecent):
    def order(self, residents: Sequence[Resident], now_s: float) -> Sequence[Resident]:
        del now_s
        residents.sort(key=lambda one: one.used_s)  # type: ignore[attr-defined]
        return residents


@pytest.mark.parametrize("broken", [Forgetful, Rude])
def test_a_broken_eviction_is_found(broken: type[LeastRecent]) -> None:
    with pytest.raises(AssertionError, match="contract broken"):
        check_eviction(broken)
