"""The compositions that were served, in their order: to look at, and to go back to.

A folder of files, `000001.json` and so on; the oldest go when there are too many. What is kept of
each is the text of its file, and digests of the files that it names: those are not kept themselves.
"""

from __future__ import annotations

import hashlib
import json
import time
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from coe.composition import Composition
from coe.errors import ConfigError, NotFound
from coe.jsonfile import read_object, replace_file

FOLDER = "versions"
MOST = 200
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A composition that was served.

    Attributes:
        number: counts up from 1; 0 before it is kept.
        at: since when it was served, in seconds since the epoch.
        fingerprint: of the composition.
        why: it came to be served: `start`, `file`, `edit`, `rollback to 3`.
        changes: what was other than in the one before, as clauses.
        text: of its file.
        files: digests of those that it names, by path.
    """

    number: int = 0
    at: float
    fingerprint: str
    why: str
    changes: tuple[str, ...] = ()
    text: str = field(default="", repr=False)
    files: Mapping[str, str] = field(default_factory=dict)

    def is_as(self, other: Version) -> bool:
        """Whether both are of the same text and the same files."""
        return (self.text, self.fingerprint) == (other.text, other.fingerprint) and dict(
            self.files
        ) == dict(other.files)

    def other_files(self) -> list[str]:
        """Return the named files that are not as they were; reads them."""
        return [path for path, mark in self.files.items() if _digest(Path(path)) != mark]


def version_of(
    composition: Composition, why: str, changes: tuple[str, ...] = (), at: float | None = None
) -> Version:
    """Return the version of a composition that is served from now on; reads the files it names."""
    return Version(
        at=time.time() if at is None else at,
        fingerprint=composition.fingerprint,
        why=why,
        changes=changes,
        text=composition.text,
        files=digests(composition.files),
    )


def digests(files: Iterable[Path]) -> dict[str, str]:
    """Return a digest of each file's content, by path; empty where it cannot be read.

    Of a folder, it is one of the names in it.
    """
    return {str(path): _digest(path) for path in files}


def text_digest(text: str) -> str:
    """Return the digest of a file that holds a text."""
    return _mark(text.encode("utf-8", "surrogatepass"))


def _digest(path: Path) -> str:
    try:
        if path.is_dir():
            return _mark("\n".join(sorted(_names(path))).encode())
        return _mark(path.read_bytes())
    except OSError:
        return ""


def _names(folder: Path) -> Iterator[str]:
    """Yield the names of the files in a folder; those of editors' own begin with a dot."""
    return (path.name for path in folder.iterdir() if not path.name.startswith("."))


def _mark(content: bytes) -> str:
    return hashlib.sha256(content.removeprefix(BOM_UTF8)).hexdigest()[:16]


class Versions:
    """The folder. Its methods block; several processes may share it."""

    def __init__(self, state_folder: Path, most: int = MOST) -> None:
        """Args are the state folder, and how many are kept."""
        self.folder = state_folder / FOLDER
        self._most = most

    def keep(self, version: Version) -> Version:
        """Keep a version, and return it with its number; the last one if it is the same.

        Raises:
            ConfigError: the folder cannot be written.
        """
        numbers = self._numbers()
        if numbers and (last := self._read(numbers[-1])) is not None and last.is_as(version):
            return last
        number = numbers[-1] + 1 if numbers else 1
        kept = replace(version, number=number)
        content = {"version": VERSION, **asdict(kept)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._path(number), json.dumps(content, indent=1).encode())
            for old in numbers[: max(len(numbers) + 1 - self._most, 0)]:
                self._path(old).unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"{self.folder}: cannot be written: {error.strerror}") from None
        return kept

    def all(self) -> list[Version]:
        """Return them, the newest first; damaged ones are left out."""
        found = (self._read(number) for number in reversed(self._numbers()))
        return [version for version in found if version is not None]

    def get(self, number: int) -> Version:
        """Return one. Raises NotFound."""
        if number in self._numbers() and (found := self._read(number)) is not None:
            return found
        raise NotFound(f"no version {number} in {self.folder}; `coe config versions` lists them")

    def before(self, text: str) -> Version:
        """Return the newest version whose text is another one. Raises NotFound."""
        for number in reversed(self._numbers()):
            found = self._read(number)
            if found is not None and found.text != text:
                return found
        raise NotFound(f"no other version is kept in {self.folder}: there is none to go back to")

    def _numbers(self) -> list[int]:
        found = self.folder.glob("*.json") if self.folder.is_dir() else ()
        return sorted(int(path.stem) for path in found if path.stem.isdecimal())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"

    def _read(self, number: int) -> Version | None:
        try:
            return read_object(self._path(number), "version", VERSION, _built, _fix)
        except ConfigError:
            return None


def _built(content: dict[str, Any]) -> Version:
    return Version(
        number=int(content["number"]),
        at=float(content["at"]),
        fingerprint=str(content["fingerprint"]),
        why=str(content["why"]),
        changes=tuple(str(clause) for clause in content["changes"]),
        text=str(content["text"]),
        files={str(path): str(mark) for path, mark in content["files"].items()},
    )


def _fix(path: Path, why: str) -> str:
    return f"{path}: {why}; delete the file to do without it"
