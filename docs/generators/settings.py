"""The page of the `COE_*` environment variables."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from coe.settings import Settings
from docs.generators import markdown

INTRODUCTION = """\
Where the gateway runs. Read once at start-up from the environment; the options of
[`coe serve`](cli.md) have precedence. What the system *is* stands in
[experts.yaml](experts-yaml.md)."""


def page() -> str:
    """Return the page."""
    prefix = Settings.model_config.get("env_prefix", "")
    rows = [
        (
            markdown.code(f"{prefix}{name}".upper()),
            _kind(field.annotation, field.metadata),
            markdown.code(field.default),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
    header = ("variable", "value", "default", "meaning")
    return markdown.page("Settings", INTRODUCTION, markdown.table(header, rows))


def _kind(annotation: Any, constraints: list[Any]) -> str:
    """Return what may be written, in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(markdown.code(value) for value in get_args(annotation))
    types = set(get_args(annotation) or [annotation]) - {type(None)}
    words = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}
    kinds = [words.get(kind.__name__, kind.__name__.lower()) for kind in types]
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    limits = [
        f"{words} {getattr(limit, key):g}"
        for limit in constraints
        for key, words in bounds.items()
        if getattr(limit, key, None) is not None
    ]
    return ", ".join([*sorted(kinds), *limits])
