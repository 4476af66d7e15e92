"""Who sits on a panel for one request: the best of those that may, or those that add most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coe.composition.values import Panel
    from coe.panels.rates import Rates

UNKNOWN = 0.5
"""How often an expert is right of whom nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An expert that may answer the request.

    Attributes:
        expert: its name.
        backend: where it runs.
        quality: the score that a fitted map expects of it here, in [0, 1]; None without a map.
    """

    expert: str
    backend: str
    quality: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recruits:
    """The members of a panel for one request.

    Attributes:
        members: best first, none twice.
        weights: how often each is expected to be right, in [0, 1]; as many.
        detail: why these, and why so many.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]
    detail: str = ""


def recruit(
    panel: Panel,
    candidates: Sequence[Candidate],
    *,
    rates: Rates | None = None,  # noqa: ARG001
    probability: float | None = None,  # noqa: ARG001
    category: str | None = None,  # noqa: ARG001
) -> Recruits:
    """Return who drafts the answer.

    1. A panel that lists its members has those of them that may answer, in its order.
    2. Otherwise they are the first of the ranking.
    3. With `distinct_backends`, who runs where one before it runs is passed over.

    Args:
        panel: what the composition says of it.
        candidates: who may answer, best first; none twice.
        rates: how often experts are right, alone and where others are wrong; None where nobody
            measured that.
        probability: of the category, in [0, 1]; None where the router gives none.
        category: of the request; None where there is none.
    """
    seats = (
        _apart(_ordered(panel, candidates))
        if panel.distinct_backends
        else (_ordered(panel, candidates))
    )
    most = len(panel.experts) or panel.top
    chosen = seats[:most]
    return Recruits(
        members=tuple(seat.expert for seat in chosen),
        weights=tuple(_weight(seat) for seat in chosen),
        detail=_detail(panel, len(chosen), len(seats)),
    )


def _ordered(panel: Panel, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    if not panel.experts:
        return candidates
    known = {candidate.expert: candidate for candidate in candidates}
    return [known[name] for name in panel.experts if name in known]


def _apart(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Return the first candidate of each backend."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.backend, candidate)
    return list(first.values())


def _weight(candidate: Candidate) -> float:
    return UNKNOWN if candidate.quality is None else candidate.quality


def _detail(panel: Panel, taken: int, there: int) -> str:
    if panel.experts:
        return f"{taken} of the {len(panel.experts)} that are listed"
    return f"the first {taken} of {there}"
