"""One choice of one call while it is being generated. No tensors: the batch has those."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coe.backends.local.request import Sampling
from coe.backends.local.text import TextStream
from coe.backends.local.ticket import FinishReason, Piece, Ticket


class Row:
    """Takes one token after the other and delivers the text that they make.

    Attributes:
        prompt: token ids, at least one.
        slot: which adapter of the base the row uses; 0 is none.
        limit: new tokens at most, at least one.
        ends: token ids that end the answer.
    """

    __slots__ = (
        "_draw",
        "_text",
        "choice",
        "counts",
        "decode",
        "ends",
        "limit",
        "produced",
        "prompt",
        "sampling",
        "slot",
        "ticket",
    )

    def __init__(  # noqa: PLR0913 - what a row is made of, each by name
        self,
        *,
        ticket: Ticket,
        choice: int,
        prompt: tuple[int, ...],
        slot: int,
        sampling: Sampling,
        limit: int,
        ends: frozenset[int],
        stops: Sequence[str],
        decode: Callable[[Sequence[int]], str],
    ) -> None:
        self.ticket = ticket
        self.choice = choice
        self.prompt = prompt
        self.slot = slot
        self.sampling = sampling
        self.limit = limit
        self.ends = ends
        self.decode = decode
        self.counts: Counter[int] = Counter()
        self.produced = 0
        self._text = TextStream(decode, stops)
        seed = ticket.request.seed
        # Each choice has its own generator, so that a seed means the same whoever shares the batch.
        self._draw = random.Random(None if seed is None else f"{seed}/{choice}")  # noqa: S311

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken as it is."""
        sampling = self.sampling
        penalized = sampling.presence_penalty or sampling.frequency_penalty
        return sampling.temperature == 0 and not penalized

    def draw(self) -> float:
        """Return the next random number in [0, 1) of this choice."""
        return self._draw.random()

    def accept(self, token: int, note: Mapping[str, Any] | None) -> bool:
        """Take the next token and its log probability; return whether the answer ends here."""
        self.produced += 1
        self.ticket.completion_tokens += 1
        if token in self.ends:
            rest = self._text.finish()
            return self._end(rest.text, rest.notes, "stop")
        self.counts[token] += 1
        shown = self._text.push(token, note)
        if shown.stopped:
            return self._end(shown.text, shown.notes, "stop")
        if self.produced >= self.limit:
            rest = self._text.finish()
            reason: FinishReason = "stop" if rest.stopped else "length"
            return self._end(shown.text + rest.text, shown.notes + rest.notes, reason)
        if shown.text:
            self._deliver(shown.text, shown.notes, None)
        return False

    def _end(self, text: str, notes: tuple[Mapping[str, Any], ...], reason: FinishReason) -> bool:
        self._deliver(text, notes, reason)
        return True

    def _deliver(
        self, text: str, notes: tuple[Mapping[str, Any], ...], reason: FinishReason | None
    ) -> None:
        wanted = self.ticket.request.top_logprobs is not None
        self.ticket.deliver(
            Piece(
                choice=self.choice,
                text=text,
                logprobs=notes if wanted else None,
                finish_reason=reason,
            )
        )
