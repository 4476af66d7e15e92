"""What makes an expert answer as it does, as one digest: scores belong to a revision."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coe.composition.programs import Cached, Program, over
from coe.composition.values import Composition
from coe.jsonfile import digest

_ENDS = 1 << 20  # bytes that are read of each end of a large file


def revision(composition: Composition, name: str) -> str:
    """Return the revision of an expert; where it runs and what it costs are not part of it.

    A model or an adapter that is a folder here counts with its files: small ones with all that is
    in them, large ones (weights) with their size, their first and their last MiB. A program counts
    with the texts that it adds, and with the revision of what it stands on.
    """
    expert = composition.experts[name]
    program = expert.program
    meaning: dict[str, Any] = {
        "model": [expert.model, *_files(composition.folder / expert.model)]
        if program is None
        else _program(composition, program),
        "defaults": dict(expert.defaults),
        "force": dict(expert.force),
        "max_output": expert.max_output,
    }
    if expert.adapter is not None:
        files = _files(composition.folder / expert.adapter.source)
        meaning["adapter"] = [expert.adapter.source, expert.adapter.revision, *files]
    return digest(meaning)


def _program(composition: Composition, program: Program) -> list[Any]:
    # How long an answer is kept does not change it.
    own = {} if isinstance(program, Cached) else asdict(program)
    under = over(program)
    stands_on = [revision(composition, under)] if under is not None else []
    return [type(program).__name__, own, *stands_on]


def _files(named: Path) -> Iterator[tuple[str, str]]:
    """Yield the files of a folder that is there, and their digests; nothing for a mere name."""
    if named.is_dir():
        for path in sorted(named.rglob("*")):
            if path.is_file():
                yield path.relative_to(named).as_posix(), _content(path)


def _content(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        found = hashlib.sha256(file.read(_ENDS))
        if size > _ENDS:
            file.seek(max(_ENDS, size - _ENDS))
            found.update(file.read())
    return f"{size}:{found.hexdigest()[:16]}"
