import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from coe.experiments.assign import PLACES, arm_of, place_of, split

ARMS = ("control", "b", "c", "d", "e", "f")
UNITS = [f"unit-{number}" for number in range(20_000)]


@st.composite
def shares(draw: st.DrawFn, least: int = 2, most: int = 6) -> dict[str, float]:
    arms = ARMS[: draw(st.integers(least, most))]
    cuts = sorted(
        draw(st.lists(st.integers(0, PLACES), min_size=len(arms) - 1, max_size=len(arms) - 1))
    )
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, PLACES], strict=True)]
    return {arm: size / PLACES for arm, size in zip(arms, sizes, strict=True)}


@given(shares())
def test_every_arm_owns_its_share_of_the_places(wanted: dict[str, float]) -> None:
    owners = split("salt", wanted).owners

    assert [owners.count(number) / PLACES for number in range(len(wanted))] == list(wanted.values())


def test_the_places_of_units_are_uniform() -> None:
    counts = [0] * 100
    for unit in UNITS:
        counts[place_of(b"salt", unit) // 100] += 1

    assert stats.chisquare(counts).pvalue > 0.001


def test_two_salts_assign_independently() -> None:
    one, other = (split(salt, {"control": 0.5, "b": 0.5}) for salt in ("2026-11-a", "2026-11-b"))
    table = [[0, 0], [0, 0]]
    for unit in UNITS:
        table[arm_of(one, unit) == "b"][arm_of(other, unit) == "b"] += 1

    assert stats.chi2_contingency(table).pvalue > 0.001


def test_a_unit_has_its_arm_in_every_process() -> None:
    code = (
        "from coe.experiments.assign import arm_of, split\n"
        "s = split('salt', {'control': 0.5, 'b': 0.5})\n"
        "print([arm_of(s, f'unit-{n}') for n in range(20)])"
    )
    own = split("salt", {"control": 0.5, "b": 0.5})

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )

    assert done.stdout.strip() == str([arm_of(own, f"unit-{n}") for n in range(20)])


def test_places_are_the_same_for_ever() -> None:
    """A release that changed them would move every unit of a running experiment."""
    assert [place_of(b"2026-11-a", unit) for unit in ("ann", "bob", "session-1", "é")] == PINNED


PINNED = [8794, 7551, 8590, 5950]


def test_salt_and_unit_are_not_run_together() -> None:
    assert place_of(b"ab", "c") != place_of(b"a", "bc")


@given(st.text())
def test_any_text_is_a_unit(unit: str) -> None:
    assert 0 <= place_of(b"salt", unit) < PLACES


def test_half_of_a_surrogate_pair_is_a_unit() -> None:
    assert 0 <= place_of(b"salt", "\ud800") < PLACES


@given(shares(most=3), st.data())
def test_an_arm_that_grows_at_the_controls_expense_takes_from_nobody_else(
    before: dict[str, float], data: st.DataObject
) -> None:
    growing = data.draw(st.sampled_from(list(before)[1:]))
    more = data.draw(st.integers(0, round(before["control"] * PLACES))) / PLACES
    after = {
        **before,
        "control": round(before["control"] - more, 4),
        growing: round(before[growing] + more, 4),
    }

    old, new = split("salt", before), split("salt", after)

    moved = {(a, b) for a, b in zip(old.owners, new.owners, strict=True) if a != b}
    assert moved <= {(0, list(before).index(growing))}


def test_six_arms_grow_without_moving_others_until_two_meet() -> None:
    small = {"control": 0.9, "b": 0.02, "c": 0.02, "d": 0.02, "e": 0.02, "f": 0.02}
    great = {"control": 0.4, "b": 0.12, "c": 0.12, "d": 0.12, "e": 0.12, "f": 0.12}

    old, new = split("salt", small), split("salt", great)

    assert all(a in {0, b} for a, b in zip(old.owners, new.owners, strict=True))


def test_a_unit_that_opted_out_has_no_arm() -> None:
    assert arm_of(split("salt", {"control": 0.0, "b": 1.0}), "ann", opted_out=True) is None
    assert arm_of(split("salt", {"control": 0.0, "b": 1.0}), "ann") == "b"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"a": 0.5, "b": 0.4}, r"sum to 90 %, not 100 %: a 50 % \+ b 40 %"),
        ({"a": 0.5, "b": 0.6}, "sum to 110 %"),
        ({"a": 1.0}, "2 to 200 arms, not 1"),
        ({"a": 1.5, "b": -0.5}, "share of arm `a` is 1.5"),
        ({"a": float("nan"), "b": 1.0}, "share of arm `a` is nan"),
        ({"a": 1 / 3, "b": 2 / 3}, "finer than 0.01 %"),
        ({str(n): 0.0 for n in range(201)}, "2 to 200 arms, not 201"),
    ],
)
def test_shares_that_make_no_split_are_refused(wanted: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split("salt", wanted)
