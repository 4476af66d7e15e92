"""The engine's pieces as OpenAI's chunk objects. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coe.backends.local.ticket import Piece, Ticket


class Chunks:
    """Spells one call's pieces as `chat.completion.chunk` objects.

    A choice's first chunk carries the role together with its first text, so that it is a content
    frame; the finish reason comes in a chunk of its own, as with OpenAI.
    """

    __slots__ = ("_created", "_id", "_seen", "_ticket")

    def __init__(self, ticket: Ticket, *, answer_id: str, created: int) -> None:
        self._ticket = ticket
        self._id = answer_id
        self._created = created
        self._seen: set[int] = set()

    def spell(self, piece: Piece) -> Iterator[dict[str, Any]]:
        """Yield the chunks that the piece becomes: one, or two for the last with text."""
        first = piece.choice not in self._seen
        self._seen.add(piece.choice)
        delta: dict[str, Any] = {"role": "assistant"} if first else {}
        if piece.text or first:
            delta["content"] = piece.text
        if piece.text or piece.finish_reason is None:
            yield self._chunk(piece, delta, None)
            delta = {}
        if piece.finish_reason is not None:
            yield self._chunk(piece, delta, piece.finish_reason)

    def usage(self) -> dict[str, Any]:
        """Return the chunk without choices that tells how many tokens the call took."""
        prompt, completion = self._ticket.prompt_tokens, self._ticket.completion_tokens
        counts = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        return {**self._head(), "choices": [], "usage": counts}

    def _chunk(self, piece: Piece, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
        has_logprobs = piece.logprobs is not None and (finish is None or not piece.text)
        choice = {
            "index": piece.choice,
            "delta": delta,
            "logprobs": {"content": list(piece.logprobs or ()), "refusal": None}
            if has_logprobs
            else None,
            "finish_reason": finish,
        }
        chunk = {**self._head(), "choices": [choice]}
        if self._ticket.request.include_usage:
            chunk["usage"] = None
        return chunk

    def _head(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._ticket.expert,
            "system_fingerprint": self._ticket.fingerprint,
        }
