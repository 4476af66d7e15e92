"""From who asks, and what is asked, to the experts that the request may not reach. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from coe.composition import Composition
from coe.composition.barring import Bar, Sites, barred_by, members, unlisted, with_derived
from coe.composition.hours import is_within
from coe.composition.policy_values import Group, Policies, Rule
from coe.errors import InvalidRequest
from coe.identity import FREE, Identity, Permit
from coe.policies.permits import KEY, OPT_OUT, POLICY
from coe.policies.wishes import TAG, group_of

_MOST_KNOWN = 1024
_NO_POLICIES = Policies()

Why = tuple[str, str]


class Asking(NamedTuple):
    """What rules look at.

    Attributes:
        identity: who asks.
        exclude: whom the client keeps out; None for nobody.
        data: the data class of the request, as far as it is known.
        found: by which detectors.
        category: None where it is not known, or there is none.
        now_s: seconds since the epoch.
    """

    identity: Identity
    exclude: Group | None = None
    data: str = ""
    found: tuple[str, ...] = ()
    category: str | None = None
    now_s: float = 0.0


class Rulebook:
    """The rules of one composition. Belongs to one event loop: it remembers what it worked out.

    Attributes:
        policies: of the composition.
        by_category: whether what rules take away depends on the category: they name it, or it has a
            data class that they look at.
    """

    def __init__(self, composition: Composition) -> None:
        """Work out whom each rule takes away; that depends on the composition alone."""
        self.policies = composition.policies or _NO_POLICIES
        self._sites: Sites = composition.sites
        self._levels = {name: level for level, name in enumerate(self.policies.classes)}
        self._rules = tuple((rule, barred_by(rule, self._sites)) for rule in self.policies.rules)
        self._known: dict[object, Permit] = {}
        own = (entry.data for entry in composition.categories.values())
        most = max((self._levels.get(data, 0) for data in own), default=0)
        self.by_category = any(
            rule.categories is not None or 0 < self._levels.get(rule.data or "", 0) <= most
            for rule in self.policies.rules
        )

    def sensitive(self, *classes: str) -> str:
        """Return the most sensitive of some data classes; empty where the file has none.

        One that the file does not know counts as the most sensitive of all: it was one of a file
        before it. Empty ones do not count.
        """
        if not self._levels:
            return ""
        most = len(self._levels) - 1
        level = max((self._levels.get(name, most) for name in classes if name), default=0)
        return self.policies.classes[level]

    def check_class(self, name: str) -> None:
        """See that a client names a data class that there is. Raises InvalidRequest."""
        if name not in self._levels:
            known = ", ".join(self._levels) or "none in this composition"
            raise InvalidRequest(
                f"no data class `{name:.60}`; there are: {known}", param="x-coe-data-class"
            )

    def check_group(self, group: Group) -> None:
        """See that a client keeps somebody out whom there is. Raises InvalidRequest.

        A name that is misspelt would keep nobody out, and the client would not know.
        """
        experts = {name: site for name, site in self._sites.items() if site.kind == "expert"}
        tags = {tag for site in experts.values() for tag in site.tags}
        strange = [f"expert `{name:.60}`" for name in sorted(group.experts) if name not in experts]
        strange += [f"`{TAG}{tag:.60}`" for tag in sorted(group.tags) if tag not in tags]
        if strange:
            raise InvalidRequest(f"x-coe-exclude: there is no {strange[0]}", param="x-coe-exclude")

    def permit(self, asking: Asking) -> Permit:
        """Return whom a request may reach."""
        holding = tuple(i for i, (rule, _) in enumerate(self._rules) if self._holds(rule, asking))
        identity = asking.identity
        lists = (identity.experts, identity.not_experts)
        key = (holding, lists, asking.exclude, asking.data, asking.found)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:  # clients may exclude in as many ways as they like
                self._known.clear()
            known = self._known[key] = self._permit(holding, asking)
        return known

    def _holds(self, rule: Rule, asking: Asking) -> bool:
        identity = asking.identity
        if rule.data is not None and self._levels.get(
            asking.data, len(self._levels)
        ) < self._levels.get(rule.data, 0):
            return False
        if rule.teams is not None and identity.team not in rule.teams:
            return False
        if rule.keys is not None and rule.keys.isdisjoint((identity.key, identity.name)):
            return False
        if rule.categories is not None and asking.category not in rule.categories:
            return False
        return rule.hours is None or is_within(rule.hours, asking.now_s)

    def _permit(self, holding: tuple[int, ...], asking: Asking) -> Permit:
        bars: dict[str, Why] = {}
        hard: set[str] = set()

        def add(code: str, found: Mapping[str, Bar]) -> None:
            for name, bar in found.items():
                bars.setdefault(name, (code, bar.words))
                if not bar.is_unlisted:
                    hard.add(name)

        costs = []
        for place in holding:
            rule, found = self._rules[place]
            add(POLICY, found)
            if rule.max_cost is not None:
                costs.append((rule.max_cost, rule.name))
        for found in self._of_key(asking.identity):
            add(KEY, found)
        if asking.exclude is not None:
            gone = Bar("x-coe-exclude keeps it out")
            add(OPT_OUT, self._derived(dict.fromkeys(members(asking.exclude, self._sites), gone)))
        if not (bars or costs or asking.data or asking.found):
            return FREE
        most, limited_by = min(costs, default=(None, ""))
        return Permit(
            barred=MappingProxyType(bars),
            unlisted=frozenset(bars.keys() - hard),
            data=asking.data,
            found=asking.found,
            max_cost=most,
            cost_rule=limited_by,
        )

    def _of_key(self, identity: Identity) -> list[dict[str, Bar]]:
        """Return whom the key's own lists take away."""
        found: list[dict[str, Bar]] = []
        if identity.experts is not None:
            listed = group_of(identity.experts)
            found.append(unlisted(listed, self._sites, "the key may not ask it"))
        if identity.not_experts:
            gone = members(group_of(identity.not_experts), self._sites)
            found.append(self._derived(dict.fromkeys(gone, Bar("the key may not ask it"))))
        return found

    def _derived(self, gone: Mapping[str, Bar]) -> dict[str, Bar]:
        return with_derived(gone, self._sites)
