"""Prompt programs as values: experts that are recipes over others, or that cost nothing.

A program is served by the backend of its name in this process, which asks the expert under it as
anybody else does; see `coe.programs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Answer = Literal["number", "choice", "json", "text"]

PROGRAM = "program"
"""The type of the backend that serves programs, and its name."""

KINDS = ("recipe", "cached", "constant", "refuse")
"""The keys that make an expert a program, each a kind of its own."""

DEPTH = 2
"""Programs that may stand on one another."""

FIELDS = ("model", "date")
NEAREST = 4
TTL_S = 3600.0
MOST = 10_000
VARIED = 0.7
"""The temperature of samples, which are to differ."""

FRAME = 16
"""Bytes that a message costs beside its text, at most, where the size of a prompt is estimated."""

_FIELD = re.compile(r"\{(\{\w+\})\}|\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An answered prompt.

    Attributes:
        messages: the last one is the user's.
        answer: what is to be said to it.
    """

    messages: tuple[Mapping[str, Any], ...]
    answer: str

    @property
    def size(self) -> int:
        """About how many bytes it takes in a prompt."""
        texts = [str(message.get("content") or "") for message in self.messages]
        return sum(len(text.encode()) + FRAME for text in (*texts, self.answer))


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Answered prompts, and how those that are shown are chosen.

    Attributes:
        nearest: how many are shown.
        encoder: its name in the composition.
    """

    rows: tuple[Example, ...] = field(repr=False)
    nearest: int = NEAREST
    encoder: str

    @property
    def size(self) -> int:
        """About how many bytes they take in a prompt, at most."""
        return sum(sorted((row.size for row in self.rows), reverse=True)[: self.nearest])


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What the samples of a recipe vote on.

    Attributes:
        answer: what counts as the answer of a sample.
        after: only what follows the last of this counts; empty for all of it.
        options: how many there are to choose from; 0 for as many as the method takes there to be.
    """

    answer: Answer
    after: str = ""
    options: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Another expert, asked in a certain way.

    Attributes:
        over: the expert.
        system: comes before the conversation; empty for none.
        samples: how many answers are asked for.
        vote: what they vote on; None where there is one.
        temperature: of every sample; None for what the request says.
    """

    over: str
    system: str = ""
    examples: Examples | None = None
    samples: int = 1
    vote: Vote | None = None
    temperature: float | None = None

    @property
    def size(self) -> int:
        """About how many bytes it adds to a prompt, at most."""
        system = len(self.system.encode()) + FRAME if self.system else 0
        return system + (self.examples.size if self.examples is not None else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Always the same answer: a template."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Never an answer, but why there is none: a template."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """Answers of another expert, kept.

    Attributes:
        ttl_s: for so long.
        most: so many.
    """

    over: str
    ttl_s: float = TTL_S
    most: int = MOST


Program = Recipe | Constant | Refusal | Cached


def over(program: Program | None) -> str | None:
    """Return the expert that a program stands on; None where it stands on nobody."""
    return program.over if isinstance(program, Recipe | Cached) else None


def fields(template: str) -> Iterator[str]:
    """Yield the names of a template's fields, `{model}`; `{{model}}` is that text itself."""
    for found in _FIELD.finditer(template):
        if found[2]:
            yield found[2]


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a template with its fields filled in.

    Example:
        >>> filled('I am {model}, no {{model}}: {"a": {"b": 1}}', {"model": "hello"})
        'I am hello, no {model}: {"a": {"b": 1}}'
    """
    return _FIELD.sub(lambda found: found[1] or values[found[2]], template)
