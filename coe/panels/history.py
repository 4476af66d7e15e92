"""The fitted panels that were live before, in the order in which they were replaced."""

from __future__ import annotations

from pathlib import Path

from coe.errors import ConfigError
from coe.mapping.store import replace_file
from coe.panels.fitted import FittedPanels
from coe.panels.store import SUFFIX, read_panels, write_panels

_NOTHING = ".none"  # ends the name of an entry that says: there were none


class History:
    """A folder of fitted panels, `0001.panels`, `0002.panels`, ...; one more for each replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, live: Path) -> None:
        """Keep what is live now, a file or none, before another one replaces it.

        A damaged file is not kept: nobody could go back to it.

        Raises:
            ConfigError: the folder cannot be written.
        """
        try:
            there = read_panels(live) is not None
        except ConfigError:
            return
        entries = self._entries()
        number = int(entries[-1].stem) + 1 if entries else 1
        name = f"{number:04d}{SUFFIX if there else _NOTHING}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(self.folder / name, live.read_bytes() if there else b"")
        except OSError as error:
            raise ConfigError(f"{self.folder}: cannot be written: {error.strerror}") from None

    def restore(self, live: Path) -> FittedPanels | None:
        """Make live what was live before, and forget that it was kept; None: there was nothing.

        Raises:
            ConfigError: there is nothing to go back to, or it is damaged; nothing changes.
        """
        entries = self._entries()
        if not entries:
            raise ConfigError(
                f"{self.folder}: no panels were replaced here, so there are none to go back to"
            )
        last = entries[-1]
        fitted = None if last.suffix == _NOTHING else read_panels(last)
        if fitted is not None:
            write_panels(live, fitted)
        else:
            live.unlink(missing_ok=True)
        last.unlink()
        return fitted

    def _entries(self) -> list[Path]:
        found = self.folder.glob("[0-9]*") if self.folder.is_dir() else ()
        kept = (path for path in found if path.suffix in {SUFFIX, _NOTHING})
        return sorted((path for path in kept if path.stem.isdecimal()), key=lambda p: int(p.stem))
