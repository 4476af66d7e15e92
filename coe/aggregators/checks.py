"""What can be told of an answer without asking anybody: it has the form that it should have.

| type | an answer passes if |
| --- | --- |
| `numeric` | there is a number in it |
| `choice` | it chooses one of `options` letters |
| `json` | there is JSON in it |
| `json_schema` | there is JSON in it that is valid by `schema` |
| `regex` | `pattern` is found in it |

They are read as the checks of `coe score` are (`coe.scoring.checks`), which also know what is
right. Code is not run here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from coe import extract
from coe.aggregators.answers import Extraction
from coe.options import Options

Passes = Callable[[str], bool]
TYPES = ("numeric", "choice", "json", "json_schema", "regex")


def check(options: Options, key: str) -> Passes:
    """Read the check that stands under a key, and return it as a function of an answer's text.

    Raises:
        ConfigError: it is none, or a library that it needs is not installed.
    """
    raw: Any = options.values.get(key)
    if not isinstance(raw, Mapping):
        raise options.wrong(key, "a check such as {type: regex, pattern: ...}")
    keys = Options(f"{options.place}.{key}", raw)
    match keys.choice("type", "", TYPES):
        case "numeric":
            keys.allow("type", "after")
            return _given(_extraction(keys, "number"))
        case "choice":
            keys.allow("type", "after", "options")
            return _given(_extraction(keys, "choice"))
        case "json":
            keys.allow("type")
            return _given(Extraction(kind="json"))
        case "json_schema":
            keys.allow("type", "schema")
            return _valid(_schema(keys))
    keys.allow("type", "pattern")
    pattern = _pattern(keys)
    return lambda text: pattern.search(extract.spoken(text)) is not None


def _extraction(keys: Options, kind: str) -> Extraction:
    return Extraction(
        kind=kind,
        after=keys.text("after") if "after" in keys.values else None,
        options=keys.integer("options", 10, least=2, most=26),
    )


def _given(extraction: Extraction) -> Passes:
    return lambda text: extraction.of(text) is not None


def _valid(is_valid: Callable[[Any], bool]) -> Passes:
    def passes(text: str) -> bool:
        return any(is_valid(value) for value in extract.json_in(extract.spoken(text)))

    return passes


def _schema(keys: Options) -> Callable[[Any], bool]:
    try:
        return extract.valid_by(keys.values.get("schema"))
    except ValueError as error:
        raise keys.wrong("schema", f"a JSON schema ({error})") from None


def _pattern(keys: Options) -> re.Pattern[str]:
    try:
        return re.compile(keys.text("pattern"))
    except (re.error, RecursionError, OverflowError) as error:
        raise keys.wrong("pattern", f"a regular expression ({error})") from None
