"""Checked keys of policies to values."""

from __future__ import annotations

from types import MappingProxyType

from coe.composition.policy_keys import GroupKeys, PolicyKeys, RuleKeys
from coe.composition.policy_values import ClientMay, Group, Policies, Rule


def policies_of(keys: PolicyKeys | None) -> Policies | None:
    """Return the policies; None where the file has none."""
    if keys is None:
        return None
    return Policies(
        classes=tuple(keys.data_classes),
        detect=MappingProxyType(dict(keys.detect)),
        countries=tuple(keys.phone_countries),
        rules=tuple(rule_of(rule) for rule in keys.rules),
        client_may=ClientMay(
            exclude=keys.client_may.exclude,
            choose_expert=keys.client_may.choose_expert,
            opt_out_experiment=keys.client_may.opt_out_experiment,
        ),
    )


def rule_of(keys: RuleKeys) -> Rule:
    """Return a rule."""
    condition = keys.condition
    return Rule(
        name=keys.name,
        data=condition.data,
        teams=_several(condition.team),
        keys=_several(condition.key),
        categories=_several(condition.category),
        hours=condition.hours,
        trust=None if keys.require is None else frozenset(keys.require.trust),
        allow=_group(keys.allow),
        deny=_group(keys.deny),
        max_cost=None if keys.max_cost is None else keys.max_cost[0],
    )


def _several(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _group(keys: GroupKeys | None) -> Group | None:
    if keys is None:
        return None
    return Group(experts=frozenset(keys.experts), tags=frozenset(keys.tags))
