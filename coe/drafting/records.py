"""What became of each call of a panel: who was asked, what for, and what it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from coe.usage import tokens

Role = Literal["draft", "judge", "writer"]
Status = Literal[
    "asked",  # nothing has come of it yet
    "answer",  # its text is the answer, or a part of it
    "used",  # the answer was made with it
    "unused",  # it is good, and the answer is another one
    "late",  # it was not awaited
    "failed",  # there is none
    "dropped",  # it cannot be used, or could not be paid for
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a call took.

    Attributes:
        cost: in the currency of the expert's price; None where it is not known.
        seconds: from the call's start, waits for a slot included; None where it was not awaited.
        usage: all that the backend counted; empty where it did not say.
    """

    usage: Mapping[str, Any] = field(default_factory=dict)
    cost: float | None = None
    seconds: float | None = None

    @property
    def prompt_tokens(self) -> int | None:
        """Of what was sent; None where nobody says."""
        return tokens(self.usage.get("prompt_tokens"))

    @property
    def completion_tokens(self) -> int | None:
        """Of what came back; None where nobody says."""
        return tokens(self.usage.get("completion_tokens"))


NOTHING = Bill(cost=0.0, seconds=0.0)


@dataclass(slots=True, kw_only=True)
class Record:
    """One call of a panel; kept up to date while the panel is at work.

    Attributes:
        member: the position of the member whose draft it is; None for a judge or a writer.
        reason: why there is nothing to be used; empty where there is.
        is_made: whether the call was made; one that nobody could pay for was not.
    """

    expert: str
    role: Role
    member: int | None = None
    status: Status = "asked"
    reason: str = ""
    bill: Bill = field(default=Bill())
    is_made: bool = True
