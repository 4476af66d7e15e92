from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coe.errors import ConfigError
from coe.protocols import Router
from coe.types import Scores
from routers.score_file import ScoreFile
from routers.scoring import BATCH, Scorer

TEXTS = ["one", "two", "", "\ud800"]
VALUES = np.arange(8, dtype=np.float32).reshape(4, 2) / 7


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "set.jsonl.scores"


def opened(path: Path, key: str = "a") -> ScoreFile:
    return ScoreFile(path, key=key, columns=2)


def test_what_was_added_is_there_after_a_restart(path: Path) -> None:
    opened(path).add(TEXTS[:1], VALUES[:1])
    opened(path).add(TEXTS[1:], VALUES[1:])

    again = opened(path)

    assert len(again) == 4
    assert all(text in again for text in TEXTS)
    assert "three" not in again
    assert (again.get(list(reversed(TEXTS))) == VALUES[::-1]).all()


@pytest.mark.parametrize("torn", [1, 15, 23])
def test_a_record_that_was_half_written_is_dropped(path: Path, torn: int) -> None:
    opened(path).add(TEXTS[:2], VALUES[:2])
    path.write_bytes(path.read_bytes()[:-torn])

    again = opened(path)
    assert "one" in again
    assert "two" not in again
    again.add(["two"], VALUES[1:2])

    assert (opened(path).get(["one", "two"]) == VALUES[:2]).all()


@pytest.mark.parametrize("content", [b"", b"notes", b"x" * 1000])
def test_another_file_is_begun_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    file = opened(path)
    assert len(file) == 0
    file.add(["one"], VALUES[:1])

    assert "one" in opened(path)


def test_the_scores_of_another_router_are_not_used(path: Path) -> None:
    opened(path).add(TEXTS, VALUES)

    assert len(opened(path, key="b")) == 0
    assert len(ScoreFile(path, key="a", columns=3)) == 0


def test_no_text_is_in_the_file(path: Path) -> None:
    opened(path).add(["a secret prompt"], VALUES[:1])

    assert b"secret" not in path.read_bytes()


def test_it_goes_when_all_is_done_and_never_takes_a_stranger_with_it(path: Path) -> None:
    path.write_bytes(b"notes of somebody")
    opened(path).remove()
    assert path.exists()

    file = opened(path)
    file.add(["one"], VALUES[:1])
    file.remove()

    assert not path.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = opened(tmp_path / "gone" / "set.scores")

    with pytest.raises(ConfigError, match="cannot keep the scores there"):
        file.add(["one"], VALUES[:1])


class Interrupted:
    """A router that is stopped after some batches; notes what it was asked."""

    name = "slow"
    categories = ("a", "b")
    calibrated = False

    def __init__(self, batches: int) -> None:
        self.asked: list[str] = []
        self.batches = batches

    def score(self, texts: list[str]) -> Scores:
        if self.batches == 0:
            raise KeyboardInterrupt
        self.batches -= 1
        self.asked += texts
        values = np.array([[len(text), 1.0] for text in texts], dtype=np.float32)
        return Scores(values=values)


def test_an_interruption_loses_one_batch_at_most(path: Path) -> None:
    texts = [f"{'x' * n}" for n in range(3 * BATCH)]
    seen: list[tuple[str, int, int]] = []

    def note(doing: str, done: int, total: int) -> None:
        seen.append((doing, done, total))

    stopped: Router = Interrupted(2)
    with pytest.raises(KeyboardInterrupt):
        Scorer(stopped, opened(path), note).values(texts, "scoring")
    rest = Interrupted(10)
    values = Scorer(rest, opened(path), note).values(texts + texts[:5], "scoring")

    assert rest.asked == texts[2 * BATCH :]
    assert (values[:, 0] == [len(text) for text in texts + texts[:5]]).all()
    assert seen[-1] == ("scoring", BATCH, BATCH)
