"""What was live before, in the order in which it was replaced: to go back to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from coe.errors import ConfigError
from coe.jsonfile import replace_file

Fitted = TypeVar("Fitted")

_NOTHING = ".none"  # ends the name of an entry that says: nothing was live


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[Fitted]):
    """How files of a kind are kept.

    Attributes:
        suffix: ends their names.
        none: for a message: "no map was replaced here, so there is none to go back to".
        read: return what a file holds, None where there is none; raises ConfigError.
        write: write a file in one step, and make its folder; raises ConfigError.
        remove: remove a file, if it is there, and what belongs to it.
    """

    suffix: str
    none: str
    read: Callable[[Path], Fitted | None]
    write: Callable[[Path, Fitted], None]
    remove: Callable[[Path], None]


class History(Generic[Fitted]):
    """A folder of files, such as `0001.map`, `0002.map`; a number more for each replaced."""

    def __init__(self, folder: Path, kind: Kind[Fitted]) -> None:
        self.folder = folder
        self._kind = kind

    def __len__(self) -> int:
        """Return how many steps back there are."""
        return len(self._entries())

    @property
    def leads_to_nothing(self) -> bool:
        """Whether a step back leads to a time when nothing was live."""
        return len(self) > 0 and self._entries()[-1].suffix == _NOTHING

    def keep(self, live: Path) -> None:
        """Keep what is live now, a file or none, before another one replaces it.

        A damaged file is not kept: nobody could go back to it.

        Raises:
            ConfigError: the folder cannot be written.
        """
        try:
            fitted = self._kind.read(live)
        except ConfigError:
            return
        number = int(self._entries()[-1].stem) + 1 if len(self) else 1
        if fitted is not None:
            self._kind.write(self.folder / f"{number:04d}{self._kind.suffix}", fitted)
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(self.folder / f"{number:04d}{_NOTHING}", b"")
        except OSError as error:
            raise ConfigError(f"{self.folder}: cannot be written: {error.strerror}") from None

    def restore(self, live: Path) -> Fitted | None:
        """Make live what was live before, and forget that it was kept; None: nothing was.

        Raises:
            ConfigError: there is nothing to go back to, or it is damaged; nothing changes.
        """
        entries = self._entries()
        if not entries:
            raise ConfigError(f"{self.folder}: {self._kind.none}")
        last = entries[-1]
        fitted = None if last.suffix == _NOTHING else self._kind.read(last)
        if fitted is not None:
            self._kind.write(live, fitted)
        else:
            self._kind.remove(live)
        self._kind.remove(last)
        return fitted

    def _entries(self) -> list[Path]:
        found = self.folder.glob("[0-9]*") if self.folder.is_dir() else ()
        kept = (path for path in found if path.suffix in {self._kind.suffix, _NOTHING})
        return sorted((path for path in kept if path.stem.isdecimal()), key=lambda p: int(p.stem))
