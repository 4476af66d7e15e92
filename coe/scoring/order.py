"""In which order experts are asked: each for all of its prompts, those on one base together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from coe.composition import Composition
from coe.scoring.rows import Row

AT_ONCE = 8
"""Calls in flight on a backend that does not say how many it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One backend's work: its groups are done one after the other, beside those of other backends.

    Attributes:
        groups: experts that may be asked at the same time, since they share a base.
        at_once: calls in flight.
    """

    backend: str
    groups: tuple[tuple[str, ...], ...]
    at_once: int


def lanes(
    composition: Composition, experts: Sequence[str], concurrency: int | None
) -> tuple[Lane, ...]:
    """Return the work by backend; a backend's groups and experts are in the order of the file.

    Args:
        composition: that the experts are of.
        experts: who is asked.
        concurrency: most calls in flight on each backend; its own limit counts, too.
    """
    by_backend: dict[str, dict[str, list[str]]] = {}
    for name in composition.experts:
        if name in experts:
            expert = composition.root(name)  # of a program: where its calls are made
            groups = by_backend.setdefault(expert.backend, {})
            groups.setdefault(expert.base or expert.name, []).append(name)
    return tuple(
        Lane(
            backend=backend,
            groups=tuple(map(tuple, groups.values())),
            at_once=_at_once(composition.backends[backend].concurrency, concurrency),
        )
        for backend, groups in by_backend.items()
    )


def _at_once(own: int | None, wanted: int | None) -> int:
    return min(own or wanted or AT_ONCE, wanted or own or AT_ONCE)


def left(
    rows: Sequence[Row], experts: Sequence[str], done: Mapping[str, Collection[tuple[str, int]]]
) -> dict[str, tuple[Row, ...]]:
    """Return the rows that each expert has not answered yet, by expert.

    Args:
        rows: one for each sample.
        experts: who is asked.
        done: by expert, the digests and samples that are there.
    """
    return {
        name: tuple(row for row in rows if (row.digest, row.sample) not in done[name])
        for name in experts
    }
