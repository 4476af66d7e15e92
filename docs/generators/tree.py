"""The tree in README.md: what stands at the top of the repository, one line each."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
START, END = "<!-- tree -->", "<!-- /tree -->"

# What has no docstring of its own to speak for it. A new entry at the top needs a line here.
LINES = {
    "LICENSE": "Apache-2.0",
    "Makefile": "run, test, check, bench, experts, docs: each does its own set-up",
    "README.md": "this page",
    "SECURITY.md": "who is trusted with what, what to harden, how to report a vulnerability",
    "benches": "the gateway, the encoder and the experts measured, beside their peers",
    "deploy": "image, compose file, systemd unit, Helm chart, dashboard; what of it was run",
    "experts": "the small real experts that ship, with the recipe that trained them",
    "experts.yaml": "the composition: the one file that operators edit",
    "pyproject.toml": "metadata, dependencies, extras, entry points, configuration of the tools",
    "requirements": "the pinned versions that the Makefile installs",
    "tests": "unit, contract, integration, e2e, architecture",
}


def with_tree(readme: str) -> str:
    """Return the README with its tree up to date; as it is where it has no place for one.

    Raises:
        KeyError: an entry has no line.
    """
    has_place = START in readme and END in readme
    if not has_place or not (ROOT / ".git").exists():  # git knows what belongs to the repository
        return readme
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{tree()}\n{END}{after}"


def tree() -> str:
    """Return the tree. Raises KeyError where an entry has no line."""
    rows = []
    for entry in _entries(ROOT):
        rows.append(("", entry, _line(entry)))
        if entry.name == "coe":
            rows += [("  ", child, _docstring(child)) for child in _parts(entry)]
    shown = [(indent + _name(entry), line) for indent, entry, line in rows]
    width = max(len(name) for name, _ in shown)
    return "\n".join(["```", *(f"{name:<{width}}  {line}".rstrip() for name, line in shown), "```"])


def _entries(folder: Path) -> list[Path]:
    """Return what git tracks at the top, hidden entries left out: folders last."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    names = {name.partition("/")[0] for name in listed.splitlines()}
    entries = [folder / name for name in names if not name.startswith(".")]
    return sorted(entries, key=lambda entry: (entry.is_dir(), entry.name.lower()))


def _parts(package: Path) -> list[Path]:
    """Return the modules and packages of a package that people start reading at."""
    entries = [e for e in package.iterdir() if (e / "__init__.py").exists() or e.suffix == ".py"]
    shown = [e for e in entries if not e.name.startswith("_")]
    return sorted(shown, key=lambda entry: (entry.is_dir(), entry.name))


def _name(entry: Path) -> str:
    return f"{entry.name}/" if entry.is_dir() else entry.name


def _line(entry: Path) -> str:
    if entry.name in LINES:
        return LINES[entry.name]
    line = _docstring(entry)
    if not line:
        raise KeyError(f"{entry.name} has no line in docs/generators/tree.py")
    return line


def _docstring(entry: Path) -> str:
    """Return the first line of a module's or package's docstring, without its full stop."""
    file = entry / "__init__.py" if entry.is_dir() else entry
    if file.suffix != ".py" or not file.exists():
        return ""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.split("\n", 1)[0].rstrip(".")
