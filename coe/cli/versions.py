"""What `coe config` does: the compositions that were served."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from coe.cli.printed import columns, print_json
from coe.cli.serve import read_settings
from coe.composition import load
from coe.composition.changes import differences
from coe.composition.document import decode
from coe.composition.draft import Draft
from coe.composition.edit import rewrite
from coe.composition.loading import meaning
from coe.errors import CompositionError, ConfigError
from coe.settings import Settings
from coe.versions import Version, Versions, version_of


def list_versions(config: Path | None, *, as_json: bool) -> None:
    """Print what was served, the newest first."""
    settings = read_settings(config, None, None)
    found = Versions(settings.state_folder).all()
    if as_json:
        print_json([_facts(version) for version in found])
        return
    if not found:
        print("nothing was served from here yet", file=sys.stderr)
        return
    rows = [
        (str(one.number), _when(one), one.fingerprint, one.why, "; ".join(one.changes) or "-")
        for one in found
    ]
    print("\n".join(columns(("version", "since", "composition", "why", "changes"), rows)))


def show_version(number: int, config: Path | None, *, as_json: bool) -> None:
    """Print the file of a version. Raises NotFound."""
    settings = read_settings(config, None, None)
    version = Versions(settings.state_folder).get(number)
    if as_json:
        print_json({**_facts(version), "text": version.text, "other_files": version.other_files()})
        return
    print(version.text, end="")
    _warn_of(version)


def compare(then: str | None, now: str | None, config: Path | None, *, as_json: bool) -> None:
    """Print what differs between two versions or files.

    Raises:
        NotFound: there is no such version.
        ConfigError: there is no such file, or it is no composition.
    """
    settings = read_settings(config, None, None)
    versions = Versions(settings.state_folder)
    if then is None:
        served = versions.all()
        if not served:
            raise ConfigError("nothing was served from here yet: there is nothing to compare with")
        then = str(served[0].number)
    sides = [_meaning(side, settings, versions) for side in (then, now)]
    found = differences(*sides)
    if as_json:
        print_json(list(found))
    else:
        print("\n".join(found) or "nothing differs")


def roll_back(number: int | None, config: Path | None) -> None:
    """Write the composition file as it was in a version, and keep that as one.

    Raises:
        NotFound: there is no such version.
        ConfigError: it cannot be served any more, or the file cannot be written.
    """
    settings = read_settings(config, None, None)
    versions = Versions(settings.state_folder)
    version = versions.before(_text(settings.config)) if number is None else versions.get(number)
    try:
        present = load(settings.config)
    except CompositionError:
        pass  # it is no composition: that is why somebody goes back
    else:
        versions.keep(version_of(present, "file"))

    def put(draft: Draft) -> Draft:
        return Draft(version.text, draft.file)

    try:
        written = rewrite(settings.config, put)
    except CompositionError as error:
        raise ConfigError(f"version {version.number} cannot be served any more: {error}") from None
    kept = versions.keep(version_of(written, f"rollback to {version.number}"))
    print(f"{settings.config} is as in version {version.number}; this is version {kept.number}")
    _warn_of(version)


def _meaning(side: str | None, settings: Settings, versions: Versions) -> dict[str, Any]:
    """Return what a version or a file means, the composition file where none is named."""
    if side is not None and side.isdecimal():
        return meaning(settings.config, versions.get(int(side)).text)
    path = settings.config if side is None else Path(side)
    return meaning(path, _text(path))


def _text(path: Path) -> str:
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _facts(version: Version) -> dict[str, Any]:
    facts = asdict(version)
    del facts["text"]
    return {**facts, "at": datetime.fromtimestamp(version.at, UTC).isoformat()}


def _when(version: Version) -> str:
    return datetime.fromtimestamp(version.at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _warn_of(version: Version) -> None:
    if others := version.other_files():
        print(f"not as they were then: {', '.join(others)}", file=sys.stderr)
