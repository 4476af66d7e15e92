"""The outcomes of a composition's experts, in one SQLite file.

Two tables: what is known of a prompt (its category, its probabilities, its text where that is
kept) and what each expert scored on it. What was added is there after `kill -9` of this process,
and several processes may read and add at once (write-ahead log).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import orjson

from coe.errors import ArtefactError
from coe.mapping.outcomes import Outcome, OutcomeMatrix, Source, matrix
from coe.stores.sqlite import Format, Store

FILE = "outcomes.sqlite"

_NAMED = 2000  # prompts that are asked for at once

_PROMPTS = """
CREATE TABLE prompts (
    digest TEXT PRIMARY KEY,
    category TEXT,
    probabilities BLOB,
    router TEXT NOT NULL DEFAULT '',
    body BLOB
) WITHOUT ROWID
"""
_OUTCOMES = """
CREATE TABLE outcomes (
    id INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL,
    expert TEXT NOT NULL,
    revision TEXT NOT NULL,
    source TEXT NOT NULL,
    score REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
    cost REAL,
    latency_s REAL,
    at REAL NOT NULL,
    UNIQUE (expert, revision, source, prompt)
)
"""
_FORMAT = Format(  # its mark spells "CoEO"
    what="outcomes", mark=0x436F454F, version=1, tables=(_PROMPTS, _OUTCOMES)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is known of a prompt, whoever answers it.

    Attributes:
        digest: as in `Outcome.prompt`.
        category: the one that its file names.
        probabilities: of the categories, by name, as the router gave them; empty where none did.
        router: mark of that router; changes with whatever could give other probabilities.
        body: the request's `messages` and the like; None unless the text is to be kept.
    """

    digest: str
    category: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    router: str = ""
    body: Mapping[str, Any] | None = None


class Count(NamedTuple):
    """How many outcomes there are of one expert's revision from one source."""

    expert: str
    revision: str
    source: str
    outcomes: int
    mean: float
    cost: float
    latest: float


class OutcomeStore(Store):
    """Outcomes in a file; threads and processes may share it."""

    form = _FORMAT

    def add(self, outcomes: Iterable[Outcome], *, router: str = "") -> None:
        """Add outcomes, all or none. The same prompt, expert, revision and source is kept once.

        The later outcome of those replaces the earlier one. What an outcome says of its prompt
        (category, probabilities) is noted, too; what it does not say stays as it is.

        Args:
            outcomes: to add.
            router: mark of the router that their probabilities are from.
        """
        with self._database.writing() as connection:
            for row in outcomes:
                prompt = Prompt(
                    digest=row.prompt,
                    category=row.category,
                    probabilities=row.probabilities,
                    router=router,
                )
                connection.execute(_NOTE, _prompt_row(prompt))
                connection.execute(_ADD, _outcome_row(row))

    def note(self, prompts: Iterable[Prompt]) -> None:
        """Note what is known of prompts; what one does not say stays as it is."""
        with self._database.writing() as connection:
            connection.executemany(_NOTE, map(_prompt_row, prompts))

    def read(
        self,
        *,
        experts: Sequence[str] | None = None,
        sources: Sequence[Source] | None = None,
        revisions: Mapping[str, str] | None = None,
        since: float = 0.0,
    ) -> Iterator[Outcome]:
        """Yield outcomes in the order in which they were first added.

        Args:
            experts: only of these.
            sources: only from these.
            revisions: only of these revisions, by expert; experts that it lacks are not narrowed.
            since: only from this time on, in seconds since 1970.

        Raises:
            ArtefactError: the file is damaged.
        """
        where, values = _where(experts, sources, since)
        for _, *row in self._database.paged(_READ.format(where=where), values, key="id"):
            outcome = self._outcome(row)
            wanted = (revisions or {}).get(outcome.expert, outcome.revision)
            if outcome.revision == wanted:
                yield outcome

    def matrix(
        self,
        *,
        experts: Sequence[str],
        categories: Sequence[str],
        sources: Sequence[Source] | None = None,
        revisions: Mapping[str, str] | None = None,
        since: float = 0.0,
    ) -> OutcomeMatrix:
        """Return outcomes as a matrix; see `read` and `coe.mapping.outcomes.matrix`."""
        found = self.read(experts=experts, sources=sources, revisions=revisions, since=since)
        return matrix(found, experts=experts, categories=categories)

    def done(self, expert: str, revision: str, source: Source) -> frozenset[str]:
        """Return the digests of the prompts whose outcome is there already."""
        rows = self._database.rows(_DONE, (expert, revision, source))
        return frozenset(digest for (digest,) in rows)

    def prompts(self, digests: Iterable[str] | None = None) -> Iterator[Prompt]:
        """Yield what is known of prompts; of all of them where none are named."""
        if digests is None:
            yield from map(self._prompt, self._database.paged(_ALL_PROMPTS, key="digest", first=""))
            return
        left = iter(digests)
        while names := list(islice(left, _NAMED)):
            yield from map(self._prompt, self._database.rows(_SOME_PROMPTS, (_list(names),)))

    def counts(self) -> tuple[Count, ...]:
        """Return how much there is, by expert, revision and source."""
        return tuple(Count(*row) for row in self._database.rows(_COUNTS, ()))

    def _outcome(self, row: Sequence[Any]) -> Outcome:
        prompt, expert, revision, source, score, cost, latency_s, at, category, shares = row
        return Outcome(
            prompt=prompt,
            expert=expert,
            revision=revision,
            source=source,
            score=score,
            cost=cost,
            latency_s=latency_s,
            at=at,
            category=category,
            probabilities=self._json(shares, prompt) or {},
        )

    def _prompt(self, row: Sequence[Any]) -> Prompt:
        digest, category, shares, router, body = row
        return Prompt(
            digest=digest,
            category=category,
            probabilities=self._json(shares, digest) or {},
            router=router,
            body=self._json(body, digest),
        )

    def _json(self, raw: bytes | None, prompt: str) -> Any:
        if raw is None:
            return None
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise ArtefactError(
                f"{self.path}: what is kept of prompt {prompt} cannot be read; {_FIX}"
            ) from None


_FIX = "delete the file to measure again, or put back a copy of it"

_NOTE = """
INSERT INTO prompts (digest, category, probabilities, router, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET
    category = coalesce(excluded.category, category),
    router = iif(excluded.probabilities IS NULL, router, excluded.router),
    probabilities = coalesce(excluded.probabilities, probabilities),
    body = coalesce(excluded.body, body)
"""

_ADD = """
INSERT INTO outcomes (prompt, expert, revision, source, score, cost, latency_s, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (expert, revision, source, prompt) DO UPDATE SET
    score = excluded.score, cost = excluded.cost, latency_s = excluded.latency_s, at = excluded.at
"""

_READ = """
SELECT id, prompt, expert, revision, source, score, cost, latency_s, at, category, probabilities
FROM outcomes LEFT JOIN prompts ON digest = prompt {where} AND id > ? ORDER BY id LIMIT ?
"""

_DONE = "SELECT prompt FROM outcomes WHERE expert = ? AND revision = ? AND source = ?"

_ALL_PROMPTS = """
SELECT digest, category, probabilities, router, body
FROM prompts WHERE digest > ? ORDER BY digest LIMIT ?
"""

_SOME_PROMPTS = """
SELECT digest, category, probabilities, router, body
FROM prompts WHERE digest IN (SELECT value FROM json_each(?))
"""

_COUNTS = """
SELECT expert, revision, source, count(*), avg(score), total(cost), max(at)
FROM outcomes GROUP BY expert, revision, source ORDER BY expert, max(at)
"""


def _where(
    experts: Sequence[str] | None, sources: Sequence[Source] | None, since: float
) -> tuple[str, list[Any]]:
    """Return a condition and its values. An empty list of experts or sources allows none."""
    rules: list[str] = ["at >= ?"]
    values: list[Any] = [since]
    # As one JSON value each: a pool may have more experts than SQLite takes parameters. The `+`
    # keeps it from the index on experts, for which it would sort all rows again for every page.
    if experts is not None:
        rules.append("+expert IN (SELECT value FROM json_each(?))")
        values.append(_list(experts))
    if sources is not None:
        rules.append("source IN (SELECT value FROM json_each(?))")
        values.append(_list(sources))
    return f"WHERE {' AND '.join(rules)}", values


def _list(names: Sequence[str]) -> str:
    return orjson.dumps(list(names)).decode()


def _prompt_row(prompt: Prompt) -> tuple[Any, ...]:
    # That every category is improbable is not the same as nobody having been asked.
    shares = {name: share for name, share in prompt.probabilities.items() if share}
    shares = shares or dict(prompt.probabilities)
    return (
        prompt.digest,
        prompt.category,
        orjson.dumps(shares) if shares else None,
        prompt.router,
        None if prompt.body is None else orjson.dumps(prompt.body),
    )


def _outcome_row(row: Outcome) -> tuple[Any, ...]:
    return (
        *(row.prompt, row.expert, row.revision, row.source),
        *(row.score, row.cost, row.latency_s, row.at),
    )
