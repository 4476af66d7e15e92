from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from coe.composition import Composition, load
from coe.composition.lock import (
    NEVER,
    Lock,
    lock_path,
    own_thresholds,
    parts,
    read_lock,
    stale_message,
    write_lock,
)
from coe.errors import ConfigError
from coe.tools import ChosenThreshold

FILE = """
version: 1
backends: {gone: http://127.0.0.1:9}
experts: {one: gone/m}
encoders: {small: {type: hashed}}
routers: {default: {type: embedding, encoder: small}}
routing: {threshold: 0.4}
categories:
  sums: {utterances: [add, sum, plus, minus, times], experts: [one]}
  trips: {utterances: [train, plane, boat, car, bus], experts: [one]}
  mine: {utterances: [a, b, c, d, e], threshold: 0.7, experts: [one]}
default: one
"""

Write = Callable[[str], Path]


def gate(threshold: float | None) -> ChosenThreshold:
    return ChosenThreshold(threshold=threshold, rows=30, why="because")


def lock(composition: Composition, **thresholds: float | None) -> Lock:
    return Lock(
        router="default",
        aim="much is accepted",
        rows="set.jsonl, 90 rows, 0123456789abcdef",
        thresholds={name: gate(value) for name, value in thresholds.items()},
        parts=parts(composition, "default"),
        encoders={"small": "hashed-1-512"},
    )


@pytest.fixture
def composition(write: Write) -> Composition:
    return load(write(FILE))


def test_what_is_written_is_what_is_read(composition: Composition) -> None:
    wrote = lock(composition, sums=0.123456789, trips=None)

    write_lock(lock_path(composition), wrote)

    assert lock_path(composition).name == "experts.lock"
    assert read_lock(composition) == wrote
    assert wrote.changes(composition) == ()


def test_a_composition_without_a_lock_has_its_own_thresholds(composition: Composition) -> None:
    assert read_lock(composition) is None
    assert own_thresholds(composition) == {"sums": 0.4, "trips": 0.4, "mine": 0.7}


@pytest.mark.parametrize("is_stale", [False, True])
def test_a_stale_lock_only_ever_makes_it_abstain_more(
    composition: Composition, *, is_stale: bool
) -> None:
    found = lock(composition, sums=0.1, trips=0.9, mine=0.2).least(composition, is_stale=is_stale)

    assert found == {"sums": 0.4 if is_stale else 0.1, "trips": 0.9, "mine": 0.7}


@pytest.mark.parametrize("is_stale", [False, True])
def test_a_closed_category_stays_closed(composition: Composition, *, is_stale: bool) -> None:
    found = lock(composition, sums=None).least(composition, is_stale=is_stale)

    assert found == {"sums": NEVER, "trips": 0.4, "mine": 0.7}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[add, sum,", "[add, summ,", "`categories.sums` has changed"),
        ("{type: embedding,", "{type: embedding, top_k: 5,", "`routers.default` has changed"),
        ("{type: hashed}", "{type: hashed, dim: 64}", "`encoders.small` has changed"),
        ("threshold: 0.4}", "threshold: 0.4, margin: 0.1}", "`routing.margin` has changed"),
        ("  mine:", "  yours:", "`categories.mine` is gone"),
        ("  mine:", "  yours:", "`categories.yours` is new"),
    ],
)
def test_what_scores_depend_on_makes_a_lock_stale(
    write: Write, composition: Composition, old: str, new: str, said: str
) -> None:
    before = lock(composition)

    after = load(write(FILE.replace(old, new)))

    assert said in before.changes(after)
    assert said in stale_message(after, before.changes(after))
    assert "experts.lock is stale" in stale_message(after, before.changes(after))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("threshold: 0.4", "threshold: 0.5"),
        ("threshold: 0.7", "threshold: 0.6"),
        ("one: gone/m", "one: gone/n"),
        ("http://127.0.0.1:9", "http://127.0.0.1:8"),
    ],
)
def test_what_scores_do_not_depend_on_does_not(
    write: Write, composition: Composition, old: str, new: str
) -> None:
    before = lock(composition)

    assert before.changes(load(write(FILE.replace(old, new)))) == ()


def test_the_files_that_a_router_names_count_with_their_content(write: Write) -> None:
    text = FILE.replace("encoder: small}", "encoder: small, model: models/mine}")
    file = write(text)
    artefact = file.parent / "models" / "mine" / "weights.bin"
    artefact.parent.mkdir(parents=True)
    artefact.write_bytes(b"one")
    before = lock(load(file))
    assert before.changes(load(file)) == ()

    artefact.write_bytes(b"two")

    assert before.changes(load(file)) == ("`routers.default` has changed",)


def test_a_file_that_a_router_names_may_lie_anywhere(
    write: Write, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = tmp_path_factory.mktemp("elsewhere") / "queries.jsonl"
    rows.write_text("{}")
    path = write(FILE.replace("type: embedding,", f"type: pilot, queries: {rows},"))
    before = lock(load(path))
    rows.write_text("{ }")

    assert before.changes(load(path)) == ("`routers.default` has changed",)


def test_a_lock_of_another_router_is_stale(composition: Composition) -> None:
    other = replace(lock(composition), router="fast")

    assert "`default` decides" in other.changes(composition)[0]


def test_another_encoder_makes_it_stale(composition: Composition) -> None:
    found = lock(composition)

    assert found.encoder_changes({"small": "hashed-1-512", "other": "x"}) == ()
    assert found.encoder_changes({"small": "hashed-2-512"}) == (
        "encoder `small` is another one now",
    )
    assert found.encoder_changes({}) == ("encoder `small` is another one now",)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1}',
        '{"version": 1, "router": "", "aim": "", "rows": "", "thresholds": {"a": 0.5}}',
        "<<<<<<< HEAD",
        "\x00",
    ],
)
def test_a_file_that_is_no_lock_is_refused_with_the_fix(
    composition: Composition, content: str
) -> None:
    lock_path(composition).write_text(content)

    with pytest.raises(ConfigError, match="run `coe calibrate` again, or delete the file"):
        read_lock(composition)


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"0.5"', "true", "[0.5]"])
def test_a_threshold_that_is_no_number_is_refused_with_its_place(
    composition: Composition, value: str
) -> None:
    path = lock_path(composition)
    write_lock(path, lock(composition, sums=0.5))
    path.write_text(path.read_text().replace('"threshold": 0.5', f'"threshold": {value}'))

    with pytest.raises(ConfigError, match=r"experts\.lock: is damaged: thresholds\.sums\.thresh"):
        read_lock(composition)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"threshold": 0.5', '"threshold": 0.0001'),
        ("hashed-1-512", "hashed-2-512"),
        ('"rows": 30', '"rows": 31'),
        ('"digest": "', '"digest": "0'),
        ('"sums"', '"trips"'),
    ],
)
def test_a_lock_that_somebody_changed_is_stale(
    composition: Composition, old: str, new: str
) -> None:
    path = lock_path(composition)
    write_lock(path, lock(composition, sums=0.5))
    text = path.read_text()
    assert old in text

    path.write_text(text.replace(old, new))
    changed = read_lock(composition)

    assert changed is not None
    assert changed.changes(composition)[0] == "somebody changed it by hand"


def test_space_between_the_values_of_a_lock_is_no_change(composition: Composition) -> None:
    """A formatter, or line ends of another system, leave the numbers alone."""
    path = lock_path(composition)
    write_lock(path, wrote := lock(composition, sums=0.5))

    path.write_text(json.dumps(json.loads(path.read_text()), indent=1).replace("\n", "\r\n"))
    found = read_lock(composition)

    assert found is not None
    assert found.is_as_written
    assert found.thresholds == wrote.thresholds


def test_a_lock_that_cannot_be_read_or_written_is_named(composition: Composition) -> None:
    lock_path(composition).mkdir()

    with pytest.raises(ConfigError, match="cannot be read"):
        read_lock(composition)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_lock(lock_path(composition), lock(composition))


def test_a_lock_is_made_to_be_read_in_a_review(composition: Composition) -> None:
    write_lock(lock_path(composition), lock(composition, sums=0.5))

    content = json.loads(lock_path(composition).read_text())

    assert content["thresholds"] == {"sums": {"threshold": 0.5, "rows": 30, "why": "because"}}
    assert list(content["parts"]) == sorted(content["parts"])
