"""The texts of categories: those in the file and those in the files that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coe.composition.document import KeyPath, Place, decode
from coe.composition.report import Report
from coe.composition.routing_keys import CategoryKeys
from coe.errors import CompositionError

Kind = Literal["utterances", "negatives"]

MAX_BYTES = 20_000_000
FEW = 5


@dataclass(frozen=True, slots=True)
class PlacedText:
    """A text and where it stands.

    Attributes:
        path: the key path in the composition that brought it in.
    """

    text: str
    path: KeyPath
    place: Place

    @property
    def folded(self) -> str:
        """The text as it is compared: without case and without differences in white space."""
        return " ".join(self.text.casefold().split())


@dataclass(frozen=True, slots=True)
class CategoryTexts:
    """Utterances and negatives of one category, each text once, in the order of the files."""

    utterances: tuple[PlacedText, ...] = ()
    negatives: tuple[PlacedText, ...] = ()


def gather(
    categories: Mapping[str, CategoryKeys], report: Report, folder: Path
) -> dict[str, CategoryTexts]:
    """Return the texts of every category, and report those that contradict each other."""
    texts = {
        name: CategoryTexts(
            _unique(_texts(name, "utterances", category, report, folder), report),
            _unique(_texts(name, "negatives", category, report, folder), report),
        )
        for name, category in categories.items()
    }
    _check_shared(texts, report)
    for name, entry in texts.items():
        _check_negatives(entry, report)
        _check_count(name, len(entry.utterances), categories[name], report)
    return texts


def _texts(
    name: str, kind: Kind, category: CategoryKeys, report: Report, folder: Path
) -> Iterator[PlacedText]:
    inline = category.utterances if kind == "utterances" else category.negatives
    key: KeyPath = ("categories", name, kind)
    if kind == "negatives" and ("categories", name, "not_utterances") in report.document.values:
        key = ("categories", name, "not_utterances")
    for i, text in enumerate(inline):
        path = (*key, i)
        yield PlacedText(text.strip(), path, report.document.place(path))
    file = category.utterances_file if kind == "utterances" else category.negatives_file
    if file is not None:
        yield from _lines(folder / file, ("categories", name, f"{kind}_file"), report)


def _lines(file: Path, path: KeyPath, report: Report) -> Iterator[PlacedText]:
    report.files.append(file)
    try:
        if file.stat().st_size > MAX_BYTES:
            report.error(path, f"the file {file} is larger than {MAX_BYTES:,} bytes", "shorten it")
            return
        content = decode(file.read_bytes(), str(file))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        report.error(path, f"cannot read the file {file}: {reason}", "create it or remove the key")
        return
    except CompositionError as error:
        (problem,) = error.problems
        place = Place(problem.file, problem.line, problem.column)
        report.error(path, problem.message, problem.hint, place=place)
        return
    for number, line in enumerate(content.split("\n"), start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield PlacedText(text, path, Place(str(file), number, 1))


def _unique(texts: Iterator[PlacedText], report: Report) -> tuple[PlacedText, ...]:
    kept: dict[str, PlacedText] = {}
    for text in texts:
        first = kept.setdefault(text.folded, text)
        if first is not text:
            message = f"`{text.text:.60}` is here twice; first at {first.place}"
            report.warning(text.path, message, "remove one of the two", place=text.place)
    return tuple(kept.values())


def _check_shared(texts: Mapping[str, CategoryTexts], report: Report) -> None:
    owners: dict[str, tuple[str, PlacedText]] = {}
    for name, entry in texts.items():
        for text in entry.utterances:
            owner, first = owners.setdefault(text.folded, (name, text))
            if owner != name:
                message = (
                    f"`{text.text:.60}` is an utterance of two categories, `{name}` and `{owner}`"
                    f" (at {first.place})"
                )
                hint = "keep it where it belongs, and make it a negative of the other"
                report.error(text.path, message, hint, place=text.place)


def _check_negatives(entry: CategoryTexts, report: Report) -> None:
    utterances = {text.folded: text for text in entry.utterances}
    for text in entry.negatives:
        if same := utterances.get(text.folded):
            message = f"`{text.text:.60}` is also an utterance of this category (at {same.place})"
            report.error(text.path, message, "remove one of the two", place=text.place)


def _check_count(name: str, count: int, category: CategoryKeys, report: Report) -> None:
    path: KeyPath = ("categories", name)
    keywords = category.keywords
    if count == 0 and keywords is not None and (keywords.any or keywords.regex):
        return
    if count == 0:
        report.warning(
            path, "neither utterances nor keywords: it is never chosen", "add `utterances`"
        )
    elif count < FEW:
        report.warning(
            path,
            f"{count} utterance{'s' if count > 1 else ''}; a router needs {FEW} or more",
            "add texts as users write them",
        )
