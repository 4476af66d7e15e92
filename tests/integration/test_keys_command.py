"""`coe keys`: whom a key's name means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import Coe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experts.yaml").write_text(
        "version: 1\nbackends: {up: 'http://127.0.0.1:9'}\nexperts: {one: up/one}\ndefault: one\n"
    )
    return tmp_path


def test_a_key_is_ended_by_its_name_where_that_is_one_keys(coe: Coe) -> None:
    assert coe("keys", "add", "alice").returncode == 0
    assert coe("keys", "add", "bob").returncode == 0

    ended = coe("keys", "revoke", "alice")

    assert ended.returncode == 0
    assert "(alice) is revoked" in ended.stderr
    listed = coe("keys", "list").stdout
    assert "revoked" in next(line for line in listed.splitlines() if "alice" in line)
    assert "works" in next(line for line in listed.splitlines() if "bob" in line)


def test_a_name_that_several_have_or_nobody_ends_none(coe: Coe) -> None:
    for name in ("alice", "alice", "bob"):
        coe("keys", "add", name)

    several = coe("keys", "revoke", "bob", "alice")
    nobody = coe("keys", "revoke", "bob", "carol")

    assert several.returncode != 0
    assert "2 keys are called `alice`: say which" in several.stderr
    assert nobody.returncode != 0
    assert "no key `carol`: `coe keys list` shows ids and names" in nobody.stderr
    assert "revoked" not in coe("keys", "list").stdout


def test_a_key_whose_name_an_ended_one_had_is_rotated(coe: Coe) -> None:
    coe("keys", "add", "alice")
    coe("keys", "revoke", "alice")
    coe("keys", "add", "alice")

    assert coe("keys", "rotate", "alice").stdout.startswith("coe-")
