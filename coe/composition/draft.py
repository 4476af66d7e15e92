"""The text of a composition while it is edited: what is not edited stays as it is, to the letter.

An edit replaces, adds or removes the characters of one value and touches nothing around it, so that
comments, blank lines and the writer's own layout survive, and a diff shows the edit alone. What the
new text means is compared with what it should mean: a layout that an edit cannot follow (an alias,
a merge) is refused, and nothing is lost.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from coe.composition.document import Document, KeyPath, compose, dotted, parse, value_at
from coe.errors import CompositionError, Problem

WIDTH = 100
STEP = 2

_PLAIN = re.compile(r"[A-Za-z0-9_./](?:[A-Za-z0-9_./@+%~()?!-]|:(?=[^ ])| (?=[^ #]))*")
_ALIAS = re.compile(r"\s*:\s*(\*[^\s,\]}]+)")
_COLON = re.compile(r"\s*:")


@dataclass(frozen=True)
class Draft:
    r"""A YAML text and the file that it is meant for. Each edit returns another draft.

    Every method raises CompositionError for an edit that cannot be made; the message says why.

    Example:
        >>> draft = Draft("experts:  # who answers\n  a: x/y   # the first\n", "experts.yaml")
        >>> print(draft.put(("experts", "b"), {"backend": "x", "model": "z"}).text, end="")
        experts:  # who answers
          a: x/y   # the first
          b: {backend: x, model: z}
    """

    text: str
    file: str

    @cached_property
    def document(self) -> Document:
        """The text as it is read. Raises CompositionError where it is no YAML."""
        return parse(self.text, self.file)

    @property
    def content(self) -> Any:
        """The text's plain values; do not change them."""
        return self.document.content

    def get(self, path: KeyPath) -> Any:
        """Return the value at a key path; None where nothing is there."""
        return value_at(self.content, path)

    def put(self, path: KeyPath, value: Any) -> Draft:
        """Return the draft with `value` at `path`; missing mappings on the way are made.

        A mapping that takes the place of another one is put key by key, so that comments between
        the keys that stay are kept.
        """
        old = self.get(path)
        if old == value and type(old) is type(value) and self._has(path):
            return self
        if isinstance(old, dict) and isinstance(value, Mapping) and old and value:
            draft = self
            for key, entry in value.items():
                draft = draft.put((*path, key), entry)
            for key in old:
                draft = draft if key in value else draft.remove((*path, key))
            return draft
        expected = _put(copy.deepcopy(self.content), path, value)
        return self._checked(_Edit(self).put(path, value), expected, path)

    def add(self, path: KeyPath, value: Any, *, first: bool = False) -> Draft:
        """Return the draft with one more entry in the list at `path`; a text is a list of one.

        Args:
            path: of the list, which need not be there yet.
            value: the entry.
            first: put it before the others, not behind them.
        """
        old = self.get(path)
        others = old if isinstance(old, list) else [] if old is None else [old]
        entries = [value, *others] if first else [*others, value]
        if not isinstance(old, list) or not old:
            return self.put(path, entries)
        expected = _put(copy.deepcopy(self.content), path, entries)
        return self._checked(_Edit(self).add(path, value, first=first), expected, path)

    def remove(self, path: KeyPath) -> Draft:
        """Return the draft without what is at `path`, which is there.

        Comment lines right above it go with it, unless it is the first of its kind: what stands
        above the first may speak of them all.
        """
        expected = copy.deepcopy(self.content)
        parent = expected
        for part in path[:-1]:
            parent = parent[part]
        del parent[path[-1]]
        if not parent:
            if len(path) == 1:
                raise self._refusal(path, "nothing would be left of the file")
            return self.put(path[:-1], parent)
        return self._checked(_Edit(self).remove(path), expected, path)

    def _has(self, path: KeyPath) -> bool:
        return path in self.document.values

    def _checked(self, text: str, expected: Any, path: KeyPath) -> Draft:
        draft = replace(self, text=text)
        try:
            if draft.content == expected:
                return draft
        except CompositionError:
            pass
        raise self._refusal(path, "the layout here cannot be edited without changing more")

    def _refusal(self, path: KeyPath, message: str) -> CompositionError:
        place = self.document.place(path)
        problem = Problem(
            file=self.file,
            line=place.line,
            column=place.column,
            path=dotted(path),
            message=message,
            hint="edit the file by hand",
        )
        return CompositionError((problem,))


@dataclass(frozen=True, slots=True)
class _Spot:
    """A value in the text.

    Attributes:
        key: the node of its key; None for an entry of a list.
        parent: the collection that holds it; None at the top.
        index: its position there.
    """

    node: Node
    key: Node | None
    parent: CollectionNode | None
    index: int


class _Edit:
    """One edit of one text: finds the characters and replaces them."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._text = draft.text
        self._newline = "\r\n" if "\r\n" in self._text else "\n"

    def put(self, path: KeyPath, value: Any) -> str:
        spot = self._find(path)
        if spot is not None:
            return self._replace(spot, path, value)
        above = path
        while (spot := self._find(above := above[:-1])) is None:
            pass
        for part in reversed(path[len(above) + 1 :]):
            value = {part: value}
        key = path[len(above)]
        node = spot.node
        if isinstance(node, MappingNode):
            return self._insert(node, str(key), value, apart=not above)
        if _is_empty(node) and isinstance(key, str):
            return self._replace(spot, above, {key: value})
        raise self._draft._refusal(above, "this is no mapping")  # noqa: SLF001 - one module

    def add(self, path: KeyPath, value: Any, *, first: bool) -> str:
        spot = self._find(path)
        node = spot.node if spot else None
        assert isinstance(node, SequenceNode)  # noqa: S101 - the caller has looked
        start, end = node.value[0].start_mark.index, self._end(node.value[-1])
        if node.flow_style:
            at = start if first else end
            return self._splice(at, at, f"{flow(value)}, " if first else f", {flow(value)}")
        line = " " * node.start_mark.column + f"- {flow(value)}"
        if not first:
            return self._add_line(end, line)
        at = self._line_start(start)
        return self._splice(at, at, line + self._newline)

    def remove(self, path: KeyPath) -> str:
        spot = self._find(path)
        parent = spot.parent if spot else None
        assert spot is not None  # noqa: S101 - the caller has looked
        assert parent is not None  # noqa: S101
        start, end = (spot.key or spot.node).start_mark.index, self._spot_end(spot)
        if parent.flow_style:
            if spot.index + 1 < len(parent.value):
                end = _first(parent.value[spot.index + 1]).start_mark.index
            else:
                start = self._entry_end(parent.value[spot.index - 1])
            return self._splice(start, end, "")
        first = self._line_start(start)
        if spot.index:
            first = self._with_comment_above(first, start - first)
        return self._splice(first, self._line_end(end, past=True), "")

    def _replace(self, spot: _Spot, path: KeyPath, value: Any) -> str:
        """Return the text with another value: on the same line where it fits, else below its key.

        What stands behind the value on its line, a comment, stays behind the key.
        """
        node, key = spot.node, spot.key
        if key is None:
            if _is_block(node):
                raise self._draft._refusal(path, "an entry of a list over several lines")  # noqa: SLF001
            return self._splice(node.start_mark.index, self._spot_end(spot), flow(value))
        colon = _COLON.match(self._text, key.end_mark.index)
        assert colon is not None  # noqa: S101 - it is a key
        start, end = colon.end(), self._spot_end(spot)
        written = f" {flow(value)}"
        line = start - self._line_start(start) + len(written)
        is_below = not _is_empty(node) and "\n" in self._text[start : node.start_mark.index]
        is_plain = not isinstance(value, Mapping | list) or not value
        lines = [] if is_plain else block(value, key.start_mark.column + STEP)
        if spot.parent is not None and spot.parent.flow_style:
            return self._splice(start, end, written)
        if is_below:
            first = self._line_end(start)
            if is_plain:
                return self._text[:start] + written + self._text[start:first] + self._text[end:]
            return self._splice(first, end, "".join(self._newline + row for row in lines))
        if is_plain or line <= WIDTH:
            return self._splice(start, end, written)
        last = self._line_end(end)
        rest = self._text[end:last].rstrip()
        return self._splice(start, last, rest + "".join(self._newline + row for row in lines))

    def _insert(self, node: MappingNode, key: str, value: Any, *, apart: bool) -> str:
        """Add a key behind the last one of a mapping."""
        if not node.value:
            start, end = node.start_mark.index, node.end_mark.index
            return self._splice(start, end, flow({key: value}))
        end = self._entry_end(node.value[-1])
        if node.flow_style:
            return self._splice(end, end, f", {flow(key)}: {flow(value)}")
        lines = block({key: value}, node.value[0][0].start_mark.column)
        blank = self._newline if apart and len(lines) > 1 else ""
        return self._add_line(end, blank + self._newline.join(lines))

    def _find(self, path: KeyPath) -> _Spot | None:
        node = compose(self._text, self._draft.file)
        spot = _Spot(node, None, None, 0) if node is not None else None
        for part in path:
            spot = _step(spot.node, part) if spot is not None else None
        if spot is None and not path:
            raise self._draft._refusal((), "the file is empty")  # noqa: SLF001 - one module
        return spot

    def _spot_end(self, spot: _Spot) -> int:
        return self._end(spot.node) if spot.key is None else self._entry_end((spot.key, spot.node))

    def _entry_end(self, entry: tuple[Node, Node] | Node) -> int:
        """Return where an entry of a collection ends; a key without a value ends at its colon."""
        if isinstance(entry, Node):
            return self._end(entry)
        key, value = entry
        alias = _ALIAS.match(self._text, key.end_mark.index)
        if alias is not None:
            return alias.end()
        colon = _COLON.match(self._text, key.end_mark.index)
        if _is_empty(value) and colon is not None:
            return colon.end()
        return self._end(value)

    def _end(self, node: Node) -> int:
        """Return where the characters of a node end, comments behind it not counted."""
        if isinstance(node, CollectionNode) and not node.flow_style and node.value:
            return self._entry_end(node.value[-1])
        end: int = node.end_mark.index
        if isinstance(node, ScalarNode) and node.style in {"|", ">"}:
            return len(self._text[:end].rstrip())
        return end

    def _add_line(self, after: int, line: str) -> str:
        end = self._line_end(after)
        return self._splice(end, end, self._newline + line)

    def _with_comment_above(self, first: int, indent: int) -> int:
        """Return where the comment lines begin that stand right above a line, as far in as it."""
        while first:
            above = self._line_start(first - 1)
            line = self._text[above:first]
            if not line.lstrip(" ").startswith("#") or len(line) - len(line.lstrip(" ")) != indent:
                break
            first = above
        return first

    def _line_start(self, index: int) -> int:
        return self._text.rfind("\n", 0, index) + 1

    def _line_end(self, index: int, *, past: bool = False) -> int:
        end = self._text.find("\n", index)
        if end < 0:
            return len(self._text)
        if past:
            return end + 1
        return end - 1 if self._text[end - 1] == "\r" and end > index else end

    def _splice(self, start: int, end: int, text: str) -> str:
        return self._text[:start] + text + self._text[end:]


def flow(value: Any) -> str:
    """Write a value on one line.

    Example:
        >>> flow({"url": "http://a", "key": "${env:KEY}", "on": [1, "yes", None, "a, b"]})
        "{url: http://a, key: '${env:KEY}', on: [1, yes, null, 'a, b']}"
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(flow(entry) for entry in value) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    """Write a text: plain where it is sure to be read as that text, else in quotes."""
    if _PLAIN.fullmatch(text) and parse(f"[{text}]", "").content == [text]:
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in quoted)


def block(value: Mapping[str, Any] | Sequence[Any], indent: int) -> list[str]:
    """Write a collection on lines of its own, the values in it on one line where that fits."""
    space = " " * indent
    entries: list[tuple[str, Any]]
    if isinstance(value, Mapping):
        entries = [(f"{space}{flow(key)}:", entry) for key, entry in value.items()]
    else:
        entries = [(f"{space}-", entry) for entry in value]
    lines: list[str] = []
    for head, entry in entries:
        line = f"{head} {flow(entry)}"
        if head.endswith(":") and isinstance(entry, Mapping | list) and len(line) > WIDTH and entry:
            lines += [head, *block(entry, indent + STEP)]
        else:
            lines.append(line)
    return lines


def _step(node: Node, part: str | int) -> _Spot | None:
    if isinstance(node, MappingNode):
        for index, (key, value) in enumerate(node.value):
            if isinstance(key, ScalarNode) and key.value == part:
                return _Spot(value, key, node, index)
    elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return _Spot(node.value[part], None, node, part)
    return None


def _put(content: Any, path: KeyPath, value: Any) -> Any:
    here = content
    for part in path[:-1]:
        if isinstance(here, dict) and here.get(str(part)) is None:
            here[str(part)] = {}
        here = here[part]
    here[path[-1]] = _plain(value)
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    return value


def _is_block(node: Node) -> bool:
    """Whether a value stands on lines of its own, below its key."""
    if isinstance(node, CollectionNode):
        return not node.flow_style and bool(node.value)
    return False


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and not node.value and node.style is None


def _first(entry: tuple[Node, Node] | Node) -> Node:
    return entry if isinstance(entry, Node) else entry[0]
