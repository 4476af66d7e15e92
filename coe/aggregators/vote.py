"""Self-consistency: the answer that most drafts give, of those that can be compared.

Drafts vote for what they answer. A member who is right with probability p, and otherwise gives any
of the K - 1 wrong answers, votes with the weight

    log((K - 1) * p / (1 - p)), at least 0,

the sum of which is greatest for the answer that is most probably right, if members err
independently of each other. They do not quite, so the weights are a matter to be measured; where
nobody knows p, they are the same for all. Nobody is asked, or waited for, once the outcome cannot
change any more. A tie goes to the better member.

Reference: Wang, X. et al. (2023). Self-consistency improves chain of thought reasoning in language
models. arXiv 2203.11171. Li, H. and Yu, B. (2014). Error rate bounds and iterative weighted
majority voting for crowdsourcing. arXiv 1411.4086 (the weights, as those of the oracle's MAP rule).
Aggarwal, P. et al. (2023). Let's sample step by step: adaptive-consistency for efficient reasoning
with LLMs. arXiv 2305.11860 (stopping early).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from coe.aggregators.answers import KEYS, Extraction, conflicts, extraction
from coe.drafts import Ask, Member, Pick, Step, Table, Wait
from coe.options import Options
from coe.protocols import AggregatorSpec

SURE = 0.99
"""No member is taken to be right, or wrong, more often than this."""

_UNIT = 1_000_000  # sums of whole numbers do not depend on their order


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """A vote over extracted answers.

    Attributes:
        extraction: what counts as an answer.
        weighted: whether the members' weights count, or every draft the same.
        wave: how many are asked at a time; None for all at once.
        agree: so many drafts that give the same answer, and none another, are enough; None counts
            on.
    """

    name: str
    extraction: Extraction
    weighted: bool = True
    wave: int | None = None
    agree: int | None = None

    def next(self, table: Table) -> Step:
        """See `coe.protocols.Aggregator`."""
        found = {draft.member: self.extraction.of(draft.text) for draft in table.good}
        votes = {member: answer for member, answer in found.items() if answer is not None}
        if table.good and self._is_over(table, votes):
            return self._outcome(table, votes)
        if table.unasked and not (self.wave and table.pending):
            return Ask(table.unasked[: self.wave])
        return Wait() if table.pending else self._outcome(table, votes)

    def _is_over(self, table: Table, votes: Mapping[int, str]) -> bool:
        if table.is_closing or len(votes) >= table.quorum:
            return True
        if self.agree is not None and len(votes) >= self.agree and len(set(votes.values())) == 1:
            return True
        rest = set(range(len(table.members))) - {draft.member for draft in table.drafts}
        return is_settled(votes, self._weights(table.members), rest)

    def _outcome(self, table: Table, votes: Mapping[int, str]) -> Pick:
        if not votes:
            why = f"no draft answers with a {self.extraction.kind}; the best member's stands"
            return Pick(member=table.good[0].member, why=why)
        answer = leader(votes, self._weights(table.members))
        those = [member for member in sorted(votes) if votes[member] == answer]
        why = f"{len(those)} of {len(votes)} drafts agree"
        return Pick(member=those[0], why=why, conflicts=conflicts(votes))

    def _weights(self, members: Sequence[Member]) -> tuple[int, ...]:
        if not self.weighted:
            return (1,) * len(members)
        return tuple(weight(member.weight, self.extraction.options) for member in members)


def weight(right: float, options: int) -> int:
    """Return the weight of a vote, in millionths.

    Args:
        right: how often the voter is right, in [0, 1].
        options: how many answers there are, at least 2.
    """
    right = min(max(right, 1 - SURE), SURE)
    return max(0, round(_UNIT * math.log((options - 1) * right / (1 - right))))


def leader(votes: Mapping[int, str], weights: Sequence[int]) -> str:
    """Return the answer with the greatest sum of weights; of equals, that of the best member."""
    sums: dict[str, int] = {}
    for member in sorted(votes):
        sums[votes[member]] = sums.get(votes[member], 0) + weights[member]
    return max(sums, key=lambda answer: sums[answer])  # the first of equals: insertion order


def is_settled(votes: Mapping[int, str], weights: Sequence[int], rest: Collection[int]) -> bool:
    """Whether the leader stays the leader whatever `rest` may answer.

    The most dangerous rival gets all votes that are left: another answer that was given, or one
    that nobody gave yet.
    """
    if not votes:
        return False
    answer = leader(votes, weights)
    more = sum(weights[member] for member in rest)

    def standing(of: str | None, extra: int, places: Collection[int]) -> tuple[int, int]:
        mine = [member for member in votes if votes[member] == of]
        return sum(weights[member] for member in mine) + extra, -min([*mine, *places])

    lead = standing(answer, 0, ())
    rivals: list[str | None] = [other for other in set(votes.values()) if other != answer]
    if rest:
        rivals.append(None)
    return all(lead > standing(rival, more, rest) for rival in rivals)


def build(spec: AggregatorSpec) -> Vote:
    """Build the aggregator from `answer`, `after`, `options`, `weighted`, `wave` and `agree`.

    `answer` is what is compared: a `number`, a `choice` (a letter), `json` or `text`; `after`: only
    what follows the last of this counts; `options`: how many answers there are to choose from.
    `weighted: false` counts every draft the same. `wave` asks so many at a time. With `agree` so
    many drafts that say the same are enough, if none says otherwise. Raises ConfigError.
    """
    options = Options(f"aggregation.{spec.name}", spec.options)
    options.allow(*KEYS, "weighted", "wave", "agree")
    found = extraction(options, "text")
    assert found is not None  # noqa: S101 - it has a default
    return Vote(
        name=spec.name,
        extraction=found,
        weighted=options.flag("weighted", default=True),
        wave=_count(options, "wave", 1),
        agree=_count(options, "agree", 2),
    )


def _count(options: Options, key: str, least: int) -> int | None:
    return options.integer(key, least, least=least, most=1000) if key in options.values else None
