"""What a call may take at most, and what it took."""

from __future__ import annotations

from typing import NamedTuple

from coe.composition import Expert
from coe.drafting.bodies import limit_of, longest_prompt
from coe.drafting.case import COSTS_NOTHING
from coe.limits.ledger import Ledger
from coe.limits.rules import nano
from coe.limits.tally import Held
from coe.types import Call
from coe.usage import found_in

ANSWER_TOKENS = 4096
"""What is set aside for an answer where neither the request nor the expert has a limit."""

PER_TOKEN = 4
"""Bytes of a prompt that are guessed to make a token, for limits on tokens. For money each byte
counts as one: no prompt has more."""


class Most(NamedTuple):
    """What a call may take at most.

    Attributes:
        tokens: of its prompt and its answer, about.
        cost: in billionths of the currency; None where the expert has no price.
        is_known: whether somebody limits the answer; else it is a guess.
    """

    tokens: int
    cost: int | None
    is_known: bool


def most_of(call: Call, expert: Expert) -> Most:
    """Return what a call may take at most."""
    sent = longest_prompt(call.body)
    limit: int | None = 0
    if call.endpoint == "chat/completions":
        limit = limit_of(call.body) or expert.max_output
        choices = call.body.get("n")
        times = choices if isinstance(choices, int) else 1
    else:
        times = 1
    answer = ANSWER_TOKENS if limit is None else limit
    if limit is None and expert.context is not None:
        answer = min(answer, expert.context)
    answer *= times
    cost = None if expert.cost is None else expert.cost.of(sent, answer)
    tokens = sent // PER_TOKEN + answer
    return Most(tokens, None if cost is None else nano(cost), limit is not None)


class Payment:
    """What was set aside for one call. See `coe.door.Visit`."""

    __slots__ = ("_expert", "_has_begun", "_held", "_is_streamed", "_ledger")

    def __init__(
        self, ledger: Ledger, held: tuple[Held, ...], expert: Expert, *, is_streamed: bool
    ) -> None:
        self._ledger = ledger
        self._held = held
        self._expert = expert
        self._is_streamed = is_streamed
        self._has_begun = False

    def opened(self, first: bytes) -> None:
        """See `Visit.opened`."""
        self._has_begun = True
        if not self._is_streamed:
            self._settle(found_in(first))

    def ended(self, last: bytes, error: BaseException | None) -> None:
        """See `Visit.ended`."""
        if not self._held:
            return
        if self._has_begun:
            self._settle(found_in(last))
        elif isinstance(error, COSTS_NOTHING):
            self._settle((0, 0))
        else:
            self._settle(None)

    def _settle(self, used: tuple[int, int] | None) -> None:
        """Count what a call took, once; what is not known stays as it was set aside."""
        held, self._held = self._held, ()
        price = self._expert.cost
        cost = price.of(*used) if price is not None and used is not None else None
        for one in held:
            amount: int | None = None
            if one.account.rule.what == "tokens":
                amount = None if used is None else used[0] + used[1]
            elif cost is not None:
                amount = nano(cost)
            if amount is not None:
                self._ledger.settle(one, amount)
            if one.account.rule.what == "money":
                paid = one.amount if amount is None else amount
                self._ledger.tolls.spent[one.account.kind, one.account.rule.currency] += paid
