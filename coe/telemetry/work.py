"""Work behind the answers, as it is traced: lines of batches, arms of shadows, judges' verdicts.

Each piece has a trace of its own, which begins and ends with it. What is about a client's request
is linked to that one's trace, and traced where that one was.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Literal, NamedTuple, Self

from coe.errors import CoEError
from coe.telemetry.trace import Ended, Link, Trace, told_by
from coe.telemetry.tracing import Tracing
from coe.types import Answer

Kind = Literal["batch", "shadow", "judge"]


class Piece(NamedTuple):
    """What is known of a piece of work before it begins.

    Attributes:
        endpoint: that its calls are for, as `Query.endpoint` has it.
        composition: fingerprint of the one that it is done by.
        batch, line: id and number, where it is a line of a batch.
        arm: of an experiment, as `NAME:ARM`.
        query_id: of the query that is answered.
    """

    kind: Kind
    endpoint: str
    composition: str
    query_id: str
    batch: str = ""
    line: int | None = None
    arm: str = ""


class Work:
    """A piece of work: enter it for as long as it lasts.

    Attributes:
        trace: None where it is not traced.
        answer: that came of it; set it before leaving.
        error: that came of it, where that is not raised.
    """

    __slots__ = ("_link", "_piece", "_tracing", "answer", "error", "trace")

    def __init__(self, tracing: Tracing, piece: Piece, *, about: Link | None = None) -> None:
        """Store the parts; `about` is the request that it is about, None where that is untraced."""
        self._tracing = tracing
        self._piece = piece
        self._link = about
        self.trace: Trace | None = None
        self.answer: Answer | None = None
        self.error: CoEError | None = None

    def __enter__(self) -> Self:
        """Begin, where it is to be traced."""
        tracing = self._tracing
        if self._piece.kind == "batch":
            self.trace = tracing.begin(None, time.time()) if tracing.share else None
        elif self._link is not None:
            self.trace = tracing.begin_beside()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; what is raised goes on."""
        if self.trace is not None:
            self._tracing.end(self._ended(self.trace, error or self.error))

    def _ended(self, trace: Trace, error: BaseException | None) -> Ended:
        piece, answer = self._piece, self.answer
        facts = Ended(
            trace=trace,
            ended_ns=time.time_ns(),
            endpoint=piece.endpoint,
            path="",
            status=0,
            request_id="",
            query_id=piece.query_id,
            error="" if error is None else type(error).__name__,
            composition=piece.composition,
            arms=(piece.arm,) if piece.arm else (),
            work=piece.kind,
            batch=piece.batch,
            line=piece.line,
            links=() if self._link is None else (self._link,),
        )
        if answer is None:
            return facts
        told = told_by(answer.first)
        return facts._replace(expert=answer.call.expert, reason=answer.reason, told=told)
