"""The lease: replicas with clocks of their own, a store that forgets, messages that are late."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from coe.replicas.lease import Sight, Tenure, Terms, heard

TERMS = Terms(lease_s=5.0)
DRIFT = 0.05  # of clocks, either way: within 5 s two of them differ by half a second


def test_an_owner_acts_after_the_grace_and_stops_before_the_end() -> None:
    sight = Sight(replica="a", token=7, left_s=5.0)

    tenure = heard(Tenure(me="a"), sight, 100.0, 100.1, TERMS)

    assert not tenure.may_act(100.1, TERMS)
    assert not tenure.may_act(102.09, TERMS)
    assert tenure.may_act(102.11, TERMS)
    assert tenure.may_act(103.99, TERMS)
    assert not tenure.may_act(104.0, TERMS)
    assert tenure.holds(104.99)
    assert not tenure.holds(105.0)


def test_a_renewal_goes_on_without_another_grace() -> None:
    sight = Sight(replica="a", token=7, left_s=5.0)
    tenure = heard(Tenure(me="a"), sight, 100.0, 100.0, TERMS)

    tenure = heard(tenure, sight, 103.0, 103.0, TERMS)

    assert tenure.may_act(106.9, TERMS)


def test_the_end_counts_from_when_it_was_asked_for() -> None:
    tenure = heard(Tenure(me="a"), Sight(replica="a", token=1, left_s=5.0), 100.0, 104.0, TERMS)

    assert tenure.until_s == 105.0


def test_who_hears_that_another_has_it_stops_at_once() -> None:
    tenure = heard(Tenure(me="a"), Sight(replica="a", token=1, left_s=5.0), 100.0, 100.0, TERMS)

    tenure = heard(tenure, Sight(replica="b", token=2, left_s=4.0), 103.0, 103.0, TERMS)

    assert not tenure.may_act(103.0, TERMS)
    assert not tenure.holds(103.0)
    assert tenure.highest == 2


def test_after_a_store_forgot_whatever_it_forgot_is_waited_for() -> None:
    sight = Sight(replica="a", token=1, left_s=5.0, doubtful_s=4.5)

    assert heard(Tenure(me="a"), sight, 100.0, 100.0, TERMS).acts_from_s == 104.5


@dataclass
class Store:
    """What `coe.stores.redis_leases` has Redis do, in true time."""

    holder: str = ""
    token: int = 0
    until_s: float = -math.inf
    last: int | None = None
    doubtful_until_s: float = -math.inf
    has_forgotten: bool = False

    def claim(self, replica: str, highest: int, now_s: float) -> Sight:
        if now_s >= self.until_s:
            if self.last is None:
                self.doubtful_until_s = now_s + TERMS.lease_s
            self.holder, self.token = replica, max(self.last or 0, highest) + 1
            self.last = self.token
        if self.holder == replica:
            self.until_s = now_s + TERMS.lease_s
        return Sight(
            replica=self.holder,
            token=self.token,
            left_s=self.until_s - now_s,
            doubtful_s=max(0.0, self.doubtful_until_s - now_s),
        )

    def resign(self, replica: str, token: int, now_s: float) -> None:
        if now_s < self.until_s and (self.holder, self.token) == (replica, token):
            self.until_s = -math.inf

    def forget(self) -> None:
        self.holder, self.token, self.last = "", 0, None
        self.until_s = self.doubtful_until_s = -math.inf
        self.has_forgotten = True


@dataclass
class World:
    """Replicas, the store, and what is on its way between them, in true time."""

    draw: Callable[[st.SearchStrategy[float]], float]
    store: Store = field(default_factory=Store)
    now_s: float = 0.0
    tenures: dict[str, Tenure] = field(default_factory=dict)
    clocks: dict[str, tuple[float, float]] = field(default_factory=dict)
    acts: list[tuple[float, str, int]] = field(default_factory=list)
    _todo: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)

    def add(self, name: str, rate: float, offset_s: float) -> None:
        self.tenures[name] = Tenure(me=name)
        self.clocks[name] = (rate, offset_s)
        self.later(0.0, lambda: self.ask(name))

    def clock(self, name: str) -> float:
        rate, offset_s = self.clocks[name]
        return offset_s + rate * self.now_s

    def later(self, delay_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._todo, (self.now_s + delay_s, next(self._order), what))

    def ask(self, name: str) -> None:
        asked_s, highest = self.clock(name), self.tenures[name].highest
        there, back = self.draw(LATE), self.draw(LATE)

        def arrive() -> None:
            sight = self.store.claim(name, highest, self.now_s)
            if back < LOST_S:
                self.later(back, lambda: self.hear(name, sight, asked_s))

        if there < LOST_S:
            self.later(there, arrive)
        self.later(self.draw(PAUSES), lambda: self.ask(name))

    def hear(self, name: str, sight: Sight, asked_s: float) -> None:
        if self.clock(name) - asked_s > 0.4:
            return  # whoever asked has given up, before it asks again
        self.tenures[name] = heard(self.tenures[name], sight, asked_s, self.clock(name), TERMS)

    def resign(self, name: str) -> None:
        """End a replica as it should end: it gives its lease back, and asks for nothing more."""
        token = self.tenures[name].token
        self.restart(name)
        self.later(self.draw(LATE), lambda: self.store.resign(name, token, self.now_s))

    def restart(self, name: str) -> None:
        """End a replica; another one comes in its place, and knows nothing."""
        rate, offset_s = self.clocks[name]
        self.tenures.pop(name)
        del self.clocks[name]
        fresh = f"{name}'"
        self.tenures[fresh] = Tenure(me=fresh)
        self.clocks[fresh] = (rate, offset_s)
        self.later(0.0, lambda: self.ask(fresh))

    def run(self, until_s: float) -> None:
        while self._todo and self._todo[0][0] <= until_s:
            self.now_s, _, what = heapq.heappop(self._todo)
            try:
                what()
            except KeyError:
                continue  # of a replica that is no more
            self.look()

    def look(self) -> None:
        acting = [n for n in self.tenures if self.tenures[n].may_act(self.clock(n), TERMS)]
        assert len(acting) <= 1, f"{acting} act at {self.now_s}"
        for name in acting:
            token = self.tenures[name].token
            if self.acts and not self.store.has_forgotten:
                has = self.store.holder == name and self.now_s < self.store.until_s
                assert has, f"{name} acts, and its lease is over"
                assert token >= self.acts[-1][2], "an older token acts again"
            self.acts.append((self.now_s, name, token))


LOST_S = 3.0
LATE = st.one_of(st.floats(0.0, 0.2), st.floats(0.0, 4.0))
PAUSES = st.one_of(st.just(1.0), st.floats(0.5, 8.0))
RATES = st.floats(1 - DRIFT, 1 + DRIFT)


@given(st.data())
def test_no_two_replicas_act_at_once_whatever_is_late_or_lost(data: st.DataObject) -> None:
    world = World(data.draw)
    names = ["a", "b", "c"][: data.draw(st.integers(2, 3))]
    for name in names:
        world.add(name, data.draw(RATES), data.draw(st.floats(0.0, 1000.0)))
    for _ in range(data.draw(st.integers(0, 6))):
        at_s = data.draw(st.floats(1.0, 60.0))
        what = data.draw(st.sampled_from(["forget", "resign", "restart"]))
        name = data.draw(st.sampled_from(names))
        if what == "forget":
            world.later(at_s, world.store.forget)
        else:
            world.later(at_s, lambda w=what, n=name: getattr(world, w)(n))  # type: ignore[misc]
    for tick in range(300):
        world.later(tick / 5, lambda: None)

    world.run(60.0)


@given(st.data())
def test_while_all_is_well_there_is_an_owner_soon(data: st.DataObject) -> None:
    """The other property would hold of replicas that never act, too."""
    world = World(lambda wanted: 1.0 if wanted is PAUSES else 0.01)
    for name in ("a", "b"):
        world.add(name, data.draw(RATES), data.draw(st.floats(0.0, 1000.0)))
    dies_s = data.draw(st.floats(8.0, 20.0))
    world.later(dies_s, lambda: world.restart(world.acts[-1][1]))
    for tick in range(800):
        world.later(tick / 20, lambda: None)

    world.run(40.0)

    before = [at_s for at_s, _, _ in world.acts if at_s < dies_s]
    after = [at_s for at_s, _, _ in world.acts if at_s > dies_s]
    assert before[0] < 6.0
    # The lease runs out, somebody asks, the others say what they use.
    assert after[0] - dies_s < 1.2 * (TERMS.lease_s + TERMS.renew_s + TERMS.grace_s)
