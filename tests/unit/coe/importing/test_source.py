"""Foreign files: YAML and JSON with all their liberties, and what is too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.errors import CompositionError
from coe.importing import parse_source, read_source
from coe.importing.part import Part


def refused(text: str) -> str:
    with pytest.raises(CompositionError) as raised:
        parse_source(text, "c.yaml")
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2", "c.yaml:2"),
        ("a: 1\n\nb: 1\na: 2\n", "c.yaml:4:1: a: the key is here twice; first at line 1"),
        ("a:\n  b: !include x.yaml\n", "c.yaml:2:1: a.b: a tag that is not supported"),
        ("a: 1\n? [x]\n: 2\n", "c.yaml:2:1: a key that is not a text"),
        ("a: &a\n  b: *a\n", "nested too deeply"),
        ("a: &a\n  <<: *a\n", "merges itself"),
        ("a: 1\n<<: 3\n", "names no mapping"),
    ],
)
def test_what_cannot_be_read_is_said_with_file_and_line(text: str, said: str) -> None:
    assert said in refused(text)


def test_anchors_cannot_stand_for_billions_of_values() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]

    assert "too many values" in refused("\n".join(rows))


def test_merges_cannot_stand_for_billions_of_values() -> None:
    rows = ["a0: &a0 {x: 1}"]
    rows += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 9)]

    assert "too many values" in refused("\n".join(rows))


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(b"# " + b"x" * 10_000_000)

    with pytest.raises(CompositionError, match="larger than 1,000,000 bytes"):
        read_source(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CompositionError, match=r"none.yaml: cannot read the file: No such file"):
        read_source(tmp_path / "none.yaml")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"a: 1\nb: \xff\n")

    with pytest.raises(CompositionError, match=r"c.yaml:2:\d+: not UTF-8"):
        read_source(tmp_path / "c.yaml")


def test_a_key_beside_a_merge_wins_and_earlier_merges_win() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 0\n"
    source = parse_source(text, "c.yaml")

    assert source.content["z"] == {"a": 0, "b": 1, "c": 2}
    assert (source.line(("z", "a")), source.line(("z", "b")), source.line(("z", "c"))) == (5, 1, 2)


def test_json_with_its_escapes_and_tabs() -> None:
    source = parse_source(
        '{\n\t"a": "\\ud83d\\ude00 \\/ \\ud83d",\n\t"b": [1.5, true, null]\n}', "c"
    )

    assert source.content == {"a": "\U0001f600 / \ufffd", "b": [1.5, True, None]}
    assert source.line(("b",)) == 3


def test_a_part_tells_what_nobody_read() -> None:
    text = "a: 1\nb: {c: x, d: [1, {e: 2}]}\nf: [x, [y]]\ng: ''\nh: -1\n"
    source = parse_source(text, "c.yaml")
    part = Part(source, (), source.content)
    inner = part.part("b")
    assert inner is not None

    assert inner.text("c") == "x"
    assert [text for _, text in part.texts("f")] == ["x"]
    assert part.number("h") is None

    assert sorted(map(str, part.rest())) == sorted(map(str, [("a",), ("b", "d"), ("f", 1), ("h",)]))


@pytest.mark.parametrize(
    ("written", "number"), [("1e-6", "0.000001"), ("'2.5'", "2.5"), ("3", "3")]
)
def test_numbers_in_their_spellings(written: str, number: str) -> None:
    source = parse_source(f"a: {written}\n", "c.yaml")

    assert format(Part(source, (), source.content).number("a"), "f") == number


@pytest.mark.parametrize("written", [".nan", ".inf", "-1", "x", "true", "[1]", "1e400000000000"])
def test_what_is_no_number_is_not_read(written: str) -> None:
    source = parse_source(f"a: {written}\n", "c.yaml")
    part = Part(source, (), source.content)

    assert part.number("a") is None
    assert list(part.rest()) == [("a",)]
