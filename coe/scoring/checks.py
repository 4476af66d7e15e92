"""How an answer is checked: what a row's `check` says, as values. Pure.

| type | an answer is right when |
| --- | --- |
| `exact` | it equals an answer but for case, runs of spaces and a final `.`, `!` or `;` |
| `choice` | the letter that it chooses is the answer's |
| `regex` | the pattern is found in it |
| `json` | its JSON has the value of the answer |
| `json_schema` | its JSON is valid by the schema |
| `numeric` | its last number is the answer, within a tolerance |
| `tests` | its code passes the tests, in a sandbox (see `coe.scoring.sandbox`) |
| `judge` | an expert prefers it to the answer (see `coe.scoring.judge`) |
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from coe.composition.units import parse_duration, parse_size
from coe.extract import LETTERS, choice, json_in, last_part, number, plain, valid_by
from coe.scoring.keys import Keys, WrongKey, listed, shown

_MIB = 1 << 20


class PureCheck(Protocol):
    """A check that needs nothing but the answer."""

    def grade(self, answer: str) -> float:
        """Return the answer's score in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Equal texts.

    Attributes:
        answers: any of them is right.
        after: what follows the last occurrence of this counts, of both; all where it is absent.
        case: whether case matters.
        spaces: whether a space counts as more than none.
    """

    answers: tuple[str, ...]
    after: str | None = None
    case: bool = False
    spaces: bool = True

    def grade(self, answer: str) -> float:
        """See `PureCheck`."""
        given = self._plain(answer)
        return float(any(given == self._plain(right) for right in self.answers))

    def _plain(self, text: str) -> str:
        return plain(last_part(text, self.after), case=self.case, spaces=self.spaces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One letter of several.

    Attributes:
        answer: the right one, in capitals.
        letters: those that may be chosen.
    """

    answer: str
    letters: str = LETTERS[:10]

    def grade(self, answer: str) -> float:
        """See `PureCheck`."""
        return float(choice(answer, self.letters) == self.answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regex:
    """A pattern that is found."""

    pattern: re.Pattern[str]

    def grade(self, answer: str) -> float:
        """See `PureCheck`."""
        return float(self.pattern.search(answer) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Json:
    """Equal values; the order of keys does not matter, and 1 equals 1.0, but not true."""

    answer: Any

    def grade(self, answer: str) -> float:
        """See `PureCheck`."""
        return float(any(_equal(value, self.answer) for value in json_in(answer)))


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSchema:
    """JSON that is valid by a schema; `is_valid` is made once."""

    is_valid: Callable[[Any], bool] = field(repr=False)

    def grade(self, answer: str) -> float:
        """See `PureCheck`."""
        return float(any(self.is_valid(value) for value in json_in(answer)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeric:
    """A number.

    Attributes:
        tolerance: greatest difference that is still right.
        relative: the same, as a share of the right answer; the greater of both counts.
        after: as in `Exact`.
    """

    answer: float
    tolerance: float = 0.0
    relative: float = 1e-9
    after: str | None = None

    def grade(self, answer: str) -> float:
        """See `PureCheck`."""
        value = number(last_part(answer, self.after))
        if value is None:
            return 0.0
        return float(
            math.isclose(value, self.answer, abs_tol=self.tolerance, rel_tol=self.relative)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """Python code that passes tests.

    Attributes:
        code: what is run after the answer's code; it raises where a test fails.
        timeout_s: wall time of it all, and processor time.
        memory: bytes of address space.
    """

    __test__ = False  # for pytest, where this is imported

    code: str
    timeout_s: float = 10.0
    memory: int = 512 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """An answer that an expert compares with the reference.

    Attributes:
        answer: the reference.
        expert: who judges; empty where the row leaves that to whoever scores.
        about: what makes an answer the better one; empty for the judge's usual measure.
    """

    answer: str
    expert: str = ""
    about: str = ""


Check = Exact | Choice | Regex | Json | JsonSchema | Numeric | Tests | Judge


def parse(raw: Any) -> Check:
    """Return the check that a row's `check` says.

    Raises:
        WrongKey: with the key's path, and what was expected.
        ConfigError: a library that the check needs is not installed.
    """
    keys = Keys(raw, "check")
    kind = keys.text("type", f"one of {listed(_TYPES)}")
    if kind not in _TYPES:
        raise keys.wrong("type", f"expected one of {listed(_TYPES)}, not {shown(kind)}")
    check = _TYPES[kind](keys)
    keys.done()
    return check


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _exact(keys: Keys) -> Exact:
    return Exact(
        answers=keys.texts("answer", "a text, or a list of texts any of which is right"),
        after=keys.text_or_none("after"),
        case=keys.flag("case", default=False),
        spaces=keys.flag("spaces", default=True),
    )


def _choice(keys: Keys) -> Choice:
    count = keys.number_or("options", 10, "how many options there are, 2 to 26")
    if count not in range(2, 27):
        raise keys.wrong("options", f"expected how many options there are, 2 to 26, not {count:g}")
    letters = LETTERS[: int(count)]
    answer = keys.text("answer", "the letter of the right option").strip().upper()
    if len(answer) != 1 or answer not in letters:
        raise keys.wrong("answer", f"expected a letter from A to {letters[-1]}, not `{answer}`")
    return Choice(answer=answer, letters=letters)


def _regex(keys: Keys) -> Regex:
    try:
        return Regex(pattern=re.compile(keys.text("pattern", "a regular expression")))
    except (re.error, RecursionError, OverflowError) as error:
        raise keys.wrong("pattern", f"not a regular expression: {error}") from None


def _json(keys: Keys) -> Json:
    return Json(answer=keys.any("answer", "the right value"))


def _json_schema(keys: Keys) -> JsonSchema:
    schema = keys.any("schema", "a JSON schema")
    try:
        return JsonSchema(is_valid=valid_by(schema))
    except ValueError as error:
        raise keys.wrong("schema", str(error)) from None


def _numeric(keys: Keys) -> Numeric:
    return Numeric(
        answer=keys.number("answer", "a number"),
        tolerance=keys.number_or("tolerance", 0.0, "a number that is at least 0"),
        relative=keys.number_or("relative", 1e-9, "a number that is at least 0"),
        after=keys.text_or_none("after"),
    )


def _tests(keys: Keys) -> Tests:
    code = "\n".join(keys.texts("code", "Python that raises where a test fails"))
    try:
        compile(code, "tests", "exec")
    except (SyntaxError, ValueError) as error:
        raise keys.wrong("code", f"not Python: {error}") from None
    return Tests(
        code=code,
        timeout_s=keys.unit_or("timeout", 10.0, parse_duration),
        memory=keys.unit_or("memory", 512 * _MIB, parse_size),
    )


def _judge(keys: Keys) -> Judge:
    return Judge(
        answer=keys.text("answer", "the reference answer"),
        expert=keys.text_or_none("expert", "the name of an expert") or "",
        about=keys.text_or_none("about") or "",
    )


_TYPES: dict[str, Callable[[Keys], Check]] = {
    "exact": _exact,
    "choice": _choice,
    "regex": _regex,
    "json": _json,
    "json_schema": _json_schema,
    "numeric": _numeric,
    "tests": _tests,
    "judge": _judge,
}

__all__ = [
    "Check",
    "Choice",
    "Exact",
    "Json",
    "JsonSchema",
    "Judge",
    "Numeric",
    "PureCheck",
    "Regex",
    "Tests",
    "WrongKey",
    "parse",
]
