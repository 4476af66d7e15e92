"""Files that a composition includes: their entries stand as if they were written in it.

An included file holds sections of named entries alone. A name that is defined twice is a mistake,
which is told with both of its places; paths in it are relative to the folder of the composition, as
everywhere.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from coe.composition import document
from coe.composition.document import Document, KeyPath, Place, dotted
from coe.errors import CompositionError, Problem

KEY = "include"
SECTIONS = (
    "backends",
    "experts",
    "categories",
    "encoders",
    "routers",
    "models",
    "aggregation",
    "experiments",
)
_MAGIC = "*?["


def included(main: Document, folder: Path) -> tuple[Document, tuple[Path, ...]]:
    """Return a document with what it includes, and the files and folders that this depends on.

    Args:
        main: as it was read.
        folder: that patterns are relative to.

    Raises:
        CompositionError: with everything that is wrong with what is included.
    """
    content = main.content
    if not isinstance(content, dict) or KEY not in content:
        return main, ()
    problems: list[Problem] = []
    merged = replace(
        main,
        content={
            key: dict(value) if key in SECTIONS and isinstance(value, dict) else value
            for key, value in content.items()
            if key != KEY
        },
        keys=dict(main.keys),
        values=dict(main.values),
    )
    seen: dict[Path, None] = {}
    for path, pattern in _patterns(main, problems):
        files = _found(pattern, folder)
        if any(mark in pattern for mark in _MAGIC):
            seen.update(dict.fromkeys(_folders_of(pattern, folder)))
        elif not files:
            where = main.place(path)
            problems.append(_problem(where, path, f"there is no file {folder / pattern}"))
        for file in files:
            if file not in seen:
                seen[file] = None
                _take(file, merged, problems)
    if problems:
        raise CompositionError(tuple(problems), tuple(seen))
    return merged, tuple(seen)


def _patterns(main: Document, problems: list[Problem]) -> Iterator[tuple[KeyPath, str]]:
    given = main.content[KEY]
    listed = [given] if isinstance(given, str) else given if isinstance(given, list) else None
    if listed is None or not all(isinstance(pattern, str) for pattern in listed):
        problems.append(
            _problem(main.place((KEY,)), (KEY,), "expected a file, or a list of files", _HINT)
        )
        return
    for number, pattern in enumerate(listed):
        yield (KEY, number), pattern


def _found(pattern: str, folder: Path) -> list[Path]:
    names = glob.glob(pattern, root_dir=folder)  # noqa: PTH207 - pathlib's takes no absolute ones
    return [path for name in sorted(names) if (path := folder / name).is_file()]


def _folders_of(pattern: str, folder: Path) -> Iterator[Path]:
    """Yield the folders in which something may appear that a pattern names."""
    parts = Path(pattern).parts
    for number in range(len(parts)):
        if not any(mark in name for name in parts[: number + 1] for mark in _MAGIC):
            continue
        parents = str(Path(*parts[:number]))
        if any(mark in parents for mark in _MAGIC):
            names = glob.glob(parents, root_dir=folder)  # noqa: PTH207 - as above
            yield from (path for name in sorted(names) if (path := folder / name).is_dir())
        else:
            yield folder / parents


def _take(file: Path, merged: Document, problems: list[Problem]) -> None:
    """Put the entries of a file into a document; what is wrong is added to the problems."""
    try:
        read = document.read(file)
    except CompositionError as error:
        problems.extend(error.problems)
        return
    if read.content is None:
        return
    if not isinstance(read.content, dict):
        problems.append(_problem(Place(str(file), 1, 1), (), "expected a mapping"))
        return
    for section, entries in read.content.items():
        if section not in SECTIONS:
            message = f"`{section}` cannot stand in a file that is included"
            place = read.place((section,), key=True)
            hint = f"only {', '.join(SECTIONS)} can; write it into the composition file"
            problems.append(_problem(place, (section,), message, hint))
        elif isinstance(entries, dict):
            _merge(section, entries, read, merged, problems)
        elif entries is not None:
            place = read.place((section,))
            problems.append(_problem(place, (section,), "expected a mapping of names"))


def _merge(
    section: str,
    entries: dict[str, Any],
    read: Document,
    merged: Document,
    problems: list[Problem],
) -> None:
    own = merged.content.get(section)
    if own is None:
        own = merged.content[section] = {}
        merged.values.setdefault((section,), read.place((section,)))
        merged.keys.setdefault((section,), read.place((section,), key=True))
    if not isinstance(own, dict):
        return  # what is wrong there is told by who reads it
    for name, entry in entries.items():
        path: KeyPath = (section, name)
        if name in own:
            first = merged.place(path, key=True)
            message = f"`{name}` is defined twice; first at {first}"
            place = read.place(path, key=True)
            problems.append(_problem(place, path, message, "rename one of the two, or remove it"))
            continue
        own[name] = entry
        for places, others in ((merged.keys, read.keys), (merged.values, read.values)):
            places.update({at: place for at, place in others.items() if at[:2] == path})


_HINT = "such as `include: [experts.d/*.yaml]`"


def _problem(place: Place, path: KeyPath, message: str, hint: str = "") -> Problem:
    return Problem(
        file=place.file,
        line=place.line,
        column=place.column,
        path=dotted(path),
        message=message,
        hint=hint,
    )
