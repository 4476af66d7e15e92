"""`coe evaluate` where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Coe

FILE = """
version: 1
backends:
  up: {url: "http://127.0.0.1:9", timeouts: {connect: 1s, first_token: 1s, idle: 1s, total: 1s}}
experts:
  one: {backend: up, model: one}
default: one
"""
GOOD = {"prompt": "hello", "answer": "hello"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experts.yaml").write_text(FILE)
    return tmp_path


@pytest.mark.parametrize(
    ("row", "words", "code", "said"),
    [
        (GOOD, (), 1, "no prompt was answered (prompts.jsonl:1:"),
        (GOOD, ("--url", "http://127.0.0.1:9"), 1, "start one with `coe serve`"),
        (GOOD, ("--save", "no/out.jsonl"), 2, "there is no folder"),
        (GOOD, ("--against", "none.jsonl"), 2, "none.jsonl: cannot be read"),
        (GOOD, ("--against", "prompts.jsonl"), 2, "prompts.jsonl:1: expected a row that"),
        ({**GOOD, "category": "sums"}, (), 2, "prompts.jsonl:1: `category`: no category `sums`"),
        (
            {"prompt": "hello", "check": {"type": "judge", "answer": "hi", "expert": "one"}},
            *((), 2, "nobody judges here"),
        ),
        (
            {"prompt": "hello", "check": {"type": "tests", "code": "assert 1"}},
            *((), 2, "allow it with --run-code"),
        ),
    ],
)
def test_what_is_wrong_is_said(
    coe: Coe, folder: Path, row: dict[str, Any], words: tuple[str, ...], code: int, said: str
) -> None:
    (folder / "prompts.jsonl").write_text(json.dumps(row))

    done = coe("evaluate", "prompts.jsonl", *words)

    assert done.returncode == code
    assert said in done.stderr
