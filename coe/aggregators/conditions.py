"""When a draft is good enough, so that nobody better has to be asked.

| `good_when` | a draft is good enough if |
| --- | --- |
| `{probability_over: 0.8, map: FILE}` | it is right more probably than that, by its curve |
| `{logprob_over: -0.1}` | the mean log-probability of its tokens is greater |
| `{check: {type: json}}` | it passes, see `coe.aggregators.checks` |
| `{judge_over: 0.7}` | the judge gives it a greater probability of being right |

A draft of which nothing can be said is not: no log-probability, no curve of that expert, no number
from the judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from coe.aggregators.checks import Passes, check
from coe.aggregators.confidence import Curve, read
from coe.aggregators.fences import cut
from coe.aggregators.gathering import Said
from coe.aggregators.judging import JUDGE_TOKENS, rated, rating, transcript
from coe.drafts import Draft, Question, Table
from coe.options import Options
from coe.protocols import AggregatorSpec

KINDS = ("probability_over", "logprob_over", "check", "judge_over")
_JUDGED_CHARS = 8000


class Condition(Protocol):
    """When a draft is good enough.

    Attributes:
        logprobs: whether it takes the log-probabilities of drafts.
    """

    @property
    def logprobs(self) -> bool:
        """See above."""

    def holds(self, table: Table, draft: Draft, said: Said) -> bool | Question:
        """Return whether a draft is good enough, or what has to be asked to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probable:
    """Right with a probability over `least`; without curves, a log-probability over it."""

    least: float
    curves: Mapping[str, Curve] | None = None
    logprobs: bool = True

    def holds(self, table: Table, draft: Draft, said: Said) -> bool:  # noqa: ARG002
        """See `Condition`."""
        if draft.logprob is None:
            return False
        if self.curves is None:
            return draft.logprob > self.least
        curve = self.curves.get(table.members[draft.member].expert)
        return curve is not None and curve.at(draft.logprob) > self.least


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """It passes a check."""

    passes: Passes = field(repr=False)
    logprobs: bool = False

    def holds(self, table: Table, draft: Draft, said: Said) -> bool:  # noqa: ARG002
        """See `Condition`."""
        return self.passes(said.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A judge gives it a probability over `least`; None for the last member as judge."""

    least: float
    judge: str | None
    tokens: int = JUDGE_TOKENS
    logprobs: bool = False

    def holds(self, table: Table, draft: Draft, said: Said) -> bool | Question:
        """See `Condition`."""
        key = f"right-{draft.member}"
        if key in table.remarks:
            found = rating(table.remarks[key])
            return found is not None and found > self.least
        return Question(
            key=key,
            expert=self.judge or table.members[-1].expert,
            messages=rated(transcript(table.messages), cut(said.text, _JUDGED_CHARS)),
            max_tokens=self.tokens,
        )


def condition(options: Options, spec: AggregatorSpec) -> Condition:
    """Read `good_when` and `judge_tokens`. Raises ConfigError."""
    raw: Any = options.values.get("good_when")
    if not isinstance(raw, Mapping) or len(set(raw) & set(KINDS)) != 1:
        raise options.wrong("good_when", f"a mapping with one of {', '.join(KINDS)}")
    keys = Options(f"{options.place}.good_when", raw)
    (kind,) = set(raw) & set(KINDS)
    keys.allow(kind, *(["map"] if kind == "probability_over" else []))
    if kind == "check":
        return Checked(passes=check(keys, "check"))
    if kind == "logprob_over":
        return Probable(least=keys.number(kind, 0.0, least=-1000.0, most=0.0))
    least = keys.number(kind, 0.0, least=0.0, most=1.0)
    if kind == "probability_over":
        return Probable(least=least, curves=read(Path(spec.folder, keys.text("map"))))
    tokens = options.integer("judge_tokens", JUDGE_TOKENS, least=1, most=100_000)
    return Judged(least=least, judge=spec.judge, tokens=tokens)
