"""What experts wrote when they were scored, in one SQLite file: for panels to be played with.

It is there only where somebody asked for answers to be kept (`coe score --keep-answers`). An expert
may have answered a prompt several times; the first time is also an outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coe.stores.sqlite import Format, Store

FILE = "drafts.sqlite"

_DRAFTS = """
CREATE TABLE drafts (
    id INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL,
    expert TEXT NOT NULL,
    revision TEXT NOT NULL,
    sample INTEGER NOT NULL,
    text TEXT NOT NULL,
    score REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
    logprob REAL,
    UNIQUE (expert, revision, prompt, sample)
)
"""
_FORMAT = Format(  # its mark spells "CoEW": what was written
    what="drafts", mark=0x436F4557, version=1, tables=(_DRAFTS,)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredDraft:
    """What an expert wrote on a prompt, and what it scored.

    Attributes:
        prompt, expert, revision: as in `coe.mapping.Outcome`.
        sample: how often it had answered before; the first is as it answers anybody, the others
            are as a panel's `samples` are.
        logprob: mean log-probability of its tokens; None where the backend did not tell.
    """

    prompt: str
    expert: str
    revision: str
    sample: int
    text: str
    score: float
    logprob: float | None = None


class DraftStore(Store):
    """Drafts in a file; threads and processes may share it."""

    form = _FORMAT

    def add(self, drafts: Iterable[ScoredDraft]) -> None:
        """Add drafts, all or none; a later one takes the place of the same sample's."""
        with self._database.writing() as connection:
            connection.executemany(_ADD, map(_row, drafts))

    def read(self, revisions: Mapping[str, str]) -> Iterator[ScoredDraft]:
        """Yield the drafts of these revisions, by expert, in the order in which they were added."""
        for _, prompt, expert, revision, sample, text, score, logprob in self._database.paged(
            _READ, key="id"
        ):
            if revisions.get(expert) == revision:
                yield ScoredDraft(
                    prompt=prompt,
                    expert=expert,
                    revision=revision,
                    sample=sample,
                    text=text,
                    score=score,
                    logprob=logprob,
                )

    def done(self, expert: str, revision: str) -> frozenset[tuple[str, int]]:
        """Return the prompts, by digest, and the samples of them that are there already."""
        return frozenset(map(tuple, self._database.rows(_DONE, (expert, revision))))


def _row(draft: ScoredDraft) -> tuple[Any, ...]:
    return (
        *(draft.prompt, draft.expert, draft.revision, draft.sample),
        *(draft.text, draft.score, draft.logprob),
    )


_ADD = """
INSERT INTO drafts (prompt, expert, revision, sample, text, score, logprob)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (expert, revision, prompt, sample) DO UPDATE SET
    text = excluded.text, score = excluded.score, logprob = excluded.logprob
"""

_READ = """
SELECT id, prompt, expert, revision, sample, text, score, logprob
FROM drafts WHERE id > ? ORDER BY id LIMIT ?
"""

_DONE = "SELECT prompt, sample FROM drafts WHERE expert = ? AND revision = ?"
