"""The keeper that notes calls of traced requests; see `coe.door`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coe.errors import ConfigError
from coe.telemetry.otlp import is_installed
from coe.telemetry.trace import CURRENT, OUTGOING, Asked
from coe.types import Call

if TYPE_CHECKING:
    from coe.claim import Claim


class CallTracer:
    """Lets every call in, and notes those of requests that are traced."""

    def __init__(self) -> None:
        """Make sure that what is noted can be sent. Raises ConfigError where it cannot."""
        if not is_installed():
            raise ConfigError(
                "`observe.traces` needs OpenTelemetry: pip install 'coe-gateway[otel]'"
            )

    async def admit(self, call: Call, claim: Claim | None) -> Asked | None:
        """See `Keeper.admit`."""
        del claim
        trace = CURRENT.get()
        if trace is None:
            return None
        asked = trace.asked(call)
        OUTGOING.set(trace.header(asked))
        return asked
