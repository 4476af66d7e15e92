"""The engine's thread: takes tickets, reads prompts, and decodes one token of every row per turn.

Each turn of the loop, in order:
    1. take what the inbox holds (and wait for it when there is nothing else to do); who needs an
       expert that is not in memory is set aside until the reader has read it
    2. let the rows of callers that have left go
    3. read the prompts of waiting rows, as far as there is room
    4. one step of every batch: batches of a base are merged, so that there is one per base, save
       for models whose state cannot be padded; those have one batch per row

A short answer never waits for a long one that shares the batch, because rows leave as they end.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Sequence

import torch

from coe.backends.local.batch import Batch, NextLogits
from coe.backends.local.options import Options
from coe.backends.local.prompt import PLAIN_STOPS, encode
from coe.backends.local.reader import Read, Reader
from coe.backends.local.row import Row
from coe.backends.local.sampling import logprob_entry, penalized, pick
from coe.backends.local.ticket import Load, Ticket, Unload
from coe.backends.local.weights import Base, Seat, Weights
from coe.errors import BackendError, BackendRejected, CoEError, ContextTooLong

Inbox = queue.SimpleQueue[Ticket | Load | Unload | Read | None]
"""What the thread is asked for, and what was read for it; None ends it."""


class Loop:
    """The state of the thread. Nothing here is touched by any other."""

    def __init__(self, inbox: Inbox, weights: Weights, options: Options) -> None:
        self._inbox = inbox
        self._weights = weights
        self._options = options
        self._reader = Reader(weights, inbox.put, options.threads)
        self._reading: str | None = None
        self._aside: dict[str, list[Ticket | Load]] = {}
        self._wishes: deque[Load | Unload] = deque()
        self._waiting: deque[tuple[Base, Row]] = deque()
        self._batches: list[Batch] = []
        self._next: dict[Row, int] = {}
        self._open = True

    def run(self) -> None:
        """Work until the inbox says None. Calls in flight are then left to the caller."""
        torch.set_num_threads(self._options.threads)
        with torch.inference_mode():
            while self._open:
                self._take()
                self._release()
                self._admit()
                for batch in [batch for batch in self._batches if batch.rows]:
                    self._advance(batch)
        self._reader.close()

    # ------------------------------------------------------------------ 1. inbox

    def _take(self) -> None:
        """Take at most one batch of tickets a turn, so that a crowd never stalls who is served."""
        for place in range(self._options.max_batch):
            try:
                asked = self._inbox.get(block=not (place or self._busy))
            except queue.Empty:
                break
            if asked is None:
                self._open = False
                return
            if isinstance(asked, Read):
                self._settle(asked)
            elif isinstance(asked, Load | Unload):
                self._wishes.append(asked)
            elif not asked.closed:
                self._seat(asked)
        while self._can_fulfil:
            self._fulfil(self._wishes.popleft())
        self._read_on()

    @property
    def _busy(self) -> bool:
        return bool(self._batches or self._waiting or self._can_fulfil)

    @property
    def _can_fulfil(self) -> bool:
        """Whether the first wish can be seen to: nothing leaves while something is read for it."""
        return bool(self._wishes) and (self._reading is None or isinstance(self._wishes[0], Load))

    def _read_on(self) -> None:
        """Have the next expert read: one that a call waits for before those that may be asked."""
        if self._reading is None and self._aside:
            waited_for = [
                expert
                for expert, asking in self._aside.items()
                if any(isinstance(one, Ticket) and not one.closed for one in asking)
            ]
            self._reading = next(iter(waited_for or self._aside))
            self._reader.ask(self._reading)

    def _settle(self, read: Read) -> None:
        self._reading = None
        error = read.found if isinstance(read.found, CoEError) else None
        if not isinstance(read.found, CoEError):
            try:
                self._weights.settle(read.expert, read.found)
            except CoEError as refused:
                error = refused
        if error is not None:
            self._weights.failures[read.expert] = error
        for one in self._aside.pop(read.expert, ()):
            if error is not None:
                one.fail(error)
            elif isinstance(one, Load):
                one.done(None)
            elif not one.closed:
                self._seat(one)

    def _fulfil(self, wish: Load | Unload) -> None:
        try:
            if isinstance(wish, Unload):
                self._unload(wish)
            elif self._weights.seat(wish.expert) is None:
                self._aside.setdefault(wish.expert, []).append(wish)
                return
        except CoEError as error:
            wish.done(error)
        else:
            wish.done(None)

    def _unload(self, wish: Unload) -> None:
        expert = wish.expert
        rows = [row for batch in self._batches for row in batch.rows]
        busy = {row.ticket.expert for row in rows if not row.ticket.closed}
        working = sorted(busy & self._weights.leavers(expert))
        if working:
            raise BackendRejected(
                f"expert {expert!r} is not unloaded: {', '.join(working)} is at work",
                backend_status=409,
            )
        self._release()  # rows of callers that have left hold on to what they used
        if not wish.park:
            self._weights.unload(expert)
            return
        try:
            self._weights.park(expert)
        except CoEError:
            raise
        except Exception as error:  # host memory is full, say; it is where it was
            raise _broken(error) from error

    def _seat(self, ticket: Ticket) -> None:
        """Turn a ticket into waiting rows, one per choice."""
        try:
            seat = self._weights.seat(ticket.expert)
            if seat is None:
                self._aside.setdefault(ticket.expert, []).append(ticket)
                return
            rows = _rows(ticket, seat)
        except CoEError as error:
            ticket.fail(error)
        except Exception as error:  # noqa: BLE001 - tokenizers and templates are others' programs
            ticket.fail(_broken(error))
        else:
            self._waiting.extend((seat.base, row) for row in rows)

    # ------------------------------------------------------------------ 2. callers that left

    def _release(self) -> None:
        for batch in self._batches:
            self._keep(batch, [not row.ticket.closed for row in batch.rows])
        self._batches = [batch for batch in self._batches if batch.rows]

    def _keep(self, batch: Batch, wanted: Sequence[bool]) -> None:
        for row, stays in zip(batch.rows, wanted, strict=True):
            if not stays:
                self._next.pop(row, None)
        batch.keep([place for place, stays in enumerate(wanted) if stays])

    # ------------------------------------------------------------------ 3. prompts

    def _admit(self) -> None:
        room = self._options.max_batch - sum(len(batch.rows) for batch in self._batches)
        admitted: dict[int, list[Row]] = {}
        bases: dict[int, Base] = {}
        while self._waiting and room > 0:
            base, row = self._waiting.popleft()
            if not row.ticket.closed:
                bases[id(base)] = base
                admitted.setdefault(id(base), []).append(row)
                room -= 1
        for key, rows in admitted.items():
            for group in _groups(rows, mixable=bases[key].mixable):
                self._start(Batch(bases[key], group))

    def _start(self, batch: Batch) -> None:
        if not self._advance(batch, prefill=True):
            return
        for running in self._batches:
            if running.base is batch.base and batch.base.mixable:
                try:
                    running.absorb(batch)
                except Exception as error:  # noqa: BLE001 - out of memory: both are of no use now
                    self._fail(running, error)
                return
        self._batches.append(batch)

    # ------------------------------------------------------------------ 4. steps

    def _advance(self, batch: Batch, *, prefill: bool = False) -> bool:
        """Take one token of each row; return whether any row goes on."""
        try:
            if prefill:
                logits = batch.prefill()
            else:
                logits = batch.step([self._next[row] for row in batch.rows])
            ended = self._accept(batch.rows, logits)
            self._keep(batch, [not end for end in ended])
        except Exception as error:  # noqa: BLE001 - out of memory, a broken model: these rows fail
            self._fail(batch, error)
        if not batch.rows and batch in self._batches:
            self._batches.remove(batch)
        return bool(batch.rows)

    def _fail(self, batch: Batch, error: Exception) -> None:
        for row in batch.rows:
            row.ticket.fail(_broken(error))
            self._next.pop(row, None)
        batch.rows = []

    def _accept(self, rows: Sequence[Row], logits: NextLogits) -> list[bool]:
        likeliest = logits.argmax(dim=-1).tolist()
        ended = []
        for place, row in enumerate(rows):
            token = likeliest[place]
            if not row.is_greedy:
                scores = penalized(logits[place], row.sampling, row.counts)
                token = pick(scores, row.sampling, row.draw())
            top = row.ticket.request.top_logprobs
            note = None if top is None else logprob_entry(logits[place], token, top, row.decode)
            ended.append(row.accept(token, note))
            self._next[row] = token
        return ended


def _rows(ticket: Ticket, seat: Seat) -> list[Row]:
    request, base = ticket.request, seat.base
    prompt = encode(seat.tokenizer, request.messages)
    limit = request.max_tokens or base.max_new_tokens
    room = limit if seat.context is None else seat.context - len(prompt)
    if room < 1:
        raise ContextTooLong(
            f"the prompt has {len(prompt)} tokens; expert {ticket.expert!r} has a context of "
            f"{seat.context}, answer included",
            param="messages",
        )
    ticket.prompt_tokens = len(prompt)
    ticket.fingerprint = seat.fingerprint
    has_template = bool(seat.tokenizer.chat_template)
    tokenizer = seat.tokenizer

    def decode(tokens: Sequence[int]) -> str:
        text: str = tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    return [
        Row(
            ticket=ticket,
            choice=choice,
            prompt=prompt,
            slot=seat.slot,
            sampling=request.sampling(base.defaults),
            limit=min(limit, room),
            ends=base.ends,
            stops=request.stop if has_template else (*request.stop, *PLAIN_STOPS),
            decode=decode,
        )
        for choice in range(request.n)
    ]


def _groups(rows: Sequence[Row], *, mixable: bool) -> list[list[Row]]:
    """Split rows into prefill batches in which padding never more than doubles the work."""
    if not mixable:
        return [[row] for row in rows]
    groups: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: len(row.prompt)):
        if groups and len(row.prompt) <= 2 * len(groups[-1][0].prompt):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _broken(error: Exception) -> BackendError:
    reason = " ".join(str(error).split())[:300]
    return BackendError(f"the embedded engine failed: {type(error).__name__}: {reason}")
