"""What was carried over from another gateway's file, and a note for everything that was not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from coe.composition.document import KeyPath, dotted
from coe.importing.credentials import Credentials
from coe.importing.names import Names
from coe.importing.part import Part
from coe.importing.source import Source

Kind = Literal["left out", "to do", "changed"]
Section = Literal["backends", "experts", "categories"]
Where = tuple[Section, str] | None

_KEEPS_ATTEMPTS = 3  # the schema's own default
_MOST_ATTEMPTS = 20
_SECRET = re.compile(r"key|token\b|secret|passw|credential|auth", re.IGNORECASE)
_SHORT = 10**7  # a longer number may be a pin or an account


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing that the reader of the new file should know.

    Attributes:
        kind: `left out` has no counterpart, `to do` waits for the reader, `changed` is carried over
            in another form.
        line: 1-based, of the foreign file; 0 for what is about all of it.
        path: the key path there.
        where: the entry of the new file that it stands above; None for the file's end.
    """

    kind: Kind
    line: int
    path: str
    message: str
    where: Where = None


@dataclass(slots=True)
class Carried:
    """A composition in the making, and the notes on it.

    Attributes:
        top: keys of the new file besides the sections, such as `timeouts`.
        default: the expert that answers when nothing else is decided.
    """

    source: Source
    backends: dict[str, dict[str, Any]] = field(default_factory=dict)
    experts: dict[str, dict[str, Any]] = field(default_factory=dict)
    categories: dict[str, dict[str, Any]] = field(default_factory=dict)
    top: dict[str, Any] = field(default_factory=dict)
    default: str = ""
    notes: list[Note] = field(default_factory=list)
    credentials: Credentials = field(default_factory=Credentials)
    names: Names = field(default_factory=lambda: Names("expert"))
    backend_names: Names = field(default_factory=lambda: Names("server", slash=False))

    def backend(self, wish: str, keys: dict[str, Any]) -> str:
        """Return the name of the backend with these keys, which is added where it is new."""
        for name, known in self.backends.items():
            if known == keys:
                return name
        name = self.backend_names.claim(wish)
        self.backends[name] = keys
        return name

    def expert(self, wish: str, keys: dict[str, Any], path: KeyPath) -> str:
        """Add an expert; returns its name."""
        name = self.names.claim(wish)
        self.experts[name] = keys
        self._renamed(wish, name, path, ("experts", name))
        return name

    def category(self, wish: str, keys: dict[str, Any], path: KeyPath) -> str:
        """Add a category; returns its name."""
        name = self.names.claim(wish)
        self.categories[name] = keys
        self._renamed(wish, name, path, ("categories", name))
        return name

    def note(self, kind: Kind, path: KeyPath, message: str, where: Where = None) -> None:
        """Add a note on what stands at a key path of the foreign file."""
        line = self.source.line(path) if path else 0
        self.notes.append(
            Note(kind=kind, line=line, path=dotted(path), message=message, where=where)
        )

    def place(self, since: int, where: Where) -> None:
        """Put the notes from the position `since` on above an entry of the new file."""
        self.notes[since:] = [replace(note, where=where) for note in self.notes[since:]]

    def secret(self, path: KeyPath, text: str, wish: str, where: Where = None) -> str:
        """Return the reference that takes the place of a secret; a literal one is to be set."""
        reference, name = self.credentials.reference(text, wish)
        if name:
            message = f"the secret that is written here is not copied: set {name} to it"
            self.note("to do", path, message, where)
        return reference

    def leave(
        self,
        part: Part,
        reasons: Mapping[str, str],
        where: Where = None,
        otherwise: str = "nothing here does this",
    ) -> None:
        """Note everything in a part that was not read, and close it.

        Args:
            part: of the foreign file.
            reasons: by key; the deepest key of a path that has one decides.
            where: as in `Note`.
            otherwise: the reason where no key has one.
        """
        for path in part.rest():
            known = (reasons[str(key)] for key in reversed(path) if str(key) in reasons)
            shown = _shown(path, self.source.value(path))
            self.note("left out", path, next(known, otherwise) + shown, where)
        part.close()

    def finish(self, ranked: Iterable[str] = ()) -> None:
        """Write down what follows from the rest: the default, the router, the attempts.

        Args:
            ranked: experts, of which the first is the default where none is named yet.
        """
        if not self.default and (self.experts or ranked):
            self.default = next(iter([*ranked, *self.experts]))
            message = f"no default is named there: it is `{self.default}`; choose who answers"
            self.note("to do", (), message)
        if self.categories and not any(map(_has_signs, self.categories.values())):
            self.top["routers"] = {"default": {"type": "keyword"}}
            message = (
                "no category has texts: each answers who asks for it by name; add `utterances`"
            )
            self.note("to do", (), f"{message}, and remove `routers`")
        longest = max((len(keys["experts"]) for keys in self.categories.values()), default=0)
        if longest > _KEEPS_ATTEMPTS:
            self.top["fallbacks"] = {"attempts": min(longest, _MOST_ATTEMPTS)}

    def _renamed(self, wish: str, name: str, path: KeyPath, where: Where) -> None:
        if name != wish:
            shown = wish if wish.isprintable() and len(wish) < 100 else wish[:40]  # noqa: PLR2004
            self.note("changed", path, f"`{shown}` is called `{name}` here", where)


def _shown(path: KeyPath, value: Any) -> str:
    """Return a value for a comment: only numbers and truths, which are no secrets."""
    is_plain = isinstance(value, bool) or (isinstance(value, int | float) and value < _SHORT)
    if not is_plain or _SECRET.search(dotted(path)):
        return ""
    return f" (it was {str(value).lower()})"


def _has_signs(keys: Mapping[str, Any]) -> bool:
    return bool(keys.get("utterances") or keys.get("keywords"))
