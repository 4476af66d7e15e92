"""What was learnt from answers, at work: it ranks the experts of the fitted map, and goes on.

    decision -> the map's ranking -> the bandit's choice among those that may answer -> plan
    what an answer cost, and what is said of it -> the bandit -> now and then a snapshot

Only `learning: adapt` changes who answers; with `propose` the map's ranking stands, and what was
learnt can be looked at. What is learnt is of the features by which it was decided, which the
decision log keeps, so that feedback may come days later.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coe.composition import Learning
from coe.errors import ConfigError
from coe.policies.permits import BARRING
from coe.types import Choice, Decision, Dial, Prospect

if TYPE_CHECKING:  # numpy is loaded by who learns, and by nobody else
    from coe.learning import Bandit, Pacer
    from coe.learning.snapshot import Snapshots
    from coe.mapping.choose import Chooser
    from coe.mapping.fitted import FittedMap
    from coe.stores.decisions import Feedback, Record

logger = logging.getLogger(__name__)

FOLDER = "learning"
EVERY = 100
"""Answers that were judged between two snapshots."""


class Learner:
    """What was learnt with one fitted map. Belongs to one event loop.

    Attributes:
        mode: `propose` or `adapt`.
        bandit: all that was learnt, as a value.
        heard: rewards that it learnt from since the start.
    """

    def __init__(
        self,
        bandit: Bandit,
        features: tuple[str, ...],
        mode: str,
        snapshots: Snapshots | None,
        *,
        uniform: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Store the parts; see `learner_of`."""
        self.bandit = bandit
        self.features = features
        self.mode = mode
        self.heard = 0
        self.uniform = uniform
        self._snapshots = snapshots
        self._clock = clock
        self._written = 0

    def follow(self, before: Learner) -> None:
        """Go on from what another one has learnt by now, of the experts that are known to both.

        Nothing of it is lost: neither what it heard while this one was made ready, nor that some of
        it is in no snapshot yet. One that learnt on other features is of no use.
        """
        if before is self or before.features != self.features:
            return
        self.bandit = _joined(before.bandit, self.bandit)
        self.heard, self._written = before.heard, before._written

    def asked(self, expert: str, cost: float | None) -> None:
        """Take note of an answer: who gave it, and what it cost."""
        if expert in self.bandit.beliefs:
            self.bandit = self.bandit.asked(expert, cost)

    def learn(self, features: tuple[float, ...], rewards: Mapping[str, float]) -> None:
        """Learn what experts' answers to one prompt were worth.

        Args:
            features: by which it was decided, as they were logged.
            rewards: in [0, 1], by expert; those of others are left out.
        """
        import numpy as np

        known = {name: value for name, value in rewards.items() if name in self.bandit.beliefs}
        if not known or len(features) != len(self.features):
            return
        self.bandit = self.bandit.learnt(np.array(features), known)
        self.heard += len(known)
        if self.heard - self._written >= EVERY:
            self.save("so many answers were judged")

    def save(self, why: str) -> None:
        """Write a snapshot, where there is something new and somewhere to write it."""
        if self._snapshots is None or self.heard == self._written:
            return
        from coe.learning.snapshot import Snapshot

        about = {"at": self._clock(), "why": why, "heard": self.heard}
        try:
            self._snapshots.write(Snapshot(bandit=self.bandit, features=self.features, about=about))
        except ConfigError as error:
            logger.error("what was learnt is not written: %s", error.message)  # noqa: TRY400
        self._written = self.heard


def rewards_of(record: Record, feedback: Feedback) -> dict[str, float]:
    """Return what feedback says of experts' answers: of one, or of all that were compared.

    Where a panel voted, what is said of the answer is said of all who gave it; and if it was right,
    whoever gave another was wrong. Whom the request was not to reach is told nothing of it.
    """
    barred = {r["expert"] for r in record.detail.get("excluded", ()) if r["rule"] in BARRING}
    found = {name: value for name, value in feedback.correct.items() if name not in barred}
    if feedback.value is None or record.expert is None:
        return found
    told = record.detail.get("provenance") or {}
    if told.get("method") == "vote":
        found = {**_of_votes(told, record.expert, feedback.value), **found}
    return {record.expert: feedback.value, **found}


def _of_votes(told: Mapping[str, Any], expert: str, value: float) -> dict[str, float]:
    groups = [set(row["experts"]) for row in told.get("conflicts", ())]
    if not groups:
        drafts = (call for call in told.get("calls", ()) if call.get("role") == "draft")
        return {call["expert"]: value for call in drafts if call["status"] in {"answer", "used"}}
    agreed = set().union(*(group for group in groups if expert in group))
    found = dict.fromkeys(sorted(agreed), value)
    if value == 1.0:
        others = set().union(*groups) - agreed
        found |= dict.fromkeys(sorted(others), 0.0)
    return found


class LearnedChooser:
    """Ranks experts by what was learnt, on top of a fitted map's ranking; see `Chooser`."""

    def __init__(self, chooser: Chooser, learner: Learner) -> None:
        """Store the parts."""
        self._chooser = chooser
        self._learner = learner
        self.experts = chooser.experts
        self.best_single = chooser.best_single

    def choose(self, decision: Decision, dial: Dial, barred: Collection[str] = ()) -> Choice:
        """Return the map's choice with the experts in the order of what was learnt."""
        chosen = self._chooser.choose(decision, dial, barred)
        memberships = self._chooser.memberships(decision)
        if chosen.choose != "fitted" or memberships is None:
            return chosen
        from coe.learning.prior import features

        x = features(memberships)
        logged = tuple(round(float(value), 4) for value in x)
        chosen = replace(chosen, features=logged)
        learner = self._learner
        beliefs = learner.bandit.beliefs
        candidates = [
            row for row in chosen.prospects if row.expert not in barred and row.expert in beliefs
        ]
        if learner.mode != "adapt" or not candidates:
            return chosen
        prices = {row.expert: row.cost or 0.0 for row in candidates}
        session = decision.session
        held = session is not None and (session.is_same_turn or session.kept == "always")
        found = _priced(learner.bandit, dial, chosen).choose(
            x,
            prices,
            [row.expert for row in candidates],
            may_explore=not held,
            uniform=learner.uniform(),
        )
        return replace(
            chosen,
            prospects=_ordered(chosen.prospects, found.expert, found.expected),
            chances={name: chance for name, chance in found.propensities.items() if chance > 0},
            detail=f"learnt: {found.why}",
        )


def learner_of(
    fitted: FittedMap, learning: Learning, folder: Path | None, before: Learner | None = None
) -> Learner:
    """Return the learner of a map: the one before, the last snapshot, or the map as it is.

    Args:
        fitted: the map that was applied.
        learning: how it is to learn.
        folder: where snapshots are kept; None: nowhere.
        before: of the gateway before; taken over where it learns on the same features.

    Raises:
        ConfigError: the snapshots are damaged.
    """
    from coe.learning import Pacer, Settings
    from coe.learning.prior import from_map
    from coe.learning.snapshot import Snapshots

    names = ("1", *fitted.categories)
    settings = Settings(share=learning.explore)
    pacer = Pacer(ceiling=learning.budget) if learning.budget is not None else None
    fresh = from_map(fitted, answers=float(learning.answers), settings=settings, pacer=pacer)
    snapshots = Snapshots(folder / FOLDER) if folder is not None else None
    learner = Learner(fresh, names, learning.mode, snapshots)
    if before is not None and before.features == names:
        learner.follow(before)
    elif snapshots is not None and (last := snapshots.read()) and last.features == names:
        learner.bandit = _joined(last.bandit, fresh)
    return learner


def _joined(known: Bandit, fresh: Bandit) -> Bandit:
    """Return what is known of the experts of a new bandit, with its settings and its budget."""
    for name in known.beliefs:
        if name not in fresh.beliefs:
            known = known.left(name)
    for name, belief in fresh.beliefs.items():
        if name not in known.beliefs:
            known = known.joined(name, belief)
    pacer = _paced(known.pacer, fresh.pacer)
    return replace(known, settings=fresh.settings, pacer=pacer)


def _priced(bandit: Bandit, dial: Dial, chosen: Choice) -> Bandit:
    """Return the bandit that weighs money as the request does, else by the budget or the map."""
    if bandit.pacer is not None and dial.price_weight is None:
        return bandit
    from coe.learning import Pacer

    if not chosen.price_weight:
        return replace(bandit, pacer=None)
    return replace(bandit, pacer=Pacer(ceiling=1.0, weight=chosen.price_weight))


def _paced(old: Pacer | None, new: Pacer | None) -> Pacer | None:
    """Return the pacer as it stands, unless the budget is another one now."""
    is_same = old is not None and new is not None and old.ceiling == new.ceiling
    return old if is_same else new


def _ordered(
    prospects: tuple[Prospect, ...], first: str, expected: Mapping[str, float]
) -> tuple[Prospect, ...]:
    """Return prospects with one of them first, and the others by what is expected of them."""
    rows = [
        row._replace(quality=min(1.0, max(0.0, expected[row.expert])))
        if row.expert in expected
        else row
        for row in prospects
    ]
    rows.sort(key=lambda row: (row.expert != first, row.expert not in expected, -row.quality))
    return tuple(rows)
