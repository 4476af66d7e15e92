"""`coe config`: versions are listed, shown, compared and gone back to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coe.composition import load
from coe.versions import Versions, version_of

from .conftest import Coe

FILE = """\
version: 1
backends: {gone: "http://127.0.0.1:9"}
experts:
  one: gone/m   # the first
  two: gone/n
default: one
"""
OTHER = FILE.replace("default: one", "default: two")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose gateway served two compositions; the file is the second."""
    file = tmp_path / "experts.yaml"
    versions = Versions(tmp_path / ".coe")
    for text in (FILE, OTHER):
        file.write_text(text)
        versions.keep(version_of(load(file), "file"))
    return tmp_path


def test_versions_are_listed_and_shown(coe: Coe) -> None:
    listed = coe("config", "versions")
    rows = json.loads(coe("config", "versions", "--json").stdout)
    shown = coe("config", "show", "1")
    missing = coe("config", "show", "9")

    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["version", "2", "1"]
    assert [row["number"] for row in rows] == [2, 1]
    assert shown.stdout == FILE
    assert (missing.returncode, "no version 9" in missing.stderr) == (1, True)


def test_versions_and_files_are_compared_in_words(coe: Coe, folder: Path) -> None:
    assert coe("config", "diff").stdout == "nothing differs\n"
    (folder / "experts.yaml").write_text(OTHER.replace("gone/n", "gone/new"))

    since = coe("config", "diff").stdout
    between = json.loads(coe("config", "diff", "1", "2", "--json").stdout)
    backwards = coe("config", "diff", "experts.yaml", "2").stdout

    assert since == "expert `two`: `model` is gone/new, was gone/n\n".replace("gone/", "")
    assert between == ["`routing.none` is two, was one", "`default` is two, was one"]
    assert backwards == "expert `two`: `model` is n, was new\n"


def test_the_file_goes_back_and_what_it_was_is_kept(coe: Coe, folder: Path) -> None:
    file = folder / "experts.yaml"
    edited = OTHER + "# a note\n"
    file.write_text(edited)

    done = coe("config", "rollback", "1")

    assert (done.returncode, file.read_text()) == (0, FILE)
    kept = Versions(folder / ".coe").all()
    assert [(one.number, one.why, one.text) for one in kept[:2]] == [
        (4, "rollback to 1", FILE),
        (3, "file", edited),
    ]
    assert coe("config", "rollback").returncode == 0
    assert file.read_text() == edited


def test_one_can_go_back_from_a_broken_file(coe: Coe, folder: Path) -> None:
    file = folder / "experts.yaml"
    file.write_text("version: [")

    assert coe("config", "rollback").returncode == 0
    assert file.read_text() == OTHER


def test_what_cannot_be_served_any_more_is_not_gone_back_to(
    coe: Coe, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "experts.yaml"
    with_key = FILE.replace(
        '"http://127.0.0.1:9"', '{url: "http://127.0.0.1:9", api_key: "${env:K}"}'
    )
    with monkeypatch.context() as patch:
        patch.setenv("K", "sk-1")
        file.write_text(with_key)
        Versions(folder / ".coe").keep(version_of(load(file), "file"))
    file.write_text(OTHER)

    done = coe("config", "rollback", "3")

    assert done.returncode == 2
    assert "version 3 cannot be served any more" in done.stderr
    assert file.read_text() == OTHER


def test_a_file_that_cannot_be_written_is_told(coe: Coe, folder: Path) -> None:
    folder.chmod(0o555)
    try:
        done = coe("config", "rollback", "1")
    finally:
        folder.chmod(0o755)

    if done.returncode == 0:
        pytest.skip("this user writes where nobody may")
    assert "cannot be written" in done.stderr
