"""YAML text to values with places."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.composition import document
from coe.errors import CompositionError, Problem


def problem_of(text: str) -> Problem:
    with pytest.raises(CompositionError) as refused:
        document.parse(text, "f.yaml")

    return refused.value.problems[0]


def test_values_are_those_of_yaml_1_2() -> None:
    text = "a: yes\nb: 0o17\nc: 2026-11-22\nd: ~\ne: true\nf: 1.5\ng: [1_0, 0x1F, -3]\nh: 012\n"

    content = document.parse(text, "f.yaml").content

    assert content == {
        "a": "yes",
        "b": 15,
        "c": "2026-11-22",
        "d": None,
        "e": True,
        "f": 1.5,
        "g": [10, 31, -3],
        "h": 12,
    }


def test_every_key_and_value_has_its_place() -> None:
    parsed = document.parse("a:\n  b: [x, y]\n", "f.yaml")

    assert str(parsed.place(("a", "b"), key=True)) == "f.yaml:2:3"
    assert str(parsed.place(("a", "b", 1))) == "f.yaml:2:10"


def test_a_path_through_a_short_form_finds_what_stands_for_it() -> None:
    parsed = document.parse("routes:\n  code: [x, y]\n", "f.yaml")

    assert str(parsed.place(("routes", "code", "experts", 1))) == "f.yaml:2:13"
    assert str(parsed.place(("routes", "law", "experts", 1))) == "f.yaml:2:3"


def test_an_alias_stands_for_what_it_names() -> None:
    content = document.parse("a: &x [1]\nb: *x\n", "f.yaml").content

    assert content == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1", "here twice; first at line 1"),
        ("x:\n  a: 1\n  a: 2\n", "3:3", "here twice; first at line 2"),
        ("a: 'open\n", "2:1", "not valid YAML"),
        ("a: b: c\n", "1:5", "not valid YAML"),
        ("a:\n\t- b\n", "2:1", "not valid YAML"),
        ("a: *nothing\n", "1:4", "undefined alias"),
        ("---\na: 1\n---\nb: 2\n", "3:1", "another document"),
        ("a: !secret x\n", "1:4", "tag `!secret` is not supported"),
        ("a: !set {x}\n", "1:4", "tag `!set` is not supported"),
        ("a: !!binary aGk=\n", "1:4", "tag `binary` is not supported"),
        ("a: !!int zwei\n", "1:4", "not a number"),
        ("1: x\n", "1:1", "key `1` is not a text"),
        ("true: x\n", "1:1", "key `true` is not a text"),
        ("? [a]\n: x\n", "1:3", "is not a text"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "3:3", "merge keys"),
        ("\n?  a{...\n%YAML 9.9", "0:0", "not valid YAML"),
        ("a: &x [*x]\n", "1:4", "nested too deeply"),
        ("a: x\x00\n", "1:5", "U+0000"),
        ("a: x\nb: \x07\n", "2:4", "U+0007"),
    ],
)
def test_broken_yaml_names_its_place(text: str, place: str, message: str) -> None:
    problem = problem_of(text)

    assert f"{problem.line}:{problem.column}" == place
    assert message in problem.message


def test_a_reference_in_braces_without_quotes_is_explained() -> None:
    problem = problem_of("a: {key: ${env:KEY}}\n")

    assert problem.line == 1
    assert "needs quotes" in problem.hint


def test_all_duplicate_keys_are_told_at_once() -> None:
    with pytest.raises(CompositionError) as refused:
        document.parse("a: 1\na: 2\nb: 1\nb: 2\n", "f.yaml")

    assert [p.line for p in refused.value.problems] == [2, 4]


def test_deep_nesting_is_refused() -> None:
    assert "nested too deeply" in problem_of("[" * 600).message
    assert "nested too deeply" in problem_of("[" * 60 + "]" * 60).message


def test_aliases_that_multiply_are_refused() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]

    assert "too many values" in problem_of("\n".join(rows)).message


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CompositionError) as refused:
        document.read(tmp_path / "experts.yaml")

    (problem,) = refused.value.problems
    assert "cannot read the file" in problem.message
    assert "coe init" in problem.hint


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(CompositionError, match="cannot read the file"):
        document.read(tmp_path)


def test_bytes_that_are_not_utf8_are_placed(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_bytes(b"version: 1\nname: caf\xe9\n")

    with pytest.raises(CompositionError) as refused:
        document.read(path)

    (problem,) = refused.value.problems
    assert (problem.line, problem.column) == (2, 10)
    assert problem.message == "not UTF-8"


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_bytes(b"\xef\xbb\xbfversion: 1\r\n")

    assert document.read(path).content == {"version": 1}


def test_a_huge_file_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_bytes(b"#" * (document.MAX_BYTES + 1))

    with pytest.raises(CompositionError, match="at most"):
        document.read(path)


def test_key_paths_are_written_with_dots_and_positions() -> None:
    assert document.dotted(("routing", "none", 0)) == "routing.none[0]"
    assert document.dotted(()) == ""
