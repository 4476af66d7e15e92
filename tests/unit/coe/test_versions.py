"""Compositions that were served: kept, bounded, and found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.errors import ConfigError, NotFound
from coe.versions import Version, Versions, digests


def served(text: str, **fields: object) -> Version:
    return Version(at=1.0, fingerprint=text, why="file", text=text, **fields)  # type: ignore[arg-type]


def test_versions_count_up_and_come_newest_first(tmp_path: Path) -> None:
    versions = Versions(tmp_path)

    numbers = [versions.keep(served(text)).number for text in ("a", "b", "a")]

    assert numbers == [1, 2, 3]
    assert [version.text for version in versions.all()] == ["a", "b", "a"]
    assert versions.get(2) == served("b", number=2)


def test_what_is_served_again_as_it_was_is_no_new_version(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    first = versions.keep(served("a", files={"code.txt": "1"}))

    assert versions.keep(served("a", files={"code.txt": "1"})) == first
    assert versions.keep(served("a", files={"code.txt": "2"})).number == 2


def test_the_oldest_go(tmp_path: Path) -> None:
    versions = Versions(tmp_path, most=3)
    for text in "abcde":
        versions.keep(served(text))

    assert [version.number for version in versions.all()] == [5, 4, 3]
    with pytest.raises(NotFound, match="no version 2"):
        versions.get(2)


def test_the_one_before_has_another_text(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    with pytest.raises(NotFound, match="none to go back to"):
        versions.before("b")
    for text in "ab":
        versions.keep(served(text))
    versions.keep(served("b", files={"code.txt": "2"}))

    assert versions.before("b").number == 1
    assert versions.before("edited since").number == 3


def test_a_damaged_one_is_left_out(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    for text in "ab":
        versions.keep(served(text))
    (versions.folder / "000001.json").write_text("{")

    assert [version.number for version in versions.all()] == [2]
    assert versions.keep(served("c")).number == 3


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.joinpath("versions").write_text("a file")

    with pytest.raises(ConfigError, match="cannot be written"):
        Versions(tmp_path).keep(served("a"))


def test_files_that_are_not_as_they_were_are_named(tmp_path: Path) -> None:
    same, other = tmp_path / "same.txt", tmp_path / "other.txt"
    for path in (same, other):
        path.write_text("a")
    version = served("a", files=digests([same, other]))
    other.write_text("b")

    assert version.other_files() == [str(other)]
