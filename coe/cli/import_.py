"""`coe import`: an experts.yaml from another gateway's file."""

from __future__ import annotations

import sys
from pathlib import Path

from coe.composition import check
from coe.errors import CompositionError, ConfigError
from coe.importing import IMPORTERS, Carried, carry, counts, described, read_source, write

STANDARD_OUTPUT = Path("-")


def import_file(kind: str, file: Path, output: Path, *, force: bool) -> None:
    """Write a commented composition, and say on stderr what is in it and what is not.

    Raises:
        ConfigError: no such importer, a file that is not of that kind, or an output that is there
            already or cannot be written.
    """
    if kind not in IMPORTERS:
        raise ConfigError(f"there is no importer `{kind:.60}`; known: {', '.join(IMPORTERS)}")
    is_file = output != STANDARD_OUTPUT
    if is_file and output.exists() and not force:
        raise ConfigError(
            f"{output} is there already: name another file, or overwrite with --force"
        )
    carried = carry(kind, read_source(file))
    text = write(carried, f"{IMPORTERS[kind].title}'s {file.name}")
    if not is_file:
        print(text, end="")
    else:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {output}: {error.strerror}") from None
    for line in _summary(carried):
        print(line, file=sys.stderr)
    if not is_file:
        return
    errors = tuple(problem for problem in check(output) if problem.severity == "error")
    if errors:
        print(f"wrote {output}, which needs a hand:", file=sys.stderr)
        raise CompositionError(errors)
    print(f"wrote {output}; next: coe check {output} && coe serve --config {output}")


def _summary(carried: Carried) -> list[str]:
    found = counts(carried)
    sizes = (len(carried.backends), len(carried.experts), len(carried.categories))
    lines = [
        "carried over: backends {}, experts {}, categories {}".format(*sizes),
        f"left out: {found['left out']}, changed: {found['changed']}; each has its comment there",
    ]
    return lines + [described(note) for note in carried.notes if note.kind == "to do"]
