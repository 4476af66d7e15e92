"""A document against the models: every mistake, in plain words, at its place."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from coe.composition.document import KeyPath
from coe.composition.keys import Keys
from coe.composition.models import FileKeys
from coe.composition.report import Report, suggestion

NAME_RULE = "letters, digits and `._:@+-`, at most 128 of them, a letter or digit first"
# Values that are never repeated in a message, whatever is wrong with them.
_PRIVATE = frozenset({"api_key", "headers"})
_LATER_VALUES = {
    "choose": frozenset({"weighted", "best_skill"}),
}
_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping (`key: value` lines)",
    "model_type": "a mapping (`key: value` lines)",
    "model_attributes_type": "a mapping (`key: value` lines)",
}


def validate(report: Report) -> FileKeys:
    """Return the report's document as typed keys; what is wrong is reported and left out.

    So that later checks see all that is right, each broken value is removed and the rest is read
    again, until nothing is broken.
    """
    content = copy.deepcopy(report.document.content)
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"holds {kind_of(content)}"
        report.error((), f"the file {what}; expected a mapping", "write one with `coe init`")
        content = {}
    while True:
        try:
            return FileKeys.model_validate(content)
        except ValidationError as invalid:
            broken = set()
            for error in invalid.errors(include_url=False):
                path = tuple(part for part in error["loc"] if part != "[key]")
                _report(report, path, error)
                broken.add(_standing(content, path))
            # What a later round finds may only be the hole that was left here.
            report.seal()
            if () in broken:
                return FileKeys()
            # Last positions first: removing from a list moves what stands behind.
            for path in sorted(broken, reverse=True):
                _remove(content, path)


def kind_of(value: object) -> str:
    """Say what a value is, in the words of YAML."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "a mapping"


def model_at(path: KeyPath) -> type[Keys]:
    """Return the model that reads the mapping at `path`, which one does."""
    kind: Any = FileKeys
    for part in path:
        model = _model_in(kind)
        kind = _field_of(model, str(part)).annotation if model else get_args(kind)[-1]
    return _model_in(kind) or FileKeys


def known_keys(model: type[BaseModel]) -> list[str]:
    """Return the keys that a model's mapping may have."""
    return [
        choice
        for name, field in model.model_fields.items()
        for choice in (
            [str(c) for c in field.validation_alias.choices]
            if isinstance(field.validation_alias, AliasChoices)
            else [name]
        )
    ]


def _report(report: Report, path: KeyPath, error: ErrorDetails) -> None:
    kind, value, last = error["type"], error["input"], path[-1] if path else ""
    context: Mapping[str, Any] = error.get("ctx", {})
    private = not _PRIVATE.isdisjoint(path)
    if kind == "extra_forbidden":
        _report_unknown(report, path)
    elif kind == "missing":
        report.error(path[:-1], f"`{last}` is missing", "add it", key=True)
    elif kind == "string_pattern_mismatch":
        report.error(path, f"`{str(last)[:60]}` cannot be a name", f"use {NAME_RULE}", key=True)
    elif kind == "literal_error":
        _report_choice(report, path, value, context)
    elif kind == "value_error":
        report.error(path, str(context.get("error", error["msg"])))
    elif kind in _EXPECTED:
        hint = "put it in quotes" if kind == "string_type" and _is_scalar(value) else ""
        hint = "give it a value or remove the key" if value is None else hint
        if isinstance(value, dict) and "expert" in value:
            hint = "weights are not supported yet: write the expert's name alone"
        shown = "" if private or not _is_scalar(value) or value is None else f" ({value!s:.60})"
        report.error(path, f"expected {_EXPECTED[kind]}, not {kind_of(value)}{shown}", hint)
    elif kind in {"greater_than_equal", "less_than_equal"}:
        bound = context.get("ge", context.get("le"))
        most = "least" if kind == "greater_than_equal" else "most"
        report.error(path, f"{value} is out of range: must be at {most} {bound:g}")
    elif kind == "finite_number":
        report.error(path, f"{value} is not a finite number")
    else:
        report.error(path, error["msg"])


def _report_unknown(report: Report, path: KeyPath) -> None:
    key, model = str(path[-1]), model_at(path[:-1])
    if key in model.LATER:
        hint = "remove it: nothing in this version reads it"
        report.error(path, f"`{key}` is not supported yet", hint, key=True)
        return
    known = known_keys(model)
    hint = suggestion(key, known)
    if "did you mean" in hint:
        hint += f" Allowed: {', '.join(known)}"
    report.error(path, f"unknown key `{key[:60]}`", hint, key=True)


def _report_choice(report: Report, path: KeyPath, value: Any, context: Mapping[str, Any]) -> None:
    if isinstance(value, str) and value in _LATER_VALUES.get(str(path[-1]), ()):
        report.error(path, f"`{value}` is not supported yet", f"use {context['expected']}")
    elif path == ("version",):
        message = f"version {value!s:.20} of the schema is not known"
        report.error(path, message, "this program reads version 1")
    else:
        choices = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        message = f"`{value!s:.60}` is not one of {', '.join(choices)}"
        hint = suggestion(str(value), choices)
        report.error(path, message, hint if "did you mean" in hint else "")


def _standing(content: Any, path: KeyPath) -> KeyPath:
    """Return the part of `path` that leads to something, skipping what a short form left out."""
    here: KeyPath = ()
    for part in path:
        is_key = isinstance(content, dict) and part in content
        is_position = isinstance(content, list) and isinstance(part, int) and part < len(content)
        if is_key or is_position:
            here, content = (*here, part), content[part]
    return here


def _remove(content: Any, path: KeyPath) -> None:
    for part in path[:-1]:
        content = content[part]
    del content[path[-1]]


def _field_of(model: type[Keys], key: str) -> FieldInfo:
    """Return the field that a key of a mapping is read into."""
    if key in model.model_fields:
        return model.model_fields[key]
    return next(
        field
        for field in model.model_fields.values()
        if isinstance(field.validation_alias, AliasChoices)
        and key in field.validation_alias.choices
    )


def _model_in(kind: Any) -> type[Keys] | None:
    """Return the model that a type is, or is a union of with None."""
    for option in get_args(kind) if isinstance(kind, UnionType) else (kind,):
        if isinstance(option, type) and issubclass(option, Keys):
            return option
    return None


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float))
