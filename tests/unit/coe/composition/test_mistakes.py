"""Every mistake that the file can hold: its place, its words, and its remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from coe.composition import check

Write = Callable[[str], Path]

BASE = """\
version: 1
backends:
  here: {url: http://127.0.0.1:8000, memory: 10GiB, reserve: 1GiB}
  engine: local
experts:
  general: here/small
  coder: {backend: here, model: coder}
categories:
  code:
    utterances: [c1, c2, c3, c4, c5]
    experts: [coder]
  law:
    utterances: [l1, l2, l3, l4, l5]
    experts: [general]
default: general
"""


@dataclass(frozen=True)
class Mistake:
    """One change to BASE and the problem that it must bring.

    Attributes:
        old: what is replaced in BASE; empty to add `new` at the end.
        place: line:column.
    """

    name: str
    old: str
    new: str
    place: str
    path: str
    message: str
    hint: str = ""
    severity: str = "error"

    @property
    def text(self) -> str:
        if not self.old:
            return BASE + self.new
        assert BASE.count(self.old) == 1, self.old
        return BASE.replace(self.old, self.new)


TABLE = Path(__file__).parents[3] / "data" / "mistakes.yaml"
MISTAKES = [Mistake(*row) for row in YAML(typ="safe", pure=True).load(TABLE)]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_told_with_its_place_and_remedy(mistake: Mistake, write: Write) -> None:
    problems = check(write(mistake.text), {})

    found = [p for p in problems if mistake.message in p.message and p.path == mistake.path]
    assert found, "\n".join(map(str, problems)) or "no problem at all"
    assert f"{found[0].line}:{found[0].column}" == mistake.place
    assert mistake.hint in found[0].hint
    assert found[0].severity == mistake.severity
    assert not any(secret in str(p) for p in problems for secret in ("sk-123", "hunter2", "12345"))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_brings_no_second_error_for_the_same_place(
    mistake: Mistake, write: Write
) -> None:
    problems = check(write(mistake.text), {})

    errors = [p for p in problems if p.severity == "error"]
    assert len({(p.line, p.column) for p in errors}) == len(errors), "\n".join(map(str, errors))
