"""The policies of a composition as the gateway works with them: frozen, and names in it exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from coe.composition.trust import Trust

Detector = Literal["secrets", "email", "card", "phone", "iban", "pii"]
PERSONAL: tuple[Detector, ...] = ("email", "phone", "card", "iban")
"""What `pii` stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some experts: by name, or by a tag that they have."""

    experts: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """A part of each day, from one minute of it to another; it may go over midnight.

    Attributes:
        begin: minute of the day at which it begins.
        end: minute at which it has ended.
        zone: whose clock, as the tz database names it.
    """

    begin: int
    end: int
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds of requests that fulfil its conditions; None is a condition that all fulfil.

    Attributes:
        data: least data class of the request.
        teams, keys, categories: of which it must be one.
        hours: when it holds.
        trust: how far away the experts may be that answer; None for any.
        allow: who may answer; None for all.
        deny: who may not.
        max_cost: most money that the request may cost; None for any.
    """

    name: str
    data: str | None = None
    teams: frozenset[str] | None = None
    keys: frozenset[str] | None = None
    categories: frozenset[str] | None = None
    hours: Hours | None = None
    trust: frozenset[Trust] | None = None
    allow: Group | None = None
    deny: Group | None = None
    max_cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMay:
    """What clients may ask for.

    Attributes:
        exclude: keep experts out of a request.
        choose_expert: name the expert that answers.
        opt_out_experiment: stay out of experiments.
    """

    exclude: bool = True
    choose_expert: bool = True
    opt_out_experiment: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """Who may be sent what.

    Attributes:
        classes: of data, the least sensitive first; what nothing else is said of is of that one.
        detect: the class of what a detector finds.
        countries: whose phone numbers are found as people write them there, too.
        rules: in the order of the file.
    """

    classes: tuple[str, ...] = ()
    detect: Mapping[Detector, str] = field(default_factory=lambda: MappingProxyType({}))
    countries: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    client_may: ClientMay = field(default_factory=ClientMay)
