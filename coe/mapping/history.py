"""The maps that were live before, in the order in which they were replaced: to go back to."""

from __future__ import annotations

from pathlib import Path

from coe.errors import ConfigError
from coe.mapping.fitted import FittedMap
from coe.mapping.store import read_map, replace_file, residual_path, write_map

_NOTHING = ".none"  # ends the name of an entry that says: there was no map


class History:
    """A folder of maps, `0001.map`, `0002.map`, ...; a number more for each that was replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __len__(self) -> int:
        """Return how many steps back there are."""
        return len(self._entries())

    @property
    def has_map(self) -> bool:
        """Whether a step back leads to a map, and not to a time without one."""
        return len(self) > 0 and self._entries()[-1].suffix != _NOTHING

    def keep(self, live: Path) -> None:
        """Keep what is live now, a map or none, before another one replaces it.

        A damaged map is not kept: nobody could go back to it.

        Raises:
            ConfigError: the folder cannot be written.
        """
        try:
            read_map(live)
        except ConfigError:
            return
        number = int(self._entries()[-1].stem) + 1 if len(self) else 1
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not live.exists():
                replace_file(self.folder / f"{number:04d}{_NOTHING}", b"")
                return
            kept = self.folder / f"{number:04d}.map"
            if residual_path(live).exists():
                replace_file(residual_path(kept), residual_path(live).read_bytes())
            replace_file(kept, live.read_bytes())
        except OSError as error:
            raise ConfigError(f"{self.folder}: cannot be written: {error.strerror}") from None

    def restore(self, live: Path) -> FittedMap | None:
        """Make live what was live before, and forget that it was kept; None: there was no map.

        Raises:
            ConfigError: there is nothing to go back to, or it is damaged; nothing changes.
        """
        entries = self._entries()
        if not entries:
            raise ConfigError(
                f"{self.folder}: no map was replaced here, so there is none to go back to"
            )
        last = entries[-1]
        fitted = None if last.suffix == _NOTHING else read_map(last)
        if fitted is not None:
            write_map(live, fitted)
        else:
            live.unlink(missing_ok=True)
            residual_path(live).unlink(missing_ok=True)
        residual_path(last).unlink(missing_ok=True)
        last.unlink()
        return fitted

    def _entries(self) -> list[Path]:
        found = self.folder.glob("[0-9]*") if self.folder.is_dir() else ()
        kept = (path for path in found if path.suffix in {".map", _NOTHING})
        return sorted((path for path in kept if path.stem.isdecimal()), key=lambda p: int(p.stem))
