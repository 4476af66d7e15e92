"""The best draft: by a check, or by a judge that compares each two.

With `check` it is the best member's draft that passes; without one that does, the best member's.

Otherwise a judge is asked which of two drafts is better, in both orders, and only who wins both has
won. The draft with the most wins less losses is the answer; a tie, and a judge that talks of
something else, leave it to the better member. Drafts that say the same are one.

Reference: Copeland, A. H. (1951). A reasonable social welfare function (wins less losses). Jiang,
D. et al. (2023). LLM-Blender: ensembling large language models with pairwise ranking and generative
fusion. arXiv 2306.02561, section 3 (drafts compared in pairs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from coe.aggregators.answers import KEYS, Extraction, conflicts, extraction
from coe.aggregators.checks import Passes, check
from coe.aggregators.fences import cut, mark
from coe.aggregators.gathering import Said, gather, said
from coe.aggregators.judging import JUDGE_TOKENS, compared, names, transcript, winner
from coe.drafts import Conflict, Consult, Pick, Question, Step, Table, Wait
from coe.options import Options
from coe.protocols import AggregatorSpec

MOST = 6
"""So many drafts are compared, the best members'; each two of them are two questions."""

SHOWN_CHARS = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOf:
    """The draft that a judge prefers, or that passes a check.

    Attributes:
        judge: who compares; None for the best member.
        passes: the check; None for the judge.
        extraction: what drafts have in common that say the same; None for all of their text.
        judge_tokens: most tokens of a verdict.
    """

    name: str
    judge: str | None = None
    passes: Passes | None = field(default=None, repr=False)
    extraction: Extraction | None = None
    judge_tokens: int = JUDGE_TOKENS

    def next(self, table: Table) -> Step:
        """See `coe.protocols.Aggregator`."""
        passing = self._passing(table)
        if passing is not None:
            return Pick(member=passing.member, why="passes the check")
        step = gather(table)
        if step is not None:
            return step
        drafts = said(table)
        if not drafts:
            return Pick(member=table.good[0].member, why="no draft says anything")
        if self.passes is not None:
            return Pick(member=drafts[0].member, why="no draft passes the check")
        rule = self.extraction or Extraction()
        found = {draft.member: rule.of(draft.text) for draft in drafts}
        listed = conflicts(found) if self.extraction else ()
        return self._compared(table, _distinct(table, drafts, found), listed)

    def _passing(self, table: Table) -> Said | None:
        """Return the draft that passes, if no better member's may come."""
        if self.passes is None:
            return None
        coming = min((*table.pending, *table.unasked), default=len(table.members))
        is_all = gather(table) is None
        drafts = (draft for draft in said(table) if is_all or draft.member < coming)
        return next((draft for draft in drafts if self.passes(draft.text)), None)

    def _compared(self, table: Table, drafts: Sequence[Said], listed: tuple[Conflict, ...]) -> Step:
        if len(drafts) == 1:
            why = "there is nothing to compare it with"
            return Pick(member=drafts[0].member, why=why, conflicts=listed)
        if not table.is_closing:
            if not table.consulted:
                return Consult(self._questions(table, drafts))
            if table.open_questions:
                return Wait()
        wins = _wins(table, drafts)
        members = [draft.member for draft in drafts]
        why = f"by {len(wins)} of {len(members) * (len(members) - 1) // 2} comparisons"
        return Pick(member=copeland(wins, members), why=why, conflicts=listed)

    def _questions(self, table: Table, drafts: Sequence[Said]) -> tuple[Question, ...]:
        conversation = transcript(table.messages)
        texts = {draft.member: cut(draft.text, SHOWN_CHARS) for draft in drafts}
        word = _mark(table, drafts)
        return tuple(
            Question(
                key=_key(one, other),
                expert=self.judge or table.members[0].expert,
                messages=compared(
                    conversation, (texts[one], texts[other]), names(word, one, other), word
                ),
                max_tokens=self.judge_tokens,
            )
            for one, other in permutations(texts, 2)
        )


def copeland(wins: Sequence[tuple[int, int]], members: Sequence[int]) -> int:
    """Return the member with the most wins less losses; of equals the first.

    Args:
        wins: (winner, loser), once for each pair that has one.
        members: those that were compared.
    """
    scores = dict.fromkeys(members, 0)
    for won, lost in wins:
        scores[won] += 1
        scores[lost] -= 1
    return max(members, key=lambda member: scores[member])


def _wins(table: Table, drafts: Sequence[Said]) -> list[tuple[int, int]]:
    """Return (winner, loser) of each pair in which a draft won in both orders."""
    word = _mark(table, drafts)
    won: set[tuple[int, int, int]] = set()
    for pair in permutations((draft.member for draft in drafts), 2):
        remark = table.remarks.get(_key(*pair))
        place = None if remark is None else winner(remark, names(word, *pair))
        if place is not None:
            won.add((*pair, pair[place]))
    return [(one, other) for one, other, best in won if best == one and (other, one, one) in won]


def _mark(table: Table, drafts: Sequence[Said]) -> str:
    return mark(transcript(table.messages), *(draft.text for draft in drafts))


def _distinct(table: Table, drafts: Sequence[Said], found: Mapping[int, str | None]) -> list[Said]:
    """Return those that are compared: of drafts with the same answer the best member's.

    Once the judge was asked it is those that it was asked about, whoever comes later.
    """
    asked = {member for key in table.consulted for member in map(int, key.split(">"))}
    if asked:
        return [draft for draft in drafts if draft.member in asked]
    seen: set[str] = set()
    distinct = []
    for draft in drafts:
        answer = found[draft.member]
        if answer is None or answer not in seen:
            distinct.append(draft)
            seen.add(answer or "")
    return distinct[:MOST]


def _key(one: int, other: int) -> str:
    return f"{one}>{other}"


def build(spec: AggregatorSpec) -> BestOf:
    """Build the aggregator from `check`, `answer`, `after`, `options` and `judge_tokens`.

    `check` says how a draft has to look, and no judge is asked: `{type: json_schema, schema: ...}`,
    also `json`, `regex` with a `pattern`, `numeric`, `choice`. `answer`, `after` and `options` are
    those of `vote`: drafts with the same answer are compared once, and conflicts are listed. A
    judge that thinks before it speaks needs more `judge_tokens`. Raises ConfigError.
    """
    options = Options(f"aggregation.{spec.name}", spec.options)
    options.allow("check", *KEYS, "judge_tokens")
    return BestOf(
        name=spec.name,
        judge=spec.judge,
        passes=check(options, "check") if "check" in options.values else None,
        extraction=extraction(options),
        judge_tokens=options.integer("judge_tokens", JUDGE_TOKENS, least=1, most=100_000),
    )
