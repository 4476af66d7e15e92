"""Who sits on a panel for one request: the best of those that may, or those that add most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coe.composition.values import Panel
    from coe.panels.rates import Rates

UNKNOWN = 0.5
"""How often an expert is right of whom nothing is known."""
VOTE = "vote"
"""The method by which the most common answer wins."""
EDGE = 1e-6
"""A rate is no nearer to 0 or 1, where odds are infinite."""


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
    rates: Rates | None = None,
    probability: float | None = None,
    category: str | None = None,
) -> Recruits:
    """Return who drafts the answer.

    1. A panel that lists its members has those of them that may answer, in its order.
    2. One that recruits, where that was measured, begins with who is most often right on such
       requests. A vote goes on with the next best: who is right where the others are wrong is
       outvoted. Any other goes on with who is most often right where all before it are wrong.
    3. Otherwise they are the first of the ranking.
    4. With `distinct_backends`, who runs where one before it runs is passed over.
    5. With `sure_at` there are as many as it takes until one of them is right with that
       probability, as far as that is known; of a vote the first alone or all, since two that vote
       differently leave it to the first. Never fewer than `least`, nor more than `top` or are
       listed.

    Where a map expects a score of an expert on this very request, that is its rate, and what it
    adds to others moves with it, as far on the scale of log odds.

    Args:
        panel: what the composition says of it.
        candidates: who may answer, best first; none twice.
        rates: how often experts are right, alone and where others are wrong; None where nobody
            measured that.
        probability: of the category, in [0, 1]; None where the router gives none.
        category: of the request; None where there is none.
    """
    most = len(panel.experts) or panel.top
    record = _Record(rates, category, 1.0 if probability is None else probability)
    seats = _listed(panel, candidates) if panel.experts else list(candidates)
    chosen: list[Candidate] = []
    doubt = 1.0
    while seats and len(chosen) < most:
        seat = _next(panel, seats, chosen, record)
        doubt *= 1.0 - record.adds(seat, chosen)
        chosen.append(seat)
        taken = {seat.backend} if panel.distinct_backends else set()
        seats = [other for other in seats if other is not seat and other.backend not in taken]
        if len(chosen) >= panel.least and _is_sure(panel, chosen, doubt, record):
            break
    return Recruits(
        members=tuple(seat.expert for seat in chosen),
        weights=tuple(record.adds(seat, ()) for seat in chosen),
        detail=_detail(panel, chosen, len(candidates), 1.0 - doubt, record),
    )


class _Record:
    """How often experts are right on requests like this one."""

    def __init__(self, rates: Rates | None, category: str | None, probability: float) -> None:
        self._rates, self._category, self._probability = rates, category, probability
        self._alone = self._where(())
        self._left: tuple[tuple[str, ...], Mapping[str, float]] = ((), self._alone)

    def knows(self, candidate: Candidate) -> bool:
        """Whether the expert was measured."""
        return candidate.expert in self._alone

    def adds(self, candidate: Candidate, wrong: Sequence[Candidate]) -> float:
        """Return how often an expert is right where all of these are wrong."""
        rate = self._alone.get(candidate.expert)
        if rate is None:
            return UNKNOWN if candidate.quality is None else candidate.quality
        expected = rate if candidate.quality is None else candidate.quality
        if not wrong:
            return expected
        names = tuple(other.expert for other in wrong)
        if self._left[0] != names:
            self._left = (names, self._where(names))
        left = self._left[1][candidate.expert]
        return _share(_log_odds(left) + _log_odds(expected) - _log_odds(rate))

    def _where(self, wrong: tuple[str, ...]) -> Mapping[str, float]:
        if self._rates is None:
            return {}
        return self._rates.of(self._category, probability=self._probability, wrong=wrong)


def _listed(panel: Panel, candidates: Sequence[Candidate]) -> list[Candidate]:
    known = {candidate.expert: candidate for candidate in candidates}
    return [known[name] for name in panel.experts if name in known]


def _next(
    panel: Panel, seats: Sequence[Candidate], chosen: Sequence[Candidate], record: _Record
) -> Candidate:
    """Return who joins those that are chosen: the first of the best."""
    if panel.experts or panel.choose == "ranked":
        return seats[0]
    measured = [seat for seat in seats if record.knows(seat)]
    wrong = () if panel.method == VOTE else chosen
    return max(measured, key=lambda seat: record.adds(seat, wrong), default=seats[0])


def _is_sure(panel: Panel, chosen: Sequence[Candidate], doubt: float, record: _Record) -> bool:
    """Whether nobody else needs to be asked."""
    if panel.sure_at is None or 1.0 - doubt < panel.sure_at:
        return False
    if len(chosen) == 1:  # a map may know what the rates do not
        return record.knows(chosen[0]) or chosen[0].quality is not None
    return panel.method != VOTE and all(map(record.knows, chosen))


def _detail(
    panel: Panel, chosen: Sequence[Candidate], there: int, coverage: float, record: _Record
) -> str:
    if panel.experts:
        how = f"{len(chosen)} of the {len(panel.experts)} that are listed"
    elif panel.choose == "ranked" or not any(map(record.knows, chosen)):
        how = f"the first {len(chosen)} of {there}"
    else:
        how = f"{len(chosen)} of {there}, by what was measured"
    if not chosen or not all(map(record.knows, chosen)):
        return how
    return f"{how}; one of them is right with probability {coverage:.2f}"


def _log_odds(share: float) -> float:
    kept = min(max(share, EDGE), 1.0 - EDGE)
    return math.log(kept / (1.0 - kept))


def _share(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-log_odds))
