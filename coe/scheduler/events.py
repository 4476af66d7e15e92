"""What the scheduler is told, and what it answers: the alphabet of the state machine.

Times are seconds of one monotonic clock, which only the caller reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Lane = Literal["interactive", "bulk"]
Source = Literal["host", "disk"]
Refusal = Literal[
    "queue-full",  # 429: too many calls wait
    "key-full",  # 429: too many calls of that key wait
    "deadline",  # 504: the call's own deadline passed while it waited
    "late",  # 504: `max_wait_s` passed and its expert is not the next one
    "load-failed",  # 503: the expert could not be brought into memory
    "never-fits",  # 503: the expert is larger than what the pool can ever give it
]

LANES: tuple[Lane, Lane] = ("interactive", "bulk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A call that asks for a slot.

    Attributes:
        id: unique among the calls that wait or run.
        key: whose call it is, for fair shares; empty is a key like any other.
        team: that the key belongs to; empty for none.
        deadline_s: when its answer must have begun; None where nobody minds.
    """

    id: str
    expert: str
    key: str = ""
    team: str = ""
    lane: Lane = "interactive"
    deadline_s: float | None = None


# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Arrive:
    """A call wants a slot."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody wants the call any more. One that runs is reported `Finished` when it has stopped."""

    id: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A started call ended, well or not; its slot is free."""

    id: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load that was asked for is done.

    Attributes:
        memory: bytes that the expert was found to take; None where the server does not say.
    """

    expert: str
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A load that was asked for failed or took too long. The expert is not in memory.

    Attributes:
        parked: whether host memory still has it, as far as can be told.
    """

    expert: str
    parked: bool = False


@dataclass(frozen=True, slots=True)
class Unloaded:
    """An unload that was asked for is done. An expert's adapters left with it.

    Attributes:
        parked: whether host memory has its weights now; those of its adapters are gone.
        dropped: who left host memory for it.
    """

    expert: str
    parked: bool = False
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnloadFailed:
    """An unload that was asked for failed: the expert still takes its memory.

    Attributes:
        dropped: who left host memory for it all the same.
    """

    expert: str
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """The expert is no longer in memory though nobody asked for that: its server restarted."""

    expert: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Host memory no longer has what was parked there, though nobody asked for that."""

    expert: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed: `Scheduler.wake_s` was reached."""


Moved = Loaded | LoadFailed | Unloaded | UnloadFailed
Event = Arrive | Cancel | Finished | Moved | Lost | Dropped | Tick

# ---------------------------------------------------------------- actions


@dataclass(frozen=True, slots=True)
class Start:
    """Run the call now; the expert is in memory and has a free slot.

    Attributes:
        waited_s: since it arrived.
        swap_s: how much of that a load of its expert was under way; 0 where it was resident.
    """

    id: str
    expert: str
    waited_s: float
    swap_s: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell the caller no.

    Attributes:
        retry_after_s: when to try again.
    """

    id: str
    reason: Refusal
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """Bring the expert into memory, and report `Loaded` or `LoadFailed`.

    Attributes:
        source: where its weights are. Those in host memory are there until it is loaded.
    """

    expert: str
    source: Source = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why an expert is unloaded.

    Attributes:
        for_expert: who needs the room.
        needs, free: in the room's unit: bytes, or places for adapters.
        waiting: calls that wait for the one that leaves.
        idle_s: since one of its calls last started.
        reload_s: what bringing it back is expected to take.
    """

    for_expert: str
    needs: int
    free: int
    waiting: int
    idle_s: float
    reload_s: float

    def __str__(self) -> str:
        """Return one sentence."""
        queue = f"{self.waiting} calls wait for it" if self.waiting else "nobody waits for it"
        idle = "never used" if math.isinf(self.idle_s) else f"idle for {self.idle_s:.1f} s"
        return (
            f"`{self.for_expert}` needs {self.needs} and {self.free} is free; {queue},"
            f" {idle}, {self.reload_s:.1f} s to bring back"
        )


@dataclass(frozen=True, slots=True)
class Unload:
    """Take the expert, and its adapters, out of memory; report `Unloaded` or `UnloadFailed`.

    Attributes:
        park: whether host memory is to keep its weights. Where that fails it is only unloaded.
        drop: parked experts that make room for it there, first of all. They may not be loaded
            before the report.
    """

    expert: str
    why: Why
    park: bool = False
    drop: tuple[str, ...] = ()


Action = Start | Refuse | Load | Unload
