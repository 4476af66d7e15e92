"""One order of a stream, answered by a policy that learns, and by those that it has to beat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benches.experiments_parts.rewards import World
from coe.learning import prior
from coe.learning.bandit import Bandit
from coe.learning.belief import Settings
from coe.learning.pacer import Pacer
from coe.mapping.estimates import values

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

WINDOW, HELD, ADOPTED = 100, 50, 0.1
"""An expert is adopted at the first request from which on its share of the last 100 requests, none
of them its burn-in, is at least a tenth for 50 requests: ParetoBandit's definition."""
_FLOOR, _CEILING = 1e-7, 1e-4  # list prices per token, of ParetoBandit's scale: $.0001 to $.10 / 1k


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one order.

    Attributes:
        rewards, costs: shape (n,), in the order of the requests.
        chosen: shape (n,), places of experts.
        burnt_in: the request after the last one of a burn-in; 0 where there was none.
    """

    rewards: Floats
    costs: Floats
    chosen: Places
    burnt_in: int = 0

    @property
    def quality(self) -> float:
        """The mean reward."""
        return float(self.rewards.mean())

    @property
    def spent(self) -> float:
        """Dollars per request."""
        return float(self.costs.mean())

    def share(self, place: int, last: int = 0) -> float:
        """Return an expert's share of all requests, or of the last ones."""
        return float((self.chosen[-last:] == place).mean())

    def adopted(self, place: int) -> float:
        """Return the request from which on an expert is adopted; infinite where it never is."""
        count = np.concatenate([[0], np.cumsum(self.chosen == place)])
        held = 0
        for step in range(self.burnt_in + WINDOW, len(self.chosen)):
            share = (count[step + 1] - count[step + 1 - WINDOW]) / WINDOW
            held = held + 1 if share >= ADOPTED else 0
            if held >= HELD:
                return float(step - HELD + 2)
        return float("inf")


class Step(Protocol):
    """What changes a world while it runs: the rewards and costs of a request, by its number."""

    def __call__(self, step: int, row: int) -> tuple[Floats, Floats, Floats]:
        """Return rewards, costs and prices, shape (K,) each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Additive(Pacer):
    """ParetoBandit's own pacer: an additive step, and the logarithm of the list price."""

    def worth(self, price: float) -> float:
        """Return the penalty of a list price in dollars per token."""
        scale = (np.log(price) - np.log(_FLOOR)) / (np.log(_CEILING) - np.log(_FLOOR))
        return self.weight * float(np.clip(scale, 0.0, 1.0))

    def paid(self, cost: float) -> Pacer:
        """Return the pacer after a cost; step and smoothing .05, the weight in [0, 5]."""
        average = 0.95 * self.average + 0.05 * cost
        weight = self.weight + 0.05 * (average / self.ceiling - 1.0)
        return replace(self, average=average, weight=min(5.0, max(0.0, weight)))


def started(world: World, ceiling: float | None, settings: Settings) -> Bandit:
    """Return the bandit that knows the past; a new expert has joined it."""
    known = prior.from_rewards(world.past_x, world.past.scores, world.known, settings=settings)
    if ceiling is not None:
        thetas = np.column_stack([known.beliefs[name].theta for name in world.known])
        pacer = Pacer.started(ceiling, world.past_x @ thetas, world.past_prices)
        known = replace(known, pacer=pacer)
    for name in world.experts[len(world.known) :]:
        known = known.joined(name)
    return known


def learning(
    world: World,
    bandit: Bandit,
    order: Places,
    seed: int,
    *,
    step: Step | None = None,
) -> Run:
    """Return what a bandit makes of an order, learning from each answer."""
    generator = np.random.default_rng(seed)
    rewards, costs, chosen = [], [], []
    burnt_in = 0
    for number, row in enumerate(order):
        gains, spent, prices = (
            (world.rewards[row], world.costs[row], world.prices[row])
            if step is None
            else step(number, int(row))
        )
        choice = bandit.choose(
            world.x[row],
            dict(zip(world.experts, prices.tolist(), strict=True)),
            world.experts,
            may_explore=True,
            uniform=generator.random(),
        )
        place = world.experts.index(choice.expert)
        if choice.why == "new":
            burnt_in = number + 1
        bandit = bandit.update(
            world.x[row], choice.expert, float(gains[place]), float(spent[place])
        )
        rewards.append(gains[place])
        costs.append(spent[place])
        chosen.append(place)
    return Run(
        rewards=np.array(rewards),
        costs=np.array(costs),
        chosen=np.array(chosen),
        burnt_in=burnt_in,
    )


def additive(world: World, ceiling: float, order: Places, seed: int) -> Run:
    """Return what ParetoBandit's own form makes of an order, with the same features and prior.

    Its alpha, its forgetting, its pacer with the price that is cut off above a bound. What it does
    not have: its 8,374 training prompts, which are not published.
    """
    settings = Settings(alpha=0.01, gamma=0.997, share=0.0)
    bandit = replace(
        started(world, None, settings),
        pacer=Additive(ceiling=ceiling, weight=_settled(world, ceiling, settings)),
    )
    return _paced(world, bandit, order, seed)[0]


def _settled(world: World, ceiling: float, settings: Settings) -> float:
    """Return the weight at which the additive pacer ends on past prompts: it learns them first."""
    past = replace(
        world,
        x=world.past_x,
        rewards=world.past.scores,
        costs=world.past.costs,
        prices=world.past_prices,
    )
    bandit = replace(started(past, None, settings), pacer=Additive(ceiling=ceiling, weight=0.0))
    pacer = _paced(past, bandit, np.arange(len(past.x)), 0)[1].pacer
    return pacer.weight if pacer is not None else 0.0


def _paced(world: World, bandit: Bandit, order: Places, seed: int) -> tuple[Run, Bandit]:
    generator = np.random.default_rng(seed)
    listed = dict(zip(world.experts, world.listed.tolist(), strict=True))
    taken = []
    for row in order:
        bound = world.listed.max() / (1.0 + (bandit.pacer.weight if bandit.pacer else 0.0))
        eligible = [name for name in world.experts if listed[name] <= bound]
        choice = bandit.choose(
            world.x[row],
            listed,
            eligible or [world.experts[int(world.listed.argmin())]],
            may_explore=True,
            uniform=generator.random(),
        )
        place = world.experts.index(choice.expert)
        taken.append(place)
        reward, cost = world.rewards[row, place], world.costs[row, place]
        bandit = bandit.update(world.x[row], choice.expert, float(reward), float(cost))
    return fixed(world, order, np.array(taken)), bandit


def fixed(world: World, order: Places, chosen: Places) -> Run:
    """Return the run of choices that are given, one for each request of the order."""
    return Run(
        rewards=world.rewards[order, chosen], costs=world.costs[order, chosen], chosen=chosen
    )


def mapped(world: World, ceiling: float | None) -> Places:
    """Return the map's choices, shape (n,): its price weight is set on the past, and stays."""
    expected = values(world.cells.mean, world.memberships)
    if ceiling is None:
        return np.asarray(expected.argmax(axis=1))
    before = values(world.cells.mean, world.past.memberships)
    pacer = Pacer.started(ceiling, before, world.past_prices)
    known = world.prices[:, : len(world.known)]
    return np.asarray((expected - pacer.worth(1.0) * known).argmax(axis=1))
