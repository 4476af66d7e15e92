"""What Redis refused, read from its answer: it is there, and one command was not carried out.

A user without the permission, a replica that takes no writes, a full memory, a disk that cannot be
written, a key that something else wrote, a mistake in a script of ours: nobody is helped by an
error that says so to a client. Whoever asked goes on as without Redis, and the log says it.
"""

from __future__ import annotations

from typing import NamedTuple

QUIET_S = 60.0
"""A refusal that did not occur for so long is news again."""

_WHOLE_SERVER = frozenset({"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH"})
_REPLICA = frozenset({"READONLY", "MASTERDOWN"})
_IN_A_SCRIPT = " -READONLY "  # so said by servers before the 7th version
_ANNOTATED = " of pipeline caused error: "


class Refusal(NamedTuple):
    """An error that Redis answered.

    Attributes:
        code: its first word, as `READONLY`; `ERR` says that the command or the script is wrong.
        text: all that Redis said; nothing of what it was sent.
    """

    code: str
    text: str

    @property
    def is_of_everything(self) -> bool:
        """Whether every other command would be refused now, too."""
        return self.code in _WHOLE_SERVER

    @property
    def is_of_a_replica(self) -> bool:
        """Whether another server leads, which the same address may stand for by now."""
        return self.code in _REPLICA or _IN_A_SCRIPT in self.text


def read(message: str, code: str | None) -> Refusal:
    """Return a refusal from what the client library raised.

    Args:
        message: of the error. Of several commands the library puts one before it, with its values;
            those are nobody's business.
        code: where the library has cut it off the message.
    """
    _, is_one_of_many, rest = message.rpartition(_ANNOTATED)
    text = rest.strip("(),'\"") if is_one_of_many else message
    if code:
        return Refusal(code, f"{code} {text}")
    first = text.split(" ", 1)[0]
    return Refusal(first if first.isupper() and first.isalpha() else "ERR", text)


class Heard:
    """Which refusals were heard of late: each is told once, not with every call."""

    def __init__(self) -> None:
        self._last_s: dict[tuple[str, str], float] = {}

    def is_news(self, what: str, code: str, now_s: float) -> bool:
        """Whether a refusal of a command is to be told; it is known from now on."""
        last_s = self._last_s.get((what, code))
        self._last_s[what, code] = now_s
        return last_s is None or now_s - last_s > QUIET_S
