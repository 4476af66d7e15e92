"""What calls cost: known, expected, and at most. Pure, but for the purse, which adds up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from coe.asking import Reply
from coe.composition import Cost, Expert
from coe.drafting.bodies import PER_MESSAGE
from coe.planner import LIMITS
from coe.scoring.rows import Row

TYPICAL_ANSWER = 300
"""Tokens of an answer of which nothing is known, for estimates."""


def currency_of(experts: Iterable[Expert]) -> str:
    """Return the currency of the experts that have a price; empty where none has.

    Raises:
        ValueError: there are several.
    """
    found = {expert.cost.currency for expert in experts if expert.cost is not None}
    if len(found) > 1:
        raise ValueError(f"prices in several currencies: {', '.join(sorted(found))}")
    return found.pop() if found else ""


def price(cost: Cost | None, prompt_tokens: int | None, answer_tokens: int | None) -> float | None:
    """Return what a call costs, in the currency of its expert; None where that is not known.

    Example:
        >>> price(Cost(input=2.0, output=10.0), 500_000, 100_000)
        2.0
    """
    return None if cost is None else cost.of(prompt_tokens, answer_tokens)


def price_of(expert: Expert, reply: Reply) -> float | None:
    """Return what an answer cost; None where it is not known."""
    return price(expert.cost, reply.prompt_tokens, reply.completion_tokens)


def about(row: Row) -> int:
    """Return about how many tokens a row's prompt has: a token is four letters."""
    return characters(row.messages) // 4 + 4 * len(row.messages)


def characters(messages: Iterable[Mapping[str, Any]]) -> int:
    """Return how much text there is in messages."""
    return sum(map(len, _texts(messages)))


def answer_limit(expert: Expert, body: Mapping[str, Any]) -> int | None:
    """Return the most tokens that an answer may have; None where there is no limit."""
    asked = {**expert.defaults, **body, **expert.force}
    limits = [asked[key] for key in LIMITS if isinstance(asked.get(key), int)]
    if expert.max_output is not None and limits:  # it only ever lowers a limit that was asked for
        limits.append(expert.max_output)
    return min(limits) if limits else None


def expected(expert: Expert, row: Row, body: Mapping[str, Any]) -> float | None:
    """Return about what an answer will cost; None where the expert has no price.

    A prompt program makes several calls, or none, of prompts that are longer.
    """
    limit = answer_limit(expert, body)
    tokens = TYPICAL_ANSWER if limit is None else min(limit, TYPICAL_ANSWER)
    one = price(expert.cost, about(row) + expert.added // 4, tokens)
    return None if one is None else one * expert.calls


def at_most(expert: Expert, messages: Iterable[Mapping[str, Any]], limit: int) -> float:
    """Return what an answer cannot cost more than; 0 for an expert without a price.

    No token stands for less than a byte, and no answer of a call is longer than its limit.
    """
    rows = list(messages)
    tokens = sum(len(text.encode("utf-8", "surrogatepass")) for text in _texts(rows))
    tokens += PER_MESSAGE * len(rows) + expert.added
    return (price(expert.cost, tokens, limit) or 0.0) * expert.calls


def _texts(messages: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}]
        for part in parts:
            text = part.get("text") if isinstance(part, Mapping) else None
            if isinstance(text, str):
                yield text


class Purse:
    """Money that may be spent, and what is spent: a call is paid for before it is made.

    Attributes:
        cap: None: as much as it takes.
        spent: what finished calls have cost.
        held: what calls in flight may cost at most.
    """

    def __init__(self, cap: float | None = None) -> None:
        """Begin with nothing spent."""
        self.cap = cap
        self.spent = 0.0
        self.held = 0.0

    def hold(self, most: float) -> bool:
        """Set money aside for a call; False where the cap could then be passed."""
        if self.cap is not None and self.spent + self.held + most > self.cap:
            return False
        self.held += most
        return True

    def settle(self, most: float, cost: float | None) -> None:
        """Take back what a call had set aside, and pay what it cost.

        Args:
            most: as given to `hold`.
            cost: None where it is not known: then all of it is taken to be gone.
        """
        self.held = max(0.0, self.held - most)
        self.spent += most if cost is None else cost
