"""A value of a request's body together with its place, so that a refusal can name it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coe.errors import InvalidRequest

_PLAIN = re.compile(r"[a-z0-9_]{1,64}")
_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands: `messages[2].content[0].text`; empty for the body itself."""

    value: Any
    place: str = ""

    def __getitem__(self, name: str) -> Node:
        """Return a field of an object; one that is not there has the value None.

        Raises:
            InvalidRequest: this is no object.
        """
        return Node(self.object().get(name), f"{self.place}.{name}" if self.place else name)

    def __iter__(self) -> Iterator[Node]:
        """Yield the items of a list.

        Raises:
            InvalidRequest: this is no list.
        """
        if not isinstance(self.value, list):
            raise self.wrong(f"must be a list, not {self.kind}")
        for index, item in enumerate(self.value):
            yield Node(item, f"{self.place}[{index}]")

    @property
    def is_given(self) -> bool:
        """Whether there is a value other than null."""
        return self.value is not None

    @property
    def is_text(self) -> bool:
        """Whether it is a string."""
        return isinstance(self.value, str)

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return _KINDS.get(type(self.value), "null" if self.value is None else "a number")

    def object(self) -> Mapping[str, Any]:
        """Return the object. Raises InvalidRequest where it is none."""
        if not isinstance(self.value, dict):
            raise self.wrong(f"must be an object, not {self.kind}")
        return self.value

    def text(self) -> str:
        """Return the string. Raises InvalidRequest where it is none."""
        if not isinstance(self.value, str):
            raise self.wrong(f"must be a string, not {self.kind}")
        return self.value

    def count(self, least: int = 1) -> int | None:
        """Return the whole number; None where none is given. Raises InvalidRequest."""
        value = self.value
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(f"must be a whole number, {least} or more")
        return int(value)

    def flag(self) -> bool:
        """Return whether it is true; false where it is not given. Raises InvalidRequest."""
        if self.value is not None and not isinstance(self.value, bool):
            raise self.wrong(f"must be true or false, not {self.kind}")
        return self.value is True

    def one_of(self, *names: str) -> str:
        """Return the string, which is one of these. Raises InvalidRequest."""
        if self.value not in names:
            raise self.wrong(f"must be one of {', '.join(names)}")
        return str(self.value)

    def wrong(self, why: str) -> InvalidRequest:
        """Return an error that names the place: its name, then `why`."""
        return InvalidRequest(f"`{self.place or 'body'}` {why}", param=self.place or None)


def usable(tools: Node, known: Collection[str | None]) -> tuple[list[Node], tuple[str, ...]]:
    """Return the tools that a chat model can use, and the types of those that are left out.

    Agents offer the tools of their vendor's servers beside their own, and manage without them.

    Raises:
        InvalidRequest: all of the tools would be left out.
    """
    given = list(tools) if tools.is_given else []
    kept = [tool for tool in given if tool["type"].value in known]
    left_out = [tool["type"] for tool in given if tool["type"].value not in known]
    if left_out and not kept:
        raise left_out[0].wrong(
            f"is {left_out[0].value}, which no expert can use; only tools with a schema of their "
            "parameters are served"
        )
    names = (str(kind.value) for kind in left_out)
    return kept, tuple(name if _PLAIN.fullmatch(name) else "other" for name in names)


def passed_on(body: Node, own: frozenset[str], instead: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that go to the expert as they are: those that are not a dialect's own.

    Args:
        body: the request.
        own: the fields that the dialect translates, or that mean nothing to an expert.
        instead: what to use in place of fields that belong to chat completions, by their names.

    Raises:
        InvalidRequest: such a field stands there.
    """
    for name, advice in instead.items():
        if body[name].is_given:
            raise body[name].wrong(f"is not a field of this endpoint; {advice}")
    return {key: value for key, value in body.object().items() if key not in own}
