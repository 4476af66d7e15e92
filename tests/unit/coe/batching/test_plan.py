from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from coe.batching.plan import lanes, last_seen
from coe.stores.records import Group


def group(expert: str, lines: int = 1, done: int = 0, **where: str) -> Group:
    place = {"backend": "up", "base": expert, **where}
    return Group(expert=expert, lines=lines, done=done, **place)


names = st.sampled_from("abcdefgh")
pools = st.lists(
    st.builds(
        Group,
        expert=names,
        backend=st.sampled_from(["one", "two"]),
        base=st.sampled_from(["x", "y", "z"]),
        lines=st.integers(0, 50),
        done=st.just(0),
    ),
    unique_by=lambda row: row.expert,
)


@given(pools, st.sets(names))
def test_each_expert_with_lines_left_comes_exactly_once(
    groups: list[Group], resident: set[str]
) -> None:
    planned = [row for lane in lanes(groups, resident) for visit in lane for row in visit]

    assert sorted(row.expert for row in planned) == sorted(row.expert for row in groups if row.left)


@given(pools, st.sets(names))
def test_experts_of_a_base_are_side_by_side_on_their_backend(
    groups: list[Group], resident: set[str]
) -> None:
    for lane in lanes(groups, resident):
        order = [(row.backend, row.base) for visit in lane for row in visit]
        runs = [key for key, _ in groupby(order)]
        assert len(runs) == len(set(runs)) == len(lane)
        assert len({backend for backend, _ in order}) == 1


@given(pools, st.sets(names), st.randoms())
def test_the_order_of_the_groups_does_not_matter(
    groups: list[Group], resident: set[str], random: object
) -> None:
    shuffled = list(groups)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert lanes(shuffled, resident) == lanes(groups, resident)


def test_what_is_in_memory_comes_first() -> None:
    groups = [group("big", 90), group("small", 5), group("mid", 40)]

    (lane,) = lanes(groups, {"small"})

    assert [visit[0].expert for visit in lane] == ["small", "big", "mid"]


def test_of_a_base_the_adapter_in_memory_comes_first() -> None:
    groups = [group("a", 9, base="x"), group("b", 1, base="x"), group("c", 50)]

    (lane,) = lanes(groups, {"b"})

    assert [[row.expert for row in visit] for visit in lane] == [["b", "a"], ["c"]]


def test_backends_have_lanes_of_their_own() -> None:
    found = lanes([group("a", backend="two"), group("b", backend="one")])

    assert [lane[0][0].expert for lane in found] == ["b", "a"]


def test_who_answered_last_on_each_backend_is_taken_to_be_in_memory() -> None:
    groups = [
        group("never", 3),
        group("first", 3, 3),
        group("other", 3, 1, backend="two"),
        group("second", 3, 1),
    ]

    assert set(last_seen(groups)) == {"second", "other"}
