"""Fitted panels: what was measured, and which panel is to answer what, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coe.panels.gate import Gain
from coe.panels.rates import Rates

NOTHING_KNOWN = Gain(mean=0.0, low=-1.0, high=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One panel on one category, beside the best expert once and as often as the panel asks.

    Attributes:
        category: a name, or `NONE`.
        prompts: how many it was measured on.
        is_on: whether it is to answer the category.
        why: in a clause.
        quality: mean score of the panel, in [0, 1].
        expert: who is best there, as most prompts have it.
        single: mean score of the best expert.
        self_moa: mean score of as many samples of the best expert as the panel makes calls, given
            to the same aggregator.
        samples: how many those are.
        over_self, over_single: the panel's gain, with intervals that all hold at once.
        calls: mean number of calls, those that judge and write included.
        unnecessary: of the calls beyond the first, the share on prompts where the first draft
            scored as much as the answer.
    """

    category: str
    panel: str
    prompts: int
    is_on: bool = False
    why: str = ""
    quality: float = 0.0
    expert: str = ""
    single: float = 0.0
    self_moa: float = 0.0
    samples: int = 0
    over_self: Gain = NOTHING_KNOWN
    over_single: Gain = NOTHING_KNOWN
    calls: float = 0.0
    unnecessary: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorTest:
    """How often a panel's aggregator finds the one right draft of three.

    Attributes:
        tests: how many.
        hits: mean score of its answers, with its 95 % interval.
    """

    category: str
    panel: str
    tests: int
    hits: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPanels:
    """What was measured of panels.

    Attributes:
        rates: of all experts.
        panels: the panel that is to answer a category, by category, of those that are on.
        verdicts: each panel on each category.
        tests: of the aggregators.
        curves: of each expert whose drafts have log-probabilities, knots (mean log-probability,
            probability that the draft is right), both ascending; what `first_good` reads.
        parts: digests of what the scores depend on, as in a fitted map.
        about: what people want to know of it; all JSON.
    """

    rates: Rates
    panels: Mapping[str, str] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    tests: tuple[AggregatorTest, ...] = ()
    curves: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
