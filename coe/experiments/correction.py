"""Many comparisons at once: one in twenty is an alarm by chance, so each has to say more.

What many looks need is another matter, and these corrections do not give it: a p of a fixed test,
corrected or not, holds for one look. The always-valid p of `sequential` holds for all, and may be
corrected here as any other. Benjamini and Hochberg's procedure asks besides that the comparisons
not be opposed to each other; evidence needs no such thing, and has a procedure of its own.
"""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return each p as adjusted: below alpha, all together raise a false alarm that seldom.

    By rank from the smallest, the greatest of (m - rank + 1) p so far.

    Raises:
        ValueError: a p is not within 0 and 1.

    Reference: Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian
        Journal of Statistics 6.
    """
    order = _ranked(p_values)
    adjusted, most = [0.0] * len(order), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = most
    return tuple(adjusted)


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return each p as adjusted: of those below q, a share of q at most is false on average.

    By rank from the greatest, the smallest of m p / rank so far.

    Raises:
        ValueError: a p is not within 0 and 1.

    Reference: Benjamini, Hochberg (1995), Controlling the false discovery rate, JRSS B 57 (1);
        Benjamini, Yekutieli (2001) for dependent comparisons.
    """
    order = _ranked(p_values)
    adjusted, least = [0.0] * len(order), 1.0
    for rank in range(len(order), 0, -1):
        place = order[rank - 1]
        least = min(least, len(order) * p_values[place] / rank)
        adjusted[place] = least
    return tuple(adjusted)


def e_benjamini_hochberg(evidence: Sequence[float], rate: float = 0.05) -> tuple[bool, ...]:
    """Return which comparisons to believe, by their evidence E: a share of `rate` at most is false.

    Those with the k greatest E, k the last rank with E >= m / (rate k). For any dependence between
    comparisons, and at any look that each of them is stopped at.

    Raises:
        ValueError: an E is negative or NaN, or the rate not within 0 and 1.

    Reference: Wang, Ramdas (2022), False discovery rate control with e-values, JRSS B 84 (3),
        arXiv 2009.02824, definition 1.
    """
    if not all(value >= 0.0 for value in evidence):
        raise ValueError(f"evidence is 0 or more: {list(evidence)}")
    if not 0.0 < rate < 1.0:
        raise ValueError(f"a rate is within 0 and 1, not {rate}")
    m = len(evidence)
    ranked = sorted(evidence, reverse=True)
    least = min(
        (value for rank, value in enumerate(ranked, 1) if value >= m / (rate * rank)),
        default=float("inf"),
    )
    return tuple(value >= least for value in evidence)


def _ranked(p_values: Sequence[float]) -> list[int]:
    if not all(0.0 <= p <= 1.0 for p in p_values):
        raise ValueError(f"a p is within 0 and 1: {list(p_values)}")
    return sorted(range(len(p_values)), key=lambda place: p_values[place])
