"""The page of experts.yaml: the JSON schema as tables, and the plugins that a `type` may name."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from coe.backends.local.options import Options
from coe.composition import json_schema
from docs.generators import markdown

INTRODUCTION = """\
The composition: one YAML file, strict. An unknown key, a name that leads nowhere or a value out of
range is an error with its line and column, and `coe check FILE` shows all of them at once. Names
are letters, digits and `._:@+/-`. A relative path is relative to the file.

The JSON schema for editors is `coe/composition/experts.schema.json`; put
`# yaml-language-server: $schema=PATH` at the head of your file.

Values that differ from machine to machine, and every secret, are references: `${env:NAME}`,
`${env:NAME:-default}` (not for secrets) and `${file:PATH}`."""

PLUGINS = """\
## Plugins

What a `type` may name, or a panel's `method`: these are built in, and an installed package adds its
own through an entry point of the group ([a router](../how-to/write-a-router.md),
[a backend](../how-to/write-a-backend.md), [an aggregator](../how-to/write-an-aggregator.md)). What
aggregators and their options are for is told in
[how drafts become one answer](../explanation/aggregators.md)."""

LOCAL = "### Options of a backend of type `local`"
_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
    "array": "list",
}
_Schema = Mapping[str, Any]


def page() -> str:
    """Return the page."""
    schema = json_schema()
    sections = [_section(schema, paths, node) for paths, node in _nodes(schema)]
    return markdown.page(
        "experts.yaml", INTRODUCTION, *sections, PLUGINS, *_plugins(), LOCAL, _local_options()
    )


def _nodes(schema: _Schema) -> Iterator[tuple[list[str], _Schema]]:
    """Yield each mapping of the file with the key paths at which it may stand, outer first."""
    paths: dict[str, list[str]] = {}
    pending: list[tuple[str, _Schema]] = [("", schema)]
    while pending:
        prefix, node = pending.pop(0)
        for key, value in _long(node).get("properties", {}).items():
            name, is_map = _reference(value)
            if name is None:
                continue
            path = f"{prefix}{key}.NAME" if is_map else f"{prefix}{key}"
            is_new = name not in paths
            paths.setdefault(name, []).append(path)
            if is_new:
                pending.append((f"{path}.", schema["$defs"][name]))
    yield [], schema
    for name, found in paths.items():
        yield found, schema["$defs"][name]


def _reference(value: _Schema) -> tuple[str | None, bool]:
    """Return the definition that a value refers to, and whether it is a mapping of such values."""
    for choice in value.get("anyOf", [value]):
        if "$ref" in choice:
            return choice["$ref"].rpartition("/")[2], False
        for entry in choice.get("patternProperties", {}).values():
            if "$ref" in entry:
                return entry["$ref"].rpartition("/")[2], True
    return None, False


def _long(node: _Schema) -> _Schema:
    """Return the long form of a mapping that has a short one too."""
    forms = [form for form in node.get("anyOf", []) if "properties" in form]
    return forms[0] if forms else node


def _section(schema: _Schema, paths: list[str], node: _Schema) -> str:
    long = _long(node)
    required = long.get("required", [])
    rows = [
        (
            markdown.code(key) + (" (required)" if key in required else ""),
            _kind(schema, value),
            _default(value),
            _meaning(schema, value),
        )
        for key, value in long.get("properties", {}).items()
    ]
    title = ", ".join(map(markdown.code, paths)) or "The file"
    about = node.get("description", "")
    for form in node.get("anyOf", []):
        if form is not long:
            about += f" Short form: {_kind(schema, form)}, {form['description']}."
    if long.get("additionalProperties") is True:
        about += " The other keys are the type's own options."
    table = markdown.table(("key", "value", "default", "meaning"), rows) or "It has no keys yet."
    return f"## {title}\n\n{about}\n\n{table}"


def _default(value: _Schema) -> str:
    default = value.get("default")
    return "" if default in (None, [], "") or isinstance(default, dict) else markdown.code(default)


def _meaning(schema: _Schema, value: _Schema) -> str:
    """Return the description; a mapping without its own has that of what it holds."""
    name, _ = _reference(value)
    inner = schema["$defs"][name].get("description", "") if name else ""
    return str(value.get("description", inner))


def _kind(schema: _Schema, value: _Schema) -> str:
    """Return what may be written, in words."""
    name, is_map = _reference(value)
    if name is not None:
        return "mapping by name" if is_map else "mapping"
    if "anyOf" in value:
        kinds = [_kind(schema, c) for c in value["anyOf"] if c.get("type") != "null"]
        examples = "" if len(kinds) == 1 else _examples(value)
        return " or ".join(dict.fromkeys(kinds)) + examples
    if "const" in value:
        return markdown.code(value["const"])
    if "enum" in value:
        return ", ".join(markdown.code(choice) for choice in value["enum"])
    kind = _WORDS[value["type"]]
    if value["type"] == "array":
        kind = f"list of {_kind(schema, value.get('items', {'type': 'string'}))}s"
    if "minimum" in value and "maximum" in value:
        kind += f" from {value['minimum']:g} to {value['maximum']:g}"
    return kind + _examples(value)


def _examples(value: _Schema) -> str:
    examples = [e for e in value.get("examples", []) if not isinstance(e, list)]
    return f" such as {', '.join(map(markdown.code, examples))}" if examples else ""


def _plugins() -> Iterator[str]:
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    for group, points in project["project"]["entry-points"].items():
        if group == "coe.tools":  # of the command line: no file names them
            continue
        rows = []
        for name, target in points.items():
            module_name, _, factory = target.partition(":")
            module = importlib.import_module(module_name)
            build = getattr(module, factory)
            rows.append((markdown.code(name), markdown.first_line(module), _keys(module, build)))
        yield f"### `{group}`\n\n" + markdown.table(("type", "what it is", "options"), rows)


def _keys(module: Any, factory: Any) -> str:
    """Return the options as the factory's docstring names them, or as the module lists them."""
    _, found, named = markdown.first_paragraph(factory).partition(" from ")
    if found:
        return named.rstrip(".")
    listed = getattr(module, "OPTIONS", ())
    return ", ".join(markdown.code(key) for key in sorted(listed))


def _local_options() -> str:
    meanings = _attributes(Options)
    rows = [
        (markdown.code(f.name), markdown.code(f.default), meanings[f.name]) for f in fields(Options)
    ]
    return markdown.table(("key", "default", "meaning"), rows)


def _attributes(documented: type) -> dict[str, str]:
    """Return the `Attributes:` of a docstring, each as one line."""
    _, _, listed = (documented.__doc__ or "").partition("Attributes:\n")
    entries: dict[str, str] = {}
    name = ""
    for line in listed.splitlines():
        depth = len(line) - len(line.lstrip())
        if depth == 8 and ": " in line:  # noqa: PLR2004 - two levels under the class
            name, _, entries[name] = line.strip().partition(": ")
        elif name and line.strip():
            entries[name] += " " + line.strip()
    return entries
