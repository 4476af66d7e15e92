"""Files that a composition includes."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.composition import check, load
from coe.versions import digests

MAIN = """\
version: 1
include: [experts.d/*.yaml, more.yaml]
backends: {here: http://127.0.0.1:9}
experts:
  one: here/m
categories:
  code: {utterances: [a, b, c, d, e], experts: [two]}
default: one
"""
TEAM = """\
# Of the team that writes code.
experts:
  two: here/n
  three: here/k
categories:
  law: {utterances_file: law.txt, experts: [three]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experts.d").mkdir()
    (tmp_path / "experts.yaml").write_text(MAIN)
    (tmp_path / "experts.d" / "team.yaml").write_text(TEAM)
    (tmp_path / "more.yaml").write_text("models: {fast: {choose: ranked}}\n")
    (tmp_path / "law.txt").write_text("a tort\na will\na lease\na fine\na crime\n")
    return tmp_path


def problems(folder: Path) -> list[str]:
    root = f"{folder}/"
    return [str(one).replace(root, "") for one in check(folder / "experts.yaml", {})]


def test_entries_of_included_files_stand_as_if_they_were_written_there(folder: Path) -> None:
    found = load(folder / "experts.yaml")

    assert list(found.experts) == ["one", "two", "three"]
    assert found.routing.routes["law"] == ("three",)
    assert len(found.categories["law"].category.utterances) == 5
    assert "fast" in found.models
    assert "include" not in found.canonical
    names = [path.name for path in found.files]
    assert names == ["experts.d", "team.yaml", "more.yaml", "law.txt"]


def test_a_name_that_is_defined_twice_is_told_with_both_places(folder: Path) -> None:
    (folder / "experts.d" / "zoo.yaml").write_text("experts:\n  one: here/x\n  two: here/y\n")

    one, two = problems(folder)

    assert one.startswith(
        "experts.d/zoo.yaml:2:3: experts.one: `one` is defined twice; first at experts.yaml:5:3"
    )
    assert two.startswith(
        "experts.d/zoo.yaml:3:3: experts.two: `two` is defined twice; first at"
        " experts.d/team.yaml:3:3"
    )


def test_a_mistake_in_an_included_file_is_told_at_its_place(folder: Path) -> None:
    (folder / "experts.d" / "zoo.yaml").write_text("experts:\n  four: nowhere/x\n")

    told = [one for one in problems(folder) if "experts.four.backend" in one]

    assert told[0].startswith("experts.d/zoo.yaml:2:9: experts.four.backend: there is no backend")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("default: one\n", "1:1: default: `default` cannot stand in a file that is included"),
        ("include: [a.yaml]\n", "1:1: include: `include` cannot stand in a file that is included"),
        ("experts: [a]\n", "1:10: experts: expected a mapping of names"),
        ("[a]\n", "1:1: expected a mapping"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_what_cannot_be_included_is_refused(folder: Path, text: str, words: str) -> None:
    (folder / "more.yaml").write_text(text)

    (problem,) = problems(folder)

    assert problem.startswith("more.yaml:")
    assert words in problem


@pytest.mark.parametrize("written", ["gone.yaml", "4", "{a: b}", "[gone.yaml]"])
def test_a_file_that_is_not_there_and_what_is_no_file_are_refused(
    folder: Path, written: str
) -> None:
    text = MAIN.replace("[experts.d/*.yaml, more.yaml]", written)
    (folder / "experts.yaml").write_text(text)

    assert "experts.yaml:2:" in problems(folder)[0]


def test_an_empty_file_and_a_pattern_without_files_are_nothing(folder: Path) -> None:
    for file in (folder / "experts.d").iterdir():
        file.write_text("# nothing yet\n")
    text = MAIN.replace("experts: [two]", "experts: [one]")
    (folder / "experts.yaml").write_text(text)

    assert list(load(folder / "experts.yaml").experts) == ["one"]


def test_the_folder_of_a_pattern_is_looked_at_for_new_files(folder: Path) -> None:
    file = folder / "experts.yaml"
    before = digests(load(file).files)
    (folder / "experts.d" / ".zoo.yaml.swp").write_text("")
    assert digests(load(file).files) == before

    (folder / "experts.d" / "zoo.yaml").write_text("experts: {four: here/x}\n")

    assert digests(load(file).files) != before
    assert "four" in load(file).experts


def test_arms_of_experiments_change_what_was_included(folder: Path) -> None:
    text = MAIN + (
        "experiments:\n  e:\n    status: running\n    arms:\n      a: 50%\n"
        "      b: {share: 50%, set: {experts.two.max_output: 5}}\n"
    )
    (folder / "experts.yaml").write_text(text)

    found = load(folder / "experts.yaml")

    (variant,) = found.variants.values()
    assert variant.experts["two"].max_output == 5
