"""What lies on a panel's table: members, their drafts, and what an aggregator may do next.

An aggregator decides purely: it is shown the table and returns a step. Who runs it (see
`coe.drafting`) acts on the step, lays what comes of it on the table, and shows it again. The same
aggregators therefore serve requests, batches that go expert by expert, and recorded answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One draft that may be asked for.

    Attributes:
        expert: who writes it; the same expert may be a member more than once.
        sample: how often it is a member before this.
        weight: how often it is expected to be right, in [0, 1]; 0.5 where nobody knows.
    """

    expert: str
    sample: int = 0
    weight: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What came of asking a member.

    Attributes:
        member: its position in `Table.members`.
        text: what it wrote; empty where it failed.
        message: the whole message, as OpenAI's chat completions have it.
        finish_reason: as the backend says it.
        logprob: mean log-probability of its tokens; None where the backend does not tell.
        error: why there is none; empty where there is one.
    """

    member: int
    text: str = ""
    message: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str = "stop"
    logprob: float | None = None
    error: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether there is nothing to be read."""
        return bool(self.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an expert is asked about drafts, such as which of two is better.

    Attributes:
        key: names it on this table.
        expert: who is asked.
        messages: what it is sent.
        max_tokens: of its answer; None for as many as a draft may have.
    """

    key: str
    expert: str
    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int | None = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """The answer to a question; `error` says why there is none."""

    text: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """An answer that drafts give, where they do not all give the same.

    Attributes:
        answer: as it was extracted, shortened for people.
        members: positions of those that give it.
    """

    answer: str
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All that an aggregator sees.

    Attributes:
        messages: the conversation that is answered.
        members: best first.
        quorum: drafts that are enough to answer by; at least 1.
        asked: positions of the members that were asked.
        drafts: what came of them, in the order in which they ended.
        consulted: keys of the questions that were asked.
        remarks: the answers to them, by key.
        is_closing: whether time or money is up: nobody is asked any more, but for the answer.
    """

    messages: Sequence[Mapping[str, Any]]
    members: tuple[Member, ...]
    quorum: int
    asked: frozenset[int] = frozenset()
    drafts: tuple[Draft, ...] = ()
    consulted: frozenset[str] = frozenset()
    remarks: Mapping[str, Remark] = field(default_factory=dict)
    is_closing: bool = False

    @property
    def good(self) -> tuple[Draft, ...]:
        """The drafts that can be read, in the order of the members."""
        drafts = (draft for draft in self.drafts if not draft.has_failed)
        return tuple(sorted(drafts, key=lambda draft: draft.member))

    @property
    def pending(self) -> frozenset[int]:
        """Positions of the members that write now."""
        return self.asked - {draft.member for draft in self.drafts}

    @property
    def unasked(self) -> tuple[int, ...]:
        """Positions of the members that could be asked yet, best first; none while it closes."""
        if self.is_closing:
            return ()
        return tuple(place for place in range(len(self.members)) if place not in self.asked)

    @property
    def open_questions(self) -> frozenset[str]:
        """Keys of the questions that wait for their answer."""
        return self.consulted - self.remarks.keys()


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask these members for their drafts, side by side.

    Attributes:
        logprobs: whether the log-probabilities of the tokens are wanted; not every backend has
            them.
    """

    members: tuple[int, ...]
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Consult:
    """Ask these questions, side by side."""

    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Show the table again when something has come; something is pending or open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """A member's answer is the answer, whatever it says: it is passed on as it comes.

    The member was not asked yet.
    """

    member: int
    why: str = ""
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A draft is the answer.

    Attributes:
        member: whose; the draft is good.
        why: in a few words.
    """

    member: int
    why: str = ""
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """An expert writes the answer, which is passed on as it comes.

    Attributes:
        expert: who writes; need not be a member.
        messages: what it is sent instead of the client's.
        used: the members whose drafts are in there.
    """

    expert: str
    messages: tuple[Mapping[str, Any], ...]
    used: tuple[int, ...]
    why: str = ""
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Several drafts are the answer.

    Attributes:
        members: whose, in this order.
        as_choices: as the choices of one answer; otherwise in one text, under their experts' names.
    """

    members: tuple[int, ...]
    as_choices: bool
    why: str = ""
    conflicts: tuple[Conflict, ...] = ()


Last = Relay | Pick | Write | Merge
Step = Ask | Consult | Wait | Last
