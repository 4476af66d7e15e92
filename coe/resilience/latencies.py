"""How long experts took until they began to answer, as far as it is known."""

from __future__ import annotations

from collections import deque

KEPT = 128
LEAST = 20
"""Fewer answers say nothing of one in twenty."""


class Latencies:
    """The last times of each expert, in seconds."""

    def __init__(self) -> None:
        self._last: dict[str, deque[float]] = {}

    def note(self, expert: str, seconds: float) -> None:
        """Take note of an answer that began after so long."""
        kept = self._last.get(expert)
        if kept is None:
            kept = self._last[expert] = deque(maxlen=KEPT)
        kept.append(seconds)

    def p95(self, expert: str) -> float | None:
        """Return what 19 of 20 answers did not exceed; None where too few are known."""
        kept = self._last.get(expert)
        if kept is None or len(kept) < LEAST:
            return None
        return sorted(kept)[len(kept) * 95 // 100]
