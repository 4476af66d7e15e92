"""Who sends other tokens all the time."""

from __future__ import annotations

from datetime import UTC, datetime

from coe.identity import ANONYMOUS, Identity
from coe.limits.rules import read
from coe.limits.scopes import Limit, accounts_of, scope_of
from coe.limits.strangers import MOST_COUNTERS, OTHERS, accounts_here
from coe.limits.tally import Entry, Tally

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()
LIMITS = [
    Limit(scope=scope_of("key"), rule=read("5 requests/day")),
    Limit(scope=scope_of("all"), rule=read("1000000 requests/day")),
]


def ask(tally: Tally, identity: Identity, now_s: float = NOON) -> tuple[str, ...]:
    """Count a request; return the accounts that it is counted on."""
    here = accounts_here(LIMITS, identity, tally)
    accounts = accounts_of(LIMITS, OTHERS) if here is None else here
    tally.put([Entry(one, 1) for one in accounts], now_s)
    return tuple(one.key for one in accounts)


def token(number: int) -> Identity:
    return Identity(tenant=f"{number:016x}")


def test_tokens_leave_so_many_counters_and_no_more() -> None:
    tally = Tally()
    for number in range(MOST_COUNTERS + 500):
        ask(tally, token(number))

    assert len(tally) == MOST_COUNTERS + 1  # and that of the others
    assert ask(tally, token(7)) == ("all/requests/day", f"key:{7:016x}/requests/day")
    assert ask(tally, token(10**9)) == ask(tally, token(10**9 + 1))
    key = Identity(tenant="k", key="k", name="ci")
    assert ask(tally, key)[1] == "key:k/requests/day"
    assert ask(tally, ANONYMOUS)[1] == "key:/requests/day"


def test_there_is_room_again_when_others_count_no_more() -> None:
    tally = Tally()
    for number in range(MOST_COUNTERS):
        ask(tally, token(number))
    tally.forget(NOON + 2 * 86_400)

    assert ask(tally, token(10**9), NOON + 2 * 86_400)[1] == f"key:{10**9:016x}/requests/day"
