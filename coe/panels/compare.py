"""A panel beside what it has to beat, on the same prompts, by category."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.mapping.outcomes import NONE
from coe.panels.fitted import Verdict
from coe.panels.games import Contender, Player, Recording, Scores, self_game
from coe.panels.gate import gain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.panels.games import Game
    from coe.panels.rates import Rates

    Floats = NDArray[np.float64]

LEAST = 10
"""Fewer prompts show nothing of a panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """Who is best on a prompt by rates that it had no part in, and how often it is right."""

    expert: str
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Scores of a panel and of what it has to beat on the same prompts: shape (n,) all.

    Attributes:
        ours: of the panel.
        first: of its first member's draft.
        single: of the best expert, asked once.
        theirs: of as many samples of it as `samples`; None where they were not recorded.
        calls: that the panel made.
        expert: who is best, as most prompts have it.
    """

    category: str
    panel: str
    ours: Floats
    first: Floats
    single: Floats
    theirs: Floats | None
    calls: Floats
    expert: str
    samples: int

    @property
    def is_whole(self) -> bool:
        """Whether there is enough to compare."""
        return len(self.ours) >= LEAST and self.theirs is not None

    @property
    def unnecessary(self) -> float:
        """Of the calls beyond the first, the share that changed nothing."""
        more = self.calls - 1.0
        wasted = float(more[self.first >= self.ours].sum())
        return wasted / float(more.sum()) if more.sum() else 0.0

    def verdict(self, outside: float, seed: int) -> Verdict:
        """Return what is to become of the panel.

        Args:
            outside: the probability on each side of its intervals.
            seed: of the intervals.
        """
        if not len(self.ours):
            why = "not measured: drafts of its members are missing, or somebody has to be asked"
            return Verdict(category=self.category, panel=self.panel, prompts=0, why=why)
        known: dict[str, Any] = {
            "category": self.category,
            "panel": self.panel,
            "prompts": len(self.ours),
            "quality": float(self.ours.mean()),
            "expert": self.expert,
            "single": float(self.single.mean()),
            "samples": self.samples,
            "calls": float(self.calls.mean()),
            "unnecessary": self.unnecessary,
        }
        if self.theirs is None:
            why = f"not measured: {self.samples} samples of `{self.expert}` are missing"
            return Verdict(**known, why=why)
        over_self = gain(self.ours, self.theirs, outside=outside, seed=seed)
        over_single = gain(self.ours, self.single, outside=outside, seed=seed)
        why = _against(self, over_self.low, over_single.low)
        return Verdict(
            **known,
            self_moa=float(self.theirs.mean()),
            over_self=over_self,
            over_single=over_single,
            is_on=not why,
            why=why or "a gain is shown over both",
        )


def _against(row: Compared, over_self: float, over_single: float) -> str:
    """Return what speaks against a panel, of the lower bounds of its gains; empty for nothing."""
    if not row.is_whole:
        return f"fewer than {LEAST} prompts show nothing"
    if over_self <= 0:
        return "no gain is shown over samples of the best expert"
    return "no gain is shown over the best expert" if over_single <= 0 else ""


def compare(
    contender: Contender,
    recordings: Sequence[Recording],
    games: Sequence[Game | None],
    best: Sequence[Best],
    player: Player,
) -> list[Compared]:
    """Return a panel beside the best expert once, and as often as the panel drafts; by category.

    The samples are given to the panel's own aggregator, so that what it asks besides is the same.

    Args:
        contender: the panel.
        recordings: n prompts.
        games: its games on them, n; None where they could not be made.
        best: who is best on them, n.
        player: plays these games and those of the samples.
    """
    scores = player(games)
    grouped: dict[str, list[int]] = {}
    for i, row in enumerate(recordings):
        grouped.setdefault(row.category or NONE, []).append(i)
    samples = {name: _samples(scores, rows) for name, rows in grouped.items()}
    rivals = player(
        [
            self_game(contender, row, one.expert, one.rate, samples[row.category or NONE])
            for row, one in zip(recordings, best, strict=True)
        ]
    )
    found = []
    for name, rows in grouped.items():
        there = [i for i in rows if scores[i] is not None]
        both = [i for i in there if rivals[i] is not None]
        kept = both or there
        found.append(
            Compared(
                category=name,
                panel=contender.panel.name,
                ours=_scores(scores, kept),
                first=_floats(
                    game.seats[0].sample.score for i in kept if (game := games[i]) is not None
                ),
                single=_floats(recordings[i].samples[best[i].expert][0].score for i in kept),
                theirs=_scores(rivals, both) if both else None,
                calls=_floats(s.calls for i in kept if (s := scores[i]) is not None),
                expert=_commonest([best[i].expert for i in rows]),
                samples=samples[name],
            )
        )
    return found


def best_of(recording: Recording, rates: Rates) -> Best:
    """Return who of those that answered is most often right on such prompts."""
    found = rates.of(recording.category, probability=recording.probability)
    name = max(recording.samples, key=lambda expert: found.get(expert, 0.0))
    return Best(expert=name, rate=found.get(name, 0.0))


def _samples(scores: Scores, rows: Sequence[int]) -> int:
    """Return how many samples make as many drafts as the panel does on average, or a little more.

    One at least.
    """
    drafts = [score.drafts for i in rows if (score := scores[i]) is not None]
    return math.ceil(float(np.mean(drafts))) if drafts else 1


def _scores(scores: Scores, rows: Sequence[int]) -> Floats:
    return _floats(score.score for i in rows if (score := scores[i]) is not None)


def _commonest(names: Sequence[str]) -> str:
    return max(sorted(set(names)), key=names.count) if names else ""


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), dtype=np.float64)
