"""The prompts of a file, each with its check: JSON lines."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from coe.errors import ConfigError
from coe.scoring.checks import Check, Judge, parse
from coe.scoring.keys import Keys, WrongKey, listed, placed, refuse, shown

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_OWN = ("messages", "model", "stream", "n")  # fields of a request that `body` must not set


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One prompt, and how its answers are checked.

    Attributes:
        place: `FILE:LINE`.
        digest: of what is asked and how it is checked; see `Outcome.prompt`.
        messages: as they are sent.
        body: further fields of the request, such as `max_tokens`.
        category: the one that it belongs to; None where the file does not say.
        id: the file's own name for it; empty where it has none.
        sample: how often an expert is asked it before this.
    """

    place: str
    digest: str
    messages: tuple[Mapping[str, Any], ...]
    check: Check
    body: Mapping[str, Any] = field(default_factory=dict)
    category: str | None = None
    id: str = ""
    sample: int = 0

    @property
    def request(self) -> dict[str, Any]:
        """The fields of a request, but for the model."""
        return {"messages": list(self.messages), **self.body}


def read_rows(
    path: Path, *, categories: Sequence[str], experts: Sequence[str], judge: str = ""
) -> tuple[Row, ...]:
    """Return the rows of a file; of a prompt that stands there twice the first.

    Args:
        path: JSON lines; empty lines are passed over.
        categories: that a row may name.
        experts: that may judge.
        judge: who judges where a row names nobody.

    Raises:
        ConfigError: the file cannot be read, or rows are wrong: each with its line and key.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    found: dict[str, Row] = {}
    ids: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        place = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            row = _row(line, place, judge)
            _check_names(row, categories, experts)
            if row.id and ids.setdefault(row.id, place) != place:
                raise WrongKey("id", f"`{row.id}` is the id of {ids[row.id]} already")
        except WrongKey as error:
            problems.append(placed(place, error))
        else:
            found.setdefault(row.digest, row)
    refuse(problems)
    if not found:
        raise ConfigError(f"{path}: holds no prompts")
    return tuple(found.values())


def _row(line: bytes, place: str, judge: str) -> Row:
    try:
        raw = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise WrongKey("", f"not JSON: {error}") from None
    keys = Keys(raw)
    messages = _messages(keys)
    check, meant = _check(keys)
    if isinstance(check, Judge) and not check.expert:
        check = replace(check, expert=judge)
        meant = {**meant, "expert": judge}
    body = _body(keys)
    row = Row(
        place=place,
        digest=_digest({"messages": messages, "body": body, "check": meant}),
        messages=tuple(messages),
        check=check,
        body=body,
        category=keys.text_or_none("category", "the name of a category, or null"),
        id=str(keys.raw("id") or ""),
    )
    keys.done()
    return row


def _messages(keys: Keys) -> list[dict[str, Any]]:
    if ("prompt" in keys) == ("messages" in keys):
        raise keys.wrong("prompt", "expected either `prompt` (a text) or `messages` (a list)")
    if "prompt" in keys:
        return [{"role": "user", "content": keys.text("prompt")}]
    messages = keys.raw("messages")
    if not isinstance(messages, list) or not messages:
        raise keys.wrong("messages", f"expected a list of messages, not {shown(messages)}")
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise keys.wrong(f"messages[{at}].role", f"expected one of {listed(sorted(_ROLES))}")
        content = message.get("content")
        parts = content if isinstance(content, list) else []
        is_known = isinstance(content, str | list | None)
        if not is_known or not all(isinstance(part, dict) for part in parts):
            raise keys.wrong(f"messages[{at}].content", "expected a text or a list of parts")
    return messages


def _check(keys: Keys) -> tuple[Check, Mapping[str, Any]]:
    """Return a row's check, and the JSON that means it.

    The row's `answer` is the check's where that has none; a check of JSON reads it as JSON.
    """
    answer, check = keys.raw("answer"), keys.raw("check")
    if check is None:
        check = {"type": "exact"}
        if answer is None:
            raise keys.wrong("answer", "expected `answer` (a text), or `check` (an object)")
    meant = dict(Keys(check, "check").all())
    if answer is not None:
        if "answer" in meant:
            raise keys.wrong("answer", "stands in `check`, too: expected one of them")
        meant["answer"] = _json(keys, answer) if meant.get("type") == "json" else answer
    try:
        return parse(meant), meant
    except WrongKey as error:
        if error.key == "check.answer" and answer is not None:
            raise keys.wrong("answer", error.expected) from None
        raise


def _json(keys: Keys, answer: Any) -> Any:
    try:
        return orjson.loads(answer) if isinstance(answer, str) else answer
    except orjson.JSONDecodeError as error:
        raise keys.wrong("answer", f"not JSON: {error}") from None


def _body(keys: Keys) -> Mapping[str, Any]:
    body = keys.raw("body")
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise keys.wrong("body", f"expected an object of a request's fields, not {shown(body)}")
    for key in _OWN:
        if key in body:
            raise keys.wrong(f"body.{key}", "cannot be set here")
    return body


def _check_names(row: Row, categories: Sequence[str], experts: Sequence[str]) -> None:
    if row.category is not None and row.category not in categories:
        raise WrongKey("category", _unknown("category", row.category, categories))
    if isinstance(row.check, Judge):
        if not row.check.expert:
            raise WrongKey("check.expert", "names nobody who judges; or give --judge NAME")
        if row.check.expert not in experts:
            raise WrongKey("check.expert", _unknown("expert", row.check.expert, experts))


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are: {listed(known)}"
    return f"no {kind} `{name}` in the composition ({hint})"


def _digest(meaning: Mapping[str, Any]) -> str:
    text = json.dumps(meaning, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def few_of_each(rows: Sequence[Row], limit: int) -> tuple[Row, ...]:
    """Return the first `limit` rows of each category, and of those without one."""
    counts: Counter[str | None] = Counter()
    kept = []
    for row in rows:
        counts[row.category] += 1
        if counts[row.category] <= limit:
            kept.append(row)
    return tuple(kept)
