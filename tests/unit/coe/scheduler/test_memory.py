from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.scheduler.furnish import furnish
from coe.scheduler.memory import Expert, Kept, Layout, Pool, fewest, footprint

POOL = Pool(name="p", memory=10)


def layout(*experts: Expert) -> Layout:
    return Layout(pools=(POOL,), experts=experts)


def test_a_base_takes_room_for_its_largest_adapters() -> None:
    base = Expert(name="base", pool="p", memory=5, max_loras=2)
    adapters = [Expert(name=str(n), pool="p", memory=n, base="base") for n in (1, 3, 2)]

    assert footprint(base, adapters) == 10
    assert footprint(base, []) == 5


@given(st.lists(st.integers(0, 20), max_size=8), st.integers(0, 60))
def test_the_fewest_are_enough_and_none_of_them_is_for_nothing(
    sizes: list[int], needed: int
) -> None:
    chosen = fewest(sizes, needed=needed)

    if chosen is None:
        assert sum(sizes) < needed
    else:
        freed = sum(sizes[i] for i in chosen)
        assert freed >= needed
        assert all(freed - sizes[i] < needed for i in chosen)


def test_the_first_ones_are_preferred() -> None:
    assert fewest([3, 3, 3], needed=3) == (0,)
    assert fewest([1, 5, 5], needed=5) == (1,)


@pytest.mark.parametrize(
    ("experts", "message"),
    [
        ((Expert(name="a", pool="q", memory=1),), "unknown pool `q`"),
        ((Expert(name="a", pool="p", memory=1),) * 2, "two of the experts are called `a`"),
        ((Expert(name="a", pool="p", memory=1, base="b"),), "an adapter of `b`, no base"),
        ((Expert(name="a", pool="p", memory=1, max_loras=0),), "max_loras 0"),
        ((Expert(name="a", pool="p", memory=1, concurrency=0),), "needs a slot"),
        ((Expert(name="a", pool="p", memory=11, pinned=True),), "pin fewer"),
    ],
)
def test_a_layout_that_does_not_fit_together_is_refused(
    experts: tuple[Expert, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        layout(*experts)


def test_an_adapter_lives_in_the_pool_of_its_base() -> None:
    experts = (
        Expert(name="base", pool="p", memory=1),
        Expert(name="lora", pool="q", memory=1, base="base"),
    )

    with pytest.raises(ValueError, match="not in the pool of its base"):
        Layout(pools=(POOL, Pool(name="q", memory=1)), experts=experts)


@pytest.mark.parametrize(
    ("resident", "message"),
    [
        (["nobody"], "no expert of the layout"),
        (["lora"], "its base is not"),
        (["base", "other"], "does not fit"),
    ],
)
def test_what_is_said_to_be_resident_must_fit(resident: list[str], message: str) -> None:
    plan = layout(
        Expert(name="base", pool="p", memory=5),
        Expert(name="lora", pool="p", memory=1, base="base"),
        Expert(name="other", pool="p", memory=5),
    )

    with pytest.raises(ValueError, match=message):
        furnish(plan, Kept(), resident)
