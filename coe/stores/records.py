"""What is kept of files and batches: frozen values. Times are in seconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Purpose = Literal["batch", "batch_output"]
Status = Literal[
    "validating",  # its lines are being checked
    "failed",  # a line is not what it has to be: nothing was run
    "in_progress",  # routed, then run
    "finalizing",  # all has run; the files are being written
    "completed",
    "expired",  # the completion window has passed; what was done is kept
    "cancelling",  # what is in flight ends
    "cancelled",  # what was done is kept
]
ENDED: frozenset[Status] = frozenset({"failed", "completed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that was uploaded, or that a batch wrote; its content lies beside the database.

    Attributes:
        tenant: whose it is; empty for nobody's in particular.
    """

    id: str
    filename: str
    purpose: Purpose
    size: int
    created_at: int
    tenant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong with a batch's input.

    Attributes:
        line: 1-based; None where it is the whole file.
        param: the field, as a path within the line.
    """

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as it stands.

    Attributes:
        seq: its number in the store; later batches have larger ones.
        total: lines; 0 until they are counted.
        completed, failed: lines that were run, by what came of them.
        placed: lines that were routed, those included that nobody can answer.
        partly: what the calls that were made for lines of panels that are not done come to, in
            lines; see `part`.
        placed_by: fingerprint of the composition that its lines were routed in; empty before.
        ran_s: seconds in which its lines were being run, over all processes that ran it.
        mistakes: what validation found; the first ones where there are many.
        tenant: whose it is; empty for nobody's in particular.
        key: id of the key that it was made with, and that its requests are made with; empty where
            the gateway asked for none.
    """

    seq: int
    id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    status: Status
    created_at: float
    expires_at: float
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    placed: int = 0
    partly: float = 0.0
    placed_by: str = ""
    ran_s: float = 0.0
    metadata: Mapping[str, str] | None = None
    mistakes: tuple[Mistake, ...] = ()
    tenant: str = ""
    key: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Seated:
    """The panel that is to answer a line.

    Attributes:
        panel: its name in the composition.
        experts: its members, best first; an expert stands there as often as it is asked.
        weights: how often each is expected to be right; as many.
        detail: why these, and why so many.
    """

    panel: str
    experts: tuple[str, ...]
    weights: tuple[float, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a batch that has not been run: where it stands, and who is to answer it.

    Attributes:
        offset, length: of its bytes in the input file, without the line break.
        experts: who was planned for it, best first; empty until it is routed.
        seated: the panel that comes before them; None where one expert answers.
    """

    number: int
    offset: int
    length: int
    custom_id: str
    experts: tuple[str, ...] = ()
    category: str | None = None
    probability: float | None = None
    reason: str = ""
    seated: Seated | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Who is to answer a line, and where that expert runs.

    Attributes:
        experts: best first; the first is the one whose group the line joins, unless it has a panel.
        base: what has to be in memory: experts of one base need no swap between them.
    """

    number: int
    experts: tuple[str, ...]
    backend: str
    base: str
    category: str | None = None
    probability: float | None = None
    reason: str = ""
    seated: Seated | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A call that is to be made for a line of a panel.

    Attributes:
        key: names it among those of its line.
        backend, base: as of `Placement`.
    """

    key: str
    expert: str
    backend: str
    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What came of a call that was made for a line of a panel.

    Attributes:
        text: the whole answer, or, where there is none, the error.
        took_s: from its start to its end, waits between tries included.
    """

    key: str
    expert: str
    succeeded: bool
    text: bytes = field(repr=False)
    took_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What one expert is asked for a batch: whole lines, and calls for lines of panels.

    Attributes:
        lines: how often it is asked.
        done: how often it was, failures included.
        took_s: sum of the seconds that each took.
    """

    expert: str
    backend: str
    base: str
    lines: int
    done: int = 0
    took_s: float = 0.0

    @property
    def left(self) -> int:
        """How often it is still to be asked."""
        return self.lines - self.done


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a line.

    Attributes:
        expert: whose group it was in; empty for a line that was in none.
        text: the line of the output or the error file, with its line break.
        took_s: from its start to its end, waits between tries included.
    """

    number: int
    expert: str
    succeeded: bool
    text: bytes = field(repr=False)
    took_s: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


def part(made: int, members: int) -> float:
    """Return how much of a line is done once a number of calls were made for it, in [0, 1).

    What follows on the drafts is not known before; it is taken for one call.
    """
    return made / (max(made, members) + 1)
