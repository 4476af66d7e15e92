"""What running batches takes: where they are kept, who answers, and how hard it is tried."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from coe.batching.checks import Parse
from coe.batching.patience import Patience
from coe.identity import Identity
from coe.pipeline import Gateway
from coe.stores.batches import FILE, BatchState
from coe.stores.records import Batch
from coe.types import Answer, Query


class Held(AbstractContextManager[Gateway], Protocol):
    """A gateway that stays open while this is entered, though another one may serve by then."""

    gateway: Gateway


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """An endpoint that batches have.

    Attributes:
        parse: makes the query of a request's body and an id; raises InvalidRequest.
        is_known: whether a request may name a model.
        encode: answers what the composition's encoders answer; None where they answer nothing.
    """

    parse: Callable[[dict[str, Any], str], Query]
    is_known: Callable[[Gateway, str], bool]
    encode: Callable[[Gateway, Query], Awaitable[Answer]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is done at once, and how much a batch may ask for.

    Attributes:
        concurrency: lines in flight on each backend, while there are no interactive requests.
        lines: of one batch.
        line_bytes: of one line.
        lease_s: a process that is not heard of for so long has lost its batch to another.
    """

    concurrency: int = 8
    lines: int = 50_000
    line_bytes: int = 8 * 1024 * 1024
    lease_s: float = 15.0
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything that running a batch takes.

    Attributes:
        current: returns the gateway that serves now; it may be another one later.
        kinds: by endpoint, as a batch names it.
        parse: of a line's JSON.
        owner: names this process in leases.
        new_id: makes the id of a call.
        identify: says who asks a batch's requests; raises Unauthorized where their key works no
            more, and StoreUnavailable where it cannot be known yet.
    """

    state: BatchState
    current: Callable[[], Held]
    kinds: Mapping[str, Kind]
    parse: Parse
    owner: str
    new_id: Callable[[], str]
    identify: Callable[[Batch], Identity]
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.time

    @property
    def gateway(self) -> Gateway:
        """The one that serves now."""
        return self.current().gateway


class Shelf:
    """The state of a folder, opened when it is first needed. Safe for several threads.

    A gateway whose clients send no batches never makes the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Store the folder."""
        self._folder = folder
        self._lock = Lock()
        self._state: BatchState | None = None

    def open(self) -> BatchState:
        """Return the state; makes it where there is none. Raises CoEError."""
        with self._lock:
            if self._state is None:
                self._state = BatchState.open(self._folder)
            return self._state

    def found(self) -> BatchState | None:
        """Return the state where there is any, also of another process. Raises CoEError."""
        if self._state is None and not (self._folder / FILE).exists():
            return None
        return self.open()

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            if self._state is not None:
                self._state.close()
                self._state = None
