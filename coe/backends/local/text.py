"""From tokens to text that may be shown: whole characters only, and no part of a stop string.

Pure, and ignorant of models: a tokenizer is a function from token ids to text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What a decoder shows for bytes that are not (yet) a character. A character has at most four
# bytes, so at most three of them can stand at the end of a text that another token completes.
_REPLACEMENT = "\ufffd"
_MAX_INCOMPLETE = 3


class Detokenizer:
    """Decodes a growing list of tokens; what it returned once never changes.

    Each decode starts at the last place where the text was whole, one such place back, because
    many tokenizers treat the first token of a text specially (they drop its leading space).
    """

    __slots__ = ("_context", "_decode", "_sent", "_tokens", "_whole")

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._context = 0  # tokens before are not decoded again
        self._whole = 0  # tokens before have been returned as text
        self._sent = 0  # characters returned of what comes after `_whole`

    def push(self, token: int) -> str:
        """Take the next token; return the text that is certain by now and was not before."""
        self._tokens.append(token)
        text = self._unreturned()
        open_end = len(text) - len(text.rstrip(_REPLACEMENT))
        if open_end == 0:
            fresh = text[self._sent :]
            self._context, self._whole, self._sent = self._whole, len(self._tokens), 0
            return fresh
        certain = len(text) - min(open_end, _MAX_INCOMPLETE)
        fresh = text[self._sent : certain]
        self._sent = max(self._sent, certain)
        return fresh

    def finish(self) -> str:
        """Return what was held back: a character that no token will complete any more."""
        return self._unreturned()[self._sent :]

    def _unreturned(self) -> str:
        known = self._decode(self._tokens[self._context : self._whole])
        return self._decode(self._tokens[self._context :])[len(known) :]


class StopStrings:
    """Finds the stop string that is complete first and holds back what might become one.

    First to be complete, not first to begin: then the answer does not depend on how the text is
    cut into pieces.
    """

    __slots__ = ("_held", "_stops")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Take more text; return what may be shown, and whether a stop string was reached."""
        if not self._stops:
            return text, False
        text = self._held + text
        hits = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if hits:
            self._held = ""
            _, start = min(hits)
            return text[:start], True
        shown = len(text) - self._possible(text)
        self._held = text[shown:]
        return text[:shown], False

    def finish(self) -> str:
        """Return what was held back: no stop string follows any more."""
        held, self._held = self._held, ""
        return held

    def _possible(self, text: str) -> int:
        """Return the length of the longest end of the text that a stop string starts with."""
        longest = min(len(text), max(map(len, self._stops)) - 1)
        for size in range(longest, 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stops):
                return size
        return 0


@dataclass(frozen=True, slots=True)
class Shown:
    """What one token adds to what a client may see.

    Attributes:
        notes: what was noted of the tokens whose text starts before the end of the shown text.
        stopped: a stop string was reached; the text ends before it.
    """

    text: str = ""
    notes: tuple[Mapping[str, Any], ...] = ()
    stopped: bool = False


class TextStream:
    """The text of one answer, token by token: `Detokenizer`, then `StopStrings`.

    A note (a token's log probability) travels with the text that its token begins: it is held
    back, and cut off by a stop string, exactly as that text is.
    """

    __slots__ = ("_detokenizer", "_notes", "_read", "_shown", "_stops")

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._detokenizer = Detokenizer(decode)
        self._stops = StopStrings(stops)
        self._read = 0  # characters decoded
        self._shown = 0  # characters that went on to the client
        self._notes: deque[tuple[int, Mapping[str, Any]]] = deque()

    def push(self, token: int, note: Mapping[str, Any] | None = None) -> Shown:
        """Take the next token and what is noted of it."""
        if note is not None:
            self._notes.append((self._read, note))
        text = self._detokenizer.push(token)
        self._read += len(text)
        text, stopped = self._stops.push(text)
        self._shown += len(text)
        return Shown(text, self._due_notes(), stopped)

    def finish(self) -> Shown:
        """Return all that was held back. Not for a text that a stop string ended."""
        text, stopped = self._stops.push(self._detokenizer.finish())
        if stopped:
            self._shown += len(text)
            return Shown(text, self._due_notes(), stopped)
        notes = tuple(note for _, note in self._notes)
        self._notes.clear()
        return Shown(text + self._stops.finish(), notes)

    def _due_notes(self) -> tuple[Mapping[str, Any], ...]:
        due = []
        while self._notes and self._notes[0][0] < self._shown:
            due.append(self._notes.popleft()[1])
        return tuple(due)
