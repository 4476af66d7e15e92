"""What an evaluation found, as frozen values. A report shows them; nothing here computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coe.types import Evidence
from routers.metrics import Counts, Rates, Reliability, RiskCoverage
from routers.suggestions import Suggestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How good a set of choices is.

    Attributes:
        accuracy: share of all rows that are right; NONE is right for a row outside.
        inside_accuracy: the same of the rows inside.
        macro_f1: mean F1 of the categories that have rows.
        rates: of each category.
        confusion: shape (n_categories + 1, n_categories + 1), see `metrics.confusion`.
    """

    accuracy: float
    inside_accuracy: float
    macro_f1: float
    rates: Rates
    confusion: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What became of the rows under the composition's thresholds; counts.

    Attributes:
        right: inside, and given their category.
        mistaken: inside, and given another.
        refused: inside, and given none.
        let_in: outside, and given a category.
        kept_out: outside, and given none.
    """

    right: int
    mistaken: int
    refused: int
    let_in: int
    kept_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfScope:
    """How well the best category's score tells inside from outside.

    Attributes:
        auroc: see `metrics.auroc`.
        fpr: share of the outside that is accepted when 95 % of the inside is.
        recall: share of it that is refused then.
        threshold: one for all categories, at which that is so.
        joint_accuracy: share of all rows that are right at that threshold.
    """

    auroc: float
    fpr: float
    recall: float
    threshold: float
    joint_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Whether probabilities mean what they say; NaN where the scores are no probabilities.

    Attributes:
        ece: of the best category on the rows inside.
        ece_all: the same on all rows; for one outside every category is wrong.
        brier: of the whole row, "none of these" being what it lacks to 1; all rows.
        nll: the same, in nats.
        diagram: behind `ece`.
    """

    ece: float
    ece_all: float
    brier: float
    nll: float
    diagram: Reliability


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A row that went wrong under the composition's thresholds.

    Attributes:
        category: where it belongs; None for outside.
        chosen: what it was given; None for nothing.
        best: the best category, and `probability` its score.
        evidence: what spoke for it; empty where the router says nothing, or it was not asked.
    """

    text: str
    category: str | None
    chosen: str | None
    best: str
    probability: float
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Choices on texts that say the same in another way.

    Attributes:
        change: what was done to the texts.
        texts: how many were tried.
        changed: how many of them became another text.
        best_flips: how many got another best category.
        choice_flips: how many were given another category, or one instead of none, or none.
    """

    change: str
    texts: int
    changed: int
    best_flips: int
    choice_flips: int

    @property
    def unchanged_share(self) -> float:
        """Share of the tried texts whose choice stayed, in [0, 1]."""
        return 1.0 - self.choice_flips / self.texts if self.texts else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds from a text that was never seen to its scores, one by one in one thread."""

    texts: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was found.

    Attributes:
        rows_digest: of the file that the rows come from; empty where they come from none.
        thresholds: shape (n_categories,), as the composition has them.
        best: the best category of every row inside (rows outside do not count).
        decided: what the composition chooses, all rows.
        out_of_scope: None where there is no row outside, or none inside.
        risk_coverage: of the best category, all rows; outside every category is wrong.
        stages: share of the rows that each stage of the router decided.
        wrong: the surest first.
        suggestions: wrong rows that would help most as utterances, the most helpful first.
    """

    router: str
    categories: tuple[str, ...]
    is_calibrated: bool
    rows: int
    inside: int
    outside: int
    rows_digest: str
    thresholds: tuple[float, ...]
    margin: float
    best: Choices
    decided: Choices
    outcomes: Outcomes
    out_of_scope: OutOfScope | None
    calibration: Calibration
    risk_coverage: RiskCoverage
    aurc: float
    stages: Mapping[str, float]
    wrong: tuple[Mistake, ...]
    suggestions: tuple[Suggestion, ...]
    stability: tuple[Stability, ...]
    latency: Latency
