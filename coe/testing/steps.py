"""What a fake server can do with its connection, one thing after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this much time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class End:
    """End the connection: `reset` (RST), `close` (FIN), or never: `hang`; `keep` keeps it."""

    how: Literal["keep", "reset", "close", "hang"] = "keep"


Step = Send | Wait | End
