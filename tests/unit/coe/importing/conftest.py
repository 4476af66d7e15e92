"""Files of other gateways, in all shapes that we know of; all of them are our own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from coe.composition import Composition, load
from coe.importing import Carried, Note, carry, parse_source, write

_REFERENCE = re.compile(r"\$\{env:(\w+)\}")


@dataclass(frozen=True)
class Brought:
    """A file that was imported.

    Attributes:
        composition: the written text, loaded with every variable set.
        variables: those that the text refers to.
    """

    carried: Carried
    text: str
    composition: Composition
    variables: frozenset[str]

    def notes(self, kind: str, path: str = "") -> list[Note]:
        return [n for n in self.carried.notes if n.kind == kind and n.path.startswith(path)]

    def route(self, category: str) -> list[str]:
        return list(self.composition.routing.routes[category])


Bring = Callable[..., Brought]


@pytest.fixture
def bring() -> Bring:
    def bringing(kind: str, text: str, name: str = "config.yaml") -> Brought:
        carried = carry(kind, parse_source(text, name))
        written = write(carried, f"a test's {name}")
        variables = frozenset(_REFERENCE.findall(written))
        env = dict.fromkeys(variables, "http://127.0.0.1:9")
        composition = load(Path("experts.yaml"), env, text=written)
        return Brought(carried, written, composition, variables)

    return bringing
