"""Whole answers, kept for a while and given again to the very same request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from coe.types import Dispatch

LONGEST = 1 << 20
"""Bytes of an answer that is kept; a longer one is asked for again."""

ROOM = 256 << 20
"""Bytes of all answers that are kept."""

# How an answer is sent is no part of what it says.
_HOW = frozenset({"model", "stream", "stream_options"})


class Memory:
    """Answers by key, the least recently used of which goes first. Belongs to one event loop."""

    def __init__(self, *, ttl_s: float, most: int) -> None:
        """Begin empty.

        Args:
            ttl_s: seconds that an answer is kept.
            most: answers that are kept.
        """
        self._ttl_s = ttl_s
        self._most = most
        self._answers: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        """Return how many answers are kept, those that are too old included."""
        return len(self._answers)

    def recall(self, key: bytes, now_s: float) -> bytes | None:
        """Return an answer that is kept and not too old; None where there is none."""
        found = self._answers.get(key)
        if found is None:
            return None
        if found[0] <= now_s:
            self._forget(key)
            return None
        self._answers.move_to_end(key)
        return found[1]

    def keep(self, key: bytes, answer: bytes, now_s: float) -> None:
        """Keep an answer from now on, unless it is very long."""
        if len(answer) > LONGEST:
            return
        self._forget(key)
        self._answers[key] = (now_s + self._ttl_s, answer)
        self._size += len(answer)
        while len(self._answers) > self._most or self._size > ROOM:
            self._forget(next(iter(self._answers)))

    def _forget(self, key: bytes) -> None:
        _, answer = self._answers.pop(key, (0.0, b""))
        self._size -= len(answer)


def key_of(dispatch: Dispatch) -> bytes:
    """Return what is the same of two requests that may have the same answer.

    The body as the expert gets it, the endpoint, and whose request it is: what one client was told
    is not told to another one.
    """
    call = dispatch.call
    body: Mapping[str, Any] = {key: call.body[key] for key in call.body if key not in _HOW}
    tenant = dispatch.claim.key if dispatch.claim is not None else ""
    meaning = orjson.dumps([tenant, call.endpoint, body], option=orjson.OPT_SORT_KEYS)
    return blake2b(meaning, digest_size=16).digest()
