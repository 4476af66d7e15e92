"""What drafts answer, so that those that say the same can be told from those that do not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from coe import extract
from coe.drafts import Conflict
from coe.options import Options

KINDS = ("number", "choice", "json", "text")
KEYS = ("answer", "after", "options")
_SHOWN = 80  # characters of an answer that people are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What counts as a draft's answer.

    Attributes:
        kind: one of `KINDS`.
        after: what follows the last occurrence of this counts; all where it is absent.
        options: how many answers there are to choose from, 2 to 26; the letters of a choice.
    """

    kind: str = "text"
    after: str | None = None
    options: int = 10

    def of(self, text: str) -> str | None:
        """Return the answer, the same text for equal answers; None where there is none."""
        return _extracted(self, text)


def extraction(options: Options, default: str | None = None) -> Extraction | None:
    """Read `answer`, `after` and `options`; None without an `answer`. Raises ConfigError."""
    if default is None and "answer" not in options.values:
        for key in ("after", "options"):
            if key in options.values:
                raise options.wrong("answer", f"one of {', '.join(KINDS)}, since `{key}` is there")
        return None
    return Extraction(
        kind=options.choice("answer", default or "", KINDS),
        after=options.text("after") if "after" in options.values else None,
        options=options.integer("options", 10, least=2, most=26),
    )


def conflicts(found: Mapping[int, str | None]) -> tuple[Conflict, ...]:
    """Return who answers what; nothing where there are no two answers.

    Args:
        found: answers by position of the member; None where a draft has none.
    """
    groups: dict[str, list[int]] = {}
    for member in sorted(found):
        if (answer := found[member]) is not None:
            groups.setdefault(answer, []).append(member)
    if len(groups) <= 1:
        return ()
    return tuple(
        Conflict(answer=_short(answer), members=tuple(members))
        for answer, members in groups.items()
    )


@lru_cache(maxsize=256)  # a draft is looked at again whenever another one comes
def _extracted(rule: Extraction, text: str) -> str | None:
    text = extract.last_part(extract.spoken(text), rule.after)
    match rule.kind:
        case "number":
            return _number(text)
        case "choice":
            return extract.choice(text, extract.LETTERS[: rule.options])
        case "json":
            return _json(text)
    return extract.plain(text) or None


def _number(text: str) -> str | None:
    value = extract.number(text)
    if value is None or not math.isfinite(value):
        return None
    return f"{value + 0.0:.10g}"  # -0 is 0


def _json(text: str) -> str | None:
    try:
        return next((extract.canonical(value) for value in extract.json_in(text)), None)
    except RecursionError:
        return None


def _short(answer: str) -> str:
    return answer if len(answer) <= _SHOWN else f"{answer[: _SHOWN - 3]}..."
