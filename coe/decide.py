"""From a router's scores to a decision: ranking, threshold, margin, abstention. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coe.types import Decision, Evidence, RankedCategory, Reason


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
    """
    order = sorted(range(len(categories)), key=lambda i: -probabilities[i])  # 1
    ranked = tuple(
        RankedCategory(name=categories[i], probability=float(probabilities[i])) for i in order
    )
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
    )
