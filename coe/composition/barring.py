"""Whom a rule of the policies takes away, of a file and of the composition alike. Pure.

What an expert stands on is part of it: an adapter is of its base, a program of the expert under it
and of the encoder that finds its examples. Where those may not be sent a prompt, it may not be,
either. A list of who is allowed is of names: whoever is on it may be asked, and what is under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from coe.composition.policy_values import Group, Rule
from coe.composition.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An expert, or an encoder, as rules see it.

    Attributes:
        kind: `expert` or `encoder`; rules about names and tags are about experts.
        tags: its own.
        trust: how far away it runs.
        under: names of what it stands on.
    """

    kind: str = "expert"
    tags: frozenset[str] = frozenset()
    trust: Trust = "local"
    under: tuple[str, ...] = ()


Sites = Mapping[str, Site]
"""By name; encoders by `encoder_key`."""


class Bar(NamedTuple):
    """Why an expert may not be asked.

    Attributes:
        words: for people.
        is_unlisted: whether that is only because it is on no list of who is allowed.
    """

    words: str
    is_unlisted: bool = False


def encoder_key(name: str) -> str:
    """Return what an encoder is called among sites: no expert's name has a space."""
    return f"encoder {name}"


def barred_by(rule: Rule, sites: Sites) -> dict[str, Bar]:
    """Return who may not be asked where a rule holds, and why."""
    found: dict[str, Bar] = {}
    if rule.allow is not None:
        found.update(unlisted(rule.allow, sites, "it is not among those that are allowed"))
    gone: dict[str, Bar] = {}
    if rule.trust is not None:
        gone.update(_too_far(rule.trust, sites))
    if rule.deny is not None:
        gone.update({name: Bar("it is denied") for name in members(rule.deny, sites)})
    found.update(with_derived(gone, sites))
    return {name: Bar(f"rule `{rule.name}`: {bar.words}", *bar[1:]) for name, bar in found.items()}


def members(group: Group, sites: Sites) -> list[str]:
    """Return the experts of a group."""
    return [
        name
        for name, site in sites.items()
        if site.kind == "expert" and (name in group.experts or not group.tags.isdisjoint(site.tags))
    ]


def unlisted(group: Group, sites: Sites, words: str) -> dict[str, Bar]:
    """Return the experts that are not in a group of those that are allowed."""
    listed = set(members(group, sites))
    bar = Bar(words, is_unlisted=True)
    return {name: bar for name, s in sites.items() if s.kind == "expert" and name not in listed}


def with_derived(gone: Mapping[str, Bar], sites: Sites) -> dict[str, Bar]:
    """Return those that are gone, and all that stands on one of them."""
    found = dict(gone)
    for name in sites:
        if name not in found and (root := _gone_under(name, gone, sites)) is not None:
            found[name] = Bar(f"it stands on {_called(root)}: {gone[root].words}")
    return found


def _gone_under(name: str, gone: Mapping[str, Bar], sites: Sites) -> str | None:
    seen: set[str] = set()
    pending = list(sites[name].under)
    while pending:
        under = pending.pop()
        if under in gone:
            return under
        if under in sites and under not in seen:
            seen.add(under)
            pending += sites[under].under
    return None


def _too_far(allowed: frozenset[Trust], sites: Sites) -> dict[str, Bar]:
    wanted = " or ".join(sorted(allowed))
    return {
        name: Bar(f"it runs where trust is {site.trust}, not {wanted}")
        for name, site in sites.items()
        if site.trust not in allowed
    }


def _called(name: str) -> str:
    kind, _, encoder = name.partition(" ")
    return f"the encoder `{encoder}`" if encoder else f"`{kind}`"
