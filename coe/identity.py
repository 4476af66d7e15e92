"""Who asks, and which experts may answer them. Values that a request carries; pure.

`coe.api` finds out who asks, once, before the body is read. What they may reach is worked out from
the policies before anything is ranked, and holds for everything that is made of the request:
candidates, panels, judges, shadows, caches, and what is learnt of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

from coe.value import value

Scope = Literal["data", "admin", "experiments", "metrics"]
SCOPES: tuple[Scope, ...] = ("data", "admin", "experiments", "metrics")
"""What a key may be for: to ask experts, to change what is served, to read and steer experiments,
to scrape. Each stands alone: none of them includes another."""

_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
LABEL = rf"[^\s{_CONTROL}](?:[^{_CONTROL}]{{0,98}}[^\s{_CONTROL}])?"
"""What a key or a team may be called: 1 to 100 characters in one line, without space around."""

AUTHORIZATION, API_KEY = b"authorization", b"x-api-key"


@value
class Identity:
    """Who asks.

    Attributes:
        tenant: whose data it is: sessions, files, decisions and caches of one are never another's.
            The key's id; where the gateway has no keys, a digest of the credentials that were
            sent, empty where none were.
        key: id of the key; empty where the gateway has no keys.
        name: what people call the key.
        team: that the key belongs to; empty for none.
        scopes: what the key is for.
        experts: who may be asked: names of experts, and tags as `tag:NAME`; None: all.
        not_experts: who may not be, likewise, though `experts` has them.
        limits: of the key's own, as text: `60 requests/min`, `100k tokens/min`, `5 USD/day`.
        keeps_text: whether its prompts may be kept in words, where the composition keeps any.
    """

    tenant: str = ""
    key: str = ""
    name: str = ""
    team: str = ""
    scopes: frozenset[Scope] = frozenset(SCOPES)
    experts: tuple[str, ...] | None = None
    not_experts: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    keeps_text: bool = True

    @property
    def owners(self) -> tuple[str, ...]:
        """The tenants whose files and batches are this one's to see.

        Where the gateway has no keys these are also what nobody in particular left there.
        """
        return (self.tenant,) if self.key else (self.tenant, "")


ANONYMOUS = Identity()
"""Somebody without credentials, of a gateway without keys: they may do everything."""

GATEWAY = Identity(name="gateway")
"""The gateway itself, for what it asks and nobody asked for: known by identity, not by value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Which experts a request may reach, decided before anything is ranked.

    Attributes:
        barred: the first rule against each expert that it may not reach, and the rule's words, by
            the expert's name; and against encoders, by `encoder NAME`.
        unlisted: of them, those that are only not on a list of who is allowed: a program that is
            on it may stand on them.
        data: the data class of what it says; empty where there are no classes.
        found: names of the detectors that found something, for explanations; never what they found.
        max_cost: most money that it may cost; None for any.
        cost_rule: the rule that says so.
        is_thrifty: whether the cheapest expert that is good enough answers, whatever was asked for:
            a budget is at its limit.
    """

    barred: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    unlisted: frozenset[str] = frozenset()
    data: str = ""
    found: tuple[str, ...] = ()
    max_cost: float | None = None
    cost_rule: str = ""
    is_thrifty: bool = False


FREE = Permit()
"""Nobody is barred."""


def credentials(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return what a client shows who it is by, as a value of `authorization`; empty for nothing.

    A key is the same key as a bearer token of `authorization` and alone in `x-api-key`, which is
    where Anthropic's clients put it; the former goes first.

    Args:
        headers: as ASGI has them, names in lower case.
    """
    key = b""
    for name, shown in headers:
        if name == AUTHORIZATION:
            return shown
        if name == API_KEY:
            key = shown
    return b"Bearer " + key if key else b""


def tenant_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return a digest of the client's credentials; empty where it has none."""
    shown = credentials(headers)
    return blake2b(shown, digest_size=8).hexdigest() if shown else ""
