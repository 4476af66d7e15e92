"""`coe init`: a first composition file from what this machine has."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from coe.backends.discover import discover, write_composition
from coe.errors import ConfigError


def write(file: Path, *, force: bool) -> None:
    """Probe localhost and the environment, and write a commented file.

    Raises:
        ConfigError: the file is there already, or cannot be written.
    """
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already: name another file, or overwrite with --force")
    found = asyncio.run(discover(dict(os.environ)))
    for row in found:
        print(f"found {row}", file=sys.stderr)
    if not found:
        print("found no model server and no key: the file shows how to add one", file=sys.stderr)
    here = Path("experts").absolute()
    embedded = here if (here / "base" / "config.json").exists() else None
    try:
        file.write_text(write_composition(found, embedded), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from None
    print(f"wrote {file}; next: coe check {file} && coe serve --config {file}")
