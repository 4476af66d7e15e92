"""Rankings that no merit decides, for comparisons: a draw, or one expert for everything. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b


def drawn(
    candidates: Sequence[str], ranked: Iterable[str], unit: bytes
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Return a ranking with one of the candidates first, and how likely each was to be it.

    The same unit draws the same candidate wherever and whenever it asks.

    Args:
        candidates: each as likely; there is at least one.
        ranked: who else may answer, best first; candidates too.
        unit: what the draw is for: a request, or a conversation that is to keep its expert.
    """
    digest = blake2b(unit, digest_size=8, person=b"lots").digest()
    first = candidates[int.from_bytes(digest) * len(candidates) >> 64]
    chance = 1 / len(candidates)
    return tuple(dict.fromkeys((first, *ranked))), dict.fromkeys(candidates, chance)
