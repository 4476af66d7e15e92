"""YAML 1.2 text to plain values, with the place of every key and every value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from coe.errors import CompositionError, Problem

KeyPath = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_VALUES = 50_000

_TAG = "tag:yaml.org,2002:"
# A composition has no dates: what YAML would read as one is a text, such as a revision.
_TEXTS = frozenset({_TAG + "str", _TAG + "timestamp", _TAG + "value"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file; 1-based, 0 where unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Render as `file:line:col`."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file.

    Attributes:
        content: dicts with text keys, lists, texts, numbers, booleans and None.
        keys: the place of each key, by key path.
        values: the place of each value, by key path.
        text: as it was read.
    """

    file: str
    content: Any
    keys: dict[KeyPath, Place]
    values: dict[KeyPath, Place]
    text: str = ""

    def place(self, path: KeyPath, *, key: bool = False) -> Place:
        """Return where `path` stands, or the nearest value around it that is in the file.

        Args:
            path: keys and list positions from the top.
            key: point at the key and not at its value.
        """
        if key and path in self.keys:
            return self.keys[path]
        return self.values.get(self.nearest(path), Place(self.file, 1, 1))

    def nearest(self, path: KeyPath) -> KeyPath:
        """Return `path` as the file has it: without the steps that a short form left out.

        `routes: {code: [a]}` is short for `routes: {code: {experts: [a]}}`, so that
        `routes.code.experts[0]` stands at `routes.code[0]`.
        """
        here: KeyPath = ()
        for part in path:
            if (*here, part) in self.values:
                here = (*here, part)
        return here


def read(path: Path) -> Document:
    """Read a file.

    Raises:
        CompositionError: the file cannot be read, is not UTF-8, is not YAML, has a key twice, or
            uses what a composition does not need (tags, merge keys, keys that are not texts).
    """
    file = str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "write one with `coe init`" if isinstance(error, FileNotFoundError) else ""
        raise _stop(Place(file), f"cannot read the file: {reason}", hint) from error
    if len(raw) > MAX_BYTES:
        raise _stop(
            Place(file),
            f"the file has {len(raw):,} bytes; at most {MAX_BYTES:,} are read",
            "move long lists of utterances into an `utterances_file`",
        )
    return parse(decode(raw, file), file)


def decode(raw: bytes, file: str) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        CompositionError: the first bytes that are not UTF-8.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        raise _stop(_place_after(before, file), "not UTF-8", "save the file as UTF-8") from error


def parse(text: str, file: str) -> Document:
    """Parse YAML text; `file` is named in problems. Raises as `read` does."""
    node = compose(text, file)
    tree = _Tree(file)
    content = None if node is None else tree.value(node, ())
    if tree.problems:
        raise CompositionError(tuple(tree.problems))
    return Document(file, content, tree.keys, tree.values, text)


def compose(text: str, file: str) -> Node | None:
    """Return the tree of nodes of a text, None where it holds nothing. Raises CompositionError."""
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False
    try:
        node: Node | None = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        lines = text.splitlines()
        near = " ".join(lines[max(place.line - 2, 0) : place.line])
        hint = "a reference inside `{...}` or `[...]` needs quotes" if "${" in near else ""
        message = f"not valid YAML: {error.problem or error.context or 'cannot be parsed'}"
        raise _stop(place, message, hint) from error
    except ReaderError as error:
        place = _place_after(text[: error.position], file)
        message = f"not valid YAML: the character U+{ord(text[error.position]):04X} is not allowed"
        raise _stop(place, message) from error
    except RecursionError as error:
        raise _stop(Place(file), "nested too deeply") from error
    # The YAML library also leaks errors of its own code on some broken texts.
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise _stop(Place(file), f"not valid YAML: {error}") from error
    return node


class _Tree:
    """Nodes to plain values; collects places and problems on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.keys: dict[KeyPath, Place] = {}
        self.values: dict[KeyPath, Place] = {}
        self.problems: list[Problem] = []

    def value(self, node: Node, path: KeyPath) -> Any:
        self.values[path] = self._place(node)
        # An alias repeats what it names: a few lines can stand for billions of values, or for
        # themselves.
        if len(path) > MAX_DEPTH or len(self.values) > MAX_VALUES:
            what = "nested too deeply" if len(path) > MAX_DEPTH else "too many values"
            raise _stop(self._place(node), what, "an alias that repeats itself?")
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        return self._problem(node, path, f"the tag `{_short(node.tag)}` is not supported")

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else None
            if key.tag == _TAG + "merge":
                self._problem(
                    key, path, "merge keys (`<<`) are not supported", "write the keys out"
                )
            elif name is None or key.tag not in _TEXTS:
                written = f" `{name}`" if name else ""
                self._problem(key, path, f"the key{written} is not a text", "put it in quotes")
            elif name in content:
                first = self.keys[(*path, name)]
                message = f"the key is here twice; first at line {first.line}"
                self._problem(key, (*path, name), message, "remove one of the two")
            else:
                self.keys[(*path, name)] = self._place(key)
                content[name] = self.value(value, (*path, name))
                if isinstance(value, ScalarNode) and not value.value:
                    # An empty value has no place of its own: YAML gives that of the next token.
                    self.values[*path, name] = self._place(key if value.style is None else value)
        return content

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        text: str = node.value
        kind = _short(node.tag)
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return text.lower() in {"true", "yes", "on"}
            if kind in {"int", "float"}:
                return _integer(text) if kind == "int" else _decimal(text)
        except ValueError:
            return self._problem(node, path, f"`{text[:40]}` is not a number that can be read")
        if node.tag in _TEXTS:
            return text
        return self._problem(node, path, f"the tag `{kind}` is not supported")

    def _problem(self, node: Node, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(_problem(self._place(node), message, hint, path))

    def _place(self, node: Node) -> Place:
        return Place(self.file, node.start_mark.line + 1, node.start_mark.column + 1)


def value_at(content: Any, path: KeyPath) -> Any:
    """Return the value at a key path of plain values; None where nothing is there."""
    for part in path:
        is_position = isinstance(content, list) and isinstance(part, int) and part < len(content)
        if not is_position and not (isinstance(content, dict) and part in content):
            return None
        content = content[part]
    return content


def dotted(path: KeyPath) -> str:
    """Write a key path: `routing.none[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2].lower(), 10)
    return sign * int(digits if base == 10 else digits[2:], base)  # noqa: PLR2004


def _decimal(text: str) -> float:
    digits = text.replace("_", "").lower()
    return float(digits.replace(".inf", "inf").replace(".nan", "nan"))


def _short(tag: object) -> str:
    return str(tag).removeprefix(_TAG)


def _place_after(before: str, file: str) -> Place:
    return Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _problem(place: Place, message: str, hint: str, path: KeyPath = ()) -> Problem:
    return Problem(
        file=place.file,
        line=place.line,
        column=place.column,
        path=dotted(path),
        message=message,
        hint=hint,
    )


def _stop(place: Place, message: str, hint: str = "") -> CompositionError:
    return CompositionError((_problem(place, message, hint),))
