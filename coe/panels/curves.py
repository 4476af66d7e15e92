"""From how sure an expert is of its tokens to how often it is right: one curve for each expert."""

from __future__ import annotations

from collections.abc import Iterable

from coe.panels.games import Recording

LEAST = 50
"""Of fewer drafts a curve says more about them than about the expert."""
_DIGITS = 4

Knots = tuple[tuple[float, float], ...]


def curves(recordings: Iterable[Recording]) -> dict[str, Knots]:
    """Return the curve of each expert with log-probabilities enough: knots, both ascending.

    Of the first samples, which are as the expert answers anybody.
    """
    pairs: dict[str, list[tuple[float, float]]] = {}
    for recording in recordings:
        for expert, (first, *_) in recording.samples.items():
            if first.logprob is not None:
                pairs.setdefault(expert, []).append((min(first.logprob, 0.0), first.score))
    return {expert: isotonic(some) for expert, some in pairs.items() if len(some) >= LEAST}


def isotonic(pairs: Iterable[tuple[float, float]]) -> Knots:
    """Return the ascending curve that is nearest to some (x, y): its steps, each by its middle.

    A step of n pairs of which k are right is at (k + 1) / (n + 2), Laplace's rule of succession: a
    step of three right answers is no certainty.

    Args:
        pairs: at least one; y in [0, 1].

    Reference:
        Ayer, M. et al. (1955). An empirical distribution function for sampling with incomplete
        information. Annals of Mathematical Statistics 26 (4): adjacent violators are pooled.
    """
    places: dict[float, list[float]] = {}
    for x, y in sorted(pairs):
        places.setdefault(round(x, _DIGITS), []).append(y)
    blocks: list[tuple[float, float, int]] = []  # sums of x and y, and how many
    for x, values in places.items():
        blocks.append((x * len(values), sum(values), len(values)))
        while len(blocks) > 1 and _violates(blocks[-2], blocks[-1]):
            (x1, y1, n1), (x2, y2, n2) = blocks[-2:]
            blocks[-2:] = [(x1 + x2, y1 + y2, n1 + n2)]
    knots: dict[float, float] = {}
    highest = 0.0
    for x, y, n in blocks:
        highest = max(highest, round((y + 1.0) / (n + 2.0), _DIGITS))
        knots[round(x / n, _DIGITS)] = highest  # of equal places the later stays
    return tuple(knots.items())


def _violates(left: tuple[float, float, int], right: tuple[float, float, int]) -> bool:
    return left[1] * right[2] >= right[1] * left[2]
