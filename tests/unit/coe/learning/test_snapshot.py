"""Snapshots: what was learnt survives, damage is refused, and an older one can be live again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coe.errors import ConfigError
from coe.jsonfile import digest
from coe.learning.bandit import Bandit
from coe.learning.belief import Belief, Settings
from coe.learning.pacer import Pacer
from coe.learning.snapshot import Snapshot, Snapshots

X = np.array([1.0, 0.3])
FREE = {"a": 0.1, "b": 2.0, "new": 1.0}


def snapshot(answers: int = 30) -> Snapshot:
    beliefs = {name: Belief.of(10 * np.eye(2), np.array([0.5, 0.1])) for name in ("a", "b")}
    bandit = Bandit(settings=Settings(method="thompson"), beliefs=beliefs, pacer=Pacer(ceiling=1.0))
    bandit = bandit.joined("new")
    generator = np.random.default_rng(0)
    for _ in range(answers):
        name = str(generator.choice(["a", "b"]))
        bandit = bandit.update(generator.random(2), name, float(generator.random()), 0.7)
    return Snapshot(bandit=bandit, features=("one", "code"), about={"why": "a test"})


def test_what_was_learnt_decides_and_learns_the_same_after_a_restart(tmp_path: Path) -> None:
    before = snapshot()
    folder = Snapshots(tmp_path / "learning")

    number = folder.write(before)
    after = Snapshots(tmp_path / "learning").read()

    assert number == 1
    assert after is not None
    assert (after.features, after.about) == (before.features, before.about)
    for uniform in (0.1, 0.5, 0.9):
        choices = [
            kept.bandit.choose(X, FREE, tuple(FREE), may_explore=True, uniform=uniform)
            for kept in (before, after)
        ]
        assert choices[0] == choices[1]
    learnt = [kept.bandit.update(X, "a", 1.0, 0.2) for kept in (before, after)]
    np.testing.assert_array_equal(learnt[0].beliefs["a"].theta, learnt[1].beliefs["a"].theta)
    assert learnt[0].pacer == learnt[1].pacer


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert Snapshots(tmp_path / "none").read() is None


def test_a_rollback_is_a_new_snapshot_of_an_old_state(tmp_path: Path) -> None:
    folder = Snapshots(tmp_path)
    folder.write(snapshot(10))
    folder.write(snapshot(20))

    number = folder.rollback(1)
    live = folder.read()

    assert (number, folder.numbers) == (3, (1, 2, 3))
    assert live is not None
    assert live.bandit.clock == 10
    assert live.about["rolled_back_to"] == 1


def test_the_oldest_are_removed(tmp_path: Path) -> None:
    folder = Snapshots(tmp_path, kept=3)
    for _ in range(5):
        folder.write(snapshot(1))

    assert folder.numbers == (3, 4, 5)


def test_a_change_by_hand_is_refused(tmp_path: Path) -> None:
    folder = Snapshots(tmp_path)
    folder.write(snapshot())
    path = tmp_path / "0001.learning"
    content = json.loads(path.read_text())
    content["experts"]["a"]["moment"][0] += 1.0
    path.write_text(json.dumps(content))

    with pytest.raises(ConfigError, match=r"0001\.learning: does not match its digest"):
        folder.read()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is damaged"),
        ("[]", "is no snapshot of what was learnt"),
        ('{"version": 99}', "its version is 99, not 1"),
        ('{"version": 1}', "'digest' is missing"),
    ],
)
def test_damage_is_named_with_the_file_and_a_way_out(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "0001.learning").write_text(text)

    with pytest.raises(ConfigError, match=said) as caught:
        Snapshots(tmp_path).read()

    assert "0001.learning" in str(caught.value)
    assert "start again from the map" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clock": -1}, "clock is -1"),
        ({"features": ["one"]}, "precision is not 1 by 1 numbers"),
        ({"pacer": {"ceiling": 0.0}}, "the ceiling is 0.0"),
        ({"settings": {"gamma": 2.0}}, "gamma is 2.0"),
    ],
)
def test_content_that_cannot_be_is_refused(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    """Whoever wrote it: its digest is right."""
    folder = Snapshots(tmp_path)
    folder.write(snapshot())
    path = tmp_path / "0001.learning"
    content = {**json.loads(path.read_text()), **change}
    del content["digest"]
    path.write_text(json.dumps({**content, "digest": digest(content)}))

    with pytest.raises(ConfigError, match=f"is damaged: {said}"):
        folder.read()


def test_a_truncated_file_is_refused_and_the_one_before_it_can_be_live(tmp_path: Path) -> None:
    folder = Snapshots(tmp_path)
    folder.write(snapshot(10))
    folder.write(snapshot(20))
    path = tmp_path / "0002.learning"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(ConfigError, match="is damaged"):
        folder.read()
    assert folder.rollback(1) == 3
    assert folder.read() is not None


def test_a_number_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = Snapshots(tmp_path)
    with pytest.raises(ConfigError, match="there is no snapshot 7; none is there"):
        folder.read(7)
    folder.write(snapshot())

    with pytest.raises(ConfigError, match="there is no snapshot 7; 1 to 1 are there"):
        folder.rollback(7)


def test_features_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    wrong = Snapshot(bandit=snapshot().bandit, features=("one",))

    with pytest.raises(ValueError, match="the bandit has 2 features, 1 are named"):
        Snapshots(tmp_path).write(wrong)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="cannot be written"):
        Snapshots(tmp_path / "file" / "below").write(snapshot())
