"""What is counted of somebody, sorted by when it is counted."""

from __future__ import annotations

from typing import NamedTuple

from coe.limits.rules import What
from coe.limits.scopes import Account
from coe.limits.tally import Entry


class Accounts(NamedTuple):
    """What is counted of somebody.

    Attributes:
        requests: of each request, with what it counts for: itself, and one that is under way.
        tokens, money: of each call.
        shown: what headers tell of: their names, for the limit, what is left of it and when
            nothing of it is used; and of what.
        at_once: whether requests that are under way are counted.
    """

    requests: tuple[Entry, ...]
    tokens: tuple[Account, ...]
    money: tuple[Account, ...]
    shown: tuple[tuple[tuple[bytes, bytes, bytes], tuple[Account, ...]], ...]
    at_once: bool


def sorted_out(accounts: tuple[Account, ...]) -> Accounts:
    """Return accounts by what they count."""

    def of(*what: What) -> tuple[Account, ...]:
        return tuple(one for one in accounts if one.rule.what in what)

    def names(what: bytes) -> tuple[bytes, bytes, bytes]:
        limit, remaining, reset = (b"limit-", b"remaining-", b"reset-")
        head = b"x-ratelimit-"
        return head + limit + what, head + remaining + what, head + reset + what

    pairs = ((b"requests", of("requests")), (b"tokens", of("tokens")))
    return Accounts(
        requests=tuple(Entry(one, 1) for one in of("requests", "at_once")),
        tokens=of("tokens"),
        money=of("money"),
        shown=tuple((names(what), found) for what, found in pairs if found),
        at_once=bool(of("at_once")),
    )
