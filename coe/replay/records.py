"""Recorded requests: decisions as JSON lines, and prompts that were scored.

A row of recorded traffic is a decision as `POST /v1/route` and `coe route --json` give it, with
what came of it. Of its keys these count, and others are passed over:

| key | what |
| --- | --- |
| `expert` | who answered; null where nobody could |
| `categories` | the whole distribution: `[{"name": ..., "probability": ...}, ...]` |
| `category`, `reason`, `calibrated` | the decision; `matched` and true where they are absent |
| `model` | that the client asked for; default `coe/auto` |
| `composition` | fingerprint of the one that decided |
| `messages`, or `prompt` | the text; with it the new routers are asked |
| `prompt_tokens_estimate` | how long it is |
| `score`, `cost` | what the answer was worth, from 0 to 1, and what it cost |
| `digest` | of the prompt in the store of outcomes, whose scores then count |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import orjson

from coe.errors import ConfigError
from coe.mapping.outcomes import Outcome
from coe.mapping.replay import NOBODY
from coe.planner import AUTO
from coe.scoring.keys import Keys, WrongKey, is_number, placed, refuse, shown
from coe.types import Decision, Query, RankedCategory, Reason

_REASONS: tuple[Reason, ...] = get_args(Reason)
_OF_DECISIONS = frozenset({"categories", "reason", "messages", "object"})
_OF_OUTCOMES = frozenset({"prompt", "expert", "score"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What somebody measured of an expert's answer to a request."""

    score: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One recorded request.

    Attributes:
        place: `FILE:LINE`, or a prompt's digest.
        query: what was asked, as far as it was recorded; its body is empty without the text.
        decision: what the router said; None where it was not recorded.
        expert: who answered; None where that was not recorded, `NOBODY` where it was refused.
        composition: fingerprint of the composition that decided; empty if not known.
        digest: of the prompt in a store of outcomes; empty if not known.
        own: what was recorded of the answer that was given.
        measured: what is known of experts' answers, by name and revision.
    """

    place: str
    query: Query
    decision: Decision | None = None
    expert: str | None = None
    composition: str = ""
    digest: str = ""
    own: Measured = Measured()
    measured: Mapping[tuple[str, str], Measured] = field(default_factory=dict)

    @property
    def has_text(self) -> bool:
        """Whether a router can be asked about it."""
        return "messages" in self.query.body


def holds_decisions(path: Path) -> bool:
    """Whether a file of JSON lines holds decisions, and not outcomes, by its first row.

    Raises:
        ConfigError: it cannot be read, or is empty.
    """
    for _, raw in _rows(path):
        try:
            first = _parsed(raw)
        except WrongKey:
            return True
        if not isinstance(first, dict) or _OF_DECISIONS & first.keys():
            return True
        return not first.keys() >= _OF_OUTCOMES
    raise ConfigError(f"{path}: holds no rows")


def read_decisions(path: Path) -> list[Record]:
    """Return recorded traffic. A row may be written over several lines, as `coe route` does.

    Raises:
        ConfigError: the file cannot be read, or rows are wrong: each with its line and key.
    """
    found, problems = [], []
    for number, raw in _rows(path):
        place = f"{path}:{number}"
        try:
            found.append(_record(raw, place))
        except WrongKey as error:
            problems.append(placed(place, error))
    refuse(problems)
    if not found:
        raise ConfigError(f"{path}: holds no rows")
    return found


def of_outcomes(
    outcomes: Iterable[Outcome],
    texts: Mapping[str, Mapping[str, Any]],
    composition: str,
    categories: Sequence[str],
) -> list[Record]:
    """Return scored prompts as requests for `coe/auto`, in the order in which they are first seen.

    Args:
        outcomes: of any experts and revisions.
        texts: request bodies, by the prompt's digest, where they were kept.
        composition: fingerprint of the one whose router was asked.
        categories: of that one; a category that an outcome does not name has a probability of 0.
    """
    grouped: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault(outcome.prompt, []).append(outcome)
    return [
        Record(
            place=f"prompt {prompt}",
            query=Query(id=prompt, model=AUTO, body=texts.get(prompt, {})),
            decision=_said(rows, categories),
            composition=composition,
            digest=prompt,
            measured=measured_of(rows),
        )
        for prompt, rows in grouped.items()
    ]


def measured_of(outcomes: Iterable[Outcome]) -> dict[tuple[str, str], Measured]:
    """Return what outcomes of one prompt say of experts, by name and revision; the last counts."""
    return {
        (row.expert, row.revision): Measured(score=row.score, cost=row.cost) for row in outcomes
    }


def _said(rows: Iterable[Outcome], categories: Sequence[str]) -> Decision | None:
    """Return what the router said of a prompt; None where neither it nor the file says anything."""
    for row in rows:
        shares = row.probabilities or ({row.category: 1.0} if row.category is not None else {})
        if shares:
            every = {**dict.fromkeys(categories, 0.0), **shares}
            ranked = sorted(every.items(), key=lambda share: -share[1])
            named = tuple(RankedCategory(*share) for share in ranked)
            return Decision(ranked=named, reason="matched", calibrated=True)
    return None


def _rows(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the objects of a file and the lines where they begin: at each line's first `{`."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    begun, parts = 0, list[bytes]()
    for number, line in enumerate(lines, start=1):
        is_inside = parts and parts[0] == b"{" and parts[-1] != b"}"
        if not is_inside:
            if parts:
                yield begun, b"\n".join(parts)
            begun, parts = number, []
        if parts or line.strip():
            parts.append(line)
    if parts:
        yield begun, b"\n".join(parts)


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise WrongKey("", f"not JSON: {error}") from None


def _record(raw: bytes, place: str) -> Record:
    keys = Keys(_parsed(raw))
    expert = keys.any("expert", "who answered, or null")
    if expert is not None and (not isinstance(expert, str) or not expert):
        raise keys.wrong("expert", f"expected the name of an expert, or null, not {shown(expert)}")
    model = keys.text_or_none("model") or AUTO
    messages = _messages(keys)
    tokens = keys.number_or("prompt_tokens_estimate", 0.0, "a number that is at least 0")
    return Record(
        place=place,
        query=Query(
            id=keys.text_or_none("id") or place,
            model=model,
            body={"model": model, "messages": messages} if messages else {},
            tokens=int(tokens),
        ),
        decision=_decision(keys),
        expert=expert or NOBODY,
        composition=keys.text_or_none("composition") or "",
        digest=keys.text_or_none("digest") or "",
        own=Measured(score=_share(keys, "score"), cost=_cost(keys)),
    )


def _messages(keys: Keys) -> list[Any]:
    if (prompt := keys.text_or_none("prompt")) is not None:
        return [{"role": "user", "content": prompt}]
    messages = keys.raw("messages")
    if messages is None:
        return []
    if not isinstance(messages, list) or not messages:
        raise keys.wrong("messages", f"expected a list of messages, not {shown(messages)}")
    return messages


def _decision(keys: Keys) -> Decision | None:
    """Return the decision of a row; None where the distribution was not recorded."""
    category = keys.text_or_none("category")
    named = keys.text_or_none("reason") or ("matched" if category else "below-threshold")
    reason = next((known for known in _REASONS if known == named), None)
    if reason is None:
        raise keys.wrong("reason", f"expected one of {', '.join(_REASONS)}, not {shown(named)}")
    ranked = keys.raw("categories")
    if not ranked:
        return Decision(category=category, reason=reason) if reason == "session" else None
    if not isinstance(ranked, list):
        raise keys.wrong("categories", f"expected a list, not {shown(ranked)}")
    rows = []
    for i, entry in enumerate(ranked):
        inner = Keys(entry, f"categories[{i}]")
        probability = _share(inner, "probability")
        if probability is None:
            raise inner.wrong("probability", "is missing: expected a number from 0 to 1")
        rows.append(RankedCategory(inner.text("name"), probability))
    return Decision(
        ranked=tuple(sorted(rows, key=lambda row: -row.probability)),
        category=category,
        reason=reason,
        calibrated=keys.flag("calibrated", default=True),
        router=keys.text_or_none("router") or "",
    )


def _share(keys: Keys, key: str) -> float | None:
    value = keys.raw(key)
    if value is None:
        return None
    if not is_number(value) or not 0 <= value <= 1:
        raise keys.wrong(key, f"expected a number from 0 to 1, not {shown(value)}")
    return float(value)


def _cost(keys: Keys) -> float | None:
    if "cost" not in keys:
        return None
    return keys.number_or("cost", 0.0, "a number that is at least 0")
