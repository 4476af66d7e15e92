"""What a call may take at most, and what it took."""

from __future__ import annotations

from collections.abc import Callable
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
        answer: of its tokens, those of the answer.
        is_asked: whether the request itself limits the answer, so that the backend does.
    """

    tokens: int
    cost: int | None
    is_known: bool
    answer: int = 0
    is_asked: bool = True


def most_of(call: Call, expert: Expert) -> Most:
    """Return what a call may take at most."""
    body = call.body
    sent = longest_prompt(body)
    limit: int | None = 0
    is_asked, times = True, 1
    if call.endpoint == "chat/completions":
        asked = limit_of(body)
        limit, is_asked = asked or expert.max_output, asked is not None
        if isinstance(choices := body.get("n"), int):
            times = choices
    answer = ANSWER_TOKENS if limit is None else limit
    if limit is None and expert.context is not None:
        answer = min(answer, expert.context)
    answer *= times
    cost = None if expert.cost is None else expert.cost.of(sent, answer)
    tokens = sent // PER_TOKEN + answer
    return Most(tokens, None if cost is None else nano(cost), limit is not None, answer, is_asked)


class Payment:
    """What was set aside for one call. See `coe.door.Visit`."""

    __slots__ = ("_expert", "_frames", "_has_begun", "_held", "_is_streamed", "_ledger", "_most")

    def __init__(
        self,
        ledger: Ledger,
        held: tuple[Held, ...],
        expert: Expert,
        most: Most,
        *,
        is_streamed: bool,
    ) -> None:
        self._ledger = ledger
        self._held = held
        self._expert = expert
        self._most = most
        self._is_streamed = is_streamed
        self._has_begun = False
        self._frames = 0

    @property
    def watch(self) -> Callable[[bytes], None] | None:
        """See `Visit`: a stream is watched that its request does not limit, for it may be cut."""
        return self._count if self._is_streamed and not self._most.is_asked else None

    def _count(self, piece: bytes) -> None:
        self._frames += piece.count(b"data:")

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
        """Count what a call took, once; what is not known stays as it was set aside.

        But a stream that was cut beyond that took at least a token for each of its frames.
        """
        held, self._held = self._held, ()
        is_told = used is not None
        if used is None:
            used = (0, max(self._frames - self._most.answer, 0))
        prompt, answer = used
        is_known = is_told or answer > 0
        price = self._expert.cost
        cost = price.of(prompt, answer) if price is not None else None
        paid = nano(cost) if cost is not None else None  # once, not for every budget
        settle, spent = self._ledger.settle, self._ledger.tolls.spent
        for one in held:
            account, amount, _ = one
            rule = account.rule
            is_money = rule.what == "money"
            took = paid if is_money else prompt + answer
            if is_known and took is not None:
                amount = took if is_told else amount + took
                settle(one, amount)
            if is_money:
                spent[account.kind, rule.currency] += amount
