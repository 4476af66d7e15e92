"""What a request's text holds, by name and never in words.

A text is looked at in pieces that overlap, so that no single look is long: a long request is looked
at in a thread, and the event loop has its turn between two pieces. What lies across the border of
two pieces and is longer than `OVERLAP` can be missed. A text that was looked at lately is known by
a keyed digest, and is not looked at again: conversations come back with every turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from secrets import token_bytes
from time import thread_time
from typing import Any

from coe.composition.policy_values import PERSONAL, Policies
from coe.policies import finders
from coe.policies.finders import Finder
from coe.policies.texts import texts_of

logger = logging.getLogger(__name__)

PIECE = 8_192
OVERLAP = 1_024
"""Characters of a piece, and of them those that the piece before it has, too."""

ASIDE = 4_096
"""A request with more characters to be looked at is looked at in a thread."""

LONGEST_S = 2.0
"""Of a processor, for one request. What was not looked at by then counts as found: a text that is
made to take long is nobody's."""

_SHORT = 256  # characters; shorter texts are looked at together, and not remembered
_REMEMBERED = 8192

Found = frozenset[str]
_NOTHING: Found = frozenset()


class Detectors:
    """Looks for what a composition wants found. Belongs to one event loop.

    Attributes:
        names: all that can be found, in the order of the alphabet.
    """

    def __init__(self, policies: Policies) -> None:
        """Load what it takes: tenths of a second, for libraries with large tables."""
        makers: Mapping[str, Callable[[], Finder]] = {
            "secrets": finders.secrets,
            "email": finders.email,
            "phone": lambda: finders.phone(policies.countries),
            "card": finders.card,
            "iban": finders.iban,
        }
        wanted = set(policies.detect)
        if "pii" in wanted:
            wanted.update(PERSONAL)
        self._finders = {name: make() for name, make in makers.items() if name in wanted}
        self.names = tuple(sorted(self._finders))
        self._classes = dict(policies.detect)
        self._key = token_bytes(32)
        self._seen: OrderedDict[bytes, Found] = OrderedDict()

    def classes(self, found: Iterable[str]) -> tuple[str, ...]:
        """Return the data classes of what was found."""
        names = set(found)
        if names.intersection(PERSONAL):
            names.add("pii")
        return tuple(self._classes[name] for name in names if name in self._classes)

    async def look(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of what a body holds, in the order of the alphabet."""
        short: list[str] = []
        long: list[tuple[bytes, str]] = []
        found: set[str] = set()
        for text in texts_of(body):
            if len(text) < _SHORT:
                short.append(text)
                continue
            digest = self._digest(text)
            if (known := self._seen.get(digest)) is None:
                long.append((digest, text))
            else:
                self._seen.move_to_end(digest)
                found |= known
        joined = "\n".join(short)
        if len(joined) + sum(len(text) for _, text in long) <= ASIDE:
            seen = self._look(joined, long)
        else:
            seen = await asyncio.to_thread(self._look, joined, long)
        for digest, names in seen.items():
            if digest:
                self._remember(digest, names)
            found |= names
        return tuple(sorted(found))

    def _look(self, joined: str, long: list[tuple[bytes, str]]) -> dict[bytes, Found]:
        """Return what each text holds, by its digest; the short ones together have none."""
        texts = [(b"", joined), *long] if joined else long
        until_s = thread_time() + LONGEST_S
        return {digest: self._found(text, until_s) for digest, text in texts}

    def _found(self, text: str, until_s: float) -> Found:
        open_ones = dict(self._finders)
        for piece in pieces(text):
            if thread_time() > until_s:
                logger.warning("a text took too long to be looked at: it counts as sensitive")
                return frozenset(self._finders)
            hits = [name for name, find in open_ones.items() if find(piece)]
            for name in hits:
                del open_ones[name]
            if not open_ones:
                break
        return frozenset(self._finders.keys() - open_ones.keys()) or _NOTHING

    def _digest(self, text: str) -> bytes:
        return blake2b(
            text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16
        ).digest()

    def _remember(self, digest: bytes, names: Found) -> None:
        self._seen[digest] = names
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


def pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of at most `PIECE` characters that overlap by `OVERLAP`."""
    if len(text) <= PIECE:
        yield text
        return
    for start in range(0, len(text) - OVERLAP, PIECE - OVERLAP):
        yield text[start : start + PIECE]
