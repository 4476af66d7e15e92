"""What an answer says, as a value that can be compared: a number, a letter, JSON, or text. Pure.

An answer of a model that thinks may hold its thoughts, up to a `</think>`; `spoken` leaves them
out. The other functions read all that they are given.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from coe.errors import ConfigError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NUMBER = re.compile(
    r"(?:(?<!\w)[-+\u2212])?"  # the hyphen of `COVID-19` is no sign
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?:\.\d+)?(?:[eE][-+]?\d+)?"
)
_FENCE = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)


def text_of(content: object) -> str:
    """Return the text of a message's content; parts are joined by line breaks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))


def spoken(text: str) -> str:
    """Return what follows the thoughts of an answer; nothing where they never come to an end."""
    _, mark, after = text.rpartition("</think>")
    if mark:
        return after
    return "" if text.lstrip().startswith("<think>") else text


def last_part(text: str, after: str | None) -> str:
    """Return what follows the last occurrence of `after`; the whole text where there is none."""
    return text if after is None else text.rpartition(after)[2]


def plain(text: str, *, case: bool = False, spaces: bool = True) -> str:
    """Return a text but for runs of spaces and a final `.`, `!` or `;`.

    Args:
        text: any.
        case: whether case is kept.
        spaces: whether a space is.
    """
    text = unicodedata.normalize("NFC", text)
    text = text if case else text.casefold()
    return (" " if spaces else "").join(text.split()).rstrip(".!; ")


def number(text: str) -> float | None:
    """Return the last number of a text, `-1,234.5e6`; None where there is none."""
    end = next((i for i in range(len(text), 0, -1) if text[i - 1].isdecimal()), 0)
    start = end
    while start and (text[start - 1].isdecimal() or text[start - 1] in ",.eE+-\u2212"):
        start -= 1
    found = list(_NUMBER.finditer(text, start))  # no number reaches over `start`
    return float(found[-1][0].replace(",", "").replace("\u2212", "-")) if found else None


def choice(text: str, letters: str = LETTERS[:10]) -> str | None:
    r"""Return the letter that an answer chooses; None where it chooses none.

    1. The last of what says so: `the answer is (B)`, `Answer: B`, `\boxed{B}`, `**B**`.
    2. The letter that it begins with: `B`, `B.`, `(B) because ...`.
    3. Its last capital letter that stands alone; an `I` or an `A` of a sentence is not one.
    """
    letter = f"([{letters}])"
    said = re.findall(
        rf"(?i:answer|option|choice)(?i:\s+is|\s*[:=])*\s*[*_\"'(\[]*{letter}\b"
        rf"|\\boxed\{{(?:\\text\{{)?\(?{letter}\b"
        rf"|\*\*\(?{letter}\)?[.:]?\*\*",
        text,
    )
    if said:
        return str(next(part for part in said[-1] if part))
    begun = re.match(rf"\s*[\"'(\[]?{letter}(?:[)\].:,]|\s*$)", text)
    if begun:
        return begun[1]
    alone = re.findall(rf"(?<![\w'-]){letter}(?![\w'-])(?!\s+[a-z])", text)
    return alone[-1] if alone else None


def code_in(text: str) -> str:
    """Return the code of an answer: its fenced blocks, or all of it where it has none."""
    blocks = _FENCE.findall(text)
    return "\n".join(blocks) if blocks else text


def json_in(text: str) -> Iterator[Any]:
    """Yield the JSON of an answer: all of it, or else a fenced block, or else what is in it."""
    for part in (text, *_FENCE.findall(text)):
        try:
            yield json.loads(part)
        except (ValueError, RecursionError):
            continue
        return
    start = re.search(r"[{\[]", text)
    if start is not None:
        try:
            yield json.JSONDecoder().raw_decode(text, start.start())[0]
        except (ValueError, RecursionError):
            return


def canonical(value: Any) -> str:
    """Return JSON that is the same for equal values: sorted keys, and 1 for 1.0, but not for true.

    Raises:
        RecursionError: it is nested too deeply.
    """
    return json.dumps(_whole(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def valid_by(schema: Any) -> Callable[[Any], bool]:
    """Return whether a value is valid by a JSON schema, as a function.

    Raises:
        ValueError: it is no JSON schema, or refers to what it does not hold.
        ConfigError: the library that it takes is not installed.
    """
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
        from referencing import Registry
        from referencing.exceptions import Unresolvable
    except ImportError:
        raise ConfigError(
            "a check of type `json_schema` needs jsonschema: install the extra with "
            "`pip install 'coe-gateway[score]'`"
        ) from None
    try:
        Draft202012Validator.check_schema(schema)
        # An empty registry: a schema must not make us fetch what it refers to.
        validator = Draft202012Validator(schema, registry=Registry())
        validator.is_valid(None)
    except SchemaError as error:
        raise ValueError(f"not a JSON schema: {error.message}") from None
    except Unresolvable as error:
        raise ValueError(f"refers to what it does not hold: {error}") from None
    is_valid: Callable[[Any], bool] = validator.is_valid
    return is_valid


def _whole(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return value
