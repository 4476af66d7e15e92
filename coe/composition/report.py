"""The problems found in one composition, gathered while it is checked."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from coe.composition.document import Document, KeyPath, Place, dotted
from coe.errors import Problem

# What newcomers from other tools write, and our word for it (the glossary's right-hand column).
SYNONYMS = {
    "adapters": "experts",
    "agents": "experts",
    "cutoff": "threshold",
    "domains": "categories",
    "embedder": "encoder",
    "embedders": "encoders",
    "endpoint": "url",
    "endpoints": "backends",
    "examples": "utterances",
    "intents": "categories",
    "key": "api_key",
    "mapping": "routes",
    "max_tokens": "max_output",
    "providers": "backends",
    "samples": "utterances",
    "specialists": "experts",
    "topics": "categories",
    "workers": "backends",
}


class Report:
    """Collects problems of a document, each with its place.

    A check that looks at something which is already known to be broken would only repeat the
    first problem in other words, so what is reported inside a broken value, or about the whole of
    it, is dropped once `seal` was called.

    Attributes:
        files: with texts, that the document names, and that were looked for to check it.
        secrets: files behind references, likewise.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.files: list[Path] = []
        self.secrets: list[Path] = []
        self.problems: list[Problem] = []
        self._broken: list[KeyPath] = []
        self._sealed: tuple[KeyPath, ...] = ()

    def error(
        self,
        path: KeyPath,
        message: str,
        hint: str = "",
        *,
        key: bool = False,
        place: Place | None = None,
    ) -> None:
        """Add an error at `path`, or at `place` where it stands in another file."""
        if not self._is_broken(path):
            self._broken.append(path)
            self._add(path, message, hint, "error", place or self.document.place(path, key=key))

    def warning(
        self, path: KeyPath, message: str, hint: str = "", *, place: Place | None = None
    ) -> None:
        """Add a warning at the key of `path`, or at `place` where it stands in another file."""
        if not self._is_broken(path):
            place = place or self.document.place(path, key=True)
            self._add(path, message, hint, "warning", place)

    def seal(self) -> None:
        """Treat everything that is reported from now on as a consequence where it may be one."""
        self._sealed = tuple(self._broken)

    def has_broken(self, path: KeyPath) -> bool:
        """Whether something in the value at `path` was broken and left out."""
        return any(broken[: len(path)] == path for broken in self._sealed)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that forbid to use the composition, in the order of the file."""
        return tuple(problem for problem in self.ordered() if problem.severity == "error")

    def ordered(self) -> tuple[Problem, ...]:
        """All problems in the order of their places."""
        return tuple(sorted(self.problems, key=lambda p: (p.file, p.line, p.column)))

    def _is_broken(self, path: KeyPath) -> bool:
        return any(
            path[: len(broken)] == broken or broken[: len(path)] == path for broken in self._sealed
        )

    def _add(self, path: KeyPath, message: str, hint: str, severity: str, place: Place) -> None:
        self.problems.append(
            Problem(
                file=place.file,
                line=place.line,
                column=place.column,
                path=dotted(path),
                message=message,
                hint=hint,
                severity=severity,
            )
        )


def suggestion(word: str, known: Iterable[str], *, what: str = "") -> str:
    """Return a hint that names the nearest known word, or all of them."""
    names = sorted(known)
    synonym = SYNONYMS.get(word)
    close = [synonym] if synonym in names else get_close_matches(word, names, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    if not names:
        return f"there are no {what}" if what else ""
    listed = ", ".join(f"`{name}`" for name in names)
    return f"{what + ': ' if what else 'one of '}{listed}"
