"""The page of the command line, read from typer's commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from coe.cli import app
from docs.generators import markdown

INTRODUCTION = """\
Exit status: 0 when all is well, 1 when a request failed, 2 when the composition, a setting or an
option cannot be used. Errors are sentences on standard error."""


def page() -> str:
    """Return the page."""
    root: Any = get_command(app)
    parts = [_section(name, command) for name, command in _commands(root)]
    return markdown.page("Command line", root.help, INTRODUCTION, *parts)


def _commands(group: Any) -> Iterator[tuple[str, Any]]:
    """Yield every command with its words, those of groups after their group's name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            if command.invoke_without_command:
                yield name, command
            yield from ((f"{name} {word}", inner) for word, inner in _commands(command))
        else:
            yield name, command


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    words = [_placeholder(argument) for argument in arguments]
    usage = " ".join(["coe", name, *(["[OPTIONS]"] if options else []), *words])
    rows = [_row(p) for p in [*arguments, *options]]
    table = markdown.table(("", "default", "meaning"), rows)
    parts = [f"## `coe {name}`", command.help, f"```\n{usage}\n```", table]
    return "\n\n".join(part for part in parts if part)


def _placeholder(argument: Any) -> str:
    word = argument.name.upper()
    return word if argument.required else f"[{word}]"


def _row(parameter: Any) -> tuple[str, str, str]:
    if parameter.param_type_name == "argument":
        name = markdown.code(parameter.name.upper())
    else:
        value = "" if parameter.is_flag else f" {parameter.name.upper()}"
        name = ", ".join(markdown.code(option + value) for option in parameter.opts)
    is_shown = parameter.default not in (None, False) and not parameter.required
    default = markdown.code(parameter.default) if is_shown else ""
    return (name, default, parameter.help or "")
