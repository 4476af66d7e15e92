"""What is to be asked -> which expert is asked when. Pure.

Reference: Symbolic Mixture-of-Experts (arXiv 2503.05641) groups all pairs of question and expert by
expert and loads each expert once. We go on with what is in memory, and keep the adapters of one
base side by side, since going from one to another is no swap.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from coe.stores.records import Group

Visit = tuple[Group, ...]
"""Groups of one base: their calls may be in flight together."""

Lane = tuple[Visit, ...]
"""The visits of one backend, one after the other: the last call of one ends before the next."""


def lanes(groups: Iterable[Group], resident: Collection[str] = ()) -> tuple[Lane, ...]:
    """Return what is run: a lane for each backend, with each expert in it once.

    Lanes may be run side by side, as backends share no memory. Within one:

    1. The base of which most is in memory comes first, and of its experts those in memory.
    2. Then the one with most calls left: an end in small steps is easier to foresee.
    3. Names break ties, so that the same lines always make the same plan.

    Args:
        groups: those with nothing left are skipped.
        resident: experts in memory, as far as that is known.
    """
    here = frozenset(resident)
    by_backend: dict[str, dict[str, list[Group]]] = {}
    for group in groups:
        if group.left > 0:
            by_backend.setdefault(group.backend, {}).setdefault(group.base, []).append(group)
    return tuple(_lane(by_backend[name].values(), here) for name in sorted(by_backend))


def _lane(bases: Iterable[list[Group]], resident: frozenset[str]) -> Lane:
    visits = [tuple(sorted(groups, key=lambda row: _rank(row, resident))) for groups in bases]
    visits.sort(
        key=lambda visit: (
            -sum(group.expert in resident for group in visit),
            -sum(group.left for group in visit),
            visit[0].base,
        )
    )
    return tuple(visits)


def _rank(group: Group, resident: frozenset[str]) -> tuple[bool, int, str]:
    return (group.expert not in resident, -group.left, group.expert)


def last_seen(groups: Sequence[Group]) -> tuple[str, ...]:
    """Return the expert of each backend that answered last; it is likely to be in memory still.

    Args:
        groups: the one that worked last at the end.
    """
    last = {group.backend: group.expert for group in groups if group.done}
    return tuple(last.values())
