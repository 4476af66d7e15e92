"""How often a line is tried, and how long it waits in between. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from coe.errors import BackendRejected, CoEError

# An expert elsewhere may do better (so these are `retryable`), the same one later will not.
_HOPELESS = frozenset({401, 403, 404})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a line that failed is tried again.

    Attributes:
        tries: at most so many in all.
        first_s: the first pause; each later one is twice as long.
        longest_s: the longest pause that we choose; a server may ask for more.
    """

    tries: int = 5
    first_s: float = 1.0
    longest_s: float = 60.0

    def pause_s(self, error: CoEError, tried: int, chance: float) -> float | None:
        """Return how long to wait before the next try; None where there is to be none.

        Args:
            error: what the last try failed of.
            tried: tries so far.
            chance: drawn from [0, 1): lines that failed together do not come back together.
        """
        if tried >= self.tries or not error.retryable:
            return None
        if isinstance(error, BackendRejected) and error.backend_status in _HOPELESS:
            return None
        own_s = min(self.longest_s, self.first_s * 2.0 ** (tried - 1)) * (0.5 + chance / 2)
        return max(own_s, error.retry_after_s or 0.0)
