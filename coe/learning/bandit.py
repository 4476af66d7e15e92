"""A contextual bandit over the experts of a map: what each is worth here, learnt from answers.

The state is a value. Choosing reads it; learning returns another one, which shares all beliefs but
those that changed. A request that is being decided never sees half an update, and to go back is to
keep the old one. With 4 experts and 11 features a choice takes some 40 us, and so does an update.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from coe.learning import explore
from coe.learning.belief import MOST_STALE, Belief, Settings
from coe.learning.pacer import Pacer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Why = Literal["best", "explored", "new"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who answers, and what the log needs to judge other policies later.

    Attributes:
        propensities: the probability of each candidate, as it was drawn from; sums to 1.
        expected: the quality that was expected of each candidate.
        why: the policy's own choice, exploration, or the burn-in of a new expert.
    """

    expert: str
    propensities: Mapping[str, float]
    expected: Mapping[str, float]
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandit:
    """All that was learnt, as a value.

    Attributes:
        beliefs: by expert; all of the same number of features.
        pacer: None where money is no object.
        clock: requests so far.
    """

    settings: Settings = field(default_factory=Settings)
    beliefs: Mapping[str, Belief]
    pacer: Pacer | None = None
    clock: int = 0

    @property
    def features(self) -> int:
        """How many features a prompt has; 0 where there is no expert."""
        return next((len(known.theta) for known in self.beliefs.values()), 0)

    def choose(
        self,
        x: Floats,
        prices: Mapping[str, float],
        candidates: Sequence[str],
        *,
        may_explore: bool,
        uniform: float,
    ) -> Choice:
        """Return who answers a prompt. Pure: the same arguments give the same choice.

        Without a budget the best is the one with the highest theta.x + alpha sqrt(x' A^-1 x), and
        with one the same less what its price is worth to the pacer. Doubt counts for those only
        whose mean, theta.x, is within `margin` of the best; and the random exploration is shared by
        those whose lower bound, theta.x - alpha sqrt(x' A^-1 x), is. A new expert gets the pulls
        that it is owed first, each with probability min(1, ceiling / price)^2: what costs no more
        than a request may at once, and the burn-in of a dear one takes a falling share of the
        budget. Where exploring is not allowed (tool loops, sessions that keep their expert) the
        highest mean answers, surely.

        Args:
            x: shape (d,), features of the prompt.
            prices: money that an answer is expected to cost, by expert; read under a budget only.
            candidates: at least one, all of whom have joined.
            may_explore: whether doubt, exploration and burn-in count.
            uniform: a number drawn from [0, 1).

        Raises:
            ValueError: there is no candidate, one has not joined or has no price under a budget, or
                x has another number of features.
        """
        known = self._beliefs(x, candidates)
        mean = np.array([belief.theta @ x for belief in known])
        cost = self._worth(prices, candidates)
        if not may_explore:
            base = explore.certain(len(known), int((mean - cost).argmax()))
            return self._choice(candidates, mean, base, base, uniform)
        variance = np.array([x @ belief.inverse @ x for belief in known])
        width = self.settings.alpha * np.sqrt(variance)
        safe = explore.safe(mean, width, self.settings.margin)
        is_near = mean >= mean.max() - self.settings.margin
        doubt = np.where(is_near, width * np.sqrt(self._inflation(known)), 0.0)
        base = self._base(mean - cost, doubt)
        affordable = self._affordable(prices, candidates)
        found = explore.mixed(base, safe, affordable, self.settings.share)
        new = next((i for i, belief in enumerate(known) if belief.owed), None)
        if new is not None:
            found = explore.forced(found, new, float(affordable[new]) ** 2)
        return self._choice(candidates, mean, base, found, uniform)

    def asked(self, expert: str, cost: float | None) -> Bandit:
        """Return the bandit one request later, in which an expert was asked at a cost.

        Args:
            expert: who was asked.
            cost: money; None where nobody knows, and the pacer learns nothing.

        Raises:
            ValueError: nobody has that name, or the cost is negative or no number.
        """
        clock = self.clock + 1
        known = self._belief(expert)
        moved = replace(known, asked_at=clock, owed=max(known.owed - 1, 0))
        pacer = self.pacer
        if pacer is not None and cost is not None:
            pacer = pacer.paid(cost)
        return replace(self, clock=clock, pacer=pacer, beliefs={**self.beliefs, expert: moved})

    def learnt(self, x: Floats, rewards: Mapping[str, float]) -> Bandit:
        """Return the bandit with what experts' answers to one prompt were worth.

        One reward for the expert that answered, several where a panel or a shadow answered, too.
        No time passes: rewards may come late and in bursts, and age none of each other.

        Args:
            x: shape (d,), the features by which it was decided.
            rewards: in [0, 1], by expert.

        Raises:
            ValueError: nobody has that name, a reward is not in [0, 1], or x has another number of
                features.
        """
        beliefs = dict(self.beliefs)
        for (name, reward), known in zip(rewards.items(), self._beliefs(x, rewards), strict=True):
            if not 0.0 <= reward <= 1.0:
                raise ValueError(f"the reward of `{name}` is {reward}, it must be in 0 to 1")
            beliefs[name] = known.learnt(x, reward, self.clock, self.settings)
        return replace(self, beliefs=beliefs)

    def update(self, x: Floats, expert: str, reward: float, cost: float | None = None) -> Bandit:
        """Return the bandit after a request that was answered and judged at once."""
        return self.asked(expert, cost).learnt(x, {expert: reward})

    def joined(self, name: str, belief: Belief | None = None) -> Bandit:
        """Return the bandit with one more expert; one of the same name is replaced.

        Without a belief of its own the expert is new: it is expected to be as good as the others
        are on average, as surely as `ridge` answers make it, and it is owed its burn-in.

        Raises:
            ValueError: there is no other expert to learn from, or the belief has other features.
        """
        others = [known for key, known in self.beliefs.items() if key != name]
        if belief is None:
            if not others:
                raise ValueError(f"`{name}` is the first expert: give it a belief of its own")
            anchor = np.mean([known.theta for known in others], axis=0)
            belief = replace(
                Belief.of(self.settings.ridge * np.eye(len(anchor)), anchor),
                seen_at=self.clock,
                asked_at=self.clock,
                owed=self.settings.burn_in,
            )
        if others and len(belief.theta) != len(others[0].theta):
            raise ValueError(
                f"`{name}` has {len(belief.theta)} features, the others have {len(others[0].theta)}"
            )
        return replace(self, beliefs={**self.beliefs, name: belief})

    def left(self, name: str) -> Bandit:
        """Return the bandit without an expert; nothing changes where it was not there."""
        return replace(
            self, beliefs={key: known for key, known in self.beliefs.items() if key != name}
        )

    def _beliefs(self, x: Floats, names: Sequence[str] | Mapping[str, float]) -> list[Belief]:
        if not names:
            raise ValueError("there is no expert to choose from")
        if x.shape != (self.features,) and self.beliefs:
            raise ValueError(f"a prompt has {self.features} features here, not {x.shape}")
        return [self._belief(name) for name in names]

    def _belief(self, name: str) -> Belief:
        found = self.beliefs.get(name)
        if found is None:
            known = ", ".join(f"`{key}`" for key in self.beliefs)
            raise ValueError(f"`{name}` has not joined; there are {known or 'none'}")
        return found

    def _worth(self, prices: Mapping[str, float], candidates: Sequence[str]) -> Floats:
        """Return the quality that each candidate's price is worth."""
        if self.pacer is None:
            return np.zeros(len(candidates))
        unknown = [name for name in candidates if not math.isfinite(prices.get(name, math.nan))]
        if unknown:
            raise ValueError(f"`{unknown[0]}` has no price, and there is a budget to keep")
        return np.array([self.pacer.worth(prices[name]) for name in candidates])

    def _affordable(self, prices: Mapping[str, float], candidates: Sequence[str]) -> Floats:
        if self.pacer is None:
            return np.ones(len(candidates))
        return np.array([self.pacer.affordable(prices[name]) for name in candidates])

    def _inflation(self, known: Sequence[Belief]) -> Floats:
        """Return by how much doubt has grown (of the variance) since each was last heard of."""
        stale = [min(self.clock - max(a.seen_at, a.asked_at), MOST_STALE) for a in known]
        kept: Floats = self.settings.gamma ** np.array(stale, dtype=np.float64)
        return np.minimum(1.0 / kept, self.settings.inflation)

    def _base(self, worth: Floats, doubt: Floats) -> Floats:
        if self.settings.method == "thompson":
            return explore.best_probabilities(worth, doubt)
        return explore.certain(len(worth), int((worth + doubt).argmax()))

    def _choice(
        self,
        candidates: Sequence[str],
        mean: Floats,
        base: Floats,
        found: Floats,
        uniform: float,
    ) -> Choice:
        place = explore.draw(found, uniform)
        name = candidates[place]
        why: Why = "best" if base[place] > 0 else "explored"
        if found is not base and self.beliefs[name].owed:
            why = "new"
        return Choice(
            expert=name,
            propensities=dict(zip(candidates, found.tolist(), strict=True)),
            expected=dict(zip(candidates, mean.tolist(), strict=True)),
            why=why,
        )
