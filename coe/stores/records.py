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
    """A file that was uploaded, or that a batch wrote; its content lies beside the database."""

    id: str
    filename: str
    purpose: Purpose
    size: int
    created_at: int


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
        placed_by: fingerprint of the composition that its lines were routed in; empty before.
        ran_s: seconds in which its lines were being run, over all processes that ran it.
        mistakes: what validation found; the first ones where there are many.
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
    placed_by: str = ""
    ran_s: float = 0.0
    metadata: Mapping[str, str] | None = None
    mistakes: tuple[Mistake, ...] = ()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a batch that has not been run: where it stands, and who is to answer it.

    Attributes:
        offset, length: of its bytes in the input file, without the line break.
        experts: who was planned for it, best first; empty until it is routed.
    """

    number: int
    offset: int
    length: int
    custom_id: str
    experts: tuple[str, ...] = ()
    category: str | None = None
    probability: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Who is to answer a line, and where that expert runs.

    Attributes:
        experts: best first; the first is the one whose group the line joins.
        base: what has to be in memory: experts of one base need no swap between them.
    """

    number: int
    experts: tuple[str, ...]
    backend: str
    base: str
    category: str | None = None
    probability: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The lines of a batch that one expert answers.

    Attributes:
        done: lines that were run, failed ones included.
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
        """Lines that are still to be run."""
        return self.lines - self.done


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a line.

    Attributes:
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
