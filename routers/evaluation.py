"""What a router gets right, how sure it is of what, and what would help.

`evaluate` reads any router of `coe.protocols` and labelled texts. A text "inside" belongs to one of
the router's categories, one "outside" to none. Two things are measured beside each other: the best
category of every text (what the router knows), and what the composition chooses with its thresholds
and its margin (what the gateway does).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from coe.tools import RouterAtWork
from routers import metrics
from routers.encoders.hashed import HashedEncoder
from routers.findings import (
    Calibration,
    Choices,
    Evaluation,
    Latency,
    Mistake,
    Outcomes,
    OutOfScope,
    Stability,
)
from routers.metrics import NONE
from routers.perturbation import CHANGES, typing_noise
from routers.rows import Row
from routers.scoring import Columns, Floats, Scorer, choose, thresholds_of
from routers.suggestions import Suggestion, suggest

ACCEPTANCE = 0.95
MOST_PERTURBED = 500  # texts that are typed again in other ways, each way
TIMED = 100  # texts that are scored one by one against the clock
MOST_EXPLAINED = 500  # wrong texts whose evidence is asked for


@dataclass(frozen=True, slots=True)
class _Scored:
    """The rows as arrays of shape (n,), and their scores, shape (n, n_categories)."""

    labels: Columns
    values: Floats
    best: Columns
    confidence: Floats
    chosen: Columns

    @property
    def is_inside(self) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = self.labels != NONE
        return inside


def evaluate(
    work: RouterAtWork,
    rows: Sequence[Row],
    scorer: Scorer,
    *,
    rows_digest: str = "",
    clock: Callable[[], float] = perf_counter,
) -> Evaluation:
    """Measure a router on rows.

    Args:
        work: the router, and how its composition chooses.
        rows: at least one; their categories are the router's.
        scorer: of the same router.
        rows_digest: see `Evaluation`.
        clock: seconds, for the latency alone.

    Raises:
        RouterUnavailable: what the router stands on does not answer.
    """
    names = work.router.categories
    thresholds = thresholds_of(work)
    texts = [row.text for row in rows]
    values = scorer.values(texts, "scoring the rows")
    places = {name: column for column, name in enumerate(names)} | {None: NONE}
    labels = np.array([places[row.category] for row in rows], dtype=np.intp)
    scored = _Scored(labels, values, *choose(values, thresholds, work.margin))
    inside = scored.is_inside
    return Evaluation(
        router=work.router.name,
        categories=names,
        is_calibrated=work.router.calibrated,
        rows=len(rows),
        inside=int(inside.sum()),
        outside=int((~inside).sum()),
        rows_digest=rows_digest,
        thresholds=tuple(thresholds.tolist()),
        margin=work.margin,
        best=_choices(labels[inside], scored.best[inside], len(names)),
        decided=_choices(labels, scored.chosen, len(names)),
        outcomes=outcomes(labels, scored.chosen),
        out_of_scope=_out_of_scope(scored),
        calibration=_calibration(scored),
        risk_coverage=metrics.risk_coverage(scored.confidence, scored.best == labels),
        aurc=metrics.aurc(scored.confidence, scored.best == labels),
        stages=_stages(work, texts),
        wrong=_wrong(work, texts, scored),
        suggestions=_suggestions(work, texts, scored),
        stability=_stability(texts, scored, scorer, thresholds, work.margin),
        latency=_latency(work, texts, clock),
    )


def outcomes(labels: Columns, chosen: Columns) -> Outcomes:
    """Return what became of rows, given their labels and what was chosen; shapes (n,)."""
    inside, is_chosen, is_right = labels != NONE, chosen != NONE, chosen == labels
    return Outcomes(
        right=int((inside & is_right).sum()),
        mistaken=int((inside & is_chosen & ~is_right).sum()),
        refused=int((inside & ~is_chosen).sum()),
        let_in=int((~inside & is_chosen).sum()),
        kept_out=int((~inside & ~is_chosen).sum()),
    )


def _choices(labels: Columns, chosen: Columns, categories: int) -> Choices:
    confusion = metrics.confusion(labels, chosen, categories=categories)
    inside = labels != NONE
    return Choices(
        accuracy=metrics.accuracy(labels, chosen),
        inside_accuracy=metrics.accuracy(labels[inside], chosen[inside]),
        macro_f1=metrics.macro_f1(confusion),
        rates=metrics.rates(confusion),
        confusion=confusion,
    )


def _out_of_scope(scored: _Scored) -> OutOfScope | None:
    inside, outside = scored.confidence[scored.is_inside], scored.confidence[~scored.is_inside]
    if not len(inside) or not len(outside):
        return None
    threshold = metrics.threshold_at_acceptance(inside, ACCEPTANCE)
    fpr = metrics.fpr_at_recall(inside, outside, recall=ACCEPTANCE)
    return OutOfScope(
        auroc=metrics.auroc(inside, outside),
        fpr=fpr,
        recall=1.0 - fpr,
        threshold=threshold,
        joint_accuracy=metrics.joint_accuracy(
            scored.labels, scored.best, scored.confidence, threshold=threshold
        ),
    )


def _calibration(scored: _Scored) -> Calibration:
    inside, is_right = scored.is_inside, scored.best == scored.labels
    sums = scored.values.sum(axis=1)
    if scored.values.min() < 0.0 or sums.max() > 1.0 + 1e-3:  # cosines, margins, votes
        nothing = metrics.reliability([], [])
        return Calibration(ece=np.nan, ece_all=np.nan, brier=np.nan, nll=np.nan, diagram=nothing)
    probabilities = metrics.with_none(scored.values)
    return Calibration(
        ece=metrics.ece(scored.confidence[inside], is_right[inside]),
        ece_all=metrics.ece(scored.confidence, is_right),
        brier=metrics.brier(probabilities, scored.labels),
        nll=metrics.nll(probabilities, scored.labels),
        diagram=metrics.reliability(scored.confidence[inside], is_right[inside]),
    )


def _stages(work: RouterAtWork, texts: Sequence[str]) -> dict[str, float]:
    """Return who decides, on the same sample of texts that is perturbed: it costs scoring again."""
    sample = _sample(texts)
    stages = work.router.score([texts[place] for place in sample]).stages
    counts = Counter(stages or [work.router.name] * len(sample))
    return {stage: count / len(sample) for stage, count in counts.most_common()}


def _wrong(work: RouterAtWork, texts: Sequence[str], scored: _Scored) -> tuple[Mistake, ...]:
    names = (*work.router.categories, None)  # NONE is -1: the last
    places = np.flatnonzero(scored.chosen != scored.labels)
    places = places[np.argsort(-scored.confidence[places], kind="stable")]
    wrong: list[int] = places.tolist()
    explained = wrong[:MOST_EXPLAINED]
    evidence = work.router.score([texts[place] for place in explained]).evidence
    return tuple(
        Mistake(
            text=texts[place],
            category=names[scored.labels[place]],
            chosen=names[scored.chosen[place]],
            best=str(names[scored.best[place]]),
            probability=float(scored.confidence[place]),
            evidence=evidence[rank] if rank < len(evidence) else (),
        )
        for rank, place in enumerate(wrong)
    )


def _suggestions(
    work: RouterAtWork, texts: Sequence[str], scored: _Scored
) -> tuple[Suggestion, ...]:
    failures: dict[str, list[str]] = {}
    for place in np.flatnonzero(scored.is_inside & (scored.chosen != scored.labels)).tolist():
        category = work.router.categories[scored.labels[place]]
        failures.setdefault(category, []).append(texts[place])
    # A router without an encoder (rules, a model of its own) is helped by spelling at least.
    encoders = tuple(work.encoders.values()) or (HashedEncoder(name="hashed"),)
    return suggest(failures, work.categories, encoders[-1])


def _stability(
    texts: Sequence[str], scored: _Scored, scorer: Scorer, thresholds: Floats, margin: float
) -> tuple[Stability, ...]:
    places = _sample(texts)
    found = []
    for name, change in CHANGES.items():
        other = [change(texts[place]) for place in places]
        values = scorer.values(other, f"again, with {name}")
        best, _, chosen = choose(values, thresholds, margin)
        found.append(
            Stability(
                change=name,
                texts=len(places),
                changed=sum(a != texts[b] for a, b in zip(other, places, strict=True)),
                best_flips=int((best != scored.best[places]).sum()),
                choice_flips=int((chosen != scored.chosen[places]).sum()),
            )
        )
    return tuple(found)


def _latency(work: RouterAtWork, texts: Sequence[str], clock: Callable[[], float]) -> Latency:
    # Typed with other slips than those above, and a mark for texts without any: no cache has them.
    fresh = [f"{typing_noise(texts[place], seed=1)} " for place in _sample(texts)[:TIMED]]
    took = []
    for text in fresh:
        started = clock()
        work.router.score([text])
        took.append((clock() - started) * 1000.0)
    p50, p95, p99 = np.percentile(took, (50, 95, 99))
    return Latency(texts=len(took), p50_ms=float(p50), p95_ms=float(p95), p99_ms=float(p99))


def _sample(texts: Sequence[str]) -> list[int]:
    """Return up to MOST_PERTURBED places, spread evenly over the rows."""
    step = max(1, -(-len(texts) // MOST_PERTURBED))
    return list(range(0, len(texts), step))
