"""Prompt programs of the file, checked, and made into values with the files that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coe.composition.document import KeyPath, Place, decode
from coe.composition.examples import FORM, WrongRow, read_row
from coe.composition.expert_keys import ExpertKeys
from coe.composition.models import FileKeys
from coe.composition.names import check_known
from coe.composition.program_keys import ExamplesKeys, RecipeKeys, VoteKeys
from coe.composition.programs import (
    DEPTH,
    FIELDS,
    KINDS,
    PROGRAM,
    TTL_S,
    VARIED,
    Cached,
    Constant,
    Example,
    Examples,
    Program,
    Recipe,
    Refusal,
    Vote,
    fields,
)
from coe.composition.report import Report, suggestion
from coe.errors import CompositionError

MAX_BYTES = 50_000_000

_OF_MODELS = ("kind", "backend", "model", "base", "adapter", "memory", "load_time", "residency")
_SHOWN = 10  # bad rows of one file


def program_keys(expert: ExpertKeys) -> tuple[str, ...]:
    """Return the keys that make an expert a program: one for a program, none for a model."""
    return tuple(key for key in KINDS if getattr(expert, key) is not None)


def over_of(expert: ExpertKeys) -> str | None:
    """Return the expert that a program stands on; None where it stands on nobody."""
    stands = expert.recipe or expert.cached
    return stands.over if stands is not None else None


def check_programs(file: FileKeys, report: Report, folder: Path) -> dict[str, Program]:
    """Return the programs of a completed file, by name; what cannot be used is reported.

    Args:
        file: completed.
        report: told what is wrong.
        folder: that files are relative to.
    """
    found: dict[str, Program] = {}
    for name, expert in file.experts.items():
        keys = program_keys(expert)
        if keys:
            reader = _Reader(file, report, folder, ("experts", name))
            reader.check_keys(expert, keys)
            reader.check_chain(name)
            found[name] = reader.program(expert)
    return found


def check_reserved(file: FileKeys, report: Report) -> None:
    """The backend of programs is there by itself; a file may say so, and nothing else of it."""
    for name, backend in file.backends.items():
        if PROGRAM not in {name, backend.type}:
            continue
        own = backend.model_dump(exclude_defaults=True)
        if name != PROGRAM:
            hint = f"remove it, and name no `backend` for a program; it runs on `{PROGRAM}`"
            message = f"prompt programs run on the backend `{PROGRAM}`, which is there by itself"
            report.error(("backends", name), message, hint, key=True)
        elif own != {"type": PROGRAM}:
            message = f"the name `{PROGRAM}` is that of the backend of prompt programs"
            report.error(("backends", name), message, "rename yours", key=True)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one program.

    Attributes:
        path: of the expert.
    """

    file: FileKeys
    report: Report
    folder: Path
    path: KeyPath

    def check_keys(self, expert: ExpertKeys, keys: tuple[str, ...]) -> None:
        """A program is one thing, and has nothing that only models have."""
        first, *others = keys
        for key in others:
            message = f"an expert is one program, and this is a `{first}` already"
            self.report.error((*self.path, key), message, "keep one of the two", key=True)
        for key in _OF_MODELS:
            if key in expert.model_fields_set and (key, expert.kind) != ("kind", "program"):
                message = f"`{key}` is for models, and `{first}` makes this a prompt program"
                self.report.error((*self.path, key), message, "remove it", key=True)

    def check_chain(self, name: str) -> None:
        """What a program stands on exists, ends at a model, and is not too deep."""
        expert = self.file.experts[name]
        under = over_of(expert)
        at = (*self.path, program_keys(expert)[0], "over")
        if under is None or not check_known(self.report, "experts", under, at):
            return
        chain = [name]
        while under in self.file.experts and under not in chain:
            chain.append(under)
            under = over_of(self.file.experts[under])
        programs = [one for one in chain if program_keys(self.file.experts[one])]
        if under in chain:
            circle = " -> ".join(f"`{one}`" for one in (*chain, under))
            self.report.error(at, f"it stands on itself: {circle}", "name a model in one of them")
        elif len(programs) > DEPTH:
            line = " -> ".join(f"`{one}`" for one in chain)
            message = f"{len(programs)} programs stand on one another: {line}"
            self.report.error(at, message, f"at most {DEPTH} may; name the model under them")

    def program(self, expert: ExpertKeys) -> Program:
        """Return the program; what is wrong with it is reported, and left out."""
        if expert.recipe is not None:
            return self._recipe(expert.recipe)
        if expert.cached is not None:
            cached = expert.cached
            return Cached(over=cached.over, ttl_s=cached.ttl or TTL_S, most=cached.max)
        key = "constant" if expert.constant is not None else "refuse"
        text = expert.constant or expert.refuse or ""
        for field in fields(text):
            if field not in FIELDS:
                message = f"there is no field `{{{field}}}` to fill in"
                hint = f"{suggestion(field, FIELDS)} For the text itself write `{{{{{field}}}}}`"
                self.report.error((*self.path, key), message, hint)
        return Constant(text=text) if key == "constant" else Refusal(text=text)

    def _recipe(self, keys: RecipeKeys) -> Recipe:
        at: KeyPath = (*self.path, "recipe")
        if keys.vote is not None and keys.samples == 1:
            message = "nothing to vote on: there is one sample"
            self.report.error((*at, "vote"), message, "add `samples: 5`, or remove it", key=True)
        if keys.vote is None and keys.samples > 1:
            message = f"nothing says how {keys.samples} samples become one answer"
            hint = "add `vote: number`, `choice`, `json` or `text`"
            self.report.error((*at, "samples"), message, hint, key=True)
        if keys.temperature == 0 and keys.samples > 1:
            message = "at temperature 0 the samples are all the same, and a vote is a waste"
            self.report.error((*at, "temperature"), message, "such as 0.7")
        if keys.system is not None and keys.system_file is not None:
            message = "the system prompt is in `system` already"
            self.report.error((*at, "system_file"), message, "keep one of the two", key=True)
        nothing = (keys.system, keys.system_file, keys.examples, keys.temperature)
        if keys.samples == 1 and all(value is None for value in nothing):
            message = f"this recipe changes nothing of `{keys.over:.60}`"
            self.report.error(at, message, "add `system`, `examples` or `samples`", key=True)
        temperature = keys.temperature
        if temperature is None and keys.samples > 1:
            temperature = VARIED
        return Recipe(
            over=keys.over,
            system=self._system(keys, at),
            examples=self._examples(keys.examples, (*at, "examples")) if keys.examples else None,
            samples=keys.samples,
            vote=_vote(keys.vote) if keys.vote is not None else None,
            temperature=temperature,
        )

    def _system(self, keys: RecipeKeys, at: KeyPath) -> str:
        if keys.system_file is None:
            return keys.system or ""
        path = (*at, "system_file")
        text = self._text(keys.system_file, path, "create it, or write `system`")
        if text is not None and not text.strip():
            named = self.folder / keys.system_file
            self.report.error(path, f"the file {named} is empty", "write the prompt into it")
        return (text or "").strip()

    def _examples(self, keys: ExamplesKeys, at: KeyPath) -> Examples:
        rows = self._rows(keys.file, (*at, "file"))
        if 0 < len(rows) < keys.nearest:
            message = f"the file holds {len(rows)} examples, fewer than `nearest: {keys.nearest}`"
            place = self.report.document.place((*at, "nearest"))
            self.report.warning((*at, "nearest"), message, "all of them are shown", place=place)
        check_known(
            self.report,
            "encoders",
            keys.encoder or "",
            (*at, "encoder"),
            implicit=self.file.encoders,
        )
        return Examples(rows=rows, nearest=keys.nearest, encoder=keys.encoder or "")

    def _rows(self, file: str, path: KeyPath) -> tuple[Example, ...]:
        text = self._text(file, path, "create it, or remove `examples`")
        where, rows, wrong = self.folder / file, [], 0
        for number, line in enumerate((text or "").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                rows.append(read_row(line))
            except WrongRow as error:
                wrong += 1
                if wrong <= _SHOWN:
                    place = Place(str(where), number, 1)
                    self.report.error(path, error.message, error.hint, place=place)
        if wrong > _SHOWN:
            self.report.error(path, f"{wrong - _SHOWN} more rows of {where} cannot be used")
        if text is not None and not rows and not wrong:
            self.report.error(path, f"the file {where} holds no examples", f"a line is {FORM}")
        return tuple(rows)

    def _text(self, file: str, path: KeyPath, hint: str) -> str | None:
        """Return the text of a file; None where it cannot be read, which is reported."""
        where = self.folder / file
        self.report.files.append(where)
        try:
            if where.stat().st_size > MAX_BYTES:
                message = f"the file {where} is larger than {MAX_BYTES:,} bytes"
                self.report.error(path, message, "shorten it")
                return None
            return decode(where.read_bytes(), str(where))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.report.error(path, f"cannot read the file {where}: {reason}", hint)
        except CompositionError as error:
            (problem,) = error.problems
            place = Place(problem.file, problem.line, problem.column)
            self.report.error(path, problem.message, problem.hint, place=place)
        return None


def _vote(keys: VoteKeys) -> Vote:
    return Vote(answer=keys.answer, after=keys.after or "", options=keys.options or 0)


def content(programs: Mapping[str, Program]) -> dict[str, object]:
    """Return what the files of programs hold, as plain values, by the program's name."""
    return {
        name: [program.system, _rows_of(program.examples)]
        for name, program in programs.items()
        if isinstance(program, Recipe)
    }


def _rows_of(examples: Examples | None) -> list[object]:
    return [[*row.messages, row.answer] for row in examples.rows] if examples is not None else []
