"""Whom a limit holds for, and which accounts a request is counted on. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from coe.errors import ConfigError
from coe.identity import GATEWAY, LABEL, Identity
from coe.limits.rules import Rule, read

Kind = Literal["all", "team", "key"]
AtLimit = Literal["refuse", "cheapest_good"]
Unpriced = Literal["free", "refuse"]

KINDS: tuple[Kind, ...] = ("all", "team", "key")
SCOPE_PATTERN = rf"^(all|team|key|(team|key):{LABEL})$"
_NAME = re.compile(LABEL)


class Scope(NamedTuple):
    """Whom a limit holds for.

    Attributes:
        kind: everybody together, a team, or a key.
        name: of the one; empty for `all`, and for each one on its own.
    """

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        """Write it as the file does."""
        return f"{self.kind}:{self.name}" if self.name else self.kind


def scope_of(text: object) -> Scope:
    """Return what `all`, `team`, `team:NAME`, `key` or `key:NAME` means.

    A name is whatever a key or a team can be called; see `coe.identity.LABEL`.

    Example:
        >>> scope_of("team:research")
        Scope(kind='team', name='research')

    Raises:
        ConfigError: it is none of them.
    """
    if isinstance(text, str):
        kind, colon, name = text.strip().partition(":")
        is_name = _NAME.fullmatch(name) is not None
        for known in KINDS:
            if kind == known and (is_name and known != "all" if colon else True):
                return Scope(known, name)
    raise ConfigError(
        f"`{text!s:.60}` is no scope; write `all`, `team` or `key` (each one on its own),"
        " `team:NAME` or `key:NAME`"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So much for somebody, as the composition says it.

    Attributes:
        at_limit: of money: whether the cheapest expert that is good enough is asked where the one
            that was chosen is too dear, before the request is refused.
        unpriced: of money: whether experts without a price cost nothing, or may not be asked. Those
            with a price in another currency may not be.
    """

    scope: Scope
    rule: Rule
    at_limit: AtLimit = "refuse"
    unpriced: Unpriced = "free"


class Account(NamedTuple):
    """What is counted of somebody, and how far it may go.

    Attributes:
        key: names the counter, in every store.
        kind: of the scope.
        who: for messages: `key ci`, `team research`, `everybody`.
        rule: the strictest of those on this counter.
        at_limit, unpriced: see `Limit`.
    """

    key: str
    kind: Kind
    who: str
    rule: Rule
    at_limit: AtLimit = "refuse"
    unpriced: Unpriced = "free"


def accounts_of(limits: Iterable[Limit], identity: Identity) -> tuple[Account, ...]:
    """Return the accounts that a request of somebody is counted on, those of `all` first.

    Every limit that fits holds. Of two on one counter the lower one does.

    Args:
        limits: of the composition.
        identity: who asks. What the gateway asks by itself counts for everybody alone.

    Raises:
        ConfigError: one of the identity's own limits cannot be read.
    """
    found: dict[str, Account] = {}
    for limit in (*limits, *_own(identity)):
        account = _account(limit, identity)
        if account is None:
            continue
        before = found.get(account.key)
        if before is None or account.rule.most < before.rule.most:
            found[account.key] = account
    return tuple(sorted(found.values(), key=lambda one: KINDS.index(one.kind)))


def _own(identity: Identity) -> Iterator[Limit]:
    for text in identity.limits:
        yield Limit(scope=Scope("key"), rule=read(text))


def _account(limit: Limit, identity: Identity) -> Account | None:
    scope, rule = limit.scope, limit.rule
    if scope.kind == "all":
        base, who = "all", "everybody"
    elif identity is GATEWAY:
        return None
    elif scope.kind == "team":
        if not identity.team or scope.name not in {"", identity.team}:
            return None
        base, who = f"team:{identity.team}", f"team {identity.team}"
    else:
        one = identity.key or identity.tenant
        if scope.name and scope.name not in {identity.name, one}:
            return None
        base, who = f"key:{one}", f"key {identity.name or one or '(none)'}"
    key = f"{base}/{rule.what}/{rule.period or 'now'}"
    key = f"{key}/{rule.currency}" if rule.currency else key
    return Account(key, scope.kind, who, rule, limit.at_limit, limit.unpriced)
