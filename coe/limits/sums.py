"""Several processes that count in one place: what each has counted adds up. Pure."""

from __future__ import annotations

from coe.limits.tally import BEYOND, State
from coe.limits.windows import SLIDING


def summed(own: State, before: State | None, kept: State | None) -> State:
    """Return a counter as it is to be kept, with what was counted here since it was last kept.

    Args:
        own: as this process has it.
        before: as it was kept when this process last saw it, which `own` began from; None where it
            was not.
        kept: as it is kept now, with what others have counted meanwhile.

    Example:
        >>> ours, theirs = (State("all", "day", 3, used, 0) for used in (12, 15))
        >>> summed(ours, State("all", "day", 3, 10, 0), theirs).used
        17
    """
    if kept is None or kept.number > own.number + 1:  # a clock was ahead: its time has not come
        return own
    number = max(own.number, kept.number)

    def at(period: int) -> int:
        since = own.at(period) - (0 if before is None else before.at(period))
        return min(max(kept.at(period) + since, 0), BEYOND)

    previous = at(number - 1) if own.period in SLIDING else 0
    return State(own.key, own.period, number, at(number), previous)
