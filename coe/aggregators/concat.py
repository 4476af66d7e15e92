"""All drafts, side by side: in one text under their experts' names, or as choices of one answer."""

from __future__ import annotations

from dataclasses import dataclass

from coe.aggregators.answers import KEYS, Extraction, conflicts, extraction
from coe.aggregators.gathering import gather, said
from coe.drafts import Merge, Pick, Step, Table
from coe.options import Options
from coe.protocols import AggregatorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat:
    """Whatever was drafted.

    Attributes:
        as_choices: whether each draft is a choice of the answer (as with OpenAI's `n`), or a part
            of its text.
        extraction: by what drafts are in conflict; None where that is not told.
    """

    name: str
    as_choices: bool = False
    extraction: Extraction | None = None

    def next(self, table: Table) -> Step:
        """See `coe.protocols.Aggregator`."""
        step = gather(table)
        if step is not None:
            return step
        drafts = said(table)
        if not drafts:
            return Pick(member=table.good[0].member, why="no draft says anything")
        if len(drafts) == 1:
            return Pick(member=drafts[0].member, why="the only draft")
        found = (
            {draft.member: self.extraction.of(draft.text) for draft in drafts}
            if self.extraction
            else {}
        )
        return Merge(
            members=tuple(draft.member for draft in drafts),
            as_choices=self.as_choices,
            why=f"all {len(drafts)} drafts",
            conflicts=conflicts(found),
        )


def build(spec: AggregatorSpec) -> Concat:
    """Build the aggregator from `as` (`text` or `choices`), `answer`, `after` and `options`.

    With `answer` (as of `vote`) conflicts are listed. Raises ConfigError.
    """
    options = Options(f"aggregation.{spec.name}", spec.options).allow("as", *KEYS)
    return Concat(
        name=spec.name,
        as_choices=options.choice("as", "text", ("text", "choices")) == "choices",
        extraction=extraction(options),
    )
