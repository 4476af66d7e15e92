"""From a router's scores to a decision: ranking, threshold, margin, abstention, session. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt

from coe.types import Decision, Embedding, Evidence, RankedCategory, Reason


def decide(  # noqa: PLR0913 - the two rules (threshold, margin) and what they are applied to
    categories: Sequence[str],
    probabilities: Sequence[float],
    *,
    thresholds: Mapping[str, float],
    default_threshold: float,
    margin: float,
    calibrated: bool,
    router: str,
    evidence: tuple[Evidence, ...] = (),
    embedding: Embedding | None = None,
) -> Decision:
    """Choose the most probable category, or abstain.

    1. Rank by probability; equal probabilities keep the order of the composition.
    2. Under the category's threshold: abstain, `below-threshold`.
    3. Less than `margin` above the runner-up: abstain, `ambiguous`.
    4. Otherwise: `matched`.

    Args:
        categories: names, in the router's order.
        probabilities: one for each category, in [0, 1].
        thresholds: least probability of single categories; the others use `default_threshold`.
        default_threshold: in [0, 1].
        margin: least gap between the best two, in [0, 1].
        calibrated: whether the probabilities are calibrated.
        router: the stage that decided.
        evidence: what the stage saw, passed through.
        embedding: of the text, passed through.
    """
    order = sorted(range(len(categories)), key=lambda i: -probabilities[i])  # 1
    ranked = tuple([RankedCategory(categories[i], float(probabilities[i])) for i in order])
    category: str | None = None
    reason: Reason = "no-router"
    if ranked:
        best = ranked[0]
        runner_up = ranked[1].probability if len(ranked) > 1 else 0.0
        if best.probability < thresholds.get(best.name, default_threshold):  # 2
            reason = "below-threshold"
        elif best.probability - runner_up < margin:  # 3
            reason = "ambiguous"
        else:  # 4
            category, reason = best.name, "matched"
    return Decision(
        ranked=ranked,
        category=category,
        reason=reason,
        calibrated=calibrated,
        router=router,
        evidence=evidence,
        embedding=embedding,
    )


# So that one text's zero is not the other's veto. A category that one text excludes and the other
# is sure of ends near sqrt(1e-3) to 1.
_LEAST = 1e-3
_PRIOR_ODDS = 2.0


def pool(turn: Sequence[float], window: Sequence[float], *, calibrated: bool) -> list[float]:
    """Return one distribution from those of a turn alone and of the window around it.

    Their geometric mean, "none of these" included: a category must be plausible in both. The turn
    alone knows a change of topic, the window knows what "and the other one?" means. Raw scores may
    be negative or have any sum: of these it is the arithmetic mean.

    Args:
        turn: probabilities of the last user turn, or raw scores.
        window: those of the window, in the same order.
        calibrated: whether they are probabilities.

    Reference: the logarithmic opinion pool with equal weights; Genest and Zidek 1986, Combining
    Probability Distributions, Statistical Science 1(1), section 3. We differ in the floor of 1e-3
    under both.
    """
    if not calibrated:
        return [(a + b) / 2 for a, b in zip(turn, window, strict=True)]
    pooled = [sqrt((a + _LEAST) * (b + _LEAST)) for a, b in zip(turn, window, strict=True)]
    none = sqrt((_rest(turn) + _LEAST) * (_rest(window) + _LEAST))
    total = sum(pooled) + none
    return [value / total for value in pooled]


def follow(alone: Decision, previous: str, *, margin: float, calibrated: bool) -> Decision:
    """Return the decision of a conversation whose last one was `previous`.

    1. The router alone says the same, or does not know `previous`: its decision stands.
    2. It abstained or failed: `previous` stays, `session`. A follow-up says little by itself.
    3. It chose another category: with the last decision as a prior (odds of 2 for `previous`),
       the other one leads by `margin` or more: its decision stands.
    4. Otherwise `previous` stays, `session`.

    Args:
        alone: the router's decision without the session.
        previous: the category of the last decision.
        margin: least lead, the cost of the switch included.
        calibrated: whether the ranked values are probabilities; a prior means nothing to others.
    """
    scores = {row.name: row.probability for row in alone.ranked}
    if alone.category == previous or (scores and previous not in scores):  # 1
        return alone
    if alone.category is not None:
        odds = _PRIOR_ODDS if calibrated else 1.0
        weight = 1 + (odds - 1) * scores[previous]  # the others, and none of these, keep theirs
        lead = (scores[alone.category] - odds * scores[previous]) / weight
        if lead >= margin:  # 3
            return alone
    return replace(alone, category=previous, reason="session", detail="")  # 2, 4


def _rest(probabilities: Sequence[float]) -> float:
    """Return the probability of "none of these"."""
    return max(0.0, 1.0 - sum(probabilities))
