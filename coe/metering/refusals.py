"""Somebody is told why nothing was set aside for them."""

from __future__ import annotations

from coe.errors import BudgetExceeded, CapacityError, RateLimited
from coe.limits.ledger import Ledger
from coe.limits.rules import What, plain
from coe.limits.scopes import Account
from coe.limits.tally import Refusal


def refused(ledger: Ledger, refusal: Refusal) -> CapacityError:
    """Count that somebody's limit says no; return what they are told."""
    account = refusal.account
    ledger.tolls.refused[account.kind, account.rule.what] += 1
    return refusal_of(refusal)


def refusal_of(refusal: Refusal) -> CapacityError:
    """Return what somebody is told whose limit says no."""
    account, amount, used, wait_s = refusal
    rule = account.rule
    of = shown(rule.what, rule.most, rule.currency)
    asked, taken = (shown(rule.what, one, rule.currency) for one in (amount, used))
    per = f" per {rule.period}" if rule.period else ""
    if rule.what == "money":
        error = BudgetExceeded(
            f"{account.who} may spend {of}{per}; {taken} is spent or set aside, and this call may"
            f" cost {asked}"
        )
        error.has_cheaper = account.at_limit == "cheapest_good"
        return error
    if wait_s is None:
        limited = RateLimited(
            f"{account.who} may use {of}{per}, and this call alone may take {asked}: lower"
            " `max_tokens`, or send less",
            param="max_tokens",
        )
        limited.retryable = False
        return limited
    what = f"{of} at once" if rule.what == "at_once" else f"{of}{per}"
    return RateLimited(
        f"{account.who} may send {what}: try again in {wait_s:.3g} s", retry_after_s=wait_s
    )


def unpriced(ledger: Ledger, account: Account, expert: str) -> BudgetExceeded:
    """Return what somebody is told whose budget is not for experts without a price."""
    ledger.tolls.refused[account.kind, "money"] += 1
    rule = account.rule
    error = BudgetExceeded(
        f"{account.who} may spend {rule}, and expert `{expert}` has no price in {rule.currency}:"
        " give it a `cost`"
    )
    error.has_cheaper = account.at_limit == "cheapest_good"
    return error


def shown(what: What, amount: int, currency: str) -> str:
    """Write an amount for people."""
    if what == "money":
        return f"{plain(amount)} {currency}"
    if what == "at_once":
        return f"{amount} requests"
    return f"{amount} {what}"
