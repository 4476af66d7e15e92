"""What changed between two compositions, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.composition import load
from coe.composition.changes import changes, differences
from coe.composition.loading import meaning

FILE = """\
version: 1
backends: {gone: {url: "http://127.0.0.1:9", api_key: "${file:key}"}}
experts:
  one: gone/m
  two: {backend: gone, model: n, context: 8k}
categories:
  code: {utterances_file: code.txt, experts: [one, two]}
  law: {utterances: [a tort, a will, a lease, a fine, a crime], experts: [one]}
default: one
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("sk-first")
    (tmp_path / "code.txt").write_text("one\ntwo\nthree\nfour\nfive\n")
    path = tmp_path / "experts.yaml"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  one: gone/m\n", "  one: gone/m\n  new: gone/m\n", ("expert `new` is new",)),
        ("context: 8k", "context: 16k", ("expert `two`: `context` is 16000, was 8000",)),
        (", context: 8k", "", ("expert `two`: `context` is not set any more, was 8000",)),
        ("[one, two]", "[two, one]", ("route `code`: `experts` is two, one, was one, two",)),
        ("version: 1\n", "version: 1\n# hello\n", ()),
        ("{backend: gone, model: n, context: 8k}", "{context: 8k, model: n, backend: gone}", ()),
        (
            "default: one",
            "default: two",
            ("`routing.none` is two, was one", "`default` is two, was one"),
        ),
        ("one\n", "one\nfallbacks: {attempts: 2}\n", ("`fallbacks.attempts` is 2, was not set",)),
    ],
)
def test_an_edit_is_told_in_words(file: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    then = load(file)
    head, tail = FILE.rsplit(old, 1)
    file.write_text(head + new + tail)

    assert changes(then, load(file)) == words


def test_texts_of_other_files_are_counted(file: Path) -> None:
    then = load(file)
    file.with_name("code.txt").write_text("one\ntwo\nthree\nfour\nsix\nseven\n")

    assert changes(then, load(file)) == ("category `code`: `utterances` has 2 more and 1 less",)


def test_another_secret_is_told_and_never_shown(file: Path) -> None:
    then = load(file)
    file.with_name("key").write_text("sk-second")

    assert changes(then, load(file)) == ("backend `gone`: what its references lead to has changed",)


def test_a_way_there_and_back_tells_of_the_same_places(file: Path) -> None:
    then = meaning(file, FILE)
    now = meaning(file, FILE.replace("  one: gone/m\n", "").replace("one", "two"))

    there, back = differences(then, now), differences(now, then)

    assert "expert `one` is gone" in there
    assert "expert `one` is new" in back
    assert len(there) == len(back)


def test_the_files_that_a_file_names_are_known(file: Path) -> None:
    found = load(file)

    assert [path.name for path in found.files] == ["code.txt"]
    assert [path.name for path in found.secrets] == ["key"]
    assert found.text == FILE
