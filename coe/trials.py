"""Which arms a request is in. Assigning is pure; what an arm stands for is whatever is given.

who takes part   the audience, less requests that name an expert, or that opted out
what is dealt    the unit: the request, its conversation, its user, its key or its team
which arm        a hash of both (`coe.experiments.assign`): nothing is stored
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from coe import conversation
from coe.composition import Composition, Experiment
from coe.composition.values import Arms
from coe.experiments.assign import PLACES, Split, arm_of, place_of, split
from coe.policies.wishes import EXPERIMENT
from coe.types import Query

G = TypeVar("G")

_USERS = ("user", "safety_identifier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A running split experiment, ready to deal."""

    experiment: Experiment
    split: Split

    @property
    def needs_category(self) -> bool:
        """Whether its audience is known only once the file's own router has decided."""
        one = self.experiment
        return one.categories is not None or bool(one.categories_not)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials(Generic[G]):
    """The running splits of a composition, and what serves each of their arms.

    Attributes:
        composition: that they are of.
        trials: in the order of the file.
        variants: what serves requests in these arms; arms that change nothing are in no key.
    """

    composition: Composition
    trials: tuple[Trial, ...]
    variants: Mapping[Arms, G]

    @property
    def needs_category(self) -> bool:
        """Whether the category is to be known before arms are dealt."""
        return any(trial.needs_category for trial in self.trials)

    def dealt(self, query: Query, category: str | None = None) -> dict[str, str]:
        """Return the arm of each experiment that a request takes part in.

        Args:
            query: one that names no expert.
            category: as the file's own router decided; asked for where `needs_category`.
        """
        if opted_out(query):
            return {}
        arms: dict[str, str] = {}
        units: dict[str, str] = {}
        for trial in self.trials:
            one = trial.experiment
            if not takes_part(one, query, category):
                continue
            if one.unit not in units:
                units[one.unit] = unit_of(self.composition, query, one.unit)
            arm = arm_of(trial.split, units[one.unit]) if units[one.unit] else None
            if arm is not None:
                arms[one.name] = arm
        return arms

    def served_by(self, arms: Mapping[str, str], own: G) -> G:
        """Return what serves a request in these arms; `own` where they change nothing."""
        key = tuple(
            (trial.experiment.name, arm)
            for trial in self.trials
            if (arm := arms.get(trial.experiment.name)) is not None and _changes(trial, arm)
        )
        return self.variants[key] if key else own


def unit_of(composition: Composition, query: Query, unit: str) -> str:
    """Return what an arm is dealt to; empty where a request has none.

    Args:
        composition: how conversations are told apart.
        query: the request.
        unit: `request`, `session`, `user`, `key` or `team`.
    """
    if unit == "request":
        return query.id
    if unit == "key":
        return query.identity.tenant
    if unit == "team":
        return query.identity.team
    if unit == "user":
        named = (query.body.get(field) for field in _USERS)
        return next((name for name in named if isinstance(name, str) and name), "")
    return _conversation(composition, query)


def trials_of(composition: Composition, build: Callable[[Composition], G]) -> Trials[G] | None:
    """Return the running splits of a composition; None where there are none.

    Args:
        composition: with its variants.
        build: makes what serves a variant.
    """
    running = [one for one in composition.experiments.values() if one.is_split]
    if not running:
        return None
    names = {one.name for one in running}
    return Trials(
        composition=composition,
        trials=tuple(
            Trial(experiment=one, split=split(one.salt, {arm.name: arm.share for arm in one.arms}))
            for one in running
        ),
        variants={
            arms: build(variant)
            for arms, variant in composition.variants.items()
            if names.issuperset(name for name, _ in arms)
        },
    )


def arms_of(composition: Composition, query: Query) -> dict[str, str]:
    """Return the arms of a request that was never answered, as they are dealt on the path.

    Of an audience of categories nothing is known then, so that it has none.
    """
    if query.model in composition.experts:
        return {}
    trials = trials_of(composition, lambda _: None)
    return {} if trials is None or trials.needs_category else trials.dealt(query)


def takes_part(one: Experiment, query: Query, category: str | None) -> bool:
    """Whether a request is of an experiment's audience."""
    if one.models is not None and query.model not in one.models:
        return False
    team = query.identity.team
    if (one.teams is not None and team not in one.teams) or team in one.teams_not:
        return False
    if one.categories is not None and category not in one.categories:
        return False
    return category not in one.categories_not


def opted_out(query: Query) -> bool:
    """Whether a request is to be kept out of all experiments."""
    return any(name == EXPERIMENT and value.strip() == b"off" for name, value in query.headers)


def sampled(one: Experiment, query: Query) -> bool:
    """Whether a shadow experiment takes a request into its sample."""
    return place_of(one.salt.encode(), query.id) < one.sample * PLACES


def _changes(trial: Trial, arm: str) -> bool:
    return any(one.name == arm and one.changes for one in trial.experiment.arms)


def _conversation(composition: Composition, query: Query) -> str:
    """Return a digest that all turns of a conversation share; the id of a request without one."""
    messages: Any = query.body.get("messages")
    if not isinstance(messages, list):
        return query.id
    context, rules = composition.routing.context, composition.routing.sessions
    window = conversation.read(messages, context)
    key = conversation.session_key(
        window,
        rules.key,
        headers=query.headers,
        body=query.body,
        context=context,
        tenant=query.identity.tenant,
    )
    return query.id if key is None else key.owner.hex()
