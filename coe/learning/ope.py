"""What another policy would have been worth, from a log of decisions and their propensities.

A router that never tries anything else leaves no evidence about anything else. So an estimate is
refused where the log has too little of what the other policy would have done.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

Method = Literal["ips", "snips", "dr"]
LEAST_EFFECTIVE = 200.0
LEAST_SHARE = 0.05
MOST_UNSEEN = 0.01
FOLDS = 5
RIDGE = 5.0
"""Answers that an expert's own mean counts for in the model of rewards."""
_SUM_OFF = 1e-6
_Z95 = 1.959963984540054


class TooLittleSupport(ValueError):
    """The log holds too little of what the policy would have done; the text says what and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """n decisions between K experts.

    Attributes:
        x: shape (n, d), features; read by the doubly robust estimate alone.
        chosen: shape (n,), the place of who answered.
        propensities: shape (n, K), what was drawn from; 0 for who was no candidate.
        rewards: shape (n,), of who answered.
    """

    x: Floats
    chosen: Places
    propensities: Floats
    rewards: Floats

    def __post_init__(self) -> None:
        """Refuse a log that cannot be true. Raises ValueError."""
        count = len(self.rewards)
        if self.propensities.ndim != 2 or not (  # noqa: PLR2004
            len(self.x) == len(self.chosen) == len(self.propensities) == count
        ):
            raise ValueError("features, choices, propensities and rewards are of different lengths")
        if not count:
            raise ValueError("the log is empty")
        if not np.isfinite(self.rewards).all():
            raise ValueError("a reward is no number; leave out decisions without feedback")
        if np.abs(self.propensities.sum(axis=1) - 1.0).max() > _SUM_OFF:
            raise ValueError("the propensities of a decision do not sum to 1")
        if not (self.drawn_with > 0).all():
            raise ValueError("somebody answered whose propensity is 0: the log is not true")

    @property
    def drawn_with(self) -> Floats:
        """Return the propensity of who answered, shape (n,)."""
        return np.asarray(self.propensities[np.arange(len(self.chosen)), self.chosen])


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a policy would have been worth per decision.

    Attributes:
        low, high: the 95 % interval.
        effective: decisions of its own that the log is as good as; see `effective_size`.
        count: decisions in the log.
    """

    method: Method
    value: float
    low: float
    high: float
    effective: float
    count: int


def weights(log: Log, target: Floats) -> Floats:
    """Return what each decision counts: pi(a|x) / mu(a|x). Shape (n,).

    They are not clipped, as is often done: with clipped ones an interval is about another policy
    than the one asked about, and covered the truth in 85 % of simulated logs instead of 95 %. The
    bounds on the effective sample keep their variance in check.

    Args:
        log: the decisions.
        target: shape (n, K), the other policy's probabilities; rows sum to 1.

    Raises:
        ValueError: the shapes differ, or a row of the target does not sum to 1.
    """
    if target.shape != log.propensities.shape:
        raise ValueError(f"the policy is of shape {target.shape}, not {log.propensities.shape}")
    if np.abs(target.sum(axis=1) - 1.0).max() > _SUM_OFF or target.min() < 0:
        raise ValueError("the policy's probabilities of a decision do not sum to 1")
    wanted = target[np.arange(len(log.chosen)), log.chosen]
    return np.asarray(wanted / log.drawn_with)


def effective_size(log: Log, target: Floats) -> float:
    """Return how many decisions of the policy's own the log is as good as.

    The lower of Kish's, (sum of w)^2 / sum of w^2, and what it is expected to be: with the weights'
    second moment from all propensities, mean of sum_a pi(a|x)^2 / mu(a|x). Weights that are great
    and rare are missing from most logs, and only the second one knows of them.

    Reference:
        Kish, L. (1965). Survey Sampling. Owen, A. (2013). Monte Carlo theory, methods and examples,
        section 9.3.
    """
    weight = weights(log, target)
    squares = float((weight**2).sum())
    if not squares:
        return 0.0
    is_seen = log.propensities > 0
    safe = np.where(is_seen, log.propensities, 1.0)
    mass = float(np.where(is_seen, target, 0.0).sum(axis=1).mean())
    moment = float(np.where(is_seen, target**2 / safe, 0.0).sum(axis=1).mean())
    return min(float(weight.sum()) ** 2 / squares, len(weight) * mass**2 / moment)


def evaluate(
    log: Log, target: Floats, *, method: Method = "dr", expected: Floats | None = None
) -> Estimate:
    """Return what a policy would have been worth, on average over the log's decisions.

        ips    mean of w r
        snips  sum of w r / sum of w
        dr     mean of sum_a pi(a|x) q(x,a) + w (r - q(x,a_log)), q fitted on other folds

    The interval takes the greater of two estimates of the variance: that of the terms, and what it
    is by the propensities with the mean squared error of each expert's answers. In simulated logs
    it contains the truth in 95 to 97 %.

    Args:
        log: the decisions.
        target: shape (n, K), the policy's probabilities.
        method: doubly robust unless told: the narrowest of the three, as a rule.
        expected: shape (n, K), q where it was fitted before: `fitted_rewards`.

    Raises:
        TooLittleSupport: the effective sample is below `LEAST_EFFECTIVE` or `LEAST_SHARE` of the
            log, or more than `MOST_UNSEEN` of what the policy does has propensity 0.
        ValueError: the policy does not fit the log.

    Reference:
        Horvitz, D. and Thompson, D. (1952). JASA 47 (260). Swaminathan, A. and Joachims, T. (2015).
        The self-normalized estimator for counterfactual learning. NeurIPS. Dudik, M., Langford, J.
        and Li, L. (2011). Doubly robust policy evaluation and learning. ICML; cross-fitting as in
        Chernozhukov, V. et al. (2018), Econometrics Journal 21 (1).
    """
    effective = _supported(log, target)
    base, error = _parts(log, target, method, expected)
    terms = base + weights(log, target) * error
    known = _variance(log, target, base, error)
    return _estimate(terms, effective, method, known)


def gain(log: Log, target: Floats) -> Estimate:
    """Return by how much a policy would have been better than the log; doubly robust, paired.

    Raises:
        TooLittleSupport, ValueError: as `evaluate`.
    """
    effective = _supported(log, target)
    base, error = _parts(log, target, "dr", None)
    terms = base + weights(log, target) * error - log.rewards
    return _estimate(terms, effective, "dr", 0.0)


def _supported(log: Log, target: Floats) -> float:
    """Return the effective sample. Raises TooLittleSupport where it is too small."""
    effective, count = effective_size(log, target), len(log.rewards)
    unseen = float(np.where(log.propensities > 0, 0.0, target).sum(axis=1).mean())
    if unseen > MOST_UNSEEN:
        raise TooLittleSupport(
            f"{unseen:.1%} of what this policy does was never possible in the log, so nothing can "
            f"be said of it (at most {MOST_UNSEEN:.0%} may be): explore those experts, or run a "
            "split"
        )
    wanted = max(LEAST_EFFECTIVE, LEAST_SHARE * count)
    if effective < wanted:
        raise TooLittleSupport(
            f"the {count:,} decisions of the log are worth {effective:,.0f} of this policy's, and "
            f"it takes {wanted:,.0f} (at least {LEAST_EFFECTIVE:.0f}, and {LEAST_SHARE:.0%} of the "
            "log): log more, explore more, or run a split"
        )
    return effective


def _parts(
    log: Log, target: Floats, method: Method, expected: Floats | None
) -> tuple[Floats, Floats]:
    """Return g and e, shape (n,) both: the estimate is the mean of g + w e."""
    if method == "ips":
        return np.zeros(len(log.rewards)), log.rewards
    if method == "snips":  # linearised (delta method) about the ratio
        weight = weights(log, target)
        value = float((weight * log.rewards).sum() / weight.sum())
        return np.full(len(weight), value), (log.rewards - value) / weight.mean()
    fitted = fitted_rewards(log) if expected is None else expected
    seen = fitted[np.arange(len(log.chosen)), log.chosen]
    return np.asarray((target * fitted).sum(axis=1)), log.rewards - seen


def _variance(log: Log, target: Floats, base: Floats, error: Floats) -> float:
    """Return the variance of a term by the propensities, which know of the weights not drawn."""
    width = log.propensities.shape[1]
    answers = np.maximum(np.bincount(log.chosen, minlength=width), 1)
    squared = np.bincount(log.chosen, weights=error**2, minlength=width) / answers
    is_seen = log.propensities > 0
    safe = np.where(is_seen, log.propensities, 1.0)
    second = float((np.where(is_seen, target**2 / safe, 0.0) @ squared).mean())
    mean = float((weights(log, target) * error).mean())
    return float(base.var()) + second - mean**2


def _estimate(terms: Floats, effective: float, method: Method, known: float) -> Estimate:
    """Return the mean of the terms and its interval.

    Args:
        terms: shape (n,).
        effective: sample.
        method: that made them.
        known: the least that their variance is.
    """
    value = float(terms.mean())
    drawn = _student(terms - value) * float(terms.std(ddof=1))
    half = max(drawn, _Z95 * math.sqrt(max(known, 0.0))) / math.sqrt(len(terms))
    return Estimate(
        method=method,
        value=value,
        low=value - half,
        high=value + half,
        effective=effective,
        count=len(terms),
    )


def _student(deviations: Floats) -> float:
    """Return how many standard errors 95 % take where few heavy weights carry the variance.

    Student's quantile for the degrees of freedom that the variance is really known with,
    2 n / (kurtosis - 1). The normal quantile covered 90 to 93 % in simulations where 30 decisions
    of 3,000 decided.

    Reference:
        Satterthwaite, F. (1946). An approximate distribution of estimates of variance components.
        Biometrics Bulletin 2 (6). Abramowitz, M. and Stegun, I. (1964), 26.7.5.
    """
    variance = float((deviations**2).mean())
    if variance <= 0:
        return _Z95
    kurtosis = float((deviations**4).mean()) / variance**2
    freedom = max(2.0 * len(deviations) / max(kurtosis - 1.0, 1e-9), 1.0)
    z = _Z95
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def fitted_rewards(log: Log, *, folds: int = FOLDS, ridge: float = RIDGE) -> Floats:
    """Return the reward that is expected of each expert, by a model that has not seen the decision.

    A ridge regression for each expert about its mean, which is itself shrunk to the mean of all.

    Returns:
        shape (n, K).
    """
    count, width = log.propensities.shape
    fold = np.arange(count) % folds
    found = np.empty((count, width))
    for number in range(folds):
        out = fold == number
        for place in range(width):
            rows = ~out & (log.chosen == place)
            overall = float(log.rewards[~out].mean()) if (~out).any() else 0.0
            mean = (float(log.rewards[rows].sum()) + ridge * overall) / (rows.sum() + ridge)
            inside = log.x[rows]
            precision = inside.T @ inside + ridge * np.eye(log.x.shape[1])
            slope = np.linalg.solve(precision, inside.T @ (log.rewards[rows] - mean))
            found[out, place] = mean + log.x[out] @ slope
    return found
