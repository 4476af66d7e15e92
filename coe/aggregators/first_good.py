"""A cascade: members are asked one after the other, until a draft is good enough.

List the cheap ones first. The last one's answer is passed on as it comes, whatever it says, so
whoever is asked last streams, and nobody is asked in vain after it. Where time or money is up, and
where the last one fails, the draft of the last one that gave any is the answer.

Every call that was not good enough is paid for, and waited for. Two members are enough for traffic
that people wait for.

Reference: Chen, L., Zaharia, M., Zou, J. (2023). FrugalGPT: how to use large language models while
reducing cost and improving performance. arXiv 2305.05176, section 3 (LLM cascade).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coe.aggregators.conditions import Condition, condition
from coe.aggregators.gathering import Said, said
from coe.drafts import Ask, Consult, Draft, Pick, Question, Relay, Step, Table, Wait
from coe.options import Options
from coe.protocols import AggregatorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstGood:
    """The first draft that is good enough."""

    name: str
    good_when: Condition

    def next(self, table: Table) -> Step:
        """See `coe.protocols.Aggregator`."""
        for draft, text in _readable(table):
            verdict = self.good_when.holds(table, draft, text)
            if verdict is True:
                return Pick(member=draft.member, why="good enough")
            if isinstance(verdict, Question) and not table.is_closing:
                return Wait() if verdict.key in table.consulted else Consult((verdict,))
        return self._onward(table)

    def _onward(self, table: Table) -> Step:
        """Return what follows where no draft that is there is good enough."""
        if table.good and table.is_closing:
            return _last(table, "nobody else could be asked")
        if table.good and not table.pending and not table.unasked:
            return _last(table, "the last one that gave any")
        if table.pending:
            return Wait()
        first, *more = table.unasked
        if more:
            return Ask((first,), logprobs=self.good_when.logprobs)
        return Relay(member=first, why="the last one")


def _last(table: Table, why: str) -> Pick:
    drafts = said(table) or table.good
    return Pick(member=drafts[-1].member, why=why)


def _readable(table: Table) -> Iterator[tuple[Draft, Said]]:
    texts = {text.member: text for text in said(table)}
    yield from ((draft, texts[draft.member]) for draft in table.good if draft.member in texts)


def build(spec: AggregatorSpec) -> FirstGood:
    """Build the aggregator from `good_when` (`{logprob_over: -0.1}` or others) and `judge_tokens`.

    `good_when` is one of `{probability_over: 0.8, map: FILE}`, where the file holds curves from
    log-probability to probability; `{logprob_over: -0.1}`; `{check: {type: json}}`, or another
    check of `best_of`; and `{judge_over: 0.7}`. `judge_tokens` are as those of `best_of`.

    Raises:
        ConfigError: an option is wrong, or the file cannot be read.
    """
    options = Options(f"aggregation.{spec.name}", spec.options).allow("good_when", "judge_tokens")
    return FirstGood(name=spec.name, good_when=condition(options, spec))
