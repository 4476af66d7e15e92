"""Another gateway's file as plain values, with the line of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from coe.composition.document import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    KeyPath,
    compose,
    decode,
    dotted,
    value_at,
)
from coe.errors import CompositionError, Problem

_TAG = "tag:yaml.org,2002:"
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed file.

    Attributes:
        content: dicts with text keys, lists, texts, numbers, booleans and None.
        lines: 1-based, by key path.
    """

    file: str
    content: Any
    lines: dict[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """Return the line of a key path, or that of the nearest value around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def value(self, path: KeyPath) -> Any:
        """Return the value at a key path; None where there is none."""
        return value_at(self.content, path)

    def stop(self, path: KeyPath, message: str, hint: str = "") -> NoReturn:
        """Raise CompositionError for what stands at a key path."""
        raise _error(self.file, self.line(path), dotted(path), message, hint)


def read_source(path: Path) -> Source:
    """Read a YAML or JSON file.

    Raises:
        CompositionError: it cannot be read, is too large, is not UTF-8 or not YAML, has a key
            twice, or repeats itself without end.
    """
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise _error(file, 0, "", f"cannot read the file: {reason}", "") from error
    if len(raw) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES:,} bytes, and so is what would be written"
        raise _error(file, 1, "", message, "import a part of it, and move texts into files")
    return parse_source(decode(raw, file), file)


def parse_source(text: str, file: str) -> Source:
    """Parse YAML or JSON text; `file` is named in problems. Raises as `read_source` does."""
    if text.lstrip()[:1] in {"{", "["}:
        text = text.replace("\t", " ")  # JSON is YAML, but for tabs between its values
    node = compose(text, file)
    lines: dict[KeyPath, int] = {}
    content = None if node is None else _Tree(file, lines).value(node, ())
    return Source(file, content, lines)


class _Tree:
    """Nodes to plain values; like that of a composition, but with merge keys."""

    def __init__(self, file: str, lines: dict[KeyPath, int]) -> None:
        self._file = file
        self._lines = lines
        self._count = 0
        self._merging: list[Node] = []

    def value(self, node: Node, path: KeyPath) -> Any:
        self._count += 1
        self._lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > MAX_DEPTH or self._count > MAX_VALUES:
            what = "nested too deeply" if len(path) > MAX_DEPTH else "too many values"
            self._stop(node, path, what, "an anchor that repeats itself?")
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        return self._stop(node, path, "a tag that is not supported", "remove it")

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                continue
            if not isinstance(key, ScalarNode):
                self._stop(key, path, "a key that is not a text", "put it in quotes")
            name = _sound(key.value)
            if name in content:
                first = self._lines[(*path, name)]
                message = f"the key is here twice; first at line {first}"
                self._stop(key, (*path, name), message, "remove one of the two")
            self._lines[(*path, name)] = key.start_mark.line + 1
            content[name] = self.value(value, (*path, name))
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                self._merge(content, value, path)
        return content

    def _merge(self, content: dict[str, Any], node: Node, path: KeyPath) -> None:
        """Add what a merge key brings; keys that are written beside it win, then earlier ones."""
        for mapping in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(mapping, MappingNode):
                self._stop(node, path, "a merge key (`<<`) that names no mapping", "")
            if mapping in self._merging:
                self._stop(node, path, "a mapping that merges itself", "")
            self._merging.append(mapping)
            inner: dict[KeyPath, int] = {}
            lines, self._lines = self._lines, inner
            merged = self.value(mapping, path)
            self._lines = lines
            self._merging.pop()
            for name, value in merged.items():
                if name not in content:
                    content[name] = value
                    here = (*path, name)
                    lines |= {at: line for at, line in inner.items() if at[: len(here)] == here}

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        text: str = node.value
        kind = str(node.tag).removeprefix(_TAG)
        if kind == "null":
            return None
        if kind == "bool":
            return _WORDS[text.lower()]
        if kind in {"int", "float"}:
            return _number(text)
        if kind in {"str", "timestamp", "value"}:
            return _sound(text)
        return self._stop(node, path, "a tag that is not supported", "remove it")

    def _stop(self, node: Node, path: KeyPath, message: str, hint: str) -> NoReturn:
        line = node.start_mark.line + 1
        raise _error(self._file, line, dotted(path), message, hint)


def _number(text: str) -> Any:
    """Return a number that a file spells out; the text itself where it is another kind of one."""
    digits = text.replace("_", "")
    try:
        return int(digits)
    except ValueError:
        pass
    try:
        number = float(digits)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _sound(text: str) -> str:
    """Join the surrogate pairs in which JSON spells some characters; halves become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _error(file: str, line: int, path: str, message: str, hint: str) -> CompositionError:
    problem = Problem(
        file=file, line=line, column=1 if line else 0, path=path, message=message, hint=hint
    )
    return CompositionError((problem,))
